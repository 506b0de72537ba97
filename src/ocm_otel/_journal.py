"""Where events live that are not settled yet: the `Journal` protocol, and the journal in memory.

A journal lends out entries, the oldest first. Whoever takes one ends it (`settle`) or sets it aside with a
reason (`set_aside`); an entry that is neither is still owed. Any thread appends; one thread, the worker's,
does the rest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Refused events that a journal in memory keeps to look at.
MOST_REFUSED = 1_000


class Entry:
    """An event on loan from the journal.

    Attributes:
        number: its place in the order of the journal; later entries have higher numbers.
        query: the event as it is sent, `Event.query`.
        at: when it was accepted, wall clock, seconds since 1970.
        attempts: calls made for it so far.
        strikes: how often it failed while other events were answered.
        in_doubt: True if a process that died had sent it, and nobody knows what came of that.
        put_off: True once it was put off: it may not be in the journal any more.
    """

    __slots__ = ("at", "attempts", "in_doubt", "number", "put_off", "query", "strikes")

    def __init__(self, number: int, query: str, at: float, *, in_doubt: bool = False) -> None:
        self.number = number
        self.query = query
        self.at = at
        self.attempts = 0
        self.strikes = 0
        self.in_doubt, self.put_off = in_doubt, False


@dataclass(frozen=True)
class Refused:
    """An event that the API would not have.

    Attributes:
        query: the event as it was sent.
        reason: the verdict's short name.
        at: when it was accepted, wall clock, seconds since 1970.
        refused_at: when the API refused it, likewise.
        attempts: calls made for it.
    """

    query: str
    reason: str
    at: float
    refused_at: float
    attempts: int


class Journal(Protocol):
    """Where an event is from its acceptance until it is settled.

    Attributes:
        watch_every: seconds between two looks for what dead processes left behind; None for never.
    """

    watch_every: float | None

    def append(self, query: str, at: float, accepted: Callable[[], object], event_id: str | None = None) -> str:
        """Keep an event, as safely as this journal can, and let it be taken; from any thread, never waits.

        Args:
            query: the event as it is sent, `Event.query`.
            at: now, wall clock, seconds since 1970.
            accepted: called once the event is kept and before anybody can take it, to book it.
            event_id: the event's own identity, if it has one.

        Returns:
            Nothing if it is kept, else the reason why not, as the books name it.
        """

    def take(self) -> Entry | None:
        """Lend out the entry that has waited longest, None if there is none."""

    def sent(self, entry: Entry) -> None:
        """Note that a call is made for an entry on loan."""

    def back(self, entry: Entry) -> None:
        """Note that the call did not settle it."""

    def holds(self, entry: Entry) -> bool:
        """Return whether an entry is still to be sent; False if somebody had it erased meanwhile."""

    def doubt(self, entry: Entry) -> None:
        """Note that a call for it may have counted, and no answer said so."""

    def settle(self, entry: Entry) -> None:
        """End an entry: it was delivered."""

    def drop(self, entry: Entry) -> None:
        """End an entry: it is given up."""

    def set_aside(self, entry: Entry, reason: str, now: float) -> None:
        """End an entry that the API refused, and keep it with its reason; `now` in seconds since 1970."""

    def refused(self) -> Sequence[Refused]:
        """Return what was set aside, the oldest first."""

    def waiting(self) -> int:
        """Return how many entries are not settled, those on loan included."""

    def adopt(self) -> int:
        """Take over what dead processes left behind; returns how many entries."""

    def abandon(self) -> int:
        """Let go of everything at the end of the process; returns how many entries are lost with it."""

    def has_neighbours(self) -> bool:
        """True if other processes, living or dead, keep events in the same place."""

    def after_fork(self) -> None:
        """Forget, in a child process, what is the parent's to deliver."""


class MemoryJournal:
    """The journal in memory: as fast as can be, and gone with the process.

    Args:
        most: how many entries may be waiting.
    """

    watch_every: float | None = None

    def __init__(self, most: int) -> None:
        self._most = most
        self._numbers = count(1)
        self._ready: deque[Entry] = deque()
        self._lent = 0
        self._closed = False
        self._refused: deque[Refused] = deque(maxlen=MOST_REFUSED)

    def append(self, query: str, at: float, accepted: Callable[[], object], event_id: str | None = None) -> str:
        """Keep an event; "queue-full" if there is no room. Threads at once may overstep the bound by one each."""
        if self._closed:
            return "closed"
        if len(self._ready) + self._lent >= self._most:
            return "queue-full"
        number = next(self._numbers)
        accepted()
        self._ready.append(Entry(number, query, at))
        return ""

    def take(self) -> Entry | None:
        """Lend out the oldest entry, None if there is none."""
        self._lent += 1  # before it leaves the queue, so that `waiting` never looks past it
        try:
            return self._ready.popleft()
        except IndexError:
            self._lent -= 1
            return None

    def sent(self, entry: Entry) -> None:
        """Do nothing: what memory knows dies with the process."""

    def back(self, entry: Entry) -> None:
        """Do nothing, likewise."""

    def holds(self, entry: Entry) -> bool:
        """Return True: memory is nobody else's."""
        return True

    def doubt(self, entry: Entry) -> None:
        """Do nothing, likewise."""

    def settle(self, entry: Entry) -> None:
        """End an entry."""
        self._lent -= 1

    def drop(self, entry: Entry) -> None:
        """End an entry."""
        self._lent -= 1

    def set_aside(self, entry: Entry, reason: str, now: float) -> None:
        """End an entry that the API refused; the newest thousand are kept."""
        self._refused.append(Refused(entry.query, reason, entry.at, now, entry.attempts))
        self._lent -= 1

    def refused(self) -> Sequence[Refused]:
        """Return what was set aside, the oldest first."""
        return tuple(self._refused)

    def waiting(self) -> int:
        """Return how many entries are not settled."""
        return len(self._ready) + self._lent

    def adopt(self) -> int:
        """Return 0: nobody can leave anything behind in memory."""
        return 0

    def abandon(self) -> int:
        """Give up all that waits: memory does not outlive the process."""
        self._closed = True
        left = self.waiting()
        self._ready.clear()
        self._lent = 0
        return left

    def has_neighbours(self) -> bool:
        """Return False: memory is nobody else's."""
        return False

    def after_fork(self) -> None:
        """Forget all that waits: it is the parent's."""
        self.abandon()
        self._closed = False
