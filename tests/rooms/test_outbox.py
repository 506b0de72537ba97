"""The outbox on a real network: each event once, within its time limits, through forks, signals and exits."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocm_otel import (
    Event,
    OCMHandler,
    OCMLogExporter,
    OCMLogRecordProcessor,
    OCMSpanExporter,
    OCMSpanProcessor,
    Outbox,
    Settings,
)
from ocm_otel.emulator import Answer

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"OK"}'


def silent(peer):
    """Read, and never say a word."""
    peer.request()
    peer.until_closed()


def users(emulator):
    return Counter(event["user_id"] for event in emulator.events())


@pytest.fixture
def outbox(emulator, make_outbox):
    return make_outbox(emulator.endpoint)


def ours():
    return {thread for thread in threading.enumerate() if thread.name.startswith("ocm-otel")}


def test_several_at_a_time(emulator, make_outbox):
    """With an API that takes 0.1 s, sixteen calls are under way at once, and no more."""
    emulator.latency = 0.1
    outbox = make_outbox(emulator.endpoint)
    for number in range(300):
        outbox.put(Event("a", user_id=number))
    assert outbox.flush(20)
    times = [call["monotonic"] for call in emulator.requests()]
    under_way = [sum(start <= time < start + 0.1 for start in times) for time in times[100:]]
    assert max(under_way) <= 16
    assert sum(under_way) / len(under_way) > 6
    assert len({call["client"] for call in emulator.requests()}) <= 16


def test_a_thousand_events_from_eight_threads(emulator, outbox):
    """Each arrives once, and a flush in any thread is true of that thread's events."""

    def work(part):
        for number in range(125):
            assert outbox.put(Event("a", user_id=f"{part}-{number}"))
        return outbox.flush(20) and sum(user.startswith(f"{part}-") for user in users(emulator))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [125] * 8
    assert set(users(emulator).values()) == {1}
    now = outbox.books.snapshot()
    assert (now.accepted, now.delivered, now.waiting, now.balanced) == (1_000, 1_000, 0, True)


@pytest.mark.parametrize("statuses", [[503, 503, 200], [200, 200, 503], [500, 429, 200], [503, 503, 503]])
def test_some_bad_answers(emulator, outbox, statuses):
    """Some bad answers over three events: each arrives once."""
    emulator.script(*statuses)
    for name in "abc":
        outbox.put(Event("a", user_id=name))
    assert outbox.flush(30)
    assert users(emulator) == {"a": 1, "b": 1, "c": 1}
    assert outbox.books.snapshot().retried == sum(status != 200 for status in statuses)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for_by_all(emulator, outbox, status):
    """One answer with a Retry-After: for that long no call starts at all."""
    emulator.script(Answer(status, headers={"retry-after": "2"}))
    for number in range(30):
        outbox.put(Event("a", user_id=number))
    assert outbox.flush(30)
    assert set(users(emulator).values()) == {1}
    calls = emulator.requests()
    told = next(call["monotonic"] for call in calls if call["status"] == status)
    # A call that was under way when the answer was given is no breach; a busy machine needs its time for it.
    after = [call["monotonic"] - told for call in calls if call["monotonic"] > told + 1]
    assert len(calls) == 31
    assert after
    assert min(after) >= 2


@pytest.mark.parametrize("how", ["flush", "close"])
def test_time_limits_hold_against_a_silent_server(wire, make_outbox, how):
    """A flush or a close against a server that never answers ends when its time is up."""
    outbox = make_outbox(wire(silent).url)
    for number in range(50):
        outbox.put(Event("a", user_id=number))
    for limit in (0.0, 0.3) if how == "flush" else (0.3,):
        started = time.monotonic()
        assert getattr(outbox, how)(limit) is False
        assert limit <= time.monotonic() - started < limit + 5
    now = outbox.books.snapshot()
    assert now.balanced
    assert now.waiting == (50 if how == "flush" else 0)
    assert now.dropped == (0 if how == "flush" else 50)


#: How a flush is asked for, with seconds at most.
FLUSHES = {
    "flush": lambda outbox, limit: outbox.flush(limit),
    "aflush": lambda outbox, limit: asyncio.run(outbox.aflush(limit)),
    **{
        door.__name__: lambda outbox, limit, door=door: door(outbox=outbox).force_flush(int(limit * 1000))
        for door in (OCMSpanProcessor, OCMSpanExporter, OCMLogRecordProcessor, OCMLogExporter)
    },
}


@pytest.mark.parametrize("how", FLUSHES)
def test_a_flush_keeps_to_its_time(wire, make_outbox, tmp_path, how):
    """With 500 events on disk and a silent server a flush ends within 0.1 s of its time, whatever it is called."""
    outbox = make_outbox(wire(silent).url, durability="disk", spool_dir=str(tmp_path))
    for number in range(500):
        outbox.put(Event("a", user_id=number))
    for limit in (0.05, 0.3):
        late = []
        while len(late) < 20 and min(late, default=1) >= 0.1:  # a busy machine may be late now and then
            started = time.monotonic()
            assert FLUSHES[how](outbox, limit) is False
            late.append(time.monotonic() - started - limit)
        assert 0 <= min(late) < 0.1


def test_the_default_time_limit_is_spent_once(wire, make_outbox):
    """Several steps that each wait in vain hold the process up for one timeout together."""
    server, took = wire(silent), []
    while len(took) < 10 and min(took, default=1) >= 0.7:  # a busy machine may be late now and then
        outbox = make_outbox(server.url, shutdown_timeout=400)
        outbox.put(Event("a"))
        started = time.monotonic()
        assert [outbox.flush() for _ in range(4)] == [False] * 4
        took.append(time.monotonic() - started)
    assert 0.29 <= min(took) < 0.7  # three quarters; the rest is for putting things away


@pytest.mark.parametrize("limit", [float("inf"), 10**9, -1])
def test_odd_time_limits(outbox, limit):
    """Any number is a time limit."""
    assert outbox.flush(limit)
    outbox.put(Event("a"))
    assert outbox.flush(limit) is (limit > 0)
    assert outbox.flush(30)


def test_a_full_queue(wire, make_outbox, caplog):
    """What comes on top is not accepted and counted; one line when it begins, one when it is over."""
    caplog.set_level(logging.WARNING, "ocm_otel")
    go = threading.Event()

    def behave(peer):
        while peer.request() and go.wait(20):
            peer.say(OK)

    outbox = make_outbox(wire(behave).url, max_queue_size=10)
    assert [outbox.put(Event("a", user_id=number)) for number in range(30)] == [True] * 10 + [False] * 20
    now = outbox.books.snapshot()
    assert (now.accepted, now.turned_away, now.waiting, now.balanced) == (10, 20, 10, True)
    assert len(caplog.records) == 1
    assert "no event is accepted" in caplog.records[0].getMessage()
    go.set()
    assert outbox.flush(30)
    assert outbox.put(Event("a"))
    deadline = time.monotonic() + 30
    while len(caplog.records) < 2 and time.monotonic() < deadline:
        assert outbox.put(Event("a"))
        assert outbox.flush(30)
    assert len(caplog.records) == 2
    assert "20 were turned away" in caplog.records[1].getMessage()


def test_after_close(emulator, outbox):
    """A closed outbox takes nothing, says so, and may be closed again."""
    outbox.put(Event("a", user_id="before"))
    assert outbox.close(10)
    assert outbox.put(Event("a", user_id="after")) is False
    assert outbox.close(10)
    assert outbox.flush(30)
    assert users(emulator) == {"before": 1}
    assert outbox.books.snapshot().reasons["turned_away"] == {"closed": 1}


def test_a_block(emulator):
    """At the end of a `with` block all is delivered."""
    with Outbox(Settings(api_key=emulator.key, endpoint=emulator.endpoint, durability="memory")) as outbox:
        outbox.put(Event("a", user_id="x"))
    assert users(emulator) == {"x": 1}


def test_threads_begin_with_the_first_event_and_end_with_close(emulator, make_outbox):
    """No thread before the first event, none after the close."""
    before = ours()
    outbox = make_outbox(emulator.endpoint)
    assert ours() == before
    for number in range(20):
        outbox.put(Event("a", user_id=number))
    mine = ours() - before
    assert mine
    assert outbox.close(10)
    for thread in ours() - before | mine:
        thread.join(30)
    assert ours() <= before


def test_closing_while_others_put(emulator, make_outbox):
    """Threads put while the outbox is closed: what was accepted arrives once or is counted as dropped."""
    for _ in range(10):
        emulator.clear()
        outbox = make_outbox(emulator.endpoint)
        begin = threading.Barrier(5)

        def work(part, outbox=outbox, begin=begin):
            begin.wait()
            return sum(outbox.put(Event("a", user_id=f"{part}-{number}")) for number in range(60))

        with ThreadPoolExecutor(4) as pool:
            parts = [pool.submit(work, part) for part in range(4)]
            begin.wait()
            outbox.close(5)
            accepted = sum(part.result() for part in parts)
        now = outbox.books.snapshot()
        assert now.accepted == accepted
        assert (now.waiting, now.balanced) == (0, True)
        assert now.delivered == emulator.count == len(users(emulator))


def test_without_a_key(emulator, make_outbox, caplog):
    """Without a key nothing is accepted and nothing raised; one message says what to set."""
    caplog.set_level(logging.WARNING, "ocm_otel")
    outbox = make_outbox(emulator.endpoint, api_key=None)
    assert [outbox.put(Event("a")) for _ in range(3)] == [False] * 3
    assert outbox.flush(1)
    assert outbox.close(1)
    assert [("OTEL_EXPORTER_OCM_API_KEY" in record.getMessage()) for record in caplog.records] == [True]
    assert outbox.books.snapshot().turned_away == 3


def test_a_wrong_key_loses_nothing(emulator, make_outbox, caplog):
    """With a wrong key all waits, one message says what is wrong, and hardly any call is made."""
    caplog.set_level(logging.WARNING, "ocm_otel")
    outbox = make_outbox(emulator.endpoint, api_key="wrong")
    for number in range(100):
        assert outbox.put(Event("a", user_id=number))
    assert outbox.flush(0.5) is False
    deadline = time.monotonic() + 30
    while not caplog.records and time.monotonic() < deadline:
        assert outbox.flush(0.05) is False
    assert outbox.books.snapshot().waiting == 100
    assert len(emulator.requests()) <= 4
    assert sum("key" in record.getMessage() for record in caplog.records) == 1


def test_what_is_refused_is_kept(emulator, outbox):
    """A refused event stands in the books with its reason, and the others arrive."""
    for kind in ("a", "x" * 300, "b"):
        outbox.put(Event(kind, user_id="u"))
    assert outbox.flush(30)
    now = outbox.books.snapshot()
    assert (now.delivered, now.refused, now.reasons["refused"]) == (2, 1, {"no-type-parameter": 1})


def test_from_a_signal_handler(emulator, outbox):
    """Events put by a signal handler, in the middle of puts of the same thread, all arrive."""
    count = iter(range(10_000))
    fired = []

    def handler(number, frame):
        fired.append(outbox.put(Event("a", user_id=f"signal-{next(count)}")))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for number in range(1_500):
            assert outbox.put(Event("a", user_id=f"plain-{number}"))
            outbox.books.snapshot()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert outbox.flush(30)
    assert len(fired) > 5
    assert all(fired)
    assert len(users(emulator)) == 1_500 + len(fired) == emulator.count


def test_from_a_finalizer(emulator, outbox):
    """Events put by finalizers, wherever the collector happens to run, all arrive."""

    class Farewell:
        def __init__(self, name):
            self.name, self.me = name, self

        def __del__(self):
            outbox.put(Event("a", user_id=f"farewell-{self.name}"))

    threshold = gc.get_threshold()
    gc.set_threshold(7)
    try:
        for number in range(300):
            Farewell(number)
            outbox.put(Event("a", user_id=number))
            outbox.books.snapshot()
    finally:
        gc.set_threshold(*threshold)
    end = time.monotonic() + 60
    while outbox.books.snapshot().accepted < 600 and time.monotonic() < end:
        gc.collect()  # which does nothing while another thread collects
    assert outbox.flush(30)
    assert len(users(emulator)) == emulator.count == 600


def test_held_up_past_the_time_of_its_calls(wire, make_outbox):
    """Stopped while answers come, then with others in the way: each answer counts, and no call is made again."""
    answer = threading.Event()

    def behave(peer):
        while head := peer.request():
            if b"user_id=first" not in head:
                answer.wait(60)
            peer.say(OK)

    def hold_up():
        answer.set()
        threading.Event().wait(1.8)  # longer than a call may take, and a second
        outbox._worker._courtesy.rest(time.monotonic(), time.monotonic(), 1)

    server = wire(behave)
    outbox = make_outbox(server.url, timeout=500)
    outbox.put(Event("a", user_id="first"))
    assert outbox.flush(60)
    for number in range(4):
        outbox.put(Event("a", user_id=number))
    assert server.wait(lambda: len(server.requests) == 5)
    outbox._worker._post(hold_up)
    assert outbox.flush(60)
    now = outbox.books.snapshot()
    assert (now.delivered, now.ambiguous, len(server.requests)) == (5, 0, 5)


def test_an_event_behind_a_call_that_hangs(wire, make_outbox):
    """While answers come thick nobody is woken for a new event; where none comes any more it goes out all the same."""

    def behave(peer):
        while head := peer.request():
            if b"user_id=hangs" in head:
                peer.until_closed()
            peer.say(OK)

    outbox = make_outbox(wire(behave).url, timeout=60_000)
    outbox.put(Event("a", user_id="hangs"))
    end = time.monotonic() + 60
    for number in range(60):
        outbox.put(Event("a", user_id=number))
        while outbox.books.snapshot().delivered <= number:  # and not a moment longer
            assert time.monotonic() < end, f"event {number} stays where it is"


def test_from_a_logging_handler(emulator, outbox):
    """A handler that tells an event of each of our messages, in whatever thread, neither hangs nor loses any."""
    heard, door = [], OCMHandler(outbox=outbox)

    class Chatty(logging.Handler):
        def emit(self, record):
            heard.append(threading.current_thread().name)
            told = {"ocm.event_type": "a", "ocm.user_id": f"heard-{len(heard)}", "ocm.course_id": True}
            door.handle(logging.makeLogRecord(told))  # the bad id is our next message, in the middle of this one
            outbox.flush(0.1)

    handler = Chatty()
    logging.getLogger("ocm_otel").addHandler(handler)
    try:
        emulator.always(503)
        outbox.books.report("ours", "a message in the thread of the application")
        for number in range(20):
            assert outbox.put(Event("a", user_id=f"plain-{number}"))
        assert outbox.flush(0.5) is False
        deadline = time.monotonic() + 30
        while len(set(heard)) < 2 and time.monotonic() < deadline:
            assert outbox.flush(0.1) is False
        emulator.normally()
        assert outbox.flush(30)
    finally:
        logging.getLogger("ocm_otel").removeHandler(handler)
    assert outbox.flush(30)
    assert len(set(heard)) == 2  # the application's, and that of the worker
    assert set(users(emulator).values()) == {1}
    assert len(users(emulator)) == emulator.count == 20 + len(heard)
    assert outbox.books.snapshot().balanced


# --- other processes --------------------------------------------------------------------------------------

PREAMBLE = """
import atexit, os, sys, threading, time
from ocm_otel import Event, Outbox, Settings, emit
from ocm_otel._shared import shared
"""


@pytest.fixture
def run(tmp_path):
    """Runs a program in a process of its own; returns what it printed and how long it took."""

    def start(code, endpoint, *, timeout=150, **variables):
        program = tmp_path / "application.py"
        program.write_text(PREAMBLE + code, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        ours = {"ENDPOINT": endpoint, "API_KEY": "demo-key", "DURABILITY": "memory", "SHUTDOWN_TIMEOUT": "5000"}
        ours |= variables
        done = subprocess.run(
            [sys.executable, str(program)],
            env=kept | {"OTEL_EXPORTER_OCM_" + name: value for name, value in ours.items()},
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    return start


EXITS = {
    "at the end of the program": """
for number in range(200):
    emit("a", user_id=number)
""",
    "in an exit handler, the first events of all": """
atexit.register(lambda: [emit("a", user_id=number) for number in range(200)])
""",
    "by sys.exit in a thread's shadow": """
def work():
    for number in range(200):
        emit("a", user_id=number)
thread = threading.Thread(target=work)
thread.start()
sys.exit(0)
""",
    "by a batch processor made after our import": """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from ocm_otel import OCMSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OCMSpanExporter(), schedule_delay_millis=60000))
for number in range(200):
    with provider.get_tracer("x").start_as_current_span("s", attributes={"ocm.event_type": "a", "ocm.user_id": number}):
        pass
""",
    "by a batch processor whose provider was made before our import": """
for name in [name for name in sys.modules if name.startswith("ocm_otel")]:
    del sys.modules[name]
atexit._clear()
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
from ocm_otel import OCMSpanExporter
provider.add_span_processor(BatchSpanProcessor(OCMSpanExporter(), schedule_delay_millis=60000))
for number in range(200):
    with provider.get_tracer("x").start_as_current_span("s", attributes={"ocm.event_type": "a", "ocm.user_id": number}):
        pass
""",
}


@pytest.mark.parametrize("case", EXITS)
def test_at_the_end_of_the_process(emulator, run, case):
    """Events that still wait when the interpreter ends arrive, once each."""
    done = run(EXITS[case], emulator.endpoint)
    assert users(emulator) == {str(number): 1 for number in range(200)}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("case", list(EXITS)[:2])
def test_the_end_is_not_held_up(wire, run, case):
    """Against a server that never answers a process ends within its timeout, and says what ended with it."""
    code = (
        "import atexit, time\nbegin = []\natexit.register(lambda: print(time.monotonic() - begin[0]))\n"
        f"{EXITS[case]}\natexit.register(lambda: begin.append(time.monotonic()))\n"
    )
    server, took = wire(silent), []
    while len(took) < 6 and min(took, default=9) >= 0.5 + 0.6:  # a busy machine may be late now and then
        done = run(code, server.url, SHUTDOWN_TIMEOUT="500")
        took.append(float(done.stdout))
        assert "200 events" in done.stderr
    assert min(took) < 0.5 + 0.6


#: No call is given up because others were answered sooner: on a busy machine such a call counts a second time.
PATIENT = {"ON_AMBIGUOUS": "discard", "TIMEOUT": "30000"}

FORK = """
parent = shared()
for number in range({before}):
    emit("a", user_id=f"parent-{{number}}")
{hot}
pids = []
for child in range(5):
    pid = os.fork()
    if not pid:
        for number in range(20):
            emit("a", user_id=f"child-{{child}}-{{number}}")
        for grandchild in range(2):
            grand = os.fork()
            if not grand:
                emit("a", user_id=f"grandchild-{{child}}-{{grandchild}}")
                os._exit(0 if shared().flush(30) else 3)
            assert os.waitpid(grand, 0)[1] == 0
        ok = shared().flush(30)
        now = shared().books.snapshot()
        os._exit(0 if ok and now.accepted == now.delivered == 20 else 4)
    pids.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 5
assert parent.flush(30)
assert parent.books.snapshot().delivered == {before}
"""


@pytest.mark.parametrize(
    ("before", "hot"),
    [(0, ""), (100, "assert shared().flush(30)"), (100, ""), (1, "time.monotonic()")],
    ids=["cold", "idle", "hot", "importing"],
)
def test_fork(emulator, run, before, hot):
    """Children and their children deliver their own events, the parent its own, each once; nobody hangs."""
    run(FORK.format(before=before, hot=hot), emulator.endpoint, **PATIENT)
    wanted = {f"parent-{number}" for number in range(before)}
    wanted |= {f"child-{child}-{number}" for child in range(5) for number in range(20)}
    wanted |= {f"grandchild-{child}-{grandchild}" for child in range(5) for grandchild in range(2)}
    assert users(emulator) == dict.fromkeys(wanted, 1)


IMPORTING = """
emit("a", user_id="parent")
end = time.monotonic() + {after}
while time.monotonic() < end:
    pass
pid = os.fork()
if not pid:
    emit("a", user_id="child")
    os._exit(0 if shared().flush(30) else 3)
assert os.waitpid(pid, 0)[1] == 0
assert shared().flush(30)
"""


@pytest.mark.parametrize("after", [0.001, 0.02, 0.06, 0.12])
def test_fork_while_the_client_is_being_imported(emulator, run, after):
    """A fork at any moment of the first import leaves no child waiting for a lock of the parent's."""
    run(IMPORTING.format(after=after), emulator.endpoint, **PATIENT)
    assert users(emulator) == {"parent": 1, "child": 1}


def test_the_first_event_of_a_process_starts_the_only_thread(emulator, run):
    """Importing, making an outbox and looking at it start no thread and import no client; httpx is for detours."""
    done = run(
        "shared(); repr(shared()); shared().flush()\n"
        "print(threading.active_count(), 'ocm_otel._client' in sys.modules)\n"
        "emit('a'); shared().flush(30); print('ocm_otel._client' in sys.modules, 'httpx' in sys.modules)",
        emulator.endpoint,
    )
    assert done.stdout.split() == ["1", "False", "True", "False"]
