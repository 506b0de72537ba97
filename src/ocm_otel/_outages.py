"""What the log says of an outage: a line at its beginning and one at its end, not thousands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ocm_otel._outlook import State
from ocm_otel._verdict import Fate

if TYPE_CHECKING:
    from ocm_otel._books import Books
    from ocm_otel._verdict import Verdict

#: Seconds that have to pass before an outage of the same kind is told again.
_QUIET = 60.0


class Outages:
    """Tells when deliveries stop and when they go on.

    Args:
        books: what is said is said through them.

    Attributes:
        last: what was believed when it was last told.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self.last = State.OPEN
        self._stop_told = False
        self._told: dict[str, float] = {}

    def note(self, state: State, verdict: Verdict, now: float, waiting: int) -> None:
        """Take note of a verdict.

        Args:
            state: what is believed of the API after it.
            verdict: what a call meant.
            now: the clock, seconds.
            waiting: events that are not settled.
        """
        if state is self.last:
            return
        if state is State.OPEN:
            self.last = state
            if self._stop_told:
                self._stop_told = False
                self._books.tell("deliveries to the events API go on; %d events wait", waiting)
            return
        if verdict.fate in (Fate.DELIVERED, Fate.REFUSED):
            return  # an older call; what went wrong is heard from another
        self.last = state
        if now - self._told.get(verdict.reason, -math.inf) >= _QUIET:
            self._told[verdict.reason] = now
            self._stop_told = True
            self._books.tell(
                "deliveries to the events API wait (%s): %s Nothing is lost; %d events wait, and one call now and "
                "then finds out when they can go on.",
                verdict.reason,
                verdict.words,
                waiting,
            )
