"""The journal on disk: an event is in its process's ledger before `put` returns, and stays until settled.

Writers share a handful of ledgers ("lanes"). Who wants to write takes a lane out of the free ones, writes,
and puts it back: no lock, so nobody waits for anybody, and a signal handler or a finalizer that interrupts a
writer takes another lane. The worker reads the lanes, strikes out what is settled, removes finished ledgers,
and now and then looks for what dead processes left behind, to send it as its own.
"""

from __future__ import annotations

import errno
import math
import time
from collections import deque
from typing import TYPE_CHECKING

from ocm_otel._journal import Entry, MemoryJournal, Refused
from ocm_otel._ledger import OWED, SENT, SETTLED, Ledger, Record, encode
from ocm_otel._refused import RefusedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocm_otel._account import Account, LedgerSet
    from ocm_otel._books import Books
    from ocm_otel._event import Event

#: Bytes of a process's first ledger, about 2,500 events; each further one is twice as large, up to the second
#: figure, so that a backlog of any size has few files and an idle process little disk.
_FIRST, _LARGEST = 256 * 1024, 8 * 1024 * 1024
#: Seconds between two looks for dead processes, and after a failure to write before the next attempt.
WATCH_EVERY = 2.0
_REST = 0.5


#: Written-off ledgers that are kept, so that a full disk does not stop a process that delivers.
_SPARE = 2
_REASONS = {
    errno.ENOSPC: "disk-full",
    errno.EDQUOT: "disk-full",
    errno.EROFS: "disk-read-only",
    errno.EMFILE: "too-many-files",
}


class NoRoom(OSError):
    """The spool takes no more for now; `reason` is its name in the books."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SpoolEntry(Entry):
    """An entry that knows where it stands on the disk."""

    __slots__ = ("ledger", "offset")

    def __init__(self, number: int, ledger: Ledger, record: Record) -> None:
        super().__init__(number, record.query, record.at)
        self.in_doubt = record.mark == SENT
        self.ledger = ledger
        self.offset = record.offset


class Spool:
    """The journal on disk.

    Args:
        account: the account's directory.
        books: where adoptions and failures are counted.
        most_bytes: room that all ledgers of the account may take together.
        sync: return from `append` only when the medium has the event (`fsync` durability).
        clock: seconds of a clock that never runs backwards; for tests.
    """

    watch_every = WATCH_EVERY

    def __init__(
        self,
        account: Account,
        books: Books,
        *,
        most_bytes: int,
        sync: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._books = books
        self._most_bytes = most_bytes
        self._sync = sync
        self._clock = clock
        self._refused = RefusedFile(account.path)
        self._own: dict[str, LedgerSet] = {}
        self._adopted: dict[LedgerSet, set[Ledger]] = {}
        self._free: deque[Ledger] = deque()
        self._lanes: list[Ledger] = []  # ours that are written to
        self._backlog: deque[Ledger] = deque()  # full or adopted ones with records to be read
        self._before = 0  # records in ledgers that are no lanes any more
        self._taken = 0
        self._ended = 0
        self._rest_until = -math.inf
        self._why = ""
        self._let_go = False

    # --- any thread ---------------------------------------------------------------------------------------

    def append(self, event: Event, at: float, accepted: Callable[[], None]) -> str:
        """Write `event` to a ledger; returns why it could not be, or nothing if it was."""
        record = encode(event.query(), at)
        try:
            lane = self._free.pop() if self._free else None
        except IndexError:  # somebody else took the last one in between
            lane = None
        try:
            if lane is None or not lane.append(record):
                if lane is not None:
                    lane.retired, lane = True, None
                lane = self._new_lane()
                lane.append(record)
            accepted()
            lane.publish(record)
            self._see_to_medium(lane)
        except OSError as error:
            return self._failed(error)
        finally:
            if lane is not None:
                self._free.append(lane)
        return ""

    def waiting(self) -> int:
        """Return how many entries are not settled."""
        return self.last() - self._ended

    def last(self) -> int:
        """Return the number that the newest entry has, or will have when it is taken."""
        return self._before + sum(lane.written for lane in tuple(self._lanes))

    def refused(self) -> Sequence[Refused]:
        """Return what was set aside, the oldest first, by any process of the account."""
        return self._refused.read()

    # --- the worker's thread ------------------------------------------------------------------------------

    def take(self) -> Entry | None:
        """Lend out the oldest entry, None if there is none."""
        self._sort_out()
        while self._backlog:
            entry = self._lend(self._backlog[0])
            if entry is not None:
                return entry
            self._finish(self._backlog.popleft())
        # Of several lanes the one whose next record is older: they were written side by side.
        heads = [(record.at, number) for number, lane in enumerate(self._lanes) if (record := lane.peek())]
        return self._lend(self._lanes[min(heads)[1]]) if heads else None

    def sent(self, entry: Entry) -> None:
        """Note on the disk that a call is made: who adopts the entry then knows that it may have counted."""
        self._strike(entry, SENT)

    def back(self, entry: Entry) -> None:
        """Note that the call is over and the entry is owed as before."""
        self._strike(entry, OWED)

    def settle(self, entry: Entry) -> None:
        """End an entry."""
        self._strike(entry, SETTLED)
        self._ended += 1
        if isinstance(entry, SpoolEntry):
            self._finish(entry.ledger)

    def set_aside(self, entry: Entry, reason: str, now: float) -> None:
        """Write an entry into the refused file, then end it."""
        try:
            self._refused.add(Refused(entry.query, reason, entry.at, now, entry.attempts))
        except OSError as error:
            self._books.add("unkept", "refused-file")
            self._books.report("refused-file", "the refused file cannot be written: %s", error.strerror)
        self.settle(entry)

    def adopt(self) -> int:
        """Take over what dead processes left behind; returns how many entries."""
        self._sort_out()
        found = 0
        ours = {ledger_set.path.name for ledger_set in (*self._own.values(), *self._adopted)}
        for left in self._account.left_behind(ours):
            ledgers, foreign = left.ledgers()
            for name in foreign:
                self._books.report(name, "%s in the spool is no ledger of this version; it is left alone", name)
            self._adopted[left] = set(ledgers)
            for ledger in ledgers:
                self._before += ledger.written
                found += ledger.written
                for _ in range(ledger.written):
                    self._books.add("adopted")
                ledger.unmap()
                self._backlog.append(ledger)
            self._leave(left)
        return found

    def abandon(self) -> int:
        """Unlock all ledgers, so that others may take over what they owe, and remove those that owe nothing."""
        self._let_go = True
        self._free.clear()
        adopted = (ledger for ledgers in self._adopted.values() for ledger in ledgers)
        for ledger in {*self._lanes, *self._backlog, *adopted}:
            ledger.unmap()
            if ledger.owed <= 0:
                ledger.remove()
        for ledger_set in (*self._own.values(), *self._adopted):
            ledger_set.close()
        return 0

    def has_neighbours(self) -> bool:
        """True if other processes, living or dead, have ledgers of this account."""
        return self._account.has_ledgers()

    def after_fork(self) -> None:
        """Close, in a child process, the ledgers and locks that are the parent's."""
        self._let_go = True
        self._free.clear()
        for ledger in (*self._lanes, *self._backlog):
            ledger.unmap()
        for ledger_set in (*self._own.values(), *self._adopted):
            ledger_set.let_go()

    # --- the ledgers --------------------------------------------------------------------------------------

    def _new_lane(self) -> Ledger:
        """Return a new ledger to write to.

        Raises:
            OSError: there is no room for it, or there was none a moment ago.
        """
        if self._clock() < self._rest_until:
            raise NoRoom(self._why)
        taken = sum(ledger.size for ledger in (*self._lanes, *self._backlog))
        size = min(_LARGEST, max(_FIRST, taken // 2))
        used = self._account.bytes_used()
        if used + size > self._most_bytes:
            size = _FIRST
        if used + size > self._most_bytes:
            raise NoRoom("spool-full")
        try:
            lane = self._own_set().new(size)
        except FileNotFoundError:  # somebody removed the directory
            self._own.clear()
            self._account.make()
            lane = self._own_set().new(size)
        self._lanes.append(lane)
        return lane

    def _own_set(self) -> LedgerSet:
        """Return this process's ledger set; two threads may make one each, and one of them stays."""
        if "own" not in self._own:
            fresh = self._account.open_set()
            if self._own.setdefault("own", fresh) is not fresh:
                fresh.close()
        return self._own["own"]

    def _failed(self, error: OSError) -> str:
        """Return the name of a failure, after which the disk is left alone for a moment."""
        if isinstance(error, NoRoom):
            self._why = error.reason
        else:
            self._why = _REASONS.get(error.errno or 0, "disk-failed")
        if self._clock() >= self._rest_until:
            self._rest_until = self._clock() + _REST
        return self._why

    def _see_to_medium(self, lane: Ledger) -> None:
        """With `fsync` durability, return only when the medium has it all."""
        if not self._sync:
            return
        try:
            lane.sync()
        except OSError as error:
            self._books.add("unsynced", _REASONS.get(error.errno or 0, "disk-failed"))
            self._books.report("unsynced", "the disk could not be synced (%s); events go on", error.strerror)

    def _sort_out(self) -> None:
        """Put lanes that are full into the backlog, or away if nothing in them is owed."""
        for lane in tuple(self._lanes):
            if lane.retired:
                self._before += lane.written  # first, so that `waiting` is never too low in between
                self._lanes.remove(lane)
                if lane.has_unread():
                    lane.unmap()
                    self._backlog.append(lane)
                else:
                    self._finish(lane)

    def _lend(self, ledger: Ledger) -> Entry | None:
        """Return the next entry of a ledger, None if there is none; torn records are counted and struck out."""
        try:
            while (record := ledger.peek()) is not None:
                ledger.step(record)
                self._taken += 1
                if record.query:
                    return SpoolEntry(self._taken, ledger, record)
                ledger.end(record.offset)
                self._drop("torn", "a torn record in the spool was left out; its event was never accepted")
        except OSError as error:
            for _ in range(ledger.give_up()):
                self._drop("unreadable", f"a ledger in the spool cannot be read any more: {error.strerror}")
        else:
            if ledger.retired:  # counted when it was opened, and not found now: damage of a rarer kind
                for _ in range(ledger.give_up()):
                    self._drop("torn", "a torn record in the spool was left out")
        return None

    def _drop(self, reason: str, message: str) -> None:
        """Book a record that there is no event in."""
        self._ended += 1
        self._books.add("dropped", reason)
        self._books.report(reason, "%s", message)

    def _strike(self, entry: Entry, mark: int) -> None:
        """Change an entry's mark on the disk."""
        if isinstance(entry, SpoolEntry) and (mark == SETTLED or not self._let_go):
            try:
                if mark == SETTLED:
                    entry.ledger.end(entry.offset)
                else:
                    entry.ledger.strike(entry.offset, mark)
            except OSError as error:
                self._books.report("strike", "a ledger in the spool cannot be written: %s", error.strerror)

    def _finish(self, ledger: Ledger) -> None:
        """Put away a ledger that is full, read to its end, and owes nothing; one of ours is kept for reuse."""
        if self._let_go or not ledger.retired or ledger.owed > 0 or ledger.has_unread():
            return
        home = next((known for known, ledgers in self._adopted.items() if ledger in ledgers), None)
        if home is None and ledger.size == _FIRST and ledger.mapped and len(self._free) < _SPARE:
            ledger.reset()
            self._lanes.append(ledger)
            self._free.appendleft(ledger)
            return
        ledger.remove()
        if home is not None:
            self._adopted[home].discard(ledger)
            self._leave(home)

    def _leave(self, ledger_set: LedgerSet) -> None:
        """Close an adopted ledger set once nothing in it is owed."""
        if not self._adopted[ledger_set]:
            del self._adopted[ledger_set]
            ledger_set.close()
