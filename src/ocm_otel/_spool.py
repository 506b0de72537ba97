"""The journal on disk: an event is in its process's ledger before `put` returns, and stays until settled.

Any thread writes, to lanes (`_lanes`). The worker reads them, strikes out what is settled, puts finished ledgers away,
and now and then looks for what dead processes left behind, to send it as its own.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ocm_otel._journal import Entry, Refused
from ocm_otel._lanes import Lanes
from ocm_otel._ledger import HANDED
from ocm_otel._loan import NO_EVENT, lent
from ocm_otel._record import OWED, SENT
from ocm_otel._refused import RefusedFile
from ocm_otel._tally import AMBIGUOUS, DELIVERED, DROPPED, REFUSED, NoTally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ocm_otel._account import Account
    from ocm_otel._books import Books
    from ocm_otel._ledger import Ledger
    from ocm_otel._ledgerset import LedgerSet


class Spool:
    """The journal on disk. What it lends out, and is given back, are entries of its own kind.

    Args:
        account: the account's directory; nobody else uses this object.
        books: where adoptions and failures are counted.
        most_bytes: room that all ledgers of the account may take together.
        sync: return from `append` only when the medium has the event (`fsync` durability).
        learn: told the ids of the events that are taken over.
        tally: where the API's answers are counted by type and hour.
        clock: seconds of a clock that never runs backwards; for tests.
    """

    watch_every: float | None = 2.0  # seconds between two looks for dead processes

    def __init__(
        self, account: Account, books: Books, *, most_bytes: int, sync: bool = False, tally: NoTally | None = None,
        learn: Callable[[Iterable[str]], object] = set, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.path = account.path
        self._account, self._books, self._learn = account, books, learn
        self._refused, self._tally = RefusedFile(account.path), tally or NoTally()
        self._lanes = Lanes(account, books, most_bytes=most_bytes, sync=sync, clock=clock)
        self.append = self._lanes.append  # from any thread
        self._backlog: deque[Ledger] = deque()  # full or adopted ones with records to be read
        self._homes: dict[Ledger, LedgerSet] = {}  # of the adopted ones
        self._adopted = self._taken = self._ended = 0
        self._let_go = False

    # --- any thread ---------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """Return how many entries are not settled; a moment too many rather than one too few."""
        return -self._ended + self._lanes.written() + self._adopted  # in this order: what ends in between counts

    def refused(self) -> Sequence[Refused]:
        """Return what was set aside, the oldest first, by any process of the account."""
        return self._refused.read()

    # --- the worker's thread ------------------------------------------------------------------------------

    def take(self) -> Entry | None:
        """Lend out the oldest entry, None if there is none.

        Raises:
            OSError: there is one, and it cannot be read for now: there are too many open files, say.
        """
        if self._let_go:
            return None
        if self._lanes.filled:
            self._sort_out()
        while self._backlog:
            try:
                entry = self._lend(self._backlog[0])
            except OSError:
                if (lane := self._lanes.oldest()) is None or (entry := self._lend(lane)) is None:
                    raise
            if entry is not None:
                return entry
            self._finish(self._backlog.popleft())
        return None if (lane := self._lanes.oldest()) is None else self._lend(lane)

    def sent(self, entry: Any, mark: int = SENT) -> None:
        """Note on the disk that a call is made: who adopts the entry then knows that it may have counted."""
        try:
            if not self._let_go:
                entry.ledger.strike(entry.offset, mark)
        except OSError as error:
            self._unmarked(error)

    def back(self, entry: Any) -> None:
        """Note that the call is over and the entry is owed as before."""
        self.sent(entry, OWED)

    def holds(self, entry: Any) -> bool:
        """Return whether an entry is still to be sent."""
        return not entry.ledger.purged(entry.offset)

    def doubt(self, entry: Any) -> None:
        """Count a call that may have counted."""
        self._tally.add(entry.query, AMBIGUOUS)

    def drop(self, entry: Any) -> None:
        """End an entry that is given up."""
        self.settle(entry, DROPPED)

    def settle(self, entry: Any, column: int = DELIVERED) -> None:
        """End an entry, one that was delivered as a rule; counted first, for what is struck out is not sent again."""
        self._tally.add(entry.query, column)
        ledger = entry.ledger
        try:
            ledger.end(entry.offset)
        except OSError as error:
            self._unmarked(error)
        self._ended += 1
        if ledger.retired and ledger not in self._backlog:
            self._finish(ledger)

    def set_aside(self, entry: Any, reason: str, now: float) -> None:
        """Write an entry into the refused file, then end it."""
        try:
            if self.holds(entry):  # else erased while its call was under way
                self._refused.add(Refused(entry.query, reason, entry.at, now, entry.attempts))
        except OSError as error:
            self._books.add("unkept", "refused-file")
            self._books.report("refused-file", "the refused file cannot be written: %s", error.strerror)
        self.settle(entry, REFUSED)

    def adopt(self) -> int:
        """Take over what dead processes left behind; returns how many entries."""
        if self._let_go:
            return 0
        self._lanes.look()
        self._sort_out()
        found = 0
        for left in self._account.left_behind():
            ledgers, bad = left.ledgers()
            for text in bad:
                self._books.report(text, "%s", text)
            found += sum(self._take_over(ledger, left) for ledger in ledgers)
            if left not in self._homes.values():
                left.close()
        return found

    def abandon(self) -> int:
        """Unlock all ledgers, so that others may take over what they owe, and remove those that owe nothing."""
        self._let_go = True
        self._lanes.close()
        for ledger in tuple(self._homes):
            ledger.leave()
        self._account.close()
        self._tally.close()
        return 0

    def has_neighbours(self) -> bool:
        """True if other processes, living or dead, have ledgers of this account."""
        return self._account.has_ledgers()

    def after_fork(self) -> None:
        """Close, in a child process, the ledgers and locks that are the parent's."""
        self._let_go = True
        self._lanes.let_go()
        for ledger in self._homes:
            ledger.unmap()
        self._account.let_go()
        self._tally.forget()

    # --- the ledgers --------------------------------------------------------------------------------------

    def _sort_out(self) -> None:
        """Put lanes that are full into the backlog, or away if nothing in them is owed."""
        for lane in self._lanes.retired():
            if lane.has_unread():
                lane.rest()
                self._backlog.append(lane)
                if sum(len(ledger.handed) for ledger in self._backlog) > HANDED:
                    lane.handed.clear()  # else the memory of a process would grow with what waits
            else:
                self._finish(lane)

    def _take_over(self, ledger: Ledger, home: LedgerSet) -> int:
        """Make a dead process's ledger ours; returns how many entries are in it."""
        self._homes[ledger] = home
        self._learn(ledger.ids())
        self._adopted += (written := ledger.written)
        for _ in range(written):
            self._books.add("adopted")
        self._backlog.append(ledger) if written else self._finish(ledger)
        return written

    def _lend(self, ledger: Ledger) -> Entry | None:
        """Return the next entry of a ledger, None if there is none; torn records are counted and struck out.

        Raises:
            OSError: it cannot be read for now.
        """
        retired = ledger.retired  # before the look, for a writer may fill it and go right after
        try:
            while (row := ledger.lend()) is not None:
                self._taken += 1
                if row[4]:
                    return lent(self._taken, ledger, row)
                offset = row[0]
                reason = "purged" if ledger.purged(offset) else "torn"
                self._tally.add("", DROPPED)
                ledger.end(offset)
                self._drop(1, reason)
        except FileNotFoundError:
            self._drop(ledger.give_up(), "deleted")
        if retired:  # counted when it was opened, and not owed any more
            self._drop(ledger.give_up(), "settled-before")
        return None

    def _drop(self, many: int, reason: str) -> None:
        """Book records that there is no event in."""
        for _ in range(many):
            self._ended += 1
            self._books.add("dropped", reason)
            self._books.report(reason, "%s", NO_EVENT[reason])

    def _unmarked(self, error: OSError) -> None:
        self._books.report("strike", "a ledger in the spool cannot be written: %s", error.strerror)

    def _finish(self, ledger: Ledger) -> None:
        """Put away a ledger that is full, read to its end, and owes nothing."""
        owes = not ledger.retired or ledger.owed > 0 or ledger.has_unread()
        if self._let_go or owes or ledger in self._lanes.lanes:  # retired in this very moment: sorted out the next time
            return
        home = self._homes.pop(ledger, None)
        try:
            ledger.remove() if home else self._lanes.put_away(ledger)
        except OSError as error:
            self._books.report("put-away", "a ledger in the spool cannot be deleted: %s", error.strerror)
        if home is not None and home not in self._homes.values():
            home.close()
