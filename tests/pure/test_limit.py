"""The limit of calls at once, against APIs that serve so many at a time, in virtual time."""

from __future__ import annotations

import heapq
import random

import pytest

from ocm_otel._limit import Limit


class API:
    """Serves `room` calls at once, each in `took` seconds, more or less; the others wait their turn."""

    def __init__(self, took, room, jitter=0.0, seed=7):
        self.took, self.room, self.jitter = took, room, jitter
        self.dice = random.Random(seed)
        self.free = []

    def end(self, now):
        begins = now
        if len(self.free) >= self.room:
            begins = max(now, heapq.heappop(self.free))
        end = begins + self.took * (1 + self.jitter * (2 * self.dice.random() - 1))
        heapq.heappush(self.free, end)
        return end


def drain(limit, api, answers, now=0.0):
    """Let as many calls as may be under way until so many are answered; return the time, and the limits."""
    out, began, limits = [], now, []
    for _ in range(answers):
        while len(out) < int(limit.value):
            heapq.heappush(out, (api.end(now), now))
        used = len(out) >= int(limit.value)
        now, started = heapq.heappop(out)
        limit.good(now - started, now, used=used)
        limits.append(limit.value)
    return now - began, limits


@pytest.mark.parametrize("most", [16, 32, 256])
def test_an_api_with_room_is_used_to_the_full(most):
    """Where an answer takes as long however many there are, the limit goes to what is allowed, in a few round trips."""
    limit = Limit(most)
    took, _ = drain(limit, API(0.1, 10_000), most * 20)
    assert limit.value == most
    assert took < 0.1 * 20 + 0.1 * 12


@pytest.mark.parametrize("room", [4, 10, 40])
@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.9])
def test_an_api_that_serves_so_many_at_once(room, jitter):
    """The limit settles where all of the API's places are taken, and not many more calls wait for one."""
    limit = Limit(256)
    took, limits = drain(limit, API(0.02, room, jitter), 20_000)
    assert sum(limits[2_000:]) / len(limits[2_000:]) < 4 * room
    assert max(limits[2_000:]) < 8 * room
    assert took < 1.1 * (20_000 * 0.02 / room)


def test_an_api_that_becomes_slower_for_all_is_not_starved():
    """An API that takes three times as long for whatever reason is soon called as often at once as before."""
    limit = Limit(32)
    drain(limit, API(0.02, 10_000), 2_000)
    _, limits = drain(limit, API(0.06, 10_000), 6_000)
    assert min(limits[2_000:]) >= 16


def test_half_as_many_after_a_429_and_slowly_up_again():
    """Asked to go slower, half as many calls run at once, and one more in each round trip."""
    limit = Limit(32)
    drain(limit, API(0.02, 10_000), 500)
    limit.halve()
    assert limit.value == 16
    _, limits = drain(limit, API(0.02, 10_000), 64)
    assert limits == sorted(limits)
    assert 17 <= limit.value <= 24


@pytest.mark.parametrize("most", [1, 2, 3])
def test_few_are_few(most):
    """An allowance smaller than the usual start is kept to, also when all is crowded."""
    limit = Limit(most)
    drain(limit, API(0.02, 1), 2_000)
    assert 1 <= limit.value <= most
