"""The pace in virtual time: back-off, Retry-After, rate, growth and halving, one probe at a time."""

from __future__ import annotations

import heapq
import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocm_otel._concert import LOOK_EVERY, SharedPace
from ocm_otel._outlook import Outlook, State, backoff
from ocm_otel._pace import MOST_PROBES, Pace
from ocm_otel._verdict import Failure, judge, judge_failure

from .slate import Slate

GOOD = judge(200, b"{}")
DOWN = judge(503)
GONE = judge_failure(Failure.NO_CONNECTION)
SLOWER = judge(429)
LOCKED = judge(403)
SILENT = judge_failure(Failure.SILENCE)


def told(status: int, seconds: float):
    return judge(status, b"", str(seconds))


@given(st.integers(0, 10_000), st.floats(0.001, 10), st.floats(10, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded(step, first, longest, chance):
    """A wait doubles with each step up to the longest, and jitter takes off a quarter at most."""
    whole = min(longest, first * 2.0 ** min(step, 60))
    assert 0.75 * whole <= backoff(step, first, longest, lambda: chance) <= whole


def test_the_limit_grows_to_the_most_and_never_past():
    """Good answers let more calls run at once, as long as all that may are under way, up to what is allowed."""
    pace = Pace(16)
    limits = [pace.limit]
    out = []
    for _ in range(40):
        while pace.start_in(0) == 0:
            out.append(pace.started(0))
        pace.heard(GOOD, 0.1, out.pop(0))
        limits.append(pace.limit)
    assert limits[:2] == [1, 4]
    assert limits == sorted(limits)
    assert limits[-1] == 16
    assert len(out) <= 16


def test_a_limit_that_nobody_uses_stays():
    """One call at a time says nothing about many."""
    pace = Pace(16)
    for number in range(100):
        pace.heard(GOOD, number, pace.started(number))
    assert pace.limit == 4


@pytest.mark.parametrize("most", [1, 2, 3])
def test_few_calls_are_few(most):
    """An allowance smaller than the usual start is kept to."""
    pace = Pace(most)
    pace.heard(GOOD, 0, pace.started(0))
    for _ in range(most):
        assert pace.start_in(0) == 0
        pace.started(0)
    assert pace.start_in(0) > 1


def test_one_call_until_the_first_good_answer():
    """What is not known to work is tried by one call: a wrong key costs no more."""
    pace = Pace(16)
    first = pace.started(0)
    assert pace.start_in(0.1) > 1
    pace.heard(GOOD, 0.1, first)
    assert pace.start_in(0.1) == 0


def test_one_429_halves_the_limit_once():
    """All calls that were under way get the same 429: the limit is halved once, not once for each."""
    pace = Pace(16)
    pace._limit.value = 16.0
    starts = [pace.started(0.0) for _ in range(16)]
    for start in starts:
        pace.heard(SLOWER, 0.1, start)
    assert pace.limit == 8


def test_the_limit_never_falls_below_one():
    """However often we are slowed down, one call at a time may go."""
    pace = Pace(16)
    now = 0.0
    for _ in range(50):
        now += 100
        pace.heard(SLOWER, now, pace.started(now))
    assert pace.limit == 1


@pytest.mark.parametrize("trouble", [DOWN, GONE, SLOWER, LOCKED], ids=["503", "gone", "429", "403"])
def test_one_probe_at_a_time(trouble):
    """While the API is away, one call asks, and nobody else goes before its answer."""
    pace = Pace(16)
    pace._limit.value = 4.0
    for start in [pace.started(0) for _ in range(4)]:
        pace.heard(trouble, 0, start)
    assert pace.state is not State.OPEN
    wait = pace.start_in(0)
    assert 0 < wait < 61
    assert pace.start_in(wait) == 0
    probe = pace.started(wait)
    assert probe[1] == 1
    assert pace.start_in(wait) > 0.8
    pace.heard(trouble, wait + 0.5, probe)
    assert 0 < pace.start_in(wait + 0.5) < 61
    probe = pace.started(wait + 100)
    assert probe[1] == 2
    pace.heard(GOOD, wait + 100, probe)
    assert pace.state is State.OPEN
    assert pace.start_in(wait + 100) == 0


@pytest.mark.parametrize("trouble", [GONE, SLOWER, LOCKED], ids=["gone", "429", "403"])
def test_stragglers_are_no_news(trouble):
    """Answers to calls from before we shut do not lengthen the wait, and do not shorten it."""
    pace = Pace(16)
    pace.heard(trouble, 0)
    state, wait = pace.state, pace.start_in(0)
    for late in (trouble, DOWN, GONE, SLOWER, LOCKED, trouble):
        pace.heard(late, 0)
        assert (pace.state, pace.start_in(0)) == (state, wait)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("late", [GOOD, DOWN, GONE, SLOWER, LOCKED, told(429, 1), told(503, 1)])
@pytest.mark.parametrize("probe_out", [True, False])
def test_a_told_wait_is_never_cut_short(status, late, probe_out):
    """Once the API said how long to wait, no answer to an older call, no older probe lets anybody go earlier."""
    pace = Pace(16)
    now, probe = 0.0, None
    if probe_out:
        pace.heard(GONE, now)
        now = 10.0
        probe = pace.started(now)
    pace.heard(told(status, 30), now)
    for as_probe in (None, probe):
        pace.heard(late, now + 1, as_probe)
    assert 29 <= pace.start_in(now + 1) <= 33
    assert pace.start_in(now + 29.9) > 0
    assert pace.start_in(now + 33.1) == 0


@given(st.floats(0, 3600), st.sampled_from([429, 500, 503]), st.integers(0, 1_000))
def test_retry_after_is_never_early_and_hardly_late(seconds, status, seed):
    """What we are told to wait is waited, and a tenth more at most."""
    pace = Pace(16, random=random.Random(seed).random)
    pace.heard(judge(status, b"", repr(seconds)), 5.0)
    assert pace.start_in(5.0) >= seconds - 1e-6
    assert pace.start_in(5.0 + max(0.5, seconds * 1.1) + 1e-6) == 0


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_zero_is_no_leave_to_hammer(status):
    """A server that always says "retry after 0 seconds" is not asked in a tight loop."""
    pace, now, calls = Pace(16), 0.0, 0
    pace.heard(told(status, 0), now)
    while now < 60:
        now += pace.start_in(now)
        pace.heard(told(status, 0), now, pace.started(now))
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
        now += pace.start_in(now)
        times.append(now)
        pace.heard(LOCKED, now, pace.started(now))
    assert 2 <= sum(time < 60 for time in times) <= 6
    assert max(later - earlier for earlier, later in pairwise(times)) <= 60


def test_an_outage_is_probed_often_enough():
    """During an outage of an hour, two probes are never further apart than a second and a half."""
    pace = Pace(16, random=random.Random(7).random)
    pace.heard(GONE, 0.0)
    now, gaps = 0.0, []
    while now < 3600:
        gap = pace.start_in(now)
        gaps.append(gap)
        now += gap
        pace.heard(GONE, now, pace.started(now))
    assert max(gaps) <= 1.5
    assert len(gaps) < 3600 / 1.1 + 10


@settings(deadline=None)
@given(st.floats(0.5, 5_000), st.integers(0, 100), st.integers(1, 64), st.floats(0.0, 0.2))
def test_the_rate_holds_in_any_window(rate, seed, most, latency):
    """In no window are more calls started than rate times window, plus the burst of a tenth of a second."""
    chance = random.Random(seed)
    pace = Pace(most, rate, random=chance.random)
    now, starts, under_way = 0.0, [], []
    for _ in range(300):
        while under_way and under_way[0][0] <= now:
            end, start = heapq.heappop(under_way)
            pace.heard(GOOD, end, start)
        wait = pace.start_in(now)
        if under_way and under_way[0][0] < now + wait:
            now = under_way[0][0]
            continue
        if chance.random() < 0.02:
            wait += chance.random() * 3  # nothing to send for a while
        now += wait
        heapq.heappush(under_way, (now + latency * chance.random(), pace.started(now)))
        starts.append(now)
    burst = max(1.0, rate / 10)
    for size in (2, 10, 50, 150):
        for first, last in zip(starts, starts[size:], strict=False):
            assert size <= rate * (last - first) * 1.0001 + burst + 1e-6


# --- silence ----------------------------------------------------------------------------------------------


def opened(**options):
    """Return a pace that had a good answer at 0, in 10 ms."""
    pace = Pace(16, random=random.Random(7).random, **options)
    pace.heard(GOOD, 0.01, pace.started(0.0))
    return pace


def fill(pace, now):
    """Start calls until no more may start; return them."""
    starts = []
    while pace.start_in(now) == 0:
        starts.append(pace.started(now))
    return starts


def test_calls_that_hang_do_not_hide_that_the_api_is_back():
    """When all calls hang one more finds that out, and another one a little later, and the first answer opens."""
    pace = opened()
    hung = fill(pace, 1.0)
    assert len(hung) == 4
    now, probes = 1.0, []
    for _ in range(6):
        gap = pace.start_in(now)
        assert 0.8 < gap < 1.21
        now += gap
        probes += fill(pace, now)
    assert pace.state is State.SILENT
    assert [probe[1] for probe in probes] == [1, 2, 3, 4, 5, 6]
    pace.heard(GOOD, now + 0.01, probes[-1])
    assert pace.state is State.OPEN
    assert len(fill(pace, now + 0.01)) == 4


def test_with_discard_one_probe_at_a_time_hangs():
    """Where each call without an answer costs an event, the next probe waits for the end of the one before."""
    pace = opened(careful=True)
    fill(pace, 1.0)
    (probe,) = fill(pace, 1.0 + pace.start_in(1.0))
    assert pace.start_in(probe[0]) >= 10
    pace.heard(SILENT, probe[0] + 10, probe)
    assert pace.start_in(probe[0] + 10) <= 1.2


def test_probes_that_hang_are_bounded():
    """However long a call may take, only so many hang at the same time."""
    pace = opened(timeout=1000.0)
    now, starts = 1.0, fill(pace, 1.0)
    while (wait := pace.start_in(now)) < math.inf:
        now += wait
        starts += fill(pace, now)
    assert len(starts) == 4 + MOST_PROBES


def test_calls_that_hung_are_given_up_once_others_are_answered():
    """A moment after silence has ended, what is still without an answer is given up; before that, and after others
    have shown that answers take long, it has its whole time."""
    for latency, patience in ((0.01, 0.3), (4.0, 8.0)):
        pace = opened()
        hung = fill(pace, 1.0)[0]
        probe = fill(pace, 1.0 + pace.start_in(1.0))[0]
        assert pace.late_in(hung, 2.0) == 10.0
        back = probe[0] + latency
        pace.heard(GOOD, back, probe)
        assert pace.late_in(hung, back) == pytest.approx(patience if latency < 1 else patience - back + 1.0)
        assert pace.late_in(pace.started(back), back) == 11.0


def test_a_slow_api_is_not_taken_for_a_silent_one_for_long():
    """Answers that take 8 s are waited for: after the first, calls no longer look as if they hung."""
    pace = opened()
    first = fill(pace, 1.0)
    fill(pace, 1.0 + pace.start_in(1.0))
    pace.heard(GOOD, 9.0, first[0])
    assert pace.state is State.OPEN
    fill(pace, 9.0)
    assert pace.start_in(9.0) > 10


def test_silence_of_older_calls_is_no_news():
    """That calls from before an outage bring no answer says nothing of now, and their events wait on their own."""
    pace = opened()
    hung = fill(pace, 1.0)
    probe = fill(pace, 1.0 + pace.start_in(1.0))[0]
    pace.heard(GOOD, 2.3, probe)
    assert all(pace.heard(SILENT, 2.6, start) > 0 for start in hung)
    assert pace.state is State.OPEN


def test_a_slow_refusal_is_asked_for_often_enough():
    """Where each probe takes a second to fail, probes start no further apart than a second and a half."""
    pace = opened()
    pace.heard(GONE, 0.5, pace.started(0.1))
    now, gaps = 0.5, []
    for _ in range(50):
        start = pace.started(now + pace.start_in(now))
        gaps.append(start[0] - now)
        pace.heard(DOWN, start[0] + 1.0, start)
        now = start[0] + 1.0
    assert max(gaps) + 1.0 <= 1.5


# --- in concert -------------------------------------------------------------------------------------------


def choir(number, rate=None, slate=None):
    """Return paces that share a slate, each of which had a good answer."""
    slate = slate or Slate()
    paces = [SharedPace(slate, 16, rate, random=random.Random(seed).random) for seed in range(number)]
    for pace in paces:
        pace.heard(GOOD, 0.0, pace.started(0.0))
    return paces


@pytest.mark.parametrize("trouble", [GONE, SLOWER, LOCKED, told(429, 30)], ids=["gone", "429", "403", "told"])
def test_what_one_hears_all_heed(trouble):
    """A wait that one process learns of is everybody's, one of them probes, and its good answer opens for all."""
    first, *others = choir(4)
    first.heard(trouble, 1.0, first.started(1.0))
    assert all(pace.start_in(1.1) > 0 for pace in others)
    now = 1.1
    while (wait := min(pace.start_in(now) for pace in [first, *others])) > 0:
        assert wait <= LOOK_EVERY
        now += wait
    faster = next(pace for pace in [first, *others] if pace.start_in(now) == 0)
    probe = faster.started(now)
    assert probe[1] == 1
    assert [pace.started(now) for pace in (first, *others)] == [None] * 4
    faster.heard(GOOD, now + 0.1, probe)
    assert all(pace.start_in(now + 0.2) == 0 for pace in (first, *others))


def test_a_probe_that_died_with_its_process_is_made_again():
    """Whoever lives probes a little later, whatever became of the one that was at it."""
    first, second = choir(2)
    first.heard(GONE, 1.0, first.started(1.0))
    first.started(2.0)
    now = 2.0
    while (wait := second.start_in(now)) > 0:
        now += wait
    assert now <= 3.3
    assert second.started(now)[1] == 2


def test_the_rate_is_that_of_all():
    """Four processes that send all they may keep together to one rate."""
    paces = choir(4, rate=20.0)
    starts, now = 0, 10.0
    while now < 20.0:
        for pace in paces:
            while pace.start_in(now) == 0 and (start := pace.started(now)):
                starts += 1
                pace.heard(GOOD, now, start)
        now += 0.01
    assert 195 <= starts <= 204


@settings(deadline=None)
@given(
    st.builds(
        Outlook, st.sampled_from(State), st.integers(0, 2**53), st.floats(0, 1e18), st.floats(0, 1e18),
        st.floats(0, 1e18), st.integers(0, 2**53),
    )
)  # fmt: skip
def test_an_absurd_word_delays_for_a_bounded_time(outlook):
    """Whatever stands on the board, nobody waits longer for it than the longest wait that the API may ask for."""
    slate = Slate()
    pace = SharedPace(slate, 16, 5.0, random=random.Random(1).random)
    slate.outlook = outlook
    pace.start_in(5.0)
    assert Pace.start_in(pace, 5.0 + 3961.0) == 0


def test_a_process_that_starts_locked_out_asks_soon():
    """Who mends a configuration and starts anew waits for five seconds, not for the minute of those before."""
    slate = Slate()
    slate.outlook = Outlook(State.LOCKED_OUT, step=9, until=160.0, probe=12)
    pace = SharedPace(slate, 16)
    now = 100.0
    while (wait := pace.start_in(now)) > 0:
        now += wait
    assert 103.5 < now <= 105.3
    assert pace.started(now)[1] == 13
