"""Several processes of one account: what one of them hears of the API, all of them heed."""

from __future__ import annotations

import fcntl
import random
import threading
import time
from itertools import pairwise

import pytest

from .world import OK, SILENT, best, lasting, names, status, until

pytestmark = pytest.mark.timeout(180)  # for busy machines; what is promised in seconds is asserted


def several(here, count, **given):
    """Start puppets; return them when all are there."""
    return [here.puppet(**given) for _ in range(count)]


def put_all(puppets, count):
    """Let each of them put so many events, all at once; return the names of all."""
    for number, one in enumerate(puppets):
        one.tell("put", f"p{number}", count)
    assert [one.line() for one in puppets] == [str(count)] * len(puppets)
    return set().union(*(names(f"p{number}", count) for number in range(len(puppets))))


def test_one_rate_for_all(api, machine):
    """Four processes that have much to send keep together to one `MAX_RATE`."""
    all_of_them = several(machine(endpoint=api.endpoint), 4, max_rate=20)
    expected = put_all(all_of_them, 15)
    assert api.wait_for(60)
    times = [at for at, _, _ in api.calls]
    for size in (40, 50, 59):
        shortest = min(last - first for first, last in zip(times, times[size:], strict=False))
        assert size <= 20 * (shortest + 0.9) + 2, (size, shortest)  # a busy machine is late with some, not the next
    assert max(times) - min(times) < 30
    assert api.counted == dict.fromkeys(expected, 1)


def test_a_wrong_key_is_asked_of_by_one(api, machine):
    """Once one of four processes has heard that the key is wrong, the others do not ask; mended, all deliver."""
    api.mood = lambda name, nth: status(403)
    first, *others = several(machine(endpoint=api.endpoint), 4)
    assert first.ask("put", "first", 50) == "50"
    assert until(lambda: "check the API key" in first.log())
    assert len(api.calls) == 1
    expected = put_all(others, 50) | names("first", 50)
    lasting(2)
    assert len(api.calls) <= 2  # the second may be the next probe, on a busy machine
    api.mood = lambda name, nth: OK
    assert api.wait_for(len(expected))
    assert api.counted == dict.fromkeys(expected, 1)


def test_one_stream_of_probes_and_one_recovery(api, machine):
    """In an outage four processes make one stream of probes; within 2 s of its end all that they owe is there."""
    all_of_them = several(machine(endpoint=api.endpoint), 4)

    def attempt() -> float:
        api.forget()
        api.mood = lambda name, nth: status(503)
        expected = put_all(all_of_them, 50)
        lasting(5)
        times = [at for at, _, _ in api.calls]
        assert len([at for at in times if at > times[0] + 2]) <= 5
        assert max(later - earlier for earlier, later in pairwise(times[-3:])) < 4
        api.mood = lambda name, nth: OK
        back = time.monotonic()
        assert api.wait_for(len(expected))
        assert until(lambda: all(one.books()["waiting"] == 0 for one in all_of_them))
        assert api.counted == dict.fromkeys(expected, 1)
        return max(api.arrived.values()) - back

    took = best(attempt, 2)
    print(f"all there {took:.2f} s after the end")
    assert took < 2


def test_whoever_dies_at_a_probe_holds_nobody_up(api, machine):
    """Killed while its probe is out, a process does not keep the others from finding out that the API is back."""
    here = machine(endpoint=api.endpoint)

    def attempt() -> float:
        api.forget()
        first, *others = several(here, 3)
        api.mood = lambda name, nth: SILENT
        first.ask("put", "dies", 20)
        assert until(lambda: len(api.held) >= 2)
        first.kill()
        expected = put_all(others, 20)
        lasting(1)
        api.mood = lambda name, nth: OK
        back = time.monotonic()
        assert api.until(lambda api: expected <= set(api.counted))
        assert api.wait_for(60)
        assert max(api.counted.values()) == 1
        assert until(lambda: all(one.books()["waiting"] == 0 for one in others))
        for one in others:
            one.kill()
        return max(api.arrived[name] for name in expected) - back

    assert best(attempt, 2) < 2


def test_a_lock_that_is_never_given_back(api, machine):
    """A process that is stopped while it holds the lock keeps nobody from delivering soon after an outage."""
    here = machine(endpoint=api.endpoint)
    both = several(here, 2)
    assert both[0].ask("put", "a", 1) == "1"
    assert api.wait_for(1)
    (path,) = here.folder.glob("spool/*/pace")

    def attempt() -> float:
        assert until(lambda: all(one.books()["waiting"] == 0 for one in both))
        api.forget()
        api.mood = lambda name, nth: status(503)
        expected = put_all(both, 50)
        lasting(2)
        api.mood = lambda name, nth: OK
        back = time.monotonic()
        assert api.wait_for(100)
        assert api.counted == dict.fromkeys(expected, 1)
        return max(api.arrived.values()) - back

    with path.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert best(attempt, 2) < 2


def test_scribbling_in_the_file_does_no_harm(api, machine):
    """While somebody writes at random into the file, cuts it and removes it, everything arrives, once."""
    here = machine(endpoint=api.endpoint)
    both = several(here, 2, max_rate=200)
    assert both[0].ask("put", "a", 1) == "1"
    assert api.wait_for(1)
    (path,) = here.folder.glob("spool/*/pace")
    chance, over = random.Random(3), threading.Event()

    def scribble():
        while not over.wait(0.005):
            if not path.exists():
                continue
            deed = chance.randrange(20)
            with path.open("r+b") as file:
                file.seek(chance.randrange(300))
                file.truncate() if deed == 1 else file.write(chance.randbytes(chance.randrange(1, 300)))
            if deed == 0:
                path.unlink()

    scribbler = threading.Thread(target=scribble)
    scribbler.start()
    try:
        api.mood = lambda name, nth: status(503) if nth == 1 and name.endswith("7") else OK
        expected = put_all(both, 300)
        assert api.wait_for(601)
    finally:
        over.set()
        scribbler.join()
    assert until(lambda: all(one.books()["waiting"] == 0 for one in both))
    assert api.counted == dict.fromkeys(expected | {"a-0"}, 1)
