"""What to send next, and what to do with each answer: the life of an event between journal and API.

The courier decides and books; it has no thread, no clock and no socket. Whoever drives it asks for the
next call (`due`), makes it, and says what came of it (`answered`); `now` is handed in. One driver at a
time: that is what makes it simple.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ocm_otel._journal import Entry
from ocm_otel._marks import Marks
from ocm_otel._outages import Outages
from ocm_otel._outlook import Start, State
from ocm_otel._pace import SUSPECT
from ocm_otel._verdict import Failure, Fate, judge_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel._books import Books
    from ocm_otel._journal import Journal
    from ocm_otel._pace import Pace
    from ocm_otel._verdict import Verdict

#: While the API is away each probe is another event, so that none that fails by itself can stand in the way
#: of the others; past this many that were tried they take turns, and only each eighth is another one.
_MOST_TRIED, _EACH = 32, 8
_OPEN, _DELIVERED = State.OPEN, Fate.DELIVERED  # an enumeration's members are slow to look up


#: An entry on its way to the API, and what the pace knows of its start: a plain tuple, as `Start` is.
Call = tuple[Entry, Start]


class Courier:
    """Takes entries from the journal at the pace's word, and settles them by their verdicts.

    Args:
        journal: where the entries come from and go to.
        pace: how fast.
        books: where all is counted.
        discard: give up an event whose call was ambiguous, instead of sending it again.
        max_age: seconds after which an event is not sent any more, 0 for no limit.
    """

    def __init__(
        self, journal: Journal, pace: Pace, books: Books, *, discard: bool = False, max_age: float = 0.0
    ) -> None:
        self._journal = journal
        self._pace = pace
        self._books = books
        self._delivered = books.counter("delivered")
        self._discard, self._max_age = discard, max_age
        self._later: list[tuple[float, int, Entry]] = []  # entries that wait on their own, by due time
        self._lent: dict[int, tuple[int, float]] = {}  # by number: how manieth it was, and when it was accepted
        self._out: dict[int, Call] = {}  # calls under way by their entries' numbers; the oldest first
        self._taken = self._tried = 0  # entries that were taken; probes since the API went away
        self._believed, self._over, self._outages = State.OPEN, False, Outages(books)
        self._marks = Marks(self._lent, self.has_ready)

    def due(self, now: float, wall: float = 0.0) -> Call | None:
        """Return the call to make now, None if there is none to make or it is not the time.

        Args:
            now: the courier's clock, seconds.
            wall: the wall clock, seconds since 1970, for the age of an event.
        """
        if self._pace.start_in(now) > 0:
            return None
        if self._pace.outlook.state is not self._believed:
            self._suspect()  # another process may have heard that the API is back
        while (entry := self._next(now)) is not None:
            special = entry.in_doubt or self._max_age or (entry.put_off and not self._journal.holds(entry))
            if not special or self._may_go(entry, wall):
                if (start := self._pace.started(now)) is None:  # another process was faster
                    entry.put_off = True
                    heapq.heappush(self._later, (now, entry.number, entry))
                    return None
                entry.attempts += 1
                self._journal.sent(entry)
                if self._over:  # let go of meanwhile: whoever takes it over sends it
                    return None
                call = self._out[entry.number] = (entry, start)
                return call
        return None

    def late(self, now: float, wall: float) -> list[Call]:
        """Give up the calls that hang, as if their time were over; returns them, for what comes is not heard."""
        given_up: list[Call] = []
        while self.late_in(now) <= 0:
            given_up.append(next(iter(self._out.values())))
            self.answered(given_up[-1], judge_failure(Failure.SILENCE), now, wall)
        return given_up

    def late_in(self, now: float) -> float:
        """Return the seconds until the oldest call is to be given up; of all, its time comes first."""
        return self._pace.late_in(next(iter(self._out.values()))[1], now) if self._out else math.inf

    def sleep(self, now: float, *, ready: bool | None = None) -> float:
        """Return the seconds until `due` may have a call; infinity if only an answer or an event can help.

        `ready` is what `has_ready` said, for who has just asked it.
        """
        wait = self._pace.start_in(now)
        if not (self.has_ready() if ready is None else ready) and (not self._later or self._pace.state is State.OPEN):
            wait = max(wait, self._later[0][0] - now) if self._later else math.inf
        return max(0.0, min(wait, self.late_in(now)))

    @property
    def under_way(self) -> int:
        """How many calls are not answered yet."""
        return len(self._out)

    def has_ready(self) -> bool:
        """True if an event waits that was not taken yet."""
        return self._journal.waiting() > len(self._lent)

    @property
    def awaited(self) -> bool:
        """True while somebody waits for events to be settled."""
        return self._marks.first < math.inf

    def answered(self, call: Call, verdict: Verdict, now: float, wall: float) -> None:
        """Settle a call.

        Args:
            call: what `due` returned.
            verdict: what its answer meant.
            now: the courier's clock, seconds.
            wall: the wall clock, seconds since 1970, for the refused file.
        """
        entry, start = call
        number = entry.number
        if self._out.get(number) is not call:
            return  # it was given up, and is booked
        del self._out[number]
        if self._over:
            if verdict.fate is _DELIVERED:
                self._journal.settle(entry)  # so that nobody sends it again; its column is booked already
            return
        delay = self._pace.heard(verdict, now, start, strikes=entry.strikes)
        state = self._pace.outlook.state
        if state is not self._believed:
            self._suspect()
        if verdict.fate is _DELIVERED:
            self._journal.settle(entry)
            del self._lent[number]
            self._delivered()
            if self._marks.first <= self._taken or not self._lent:
                self._marks.look(self._taken)
            self._books.on_lag(wall - entry.at)
        else:
            self._not_delivered(entry, verdict, now, wall, delay)
        if state is not self._outages.last:
            self._outages.note(state, verdict, now, self._journal.waiting())

    def _not_delivered(self, entry: Entry, verdict: Verdict, now: float, wall: float, delay: float) -> None:
        """Settle an entry that was not delivered, or let it wait for its next call."""
        if verdict.ambiguous:
            self._books.add("ambiguous", verdict.reason)
            self._journal.doubt(entry)
        if verdict.fate is Fate.REFUSED:
            self._refuse(entry, verdict.reason, verdict.words, wall)
        elif verdict.ambiguous and self._discard:
            self._give_up(entry)
        else:
            self._again(entry, verdict, now, delay)

    def mark(self, done: Callable[[], object]) -> None:
        """Call `done` as soon as everything that is in the journal at this moment is settled."""
        # Not by number: of two writers at once, the one with the higher number may be the first to offer.
        self._marks.add(self._taken + self._journal.waiting() - len(self._lent), done)
        self._marks.look(self._taken)

    def oldest(self) -> float | None:
        """Return when the oldest event that was taken and not settled was accepted, seconds since 1970."""
        return min((at for _, at in tuple(self._lent.values())), default=None)

    def abandon(self) -> None:
        """Book nothing any more: the journal is let go of, and who takes it over will do so."""
        self._over = True

    def _next(self, now: float) -> Entry | None:
        """Return the entry to call for: one whose own wait is over, or the oldest; any, if it is a probe."""
        is_open = self._pace.outlook.state is _OPEN
        self._tried = 0 if is_open else self._tried + 1
        turns = self._tried > _MOST_TRIED and self._tried % _EACH > 0
        if self._later and (self._later[0][0] <= now if is_open else turns):
            return heapq.heappop(self._later)[2]
        entry = self._journal.take()
        if entry is not None:
            self._taken += 1
            self._lent[entry.number] = (self._taken, entry.at)
        elif self._later and not is_open:
            return heapq.heappop(self._later)[2]
        return entry

    def _suspect(self) -> None:
        """Once the API is back: what was tried and failed meanwhile may fail by itself, and shuts nothing again."""
        before, self._believed = self._believed, self._pace.state
        if before is not State.OPEN and self._believed is State.OPEN:
            for _, _, entry in self._later:
                entry.strikes = max(entry.strikes, SUSPECT)

    def _may_go(self, entry: Entry, wall: float) -> bool:
        """Return False, and settle the entry, if it is not to be sent (any more)."""
        gone = "" if self._journal.holds(entry) else "purged"
        if not gone and self._max_age and wall - entry.at > self._max_age:
            self._refuse(entry, "too-old", f"It waited for more than {self._max_age:.0f} s.", wall)
            return False
        if not gone and entry.in_doubt:
            entry.in_doubt = False
            self._books.add("ambiguous", "left-behind")
            self._journal.doubt(entry)
            gone = "ambiguous" if self._discard else ""
        if gone:
            self._give_up(entry, gone)
        return not gone

    def _refuse(self, entry: Entry, reason: str, words: str, wall: float) -> None:
        """Put an entry into the refused file, and tell of the first one of its kind."""
        kind = dict(parse_qsl(entry.query)).get("type", "")[:80]
        self._journal.set_aside(entry, reason, wall)
        self._end(entry, "refused", reason)
        self._books.report((reason, kind), "an event of type %a is refused: %s It is kept.", kind, words)

    def _give_up(self, entry: Entry, reason: str = "ambiguous") -> None:
        """Drop an entry that may have been counted already, or was erased."""
        self._journal.drop(entry)
        self._end(entry, "dropped", reason)

    def _end(self, entry: Entry, column: str, reason: str = "") -> None:
        """Book the end of an entry, and let go who waited for it."""
        del self._lent[entry.number]
        self._books.add(column, reason)
        self._marks.look(self._taken)

    def _again(self, entry: Entry, verdict: Verdict, now: float, delay: float) -> None:
        """Let an entry wait for its next call: for its own time, or with all others."""
        self._books.add("retried", verdict.reason)
        self._journal.back(entry)
        entry.strikes += delay > 0
        entry.put_off = True
        heapq.heappush(self._later, (now + delay, entry.number, entry))
