"""How fast we may go: back-off, Retry-After, rate, calls under way, and the probes.

Arithmetic without a clock: `now` comes in, in seconds of any clock that never runs backwards. One pace
serves all senders of an outbox, and its `Outlook` serves all processes of an account: what one of
them hears, all of them heed.

*Open*: as many calls at once as the limit says; the limit grows while answers are good and is halved by a
429. *Away* (no connection, 5xx; also 429): all wait, then one probe asks whether the API is back. *Silent*:
the same, but a probe that hangs does not keep the next one waiting, for silence ends without a word to those
who were caught in it. *Locked out* (401, 403, 404, a redirect …): as away, with much longer waits. What comes
of calls that started before is no news, but for one thing: a wait that the API asks for is always kept.
One failed event does not shut the API for its neighbours: while others are answered, it alone waits.
"""

from __future__ import annotations

import math
import random as _random
from typing import TYPE_CHECKING

from ocm_otel._limit import Limit
from ocm_otel._outlook import SILENCE, WAITS, Outlook, Start, State, backoff, shown_by
from ocm_otel._verdict import Fate

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel._verdict import Verdict

_EVENT_WAIT = (0.2, 60.0)
#: That many failures with nothing but failures in between, and it is the API, not the events.
_STREAK = 3
#: An event with that many strikes fails by itself: its failures are no evidence against the API.
SUSPECT = 3
#: Seconds without any answer after which calls under way are thought to hang; more where answers take longer.
_PATIENCE = 1.2
#: Seconds that calls which hang are given once others are answered again.
_GRACE = 0.3
#: Probes that may hang at the same time in silence.
MOST_PROBES = 12
#: Reasons that can only be about the way to the API, never about an event.
_NO_WAY = frozenset({"no-connection", "no-tls", "cut-off"})
_OPEN, _GOOD = State.OPEN, (Fate.DELIVERED, Fate.REFUSED)  # an enumeration's members are slow to look up


class Pace:
    """How fast one outbox may call the API.

    Args:
        max_concurrency: calls under way at once, at most; those that hang in silence are not counted.
        max_rate: calls started in a second, at most; None for no limit.
        timeout: seconds that a call may take.
        careful: a call without an answer costs its event (`discard`): then one probe at a time is enough in
            silence too, and each call has its whole timeout.
        random: gives a number from 0 up to 1; for tests.
        waits: (first, longest) wait between two probes, by state, seconds; for tests.

    Attributes:
        outlook: what is shared with other processes.
    """

    def __init__(
        self, max_concurrency: int, max_rate: float | None = None, *, timeout: float = 10.0, careful: bool = False,
        random: Callable[[], float] = _random.random, waits: dict[State, tuple[float, float]] | None = None,
    ) -> None:  # fmt: skip
        self.outlook = Outlook()
        self._limit = Limit(max_concurrency)
        self._most = float(max_concurrency)
        self._gap = 1.0 / max_rate if max_rate else 0.0
        self._burst = max(1.0, (max_rate or 0.0) / 10.0) - 1.0
        self._timeout, self._careful, self._random = timeout, careful, random
        self._waits = {**WAITS, **(waits or {})}
        self._streak = self._period = 0
        self._out = self._fresh = 0  # calls under way, and those of them that started since the state changed
        self._look_at = math.inf  # when to look what other processes have heard
        self._quiet = -math.inf  # since then nothing was heard
        self._patience = _PATIENCE
        self._newest = -math.inf  # when the newest call started that was answered well
        self._revived = math.inf  # when silence ended

    @property
    def limit(self) -> float:
        """How many calls may be under way at once for now."""
        return self._limit.value

    @property
    def state(self) -> State:
        """What we believe of the API."""
        return self.outlook.state

    def start_in(self, now: float) -> float:
        """Return the seconds until one more call may start: 0 for now, infinity for "after an answer"."""
        if now >= self._look_at:
            self._look(now)
        if self._gap or self.outlook.state is not _OPEN or self._out >= self._most:
            return self._start_in(now)
        if self._fresh + 1 <= self._limit.value:
            return 0.0
        wait = self._quiet + self._patience - now  # as `_start_in` says
        return wait if wait > 0.0 else 0.0  # noqa: FURB136 - `max` costs ten times as much, at each turn

    def _look(self, now: float) -> None:
        """Heed what other processes have heard: of none here."""

    def _start_in(self, now: float) -> float:
        """Return the seconds until one more call may start."""
        outlook = self.outlook
        if self._out >= 2 * self._most + MOST_PROBES:
            return math.inf
        wait = max(0.0, outlook.next - now) if self._gap else 0.0
        if outlook.state is _OPEN:
            if self._fresh + 1 <= self._limit.value:
                return wait
            return max(wait, self._quiet + self._patience - now)  # then a probe, for those under way hang
        if self._fresh >= MOST_PROBES:
            return math.inf
        return max(wait, outlook.until - now, outlook.told - now)

    def started(self, now: float) -> Start | None:
        """Note that a call starts; returns what is to be said again to `heard`; None if it may not after all."""
        usual = self.outlook.state is _OPEN and not self._gap and self._fresh + 1 <= self._limit.value
        probe = 0 if usual else self._take_turn(now)
        if probe is None:
            return None
        if self._fresh == 0:
            self._quiet = max(self._quiet, now)
        self._fresh += 1
        self._out += 1
        return (now, probe, self._period)

    def heard(self, verdict: Verdict, now: float, start: Start | None = None, *, strikes: int = 0) -> float:
        """Take in what a call meant; returns the seconds that its own event has to wait, 0 for none.

        Args:
            verdict: what the call meant.
            now: when.
            start: what `started` returned for this call.
            strikes: how often this event failed before while others were answered.
        """
        if start is None or self.outlook.state is not _OPEN or verdict.fate not in _GOOD:
            return self._heard(verdict, now, start or (now, 0, self._period), strikes)
        at, _, period = start
        self._out -= 1
        self._fresh -= period == self._period
        self._quiet, self._streak, took = now, 0, now - at
        if at >= self._newest:
            self._newest, self._patience = at, 2.0 * took if took > _PATIENCE / 2.0 else _PATIENCE
        self._limit.good(took, now, used=self._fresh + 2 > self._limit.value)
        return 0.0

    def _heard(self, verdict: Verdict, now: float, start: Start, strikes: int) -> float:
        """Take in what is not as usual."""
        _, probe, period = start
        current = period == self._period
        self._out = max(0, self._out - 1)
        self._fresh = max(0, self._fresh - current)
        if verdict.reason != SILENCE:
            self._quiet = now
        if verdict.fate in _GOOD:
            self._heard_good(now, start)
            return 0.0
        if verdict.wait is not None:
            wait = verdict.wait * (1.0 + 0.1 * self._random())  # never earlier than told, and not all at once
            self.outlook = self.outlook._replace(told=max(self.outlook.told, now + wait))
        is_open = self.state is _OPEN
        mild = verdict.fate is Fate.RETRY and verdict.wait is None and is_open
        if mild and (not current or self._by_itself(verdict, strikes)):
            return backoff(strikes, *_EVENT_WAIT, self._random)
        if (is_open and verdict.wait is not None) or (current and (is_open or probe == self.outlook.probe > 0)):
            self._shut(shown_by(verdict, self.state), verdict, now, start)
        return 0.0

    def late_in(self, start: Start, now: float) -> float:
        """Return the seconds after which a call is to be given up: it hangs."""
        at, _, period = start
        end = at + self._timeout + 1.0
        if self.outlook.state is _OPEN and period != self._period and not self._careful:
            end = min(end, max(at + self._patience, self._revived + _GRACE))
        return end - now

    def _take_turn(self, now: float) -> int | None:
        """Let the next call start later; returns which probe this one is, 0 for none; None if it may not start."""
        outlook = self.outlook
        if self._gap:
            outlook = outlook._replace(next=max(outlook.next, now - self._burst * self._gap) + self._gap)
        full = outlook.state is _OPEN and self._fresh + 1 > self._limit.value
        if self._fresh and (full or outlook.state is State.AWAY):
            outlook = outlook._replace(state=State.SILENT, step=0)
        if outlook.state is not _OPEN:
            outlook = outlook._replace(probe=outlook.probe + 1, until=now + self._lease(outlook.state))
        self._move(outlook, now)
        return outlook.probe if outlook.state is not _OPEN else 0

    def _lease(self, state: State) -> float:
        """Return the seconds that the answer to a probe is waited for before somebody else asks."""
        if state in (State.AWAY, State.SILENT) and not self._careful:
            return _PATIENCE * (1.0 - 0.25 * self._random())
        return self._timeout + 2.0

    def _by_itself(self, verdict: Verdict, strikes: int) -> bool:
        """Return whether a failure may be its event's own: it is no evidence against the API, or too little."""
        self._streak += strikes < SUSPECT and verdict.reason not in _NO_WAY
        return verdict.reason not in _NO_WAY and self._streak < _STREAK

    def _heard_good(self, now: float, start: Start) -> None:
        """An answer came, while the API was not believed to be open, as a rule."""
        outlook, (at, probe, period) = self.outlook, start
        self._streak = 0
        if at >= self._newest:
            self._newest, self._patience = at, max(_PATIENCE, 2.0 * (now - at))
        asked = probe > 0 and period == self._period
        if now < outlook.told or (not asked and outlook.state is State.THROTTLED and now < outlook.until):
            # An answer to an older call, or to a probe; we were told to wait all the same.
            self.outlook = outlook._replace(until=min(outlook.until, outlook.told)) if asked else outlook
            return
        self._move(outlook._replace(state=State.OPEN, step=0), now)

    def _shut(self, state: State, verdict: Verdict, now: float, start: Start) -> None:
        """All wait, as long as told or one step longer than the last time; then one probe."""
        outlook, (at, probe, _) = self.outlook, start
        step = outlook.step if state is outlook.state else 0
        first, longest = self._waits[state]
        if state is State.THROTTLED and state is outlook.state:
            self._limit.halve()
        if verdict.wait is None:  # from probe to probe, however long an answer takes
            begun = at if probe and state in (State.AWAY, State.SILENT) else now
            until = max(now + first / 2.0, begun + backoff(step, first, longest, self._random))
            step = min(step + 1, 99)
        else:  # `Retry-After: 0` is no leave to ask without a pause
            until = max(outlook.told, now + backoff(0, first, longest, self._random))
        self._move(outlook._replace(state=state, step=step, until=until), now)

    def _move(self, outlook: Outlook, now: float) -> None:
        """Take `outlook` for what holds now, and draw the conclusions for this process."""
        before, self.outlook = self.outlook.state, outlook
        if outlook.state is before:
            return
        self._period += 1
        self._fresh = 0
        if outlook.state is State.THROTTLED:
            self._limit.halve()
        if outlook.state is _OPEN:
            self._streak = 0
            self._quiet = now
            if before is not State.THROTTLED:
                self._limit.restart()
            if before is State.SILENT:
                self._revived = now
