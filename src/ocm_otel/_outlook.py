"""What is believed of the API, and how long that lets us wait: the words of the pace, for itself and for others.

`Outlook` is the part that all processes of an account have in common: what one of them hears, all of them heed.
"""

from __future__ import annotations

import random as _random
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from ocm_otel._verdict import Failure, Fate, judge_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel._verdict import Verdict

#: The reason of a call that got no answer.
SILENCE = judge_failure(Failure.SILENCE).reason


class State(Enum):
    """What we believe of the API."""

    OPEN = "open"
    AWAY = "away"
    SILENT = "silent"
    THROTTLED = "throttled"
    LOCKED_OUT = "locked out"


class Outlook(NamedTuple):
    """What all processes of an account have in common; times are of the clock that they share.

    Attributes:
        state: what we believe of the API.
        step: how manieth wait between two probes comes next.
        until: no probe starts before.
        told: nobody goes before, for the API asked us not to.
        next: the rate lets no call start before.
        probe: the number of the newest probe.
    """

    state: State = State.OPEN
    step: int = 0
    until: float = 0.0
    told: float = 0.0
    next: float = 0.0
    probe: int = 0


#: A call that has started: when, as which probe (0 for none), and in which period of our own. A plain tuple, for one is
#: made for each call, and a named one costs five times as much.
Start = tuple[float, int, int]


#: (first, longest) wait between two probes, seconds.  The longest of AWAY bounds how late the end of an
#: outage is noticed; that of LOCKED_OUT how late a mended configuration is.
WAITS = {
    State.AWAY: (0.2, 1.5), State.SILENT: (0.2, 1.2), State.THROTTLED: (0.5, 10.0), State.LOCKED_OUT: (5.0, 60.0),
}  # fmt: skip


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


def shown_by(verdict: Verdict, state: State) -> State:
    """Return what a failure makes us believe of the API, where `state` was believed before."""
    if verdict.fate is Fate.LOCKED_OUT:
        return State.LOCKED_OUT
    if verdict.fate is Fate.THROTTLED:
        return State.THROTTLED
    return State.SILENT if verdict.reason == SILENCE or state is State.SILENT else State.AWAY
