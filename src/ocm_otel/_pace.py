"""How fast we may go: back-off, Retry-After, rate, calls under way, and the one probe.

Arithmetic without a clock: `now` comes in, in seconds of any clock that never runs backwards. One pace
serves all senders of an outbox, so that what one of them hears, all of them heed.

Three states. *Open*: as many calls at once as the limit says; the limit grows while answers are good and
is halved by a 429. *Away* (no connection, 5xx, silence; also 429): all wait, then one probe asks whether
the API is back. *Locked out* (401, 403, 404, a redirect …): the same, with much longer waits. What comes of
calls that started before is no news, but for one thing: a wait that the API asks for is always kept.
One failed event does not shut the API for its neighbours: while others are answered, it alone waits.
"""

from __future__ import annotations

import math
import random as _random
from enum import Enum
from typing import TYPE_CHECKING

from ocm_otel._verdict import Fate

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel._verdict import Verdict


class State(Enum):
    """What we believe of the API."""

    OPEN = "open"
    AWAY = "away"
    THROTTLED = "throttled"
    LOCKED_OUT = "locked out"


#: (first, longest) wait between two probes, seconds.  The longest of AWAY bounds how late the end of an
#: outage is noticed; that of LOCKED_OUT how late a mended configuration is.
_WAITS = {State.AWAY: (0.2, 1.5), State.THROTTLED: (0.5, 10.0), State.LOCKED_OUT: (5.0, 60.0)}
_EVENT_WAIT = (0.2, 60.0)
_FIRST_LIMIT = 4.0
#: That many failures with nothing but failures in between, and it is the API, not the events.
_STREAK = 3
#: An event with that many strikes fails by itself: its failures are no evidence against the API.
SUSPECT = 3
#: Reasons that can only be about the way to the API, never about an event.
_NO_WAY = frozenset({"no-connection", "no-tls", "cut-off"})


def backoff(step: int, first: float, longest: float, random: Callable[[], float] = _random.random) -> float:
    """Return a wait in seconds: doubled at each step up to `longest`, then taken down by up to a quarter.

    Args:
        step: 0 for the first wait.
        first: seconds of the first wait, before the jitter.
        longest: seconds that are never exceeded.
        random: gives a number from 0 up to 1.
    """
    grown = longest if step > 60 else min(longest, first * 2.0**step)
    return grown * (1.0 - 0.25 * random())


class Pace:
    """How fast one outbox may call the API.

    Args:
        max_concurrency: calls under way at once, at most.
        max_rate: calls started in a second, at most; None for no limit.
        random: gives a number from 0 up to 1; for tests.
        waits: (first, longest) wait between two probes, by state, seconds; for tests.
    """

    def __init__(
        self,
        max_concurrency: int,
        max_rate: float | None = None,
        *,
        random: Callable[[], float] = _random.random,
        waits: dict[State, tuple[float, float]] | None = None,
    ) -> None:
        self.state = State.OPEN
        self.limit = min(_FIRST_LIMIT, float(max_concurrency))
        self._most = float(max_concurrency)
        self._gap = 1.0 / max_rate if max_rate else 0.0
        self._burst = max(1.0, (max_rate or 0.0) / 10.0) - 1.0
        self._next = -math.inf
        self._random = random
        self._waits = {**_WAITS, **(waits or {})}
        self._until = -math.inf
        self._told = -math.inf  # nobody goes before; we were asked not to
        self._step = 0
        self._streak = 0
        self._probing = False

    def start_in(self, now: float, under_way: int) -> float:
        """Return the seconds until one more call may start: 0 for now, infinity for "after an answer"."""
        if self.state is State.OPEN:
            if under_way >= int(self.limit):
                return math.inf
            return max(0.0, self._next - now)
        if self._probing:
            return math.inf
        return max(0.0, self._until - now, self._told - now, self._next - now)

    def started(self, now: float) -> bool:
        """Note that a call starts; returns True if it is the probe, to be said again to `heard`."""
        if self._gap:
            self._next = max(self._next, now - self._burst * self._gap) + self._gap
        if self.state is State.OPEN:
            return False
        self._probing = True
        return True

    def heard(self, verdict: Verdict, now: float, *, probe: bool = False, strikes: int = 0) -> float:
        """Take in what a call meant; returns the seconds that its own event has to wait, 0 for none.

        Args:
            verdict: what the call meant.
            now: when.
            probe: what `started` returned for this call.
            strikes: how often this event failed before while others were answered.
        """
        if probe:
            self._probing = False
        if verdict.fate in (Fate.DELIVERED, Fate.REFUSED):
            self._heard_good(now, probe=probe)
            return 0.0
        if verdict.wait is not None:
            wait = verdict.wait * (1.0 + 0.1 * self._random())  # never earlier than told, and not all at once
            self._told = max(self._told, now + wait)
        if verdict.fate is Fate.LOCKED_OUT:
            self._shut(State.LOCKED_OUT, verdict, now, probe=probe)
        elif verdict.fate is Fate.THROTTLED:
            self._shut(State.THROTTLED, verdict, now, probe=probe)
        elif self.state is State.OPEN and verdict.wait is None and self._by_itself(verdict, strikes):
            return backoff(strikes, *_EVENT_WAIT, self._random)
        else:
            self._shut(State.AWAY, verdict, now, probe=probe)
        return 0.0

    def _by_itself(self, verdict: Verdict, strikes: int) -> bool:
        """Return whether a failure may be its event's own: it is no evidence against the API, or too little."""
        if verdict.reason in _NO_WAY:
            return False
        if strikes < SUSPECT:
            self._streak += 1
        return self._streak < _STREAK

    def _heard_good(self, now: float, *, probe: bool) -> None:
        """An answer came: the API is there, and may serve one more call at once."""
        self._streak = 0
        if self.state is State.OPEN:
            # Doubles in each round trip while it is small, then grows by one.
            grow = 1.0 if self.limit < self._most / 2 else 1.0 / self.limit
            self.limit = min(self._most, self.limit + grow)
            return
        if now < self._told or (not probe and self.state is State.THROTTLED and now < self._until):
            return  # an answer to an older call; we were told to wait all the same
        if self.state is not State.THROTTLED:
            self.limit = min(self._most, _FIRST_LIMIT)
        self.state = State.OPEN
        self._step = 0

    def _shut(self, state: State, verdict: Verdict, now: float, *, probe: bool) -> None:
        """All wait, as long as told or one step longer than the last time; then one probe."""
        if self.state is not State.OPEN and not probe:
            return  # a call from before we shut; its answer is no news
        if state is State.THROTTLED:
            self.limit = max(1.0, self.limit / 2.0)
        if state is not self.state:
            self.state, self._step = state, 0
        if verdict.wait is None:
            self._until = now + backoff(self._step, *self._waits[state], self._random)
            self._step += 1
        else:  # `Retry-After: 0` is no leave to ask without a pause
            self._until = max(self._told, now + backoff(0, *self._waits[state], self._random))
