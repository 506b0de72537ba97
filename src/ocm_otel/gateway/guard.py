"""Who may come in, and how often: tokens, the clients' own keys, and a measure for each client.

Secrets are kept as hashes, and are compared in a time that does not depend on how much of one is right. Nothing here
ever shows one.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 4096
_MOST_CLIENTS = 10_000


class NoSecrets(ValueError):
    """A file of secrets cannot be used; the message says which and why, without what is in it."""


class Secrets:
    """A set of secrets that can be asked whether a text is one of them.

    Args:
        secrets: the texts.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._hashes = [sha256(secret.encode()).digest() for secret in secrets]

    @classmethod
    def from_file(cls, path: str) -> Secrets:
        """Return the secrets of a file: one in a line; empty lines and those that begin with ``#`` do not count.

        Raises:
            NoSecrets: it cannot be read, or has none, or one that no header can carry.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise NoSecrets(f"{path} cannot be read ({type(error).__name__})") from None
        found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not found:
            raise NoSecrets(f"{path} has no line with a secret in it")
        for number, secret in enumerate(found, 1):
            if not (secret.isascii() and secret.isprintable()) or len(secret) < 8 or " " in secret:
                raise NoSecrets(f"{path}: secret {number} has fewer than 8 characters, or some that no header can have")
        return cls(found)

    def has(self, given: bytes) -> bool:
        """Return whether `given` is one of them; as slow for a wrong one as for a right one."""
        digest = sha256(given[:_LONGEST]).digest()
        found = False
        for known in self._hashes:
            found |= hmac.compare_digest(digest, known)
        return found and len(given) <= _LONGEST


class Rates:
    """How many requests each client may make in a second; a burst of as many is allowed at once.

    Args:
        most: requests a second; 0 for no limit.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._clients: dict[str, tuple[float, float]] = {}  # what is left, and when that was

    def allows(self, client: str, now: float) -> bool:
        """Count a request of `client` at `now` seconds; False if it is one too many."""
        if not self._most:
            return True
        left, at = self._clients.pop(client, (self._most, now))
        left = min(self._most, left + (now - at) * self._most)
        allowed = left >= 1
        self._clients[client] = (left - allowed, now)
        if len(self._clients) > _MOST_CLIENTS:
            del self._clients[next(iter(self._clients))]  # the one that was silent longest
        return allowed
