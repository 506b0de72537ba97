"""Where a host's name leads: looked up aside, so that a slow name server holds up no call that is under way."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ocm_otel._threads import start_thread

Addresses = list[Any]

#: Seconds for which an answer is used again, and the news that there is none: many connections ask at once.
_FRESH, _FRESH_FAILURE = 5.0, 0.1


class Resolver:
    """Looks up one name, in a thread of its own where that takes one.

    Args:
        found: called, from any thread, when `find` has an answer that it had not before.
        look_up: returns a host's addresses, as `socket.getaddrinfo` does.
    """

    def __init__(self, found: Callable[[], object], look_up: Callable[..., Addresses] = socket.getaddrinfo) -> None:
        self._found = found
        self._look_up = look_up
        self._under_way = False
        self._answer: Addresses = []
        self._fresh_until = 0.0

    def find(self, host: str, port: int, **_: Any) -> Addresses | None:
        """Return the addresses of a host, as `socket.getaddrinfo` does; None while they are being looked up.

        Raises:
            OSError: it has none, or none can be found for now.
            UnicodeError: there can be no such host.
        """
        if self._under_way:
            return None
        if time.monotonic() < self._fresh_until:
            if not self._answer:
                raise OSError("the host's name leads nowhere")
            return self._answer
        try:
            return self._look_up(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            self._under_way = True  # it is a name, and whoever knows it may take long
        try:
            start_thread("ocm-otel-resolver", partial(self._ask, host, port))
        except RuntimeError:  # there are no threads any more
            self._under_way = False
            return self._look_up(host, port, type=socket.SOCK_STREAM)
        return None

    def _ask(self, host: str, port: int) -> None:
        """Ask the system for the addresses."""
        try:
            self._answer = self._look_up(host, port, type=socket.SOCK_STREAM)
        except Exception:  # noqa: BLE001 - whatever it is, there is no address
            self._answer = []
        self._fresh_until = time.monotonic() + (_FRESH if self._answer else _FRESH_FAILURE)
        self._under_way = False
        self._found()
