"""The ledgers that this process writes to: its lanes.

Who wants to write takes a lane out of the free ones, writes, and puts it back: no lock, so nobody waits for
anybody, and a signal handler or a finalizer that interrupts a writer takes another lane. A lane without
room for the next record is retired; the worker takes it from there, and may give its file back for reuse.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from typing import TYPE_CHECKING

from ocm_otel._erasure import under_way
from ocm_otel._ledger import Ledger
from ocm_otel._record import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel._account import Account
    from ocm_otel._books import Books
    from ocm_otel._ledgerset import LedgerSet

#: Bytes of a process's first ledger, about 2,500 events; each further one is half as large as all before, up to
#: the second figure, so that a backlog of any size has few files and an idle process little disk.
FIRST, LARGEST = 256 * 1024, 8 * 1024 * 1024
#: Seconds after a failure to write before the next attempt.
_REST = 0.5
#: Written-off ledgers that are kept, so that a full disk does not stop a process that delivers.
_SPARE = 2
_REASONS = {
    errno.ENOSPC: "disk-full",
    errno.EDQUOT: "disk-full",
    errno.EFBIG: "disk-full",
    errno.EROFS: "disk-read-only",
    errno.EMFILE: "too-many-files",
    errno.ENFILE: "too-many-files",
}


class NoRoom(OSError):
    """The spool takes no more for now; `reason` is its name in the books."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Lanes:
    """What this process writes.

    Args:
        account: the account's directory.
        books: where a failure to sync is counted.
        most_bytes: room that all ledgers of the account may take together.
        sync: return from `append` only when the medium has the event (`fsync` durability).
        clock: seconds of a clock that never runs backwards.

    Attributes:
        lanes: those that are written to, or were until a moment ago; `filled` is True if `retired` has news.
    """

    def __init__(
        self, account: Account, books: Books, *, most_bytes: int, sync: bool, clock: Callable[[], float]
    ) -> None:
        self._account = account
        self._books = books
        self._most_bytes = most_bytes
        self._sync = sync
        self._clock = clock
        self._sets: dict[int, LedgerSet] = {}
        self._era = 0  # how often our directory was removed
        self._free: deque[Ledger] = deque()
        self.lanes: list[Ledger] = []
        self._made: list[Ledger] = []  # lanes, and retired ones that still owe something
        self._before = 0  # records in ledgers that are no lanes any more
        self._rest_until = -math.inf
        self._why = self._closed = ""
        self.filled = False

    # --- any thread ---------------------------------------------------------------------------------------

    def append(self, query: str, at: float, accepted: Callable[[], object], event_id: str | None = None) -> str:
        """Write an event to a ledger; returns why it could not be, or nothing if it was."""
        closed = self._closed
        if closed:
            return closed
        record = encode(query, at, event_id)
        try:
            lane: Ledger | None = self._free.pop()
        except IndexError:  # there is none yet, or others write to all there are
            lane = None
        try:
            if lane is None or not lane.append(record):
                if lane is not None:
                    lane.retired, lane = True, None
                    self.filled = True
                lane = self._new_lane()
                if not lane.append(record):
                    raise NoRoom("closed")
            if closed := self._closed:  # since the first line: nobody is left to deliver it
                lane.withdraw()
                return closed
            accepted()
            lane.publish(record, at, query)
        except OSError as error:
            return self._failed(error)
        finally:
            if lane is not None:
                self._free.append(lane)
        if self._sync:  # the lane is free again meanwhile, so that one sync serves all who wrote to it
            self._see_to_medium(lane)
        return ""

    def written(self) -> int:
        """Return how many records were written so far; a moment too many rather than one too few."""
        return sum(lane.written for lane in tuple(self.lanes)) + self._before

    # --- the worker's thread ------------------------------------------------------------------------------

    def oldest(self) -> Ledger | None:
        """Return the lane with the oldest record that is owed, None if there is none; of one lane it is not asked."""
        if len(self.lanes) == 1:
            return self.lanes[0]
        heads = [(row[3], number) for number, lane in enumerate(self.lanes) if (row := lane.peek())]
        return self.lanes[min(heads)[1]] if heads else None

    def retired(self) -> list[Ledger]:
        """Return the lanes that are full, and forget that they were lanes."""
        self.filled = False
        full = [lane for lane in tuple(self.lanes) if lane.retired]
        for lane in full:
            self._before += lane.written  # first, so that `written` is never too low in between
            self.lanes.remove(lane)
        return full

    def put_away(self, ledger: Ledger) -> None:
        """Delete a retired ledger in which nothing is owed, or keep its file for reuse.

        Raises:
            OSError: it cannot be deleted.
        """
        spare = ledger.size == FIRST and len(self._free) < _SPARE and ledger.path.exists()
        if spare and not under_way(self._account.path):
            ledger.reset()
            self.lanes.append(ledger)
            self._free.appendleft(ledger)
        else:
            self._made.remove(ledger)
            ledger.remove()

    def look(self) -> None:
        """Write no more to ledgers that somebody deleted; what is in them can still be read."""
        for lane in tuple(self.lanes):
            lane.gone = lane.gone or not lane.path.exists()

    def close(self) -> None:
        """Write no more, and delete what owes nothing."""
        self._closed = "closed"
        mine: set[Ledger] = set()
        while self._free:
            mine.add(self._free.pop())
        for ledger in tuple(self._made):
            if ledger in mine or ledger.retired:  # else somebody is writing to it in this very moment
                ledger.leave()

    def let_go(self) -> None:
        """Forget, in a forked child, the ledgers: they are the parent's."""
        self._closed = "closed"
        self._free.clear()
        for ledger in self._made:
            ledger.unmap()

    # --- the ledgers --------------------------------------------------------------------------------------

    def _new_lane(self) -> Ledger:
        """Return a new ledger to write to.

        Raises:
            OSError: there is no room for it, or there was none a moment ago.
        """
        if self._clock() < self._rest_until:
            raise NoRoom(self._why)
        size = min(LARGEST, max(FIRST, sum(ledger.size for ledger in tuple(self._made)) // 2))
        size -= size % FIRST
        era = self._era
        try:
            lane = self._fitting(size)
        except FileNotFoundError:  # somebody removed the directory
            self._era = era + 1
            self._account.make()
            lane = self._fitting(FIRST)
        self._made.append(lane)
        self.lanes.append(lane)
        return lane

    def _fitting(self, size: int) -> Ledger:
        """Return a new ledger of `size` bytes, or of the least size if there is no more room.

        Raises:
            OSError: there is no room for that either.
        """
        if self._account.bytes_used() + size > self._most_bytes:
            size = FIRST
        if self._account.bytes_used() + size > self._most_bytes:
            raise NoRoom("spool-full")
        try:
            lane = self._own_set().new(size)
        except OSError as error:
            if size == FIRST or _REASONS.get(error.errno or 0) != "disk-full":
                raise
            lane = self._own_set().new(FIRST)
        if self._account.bytes_used() > self._most_bytes:  # somebody made one at the same time
            lane.remove()
            raise NoRoom("spool-full")
        return lane

    def _own_set(self) -> LedgerSet:
        """Return this process's ledger set; two threads may make one each, and one of them stays."""
        era = self._era
        if era not in self._sets:
            fresh = self._account.open_set()
            if self._sets.setdefault(era, fresh) is not fresh:
                fresh.close()
        return self._sets[era]

    def _failed(self, error: OSError) -> str:
        """Return the name of a failure, after which the disk is left alone for a moment."""
        if self._closed:  # the end came in between, and whatever went wrong is its consequence
            return self._closed
        self._why = error.reason if isinstance(error, NoRoom) else _REASONS.get(error.errno or 0, "disk-failed")
        if self._clock() >= self._rest_until:
            self._rest_until = self._clock() + _REST
        return self._why

    def _see_to_medium(self, lane: Ledger) -> None:
        """Return when the medium has the ledger, and the directory that a new one is in."""
        try:
            if not lane.listed:
                self._own_set().sync()
                lane.listed = True
            lane.sync()
        except OSError as error:
            if lane.retired and error.errno == errno.ENOENT:
                return  # settled, and its ledger put away meanwhile
            self._books.add("unsynced", _REASONS.get(error.errno or 0, "disk-failed"))
            self._books.report("unsynced", "the disk could not be synced (%s); events go on", error.strerror)
