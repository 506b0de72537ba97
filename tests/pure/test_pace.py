"""The pace in virtual time: back-off, Retry-After, rate, growth and halving, one probe at a time."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocm_otel._pace import Pace, State, backoff
from ocm_otel._verdict import Failure, judge, judge_failure

GOOD = judge(200, b"{}")
DOWN = judge(503)
GONE = judge_failure(Failure.NO_CONNECTION)
SLOWER = judge(429)
LOCKED = judge(403)


def told(status: int, seconds: float):
    return judge(status, b"", str(seconds))


@given(st.integers(0, 10_000), st.floats(0.001, 10), st.floats(10, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded(step, first, longest, chance):
    """A wait doubles with each step up to the longest, and jitter takes off a quarter at most."""
    whole = min(longest, first * 2.0 ** min(step, 60))
    assert 0.75 * whole <= backoff(step, first, longest, lambda: chance) <= whole


def test_the_limit_grows_to_the_most_and_never_past():
    """Good answers let more calls run at once, up to what is allowed."""
    pace = Pace(16)
    limits = [pace.limit]
    for number in range(200):
        pace.started(number)
        pace.heard(GOOD, number)
        limits.append(pace.limit)
    assert limits[0] == 4
    assert limits == sorted(limits)
    assert limits[-1] == 16
    assert limits.index(16) < 150
    assert pace.start_in(300, 15) == 0
    assert pace.start_in(300, 16) == math.inf


@pytest.mark.parametrize("most", [1, 2, 3])
def test_few_calls_are_few(most):
    """An allowance smaller than the usual start is kept to from the first call on."""
    pace = Pace(most)
    assert pace.start_in(0, most - 1) == 0
    assert pace.start_in(0, most) == math.inf


def test_one_429_halves_the_limit_once():
    """All calls that were under way get the same 429: the limit is halved once, not once for each."""
    pace = Pace(16)
    pace.limit = 16.0
    for _ in range(16):
        pace.started(0.0)
    for _ in range(16):
        pace.heard(SLOWER, 0.1)
    assert pace.limit == 8


def test_the_limit_never_falls_below_one():
    """However often we are slowed down, one call at a time may go."""
    pace = Pace(16)
    now = 0.0
    for _ in range(50):
        now += 100
        probe = pace.started(now)
        pace.heard(SLOWER, now, probe=probe)
    assert pace.limit == 1


@pytest.mark.parametrize("trouble", [DOWN, GONE, SLOWER, LOCKED], ids=["503", "gone", "429", "403"])
def test_one_probe_at_a_time(trouble):
    """While the API is away, one call asks, and nobody else goes before its answer."""
    pace = Pace(16)
    for _ in range(4):
        pace.started(0)
    for _ in range(4):
        pace.heard(trouble, 0)
    assert pace.state is not State.OPEN
    wait = pace.start_in(0, 0)
    assert 0 < wait < 61
    assert pace.start_in(wait, 0) == 0
    assert pace.started(wait) is True
    assert pace.start_in(wait + 1_000, 1) == math.inf
    pace.heard(trouble, wait + 1, probe=True)
    assert 0 < pace.start_in(wait + 1, 0) < 61
    assert pace.started(wait + 100) is True
    pace.heard(GOOD, wait + 100, probe=True)
    assert pace.state is State.OPEN
    assert pace.start_in(wait + 100, 0) == 0


@pytest.mark.parametrize("trouble", [GONE, SLOWER, LOCKED], ids=["gone", "429", "403"])
def test_stragglers_are_no_news(trouble):
    """Answers to calls from before we shut do not lengthen the wait, and do not shorten it."""
    pace = Pace(16)
    pace.heard(trouble, 0)
    state, wait = pace.state, pace.start_in(0, 0)
    for late in (trouble, DOWN, GONE, SLOWER, LOCKED, trouble):
        pace.heard(late, 0)
        assert (pace.state, pace.start_in(0, 0)) == (state, wait)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("late", [GOOD, DOWN, GONE, SLOWER, LOCKED, told(429, 1), told(503, 1)])
@pytest.mark.parametrize("probe_out", [True, False])
def test_a_told_wait_is_never_cut_short(status, late, probe_out):
    """Once the API said how long to wait, no answer to an older call, no older probe lets anybody go earlier."""
    pace = Pace(16)
    now, probe = 0.0, False
    if probe_out:
        pace.heard(GONE, now)
        now = 10.0
        probe = pace.started(now)
    pace.heard(told(status, 30), now)
    for as_probe in (False, probe):
        pace.heard(late, now + 1, probe=as_probe)
    assert 29 <= pace.start_in(now + 1, 0) <= 33 or pace.start_in(now + 1, 0) == math.inf
    assert pace.start_in(now + 29.9, 0) > 0
    assert pace.start_in(now + 33.1, 0) == 0


@given(st.floats(0, 3600), st.sampled_from([429, 500, 503]), st.integers(0, 1_000))
def test_retry_after_is_never_early_and_hardly_late(seconds, status, seed):
    """What we are told to wait is waited, and a tenth more at most."""
    pace = Pace(16, random=random.Random(seed).random)
    pace.heard(judge(status, b"", repr(seconds)), 5.0)
    assert pace.start_in(5.0, 0) >= seconds - 1e-6
    assert pace.start_in(5.0 + max(0.5, seconds * 1.1) + 1e-6, 0) == 0


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_zero_is_no_leave_to_hammer(status):
    """A server that always says "retry after 0 seconds" is not asked in a tight loop."""
    pace, now, calls = Pace(16), 0.0, 0
    pace.heard(told(status, 0), now)
    while now < 60:
        now += pace.start_in(now, 0)
        pace.heard(told(status, 0), now, probe=pace.started(now))
        calls += 1
        assert calls < 500


def test_some_failures_among_good_answers_leave_the_way_open():
    """Failures with good answers between them are the events' own; each waits longer from time to time."""
    pace = Pace(16)
    waits = []
    for strikes in range(12):
        waits.append(pace.heard(DOWN, strikes, strikes=strikes))
        pace.heard(GOOD, strikes)
        assert pace.state is State.OPEN
    assert waits[0] <= 0.2
    assert all(0.75 * 0.2 * 2**step <= wait <= 60 for step, wait in enumerate(waits) if step < 8)
    assert 45 <= waits[-1] <= 60


def test_nothing_but_failures_is_an_outage():
    """Three failures in a row of three events: the API is away."""
    pace = Pace(16)
    assert [pace.heard(DOWN, 0) > 0 for _ in range(3)] == [True, True, False]
    assert pace.state is State.AWAY


def test_events_that_always_fail_prove_nothing():
    """Failures of events that have often failed among others do not shut the way."""
    pace = Pace(16)
    for _ in range(100):
        assert pace.heard(DOWN, 0, strikes=5) > 0
    assert pace.state is State.OPEN


def test_a_connection_refused_is_an_outage_at_once():
    """Nobody at the other end has nothing to do with the event."""
    pace = Pace(16)
    assert pace.heard(GONE, 0) == 0
    assert pace.state is State.AWAY


def test_lock_out_asks_a_handful_of_times_a_minute():
    """With a wrong key some calls a minute are made, not some a second; a mended key is noticed in a minute."""
    pace = Pace(16, random=random.Random(7).random)
    pace.heard(LOCKED, 0.0)
    times, now = [], 0.0
    while now < 600:
        now += pace.start_in(now, 0)
        times.append(now)
        probe = pace.started(now)
        pace.heard(LOCKED, now, probe=probe)
    assert 2 <= sum(time < 60 for time in times) <= 6
    assert max(later - earlier for earlier, later in pairwise(times)) <= 60


def test_an_outage_is_probed_often_enough():
    """During an outage of an hour, two probes are never further apart than a second and a half."""
    pace = Pace(16, random=random.Random(7).random)
    pace.heard(GONE, 0.0)
    now, gaps = 0.0, []
    while now < 3600:
        gap = pace.start_in(now, 0)
        gaps.append(gap)
        now += gap
        pace.heard(GONE, now, probe=pace.started(now))
    assert max(gaps) <= 1.5
    assert len(gaps) < 3600 / 1.1 + 10


@given(st.floats(0.5, 5_000), st.integers(0, 100), st.integers(1, 64), st.floats(0.0, 0.2))
def test_the_rate_holds_in_any_window(rate, seed, most, latency):
    """In no window are more calls started than rate times window, plus the burst of a tenth of a second."""
    chance = random.Random(seed)
    pace = Pace(most, rate, random=chance.random)
    now, starts, under_way = 0.0, [], []
    for _ in range(300):
        under_way = [end for end in under_way if end > now]
        wait = pace.start_in(now, len(under_way))
        if wait == math.inf:
            now = min(under_way)
            pace.heard(GOOD, now)
            continue
        if chance.random() < 0.02:
            wait += chance.random() * 3  # nothing to send for a while
        now += wait
        pace.started(now)
        starts.append(now)
        if latency:
            under_way.append(now + latency * chance.random())
    burst = max(1.0, rate / 10)
    for size in (2, 10, 50, 150):
        for first, last in zip(starts, starts[size:], strict=False):
            assert size <= rate * (last - first) * 1.0001 + burst + 1e-6
