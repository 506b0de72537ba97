"""SIGKILL: what was accepted is delivered by whoever comes next, and nobody sends what a living process owes."""

from __future__ import annotations

import random
import time

import pytest

from .world import OK, SILENT, SILENT_COUNTED, lasting, names, tally, until

pytestmark = pytest.mark.timeout(180)  # for busy machines; what is promised in seconds is asserted

#: Puts without an end, some hundred a second, and says each event only when `put` has returned.
LOAD = """
outbox = Outbox(Settings.from_env())
say("ready")
number, pause = 0, threading.Event()
while True:
    name = f"{os.getpid()}-{number}"
    if outbox.put(event(name)):
        say(name)
    number += 1
    pause.wait(0.002)
"""


def test_an_idle_process_delivers_what_a_killed_one_left(emulator, machine):
    """500 events before a SIGKILL while the API is down all come, once each, by a process without traffic."""
    emulator.always(503)
    here = machine(endpoint=emulator.endpoint)
    first = here.puppet()
    assert first.ask("put", "a", 500) == "500"
    first.kill()
    second = here.puppet()
    assert until(lambda: len(emulator.requests()) > 1)
    back = time.time()
    emulator.normally()
    assert emulator.wait_for(500, 60)
    assert until(lambda: second.books()["delivered"] == 500)
    assert tally(emulator.events()) == dict.fromkeys(names("a", 500), 1)
    first_after, last_after = (emulator.events()[place]["received_at"] - back for place in (0, -1))
    print(f"first after {first_after:.2f} s, last after {last_after:.2f} s")
    assert first_after < 2
    assert second.books()["adopted"] == 500
    assert until(lambda: here.left() == [])


def killed_under_load(emulator, here, instants):
    """Kill a process under load at random instants; return what each of them was told to be accepted."""
    chance, accepted = random.Random(1), []
    emulator.latency = 0.01
    for _ in range(instants):
        load = here.run(LOAD, max_concurrency=4)
        assert load.line() == "ready"
        accepted += [load.line() for _ in range(5)]  # however busy the machine is, the load is there
        lasting(chance.random() * 0.25)
        load.kill()
        accepted += load.rest()
    last = here.puppet(max_concurrency=4)
    emulator.latency = 0.0
    assert until(lambda: set(accepted) <= set(tally(emulator.events())), 60)
    assert until(lambda: last.books()["waiting"] == 0)
    return accepted


@pytest.mark.parametrize("instants", [10, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(400)])])
def test_no_accepted_event_is_lost_at_random_instants(emulator, machine, instants):
    """Killed at any instant under load, a process loses nothing, and what counts twice was under way."""
    accepted = killed_under_load(emulator, machine(endpoint=emulator.endpoint), instants)
    arrived = tally(emulator.events())
    repeats = arrived.total() - len(arrived)
    print(f"{len(accepted)} accepted, {repeats} counted twice, {instants} kills")
    assert len(accepted) >= 5 * instants
    assert set(accepted) <= set(arrived)
    assert len(set(arrived) - set(accepted)) <= instants  # `put` had it, and was killed before it said so
    # Four were under way each time; the same one several times, for the oldest goes first.
    assert repeats <= 4 * instants


def test_with_discard_a_kill_repeats_nothing(emulator, machine):
    """Killed at any instant with `discard`, nothing counts twice, and what is missing was under way."""
    here = machine(endpoint=emulator.endpoint, on_ambiguous="discard")
    emulator.latency, accepted = 0.01, []
    for _ in range(8):
        load = here.run(LOAD, max_concurrency=4)
        assert load.line() == "ready"
        assert load.line()
        assert until(lambda: emulator.count > 0)
        load.kill()
        accepted += load.rest()
    last = here.puppet()
    assert until(lambda: last.books()["adopted"] > 0)
    assert until(lambda: last.books()["waiting"] == 0)
    arrived = tally(emulator.events())
    assert max(arrived.values()) == 1
    assert len(set(accepted) - set(arrived)) <= 4 * 8


# --- each step of the write path --------------------------------------------------------------------------

#: Runs a small life of an outbox again and again, and kills it one step later each time. A step is a call or
#: a return, in any thread, inside the rooms between `put` and the socket. Each second life begins with what the
#: killed one before it left behind, so that the steps of adoption are among them; then an heir clears up.
STEPPING = """
import itertools, math
import ocm_otel._client
rooms = (
    "_outbox.py", "_spool.py", "_lanes.py", "_ledger.py", "_record.py", "_account.py", "_ledgerset.py",
    "_courier.py", "_worker.py", "_senders.py", "_process.py", "_concert.py", "_pacefile.py",
)
events, long, stride, armed = (int(os.environ[name]) for name in ("EVENTS", "LONG", "STRIDE", "ARMED"))
counting = False

def life(at):
    global counting
    steps = itertools.count()
    def watch(frame, kind, arg):
        if counting and frame.f_code.co_filename.rpartition("/")[2] in rooms and next(steps) >= at:
            os.kill(os.getpid(), signal.SIGKILL)
    if at < math.inf:
        threading.setprofile(watch)
        sys.setprofile(watch)
    counting = armed == 0
    outbox = Outbox(Settings.from_env())
    for number in range(events if at < math.inf else 1):
        counting = number >= armed
        name, pad = f"{at}-{number}", "x" * long
        if outbox.put(Event("t" + pad, course_id="c" + pad, user_id=name, entity_id="e" + pad)):
            say(name)
    outbox.flush(20)
    outbox.close(20)
    sys.setprofile(None)
    os._exit(0)

def end_of_life(at):
    child = os.fork()
    if not child:
        life(at)
    return os.waitpid(child, 0)[1]

for turn in itertools.count():
    if end_of_life(turn * stride) == 0:
        break
    if turn % 2:
        end_of_life(math.inf)
say("lives", turn + 1)
"""


def stepped(api, here, **sizes):
    """Kill one life after the other, a step further each time; return how many, and what was accepted."""
    environment = {name.upper(): str(value) for name, value in sizes.items()}
    walk = here.run(STEPPING, extra=environment)
    assert walk.wait(900) == 0, walk.log()
    *accepted, last = walk.rest()
    after = here.puppet()
    assert api.until(lambda api: set(accepted) <= set(api.counted), 60)
    assert until(lambda: after.books()["waiting"] == 0)
    return int(last.split()[1]), accepted


@pytest.mark.parametrize("stride", [97, pytest.param(1, marks=[pytest.mark.soak, pytest.mark.timeout(1000)])])
def test_killed_at_each_step_of_the_write_path(api, machine, stride):
    """At whatever step between `put` and the end it is killed, each accepted event comes, and is done with."""
    here = machine(endpoint=api.endpoint, max_concurrency=1, shutdown_timeout=20_000)
    lives, accepted = stepped(api, here, events=2, long=0, stride=stride, armed=0)
    print(f"{lives} lives, {api.repeats} events counted twice")
    assert lives > 8
    assert set(accepted) <= set(api.counted)
    assert api.repeats <= lives  # one call under way each time


@pytest.mark.parametrize("stride", [2801, pytest.param(97, marks=[pytest.mark.soak, pytest.mark.timeout(1000)])])
def test_killed_while_ledgers_are_exchanged(api, machine, stride):
    """Killed while a full ledger makes way for a new one, each accepted event comes."""
    here = machine(endpoint=api.endpoint, max_concurrency=1, shutdown_timeout=20_000)
    lives, accepted = stepped(api, here, events=48, long=1900, stride=stride, armed=44)
    print(f"{lives} lives, {api.repeats} events counted twice")
    assert lives > 3
    assert set(accepted) <= set(api.counted)
    assert api.repeats <= lives


@pytest.mark.parametrize(
    ("deed", "policy", "times"),
    [(SILENT, "retry", 1), (SILENT_COUNTED, "retry", 2), (SILENT_COUNTED, "discard", 1), (SILENT, "discard", 0)],
)
def test_killed_between_call_and_answer(api, machine, deed, policy, times):
    """A call that nobody saw the answer of is ambiguous to the next process, which does as the setting says."""
    api.mood = lambda name, nth: deed if nth == 1 else OK
    here = machine(endpoint=api.endpoint, on_ambiguous=policy)
    first = here.puppet()
    assert first.ask("put", "a", 1) == "1"
    assert api.until(lambda api: api.seen["a-0"] == 1)
    first.kill()
    second = here.puppet()
    assert until(lambda: second.books()["adopted"] == 1)
    assert until(lambda: second.books()["waiting"] == 0)
    books = second.books()
    assert books["reasons"]["ambiguous"] == {"left-behind": 1}
    assert (books["delivered"], books["dropped"]) == ((1, 0) if policy == "retry" else (0, 1))
    assert api.counted["a-0"] == times


@pytest.mark.parametrize("size", [0, 4096, 256 * 1024])
def test_a_ledger_that_was_never_begun_is_cleared_away(emulator, machine, size):
    """What a kill leaves of a ledger that was only just being made owes nothing, is no news, and goes."""
    here = machine(endpoint=emulator.endpoint)
    here.puppet().end()
    (account,) = (here.folder / "spool").iterdir() if (here.folder / "spool").exists() else ()
    torn = account / "20260101T000000-1-abcdef"
    torn.mkdir(mode=0o700)
    (torn / "000001.ledger").write_bytes(bytes(size))
    heir = here.puppet()
    assert until(lambda: not torn.exists())
    assert heir.log() == ""


# --- adoption ---------------------------------------------------------------------------------------------


def test_a_sibling_takes_over_and_leaves_the_living_alone(emulator, machine):
    """A worker with traffic delivers what a killed sibling left within seconds, and nothing of a living one."""
    here = machine(endpoint=emulator.endpoint)
    dies, lives, owes = here.puppet(), here.puppet(), here.puppet()
    assert lives.ask("put", "before", 10) == "10"
    assert emulator.wait_for(10, 30)
    emulator.always(503)
    assert dies.ask("put", "dead", 200) == "200"
    assert owes.ask("put", "living", 200) == "200"
    dies.kill()
    killed = time.monotonic()
    assert until(lambda: lives.books()["adopted"] + owes.books()["adopted"] == 200)
    assert time.monotonic() - killed < 10
    emulator.normally()
    assert emulator.wait_for(410, 30)
    everybody = names("before", 10) | names("dead", 200) | names("living", 200)
    assert until(lambda: lives.books()["waiting"] + owes.books()["waiting"] == 0)
    assert tally(emulator.events()) == dict.fromkeys(everybody, 1)


def test_two_adopters_never_both_send(emulator, machine):
    """Of several processes that start at once after a kill, one delivers what was left: each event once."""
    emulator.always(503)
    here = machine(endpoint=emulator.endpoint)
    for turn in range(3):
        first = here.puppet()
        assert first.ask("put", f"turn{turn}", 100) == "100"
        first.kill()
    emulator.normally()
    heirs = [here.puppet() for _ in range(3)]
    assert emulator.wait_for(300, 30)
    assert until(lambda: sum(heir.books()["delivered"] for heir in heirs) == 300)
    assert sum(heir.books()["adopted"] for heir in heirs) == 300
    assert set(tally(emulator.events()).values()) == {1}


def test_two_accounts_never_cross(api, machine):
    """Events of two keys wait in one spool, and each is sent with its own key, whoever starts next."""
    here = machine(endpoint=api.endpoint)
    api.mood = lambda name, nth: SILENT
    for key in ("key-of-a", "key-of-b"):
        first = here.puppet(key=key)
        assert first.ask("put", key[-1], 50) == "50"
        first.kill()
    api.mood = lambda name, nth: OK
    here.puppet(key="key-of-b")
    assert api.wait_for(50)
    assert set(api.counted) == names("b", 50)
    here.puppet(key="key-of-a")
    assert api.wait_for(100)
    assert all(keys == {f"key-of-{name[0]}"} for name, keys in api.keys.items())
