"""Statuses, resets and lost answers at random: every event comes, and the books say what the server saw."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from .world import (
    CUT,
    DRIBBLE,
    LATE_504,
    LOST,
    LOST_BY_RESET,
    OK,
    RESET,
    SILENT,
    SILENT_COUNTED,
    names,
    status,
    until,
)

pytestmark = pytest.mark.timeout(180)  # for busy machines; what is promised in seconds is asserted

#: What the server does, and of how many calls in a thousand; of the rest it does what it should.
FAULTS = {
    status(500): 20,
    status(502): 10,
    status(503): 10,
    status(429, "retry-after: 0\r\n"): 1,
    status(503, "retry-after: 1\r\n"): 1,
    LATE_504: 10,
    LOST: 20,
    LOST_BY_RESET: 20,
    CUT: 10,
    RESET: 10,
    SILENT: 2,
    SILENT_COUNTED: 2,
}
#: Milliseconds that a call may take; an answer that this API gives comes sooner, on a busy machine, too.
PATIENCE = 2_000
SIZES = [2_000, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(400)])]


def faulty(api, seed):
    """Let the API fail at random, and cut one connection in fifty before anything is read from it."""
    chance = random.Random(seed)
    deeds = chance.choices([*FAULTS, OK], [*FAULTS.values(), 1000 - sum(FAULTS.values())], k=100_000)
    api.mood = lambda name, nth: deeds.pop()
    api.reset_first = lambda: chance.random() < 0.02


@pytest.mark.parametrize("count", SIZES)
def test_with_retry_every_event_comes(api, machine, count):
    """Every event counts, what counts again is among the ambiguous calls, and the books say what the server saw."""
    faulty(api, 7)
    alive = machine(endpoint=api.endpoint, timeout=PATIENCE).puppet()
    assert alive.ask("put", "a", count) == str(count)
    assert until(lambda: alive.books()["waiting"] == 0, 300)
    books = alive.books()
    deeds = Counter(deed for _, _, deed in api.calls)
    print(f"{api.repeats} counted twice, {books['ambiguous']} ambiguous, {api.resets_first} resets at once")
    assert len(api.counted) == count
    assert books["accepted"] == books["delivered"] == deeds[OK] == count
    assert (books["refused"], books["dropped"], books["adopted"], books["turned_away"]) == (0, 0, 0, 0)
    # Of a connection that was cut at once the client cannot always know that nothing was read from it.
    assert api.ambiguous <= books["ambiguous"] <= api.ambiguous + api.resets_first
    assert len(api.calls) - count <= books["retried"] <= len(api.calls) - count + api.resets_first
    maybe = sum(times for deed, times in deeds.items() if deed.ambiguous and deed.counted)
    assert 0 < api.repeats <= maybe <= books["ambiguous"]
    assert api.repeats == api.counted.total() - books["delivered"] == maybe
    assert len(alive.log().splitlines()) <= 20


@pytest.mark.parametrize("count", SIZES)
def test_with_discard_no_event_comes_twice(api, machine, count):
    """No event counts twice or is sent again after an ambiguous call, and each one missing is in the books."""
    faulty(api, 8)
    alive = machine(endpoint=api.endpoint, timeout=PATIENCE, on_ambiguous="discard").puppet()
    assert alive.ask("put", "a", count) == str(count)
    assert until(lambda: alive.books()["waiting"] == 0, 300)
    books = alive.books()
    deeds = Counter(deed for _, _, deed in api.calls)
    print(f"{books['dropped']} given up, {api.ambiguous} ambiguous, {api.resets_first} resets at once")
    assert api.repeats == 0
    assert books["delivered"] + books["dropped"] == count
    assert books["delivered"] == deeds[OK]
    assert books["reasons"]["dropped"] == {"ambiguous": books["ambiguous"]}
    assert api.ambiguous <= books["dropped"] <= api.ambiguous + api.resets_first
    settled = set()
    for _, name, deed in api.calls:
        assert name not in settled
        if deed.ambiguous or deed is OK:
            settled.add(name)


def test_a_kept_connection_that_was_closed(api, machine):
    """A connection that the server closed while it was not used costs no event, and none counts twice."""
    alive = machine(endpoint=api.endpoint).puppet()
    for turn in range(5):
        assert alive.ask("put", f"t{turn}", 3) == "3"
        assert api.wait_for(3 * turn + 3)
        assert until(lambda turn=turn: alive.books()["delivered"] == 3 * turn + 3)
        api.drop_connections()
    assert alive.books()["ambiguous"] == 0
    assert set(api.counted.values()) == {1}


def test_refused_events_are_kept_and_the_others_go_on(emulator, machine):
    """What the API would not have is in the refused file with its reason, and holds up nobody."""
    here = machine(endpoint=emulator.endpoint)
    first = here.puppet()
    emulator.script(*[400, 200] * 10)
    assert first.ask("put", "a", 20) == "20"
    assert until(lambda: first.books()["waiting"] == 0)
    books = first.books()
    assert (books["delivered"], books["refused"]) == (10, 10)
    assert books["reasons"]["refused"] == {"no-type-parameter": 10}
    first.kill()
    (file,) = here.folder.glob("spool/*/refused.jsonl")
    assert file.read_text().count("no-type-parameter") == 10
    assert here.puppet().books()["waiting"] == 0
    assert emulator.count == 10


@pytest.mark.parametrize("policy", ["retry", "discard"])
def test_an_answer_that_never_ends(api, machine, policy):
    """A call whose answer dribbles in for ever is given up and its connection cut, as if no answer had come."""
    api.mood = lambda name, nth: DRIBBLE if nth == 1 and name in names("a", 3) else OK
    alive = machine(endpoint=api.endpoint, timeout=PATIENCE, on_ambiguous=policy).puppet()
    assert alive.ask("put", "a", 20) == "20"
    assert until(lambda: alive.books()["waiting"] == 0)
    assert set(api.counted) == names("a", 20) - (names("a", 3) if policy == "discard" else set())
    assert alive.books()["ambiguous"] == len(api.held) == 3
    assert until(lambda: all(transport.is_closing() for transport in api.held))
