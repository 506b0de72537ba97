"""Waiting: for one connection, or for many at once and for a bell that anybody may ring.

The bell is a pair of sockets, for a thread that waits for sockets can be woken by nothing else. It may be rung from a
finalizer or a signal handler; it takes no lock.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

#: What can be waited for; `GONE` comes unasked: the other side has ended the connection.
READ, WRITE = select.POLLIN, select.POLLOUT
GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
_HALF = getattr(select, "POLLRDHUP", 0)
_LONGEST = 86_400.0
#: What is taken in at one go. The next calls begin after it, so that more would keep those connections idle for longer.
_MOST = 16
# gevent takes `epoll` away from whom it patches. What was loaded before that keeps it, and its threads with it.
_Epoll = getattr(select, "epoll", None)

_Outcome = TypeVar("_Outcome")


class HasDescriptor(Protocol):
    """Something that can be waited for while it has a descriptor; -1 if it has none."""

    descriptor: int


class _End(socket.socket):
    """One end of the bell; closed with the last who has a hold on it, for later its number may be another's."""

    def __del__(self) -> None:
        with suppress(OSError):
            self.close()


class Poller:
    """Waits for any number of descriptors, and for its bell.

    One thread at a time waits and says for what; any thread rings. It has no descriptors of its own before `open`.
    """

    def __init__(self) -> None:
        self._wanted: dict[int, int] = {}
        self._poll: Any = None
        self._bell: socket.socket | None = None
        self._rings = (-1, READ)
        self._string: socket.socket | None = None

    def open(self) -> None:
        """Make all that it needs; calling it again changes nothing.

        Raises:
            OSError: there are too many open files.
        """
        if self._string is not None:
            return
        self._poll = _Epoll() if _Epoll is not None else select.poll()
        bell, string = (_End(fileno=one.detach()) for one in socket.socketpair())
        bell.setblocking(False)
        string.setblocking(False)
        self._poll.register(bell.fileno(), READ)
        self._bell, self._string, self._rings = bell, string, (bell.fileno(), READ)

    def watch(self, descriptor: int, wanted: int) -> None:
        """Wait for `wanted` of a descriptor from now on, and for its end."""
        known = self._wanted.get(descriptor)
        if known == wanted:
            return
        change = self._poll.register if known is None else self._poll.modify
        change(descriptor, wanted | _HALF)
        self._wanted[descriptor] = wanted

    def forget(self, descriptor: int) -> None:
        """Wait no more for a descriptor; to be said before it is closed, for a forked child may hold it open."""
        if self._wanted.pop(descriptor, None) is not None:
            with suppress(OSError, KeyError):
                self._poll.unregister(descriptor)

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        """Return what has come: descriptors, each with what came of it; some at a time.

        Args:
            seconds: how long to wait for the first, 0 for not at all. The bell ends the wait, too.
        """
        seconds = min(max(seconds, 0.0), _LONGEST)
        if _Epoll is not None:
            came = self._poll.poll(seconds, _MOST)
        else:  # it rounds down, and a wait that ends too early would be repeated in haste
            came = self._poll.poll(seconds * 1000 + (seconds > 0))
        if self._bell is not None and self._rings in came:
            came.remove(self._rings)
            with suppress(OSError):
                self._bell.recv(4096)
        return came  # type: ignore[no-any-return]

    def ring(self) -> None:
        """End the wait that is under way, or the next one; never raises."""
        if (string := self._string) is not None:
            with suppress(OSError):  # it rings already
                string.send(b"!")

    def close(self) -> None:
        """Give the descriptors back."""
        for one in (self._bell, self._string, self._poll if _Epoll is not None else None):
            if one is not None:
                one.close()


def drive(wire: HasDescriptor, calling: Generator[tuple[int, float], bool, _Outcome]) -> _Outcome:
    """Carry the call of one connection to its end, in this thread."""
    try:
        wanted, until = next(calling)
        while True:
            waiting = select.poll()
            if wire.descriptor >= 0:
                waiting.register(wire.descriptor, wanted)
            ready = waiting.poll(max(0.0, until - time.monotonic()) * 1000)
            wanted, until = calling.send(bool(ready))
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
