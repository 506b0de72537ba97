"""The refused file: every event that the API would not have, with its reason.

One file an account, a JSON object a line, so that a person can read, correct and grep it. It is shared by
all processes of the account, and touched seldom: each touch holds a lock of its own beside the file.

Who sends one again marks it first: a call that a death interrupts is then known to be in doubt.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from ocm_otel._journal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
#: The reason of an event that is being sent again, or was when its sender died.
IN_DOUBT = "in-doubt"
#: The reason of one that was sent again, and no answer came.
AMBIGUOUS = "ambiguous"
#: Reasons of events that may have counted.
DOUBTFUL = frozenset((IN_DOUBT, AMBIGUOUS))


class RefusedFile:
    """What the API would not have, to look at, correct, send again, or throw away.

    Args:
        directory: the account's directory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "refused.jsonl"
        self._lock_path = directory / "refused.lock"

    def add(self, refused: Refused) -> None:
        """Write one down.

        Raises:
            OSError: it cannot be written.
        """
        line = json.dumps(asdict(refused), separators=(",", ":")).encode() + b"\n"
        with self._locked():
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _FLAGS, 0o600)
            try:
                _write_whole(handle, line)
            finally:
                os.close(handle)

    def read(self) -> list[Refused]:
        """Return all, the oldest first; a line that is none of ours is left out (and left in the file)."""
        return [refused for _, refused in self._lines() if refused is not None]

    def edit(self, change: Callable[[Refused], Refused | None], odd: Callable[[bytes], bool] | None = None) -> None:
        """Put each through `change`: what it returns stands in its place, None removes it.

        A crash in between leaves the file as it was.

        Args:
            change: is given each event.
            odd: says of a line that is none of ours whether it stays; all do by default.

        Raises:
            OSError: it cannot be written.
        """
        with self._locked():
            kept = []
            for line, refused in self._lines():
                after = refused if refused is None else change(refused)
                if after is refused:
                    if refused is not None or odd is None or odd(line):
                        kept.append(line)
                elif after is not None:
                    kept.append(json.dumps(asdict(after), separators=(",", ":")).encode() + b"\n")
            beside = self.path.with_suffix(".new")
            beside.unlink(missing_ok=True)
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.writelines(kept)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(self.path)
            finally:
                beside.unlink(missing_ok=True)  # there only if it could not be written

    def exchange(self, before: Refused, after: Refused | None) -> bool:
        """Put `after` in the place of the first that is `before`, or remove it; False if there is none.

        Raises:
            OSError: it cannot be written.
        """
        found = False

        def change(refused: Refused) -> Refused | None:
            nonlocal found
            if found or refused != before:
                return refused
            found = True
            return after

        self.edit(change)
        return found

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Be the only one who sends refused events of the account again; yields False if somebody else is."""
        handle = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(handle)

    def _lines(self) -> Iterator[tuple[bytes, Refused | None]]:
        """Yield each line as it is, and what it says."""
        try:
            handle = os.open(self.path, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return
        with os.fdopen(handle, "rb") as file:
            for line in file:
                yield line, _parse(line)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the file; it is beside it, for the file itself is replaced by `edit`."""
        handle = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def identity(refused: Refused) -> str:
    """Return a short name for an event, which stays as long as it waits to be sent as it was accepted."""
    text = f"{refused.at!r} {refused.query}".encode("utf-8", "surrogatepass")
    from hashlib import sha256

    return sha256(text).hexdigest()[:12]


def is_of(refused: Refused, *users: str) -> bool:
    """Return whether an event is a user's, who may have several ids."""
    return any(key == "user_id" and value in users for key, value in parse_qsl(refused.query, keep_blank_values=True))


def may_name(line: bytes, user: str) -> bool:
    """Return whether a line that cannot be read has a user's id in it, or the beginning of the id at its end."""
    bare = user.encode("utf-8", "surrogatepass")
    for form in {bare, quote(user, safe="", errors="replace").encode(), json.dumps(user)[1:-1].encode()}:
        if re.search(rb"user_id\W{0,8}" + re.escape(form) + rb"(?![\w%.~-])", line):
            return True
        tail = line.rstrip(b"\n").rpartition(b"user_id=")
        if tail[1] and tail[2] and form.startswith(tail[2]):
            return True
    return False


def _write_whole(handle: int, line: bytes) -> None:
    """Write a line of its own behind all others, whole or not at all.

    Raises:
        OSError: there is no room for it.
    """
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":  # who wrote the last one was killed at it
        line = b"\n" + line
    if os.write(handle, line) != len(line):
        os.ftruncate(handle, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _parse(line: bytes) -> Refused | None:
    """Return what a line says, None if it says nothing of ours."""
    try:
        said = json.loads(line)
        return Refused(
            query=str(said["query"]),
            reason=str(said["reason"]),
            at=float(said["at"]),
            refused_at=float(said["refused_at"]),
            attempts=int(said["attempts"]),
        )
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None
