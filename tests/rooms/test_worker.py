"""The worker: its wake-ups, its threads, and what happens when something of our own breaks."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocm_otel._books import Books
from ocm_otel._courier import Courier
from ocm_otel._event import Event
from ocm_otel._journal import MemoryJournal
from ocm_otel._pace import Pace, State
from ocm_otel._verdict import judge
from ocm_otel._worker import Worker

GOOD = judge(200, b"{}")


class Line:
    """A client and all its connections at once: what is sent is counted, what is meant comes from a function."""

    is_ordinary = False

    def __init__(self, means=lambda query: GOOD):
        self.means = means
        self.sent = Counter()
        self.under_way = self.most = self.connections = 0
        self.lock = threading.Lock()

    def connect(self):
        with self.lock:
            self.connections += 1
        return self

    def send(self, query, timeout):
        with self.lock:
            self.sent[query] += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            return self.means(query)
        finally:
            with self.lock:
                self.under_way -= 1

    def close(self):
        with self.lock:
            self.connections -= 1


class Post:
    """A worker with all that it needs but a network."""

    def __init__(self, line=None, *, client=None, most=16, delay=0.0, journal=None):
        self.line = line or Line()
        self.books = Books()
        self.journal = journal or MemoryJournal(100_000)
        pace = Pace(most, waits={State.LOCKED_OUT: (0.1, 0.2)})
        self.courier = Courier(self.journal, pace, self.books)
        self.worker = Worker(
            self.courier, self.journal, client or (lambda: self.line), self.books, timeout=5.0, delay=delay
        )

    def put(self, name):
        event = Event("a", user_id=name)
        assert self.journal.append(event.query(), 0.0, lambda: self.books.add("accepted")) == ""
        self.worker.wake()

    def settled(self, timeout=10.0):
        return self.worker.settled(time.monotonic() + timeout)


@pytest.fixture
def post():
    made = []

    def make(*args, **options):
        made.append(Post(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.worker.stop(time.monotonic() + 10)


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ocm-otel")]


def test_no_wake_up_is_lost(post):
    """Thousands of events that come one by one, each the moment the worker falls asleep: none is left lying."""
    one = post()
    for number in range(2_000):
        one.put(str(number))
        if number % 7 == 0:
            assert one.settled(10)
    assert one.settled()
    assert set(one.line.sent.values()) == {1}
    assert len(one.line.sent) == 2_000


def test_an_event_needs_no_flush(post):
    """An event that comes while the worker sleeps is sent at once, without anything else happening."""
    arrived = threading.Event()
    one = post(Line(lambda query: arrived.set() or GOOD))
    for number in range(300):
        arrived.clear()
        one.put(str(number))
        assert arrived.wait(30)


def test_many_threads_put(post):
    """Eight threads at once: each event once, and every flush is true when it says so."""
    one = post()

    def work(part):
        for number in range(250):
            name = f"{part}-{number}"
            one.put(name)
            if number % 50 == 0:
                assert one.settled()
                assert one.line.sent[f"type=a&user_id={name}"] == 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert one.settled()
    assert len(one.line.sent) == 2_000
    assert set(one.line.sent.values()) == {1}
    assert one.books.snapshot().balanced


def test_threads_only_when_there_is_work_and_gone_after(post):
    """No thread before the first event, no more senders than calls at once, and none after the end."""
    before = set(ours())
    one = post(most=3)
    assert set(ours()) == before
    for number in range(50):
        one.put(str(number))
    assert one.settled()
    mine = set(ours()) - before
    assert 2 <= len(mine) <= 4
    assert one.line.most <= 3
    one.worker.stop(time.monotonic() + 5)
    for thread in mine:
        thread.join(30)
    assert not [thread for thread in mine if thread.is_alive()]
    assert one.line.connections == 0


def test_a_connection_that_raises_is_an_outcome(post):
    """Should a call raise after all, its event is tried again, and the sender lives on."""
    once = iter([ZeroDivisionError])

    def means(query):
        for error in once:
            raise error
        return GOOD

    one = post(Line(means))
    one.put("a")
    assert one.settled()
    now = one.books.snapshot()
    assert (now.delivered, now.retried, now.ambiguous) == (1, 1, 1)
    assert now.reasons["failed_call"] == {"ZeroDivisionError": 1}


def test_a_client_that_cannot_be_made_yet(post):
    """Without a client nothing is lost, leaked or counted as ambiguous; it is tried again, and told."""
    line, tries = Line(), []

    def client():
        tries.append(1)
        if len(tries) < 2:
            raise ImportError("httpx")
        return line

    one = post(line, client=client)
    one.put("a")
    assert one.settled(10)
    now = one.books.snapshot()
    assert (now.delivered, now.ambiguous, one.courier.under_way) == (1, 0, 0)
    assert now.reasons["failed_client"] == {"ImportError": 1}


class Sick(MemoryJournal):
    """A journal that fails some times when it is asked to settle."""

    failures = 3

    def settle(self, entry):
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError
        super().settle(entry)


def test_the_only_thread_never_dies(post, caplog):
    """However often something of our own fails, deliveries go on; it is counted, and told once."""
    caplog.set_level(logging.WARNING, "ocm_otel")
    one = post(journal=Sick(100))
    for number in range(4):
        one.put(str(number))
    reached = threading.Event()
    one.line.means = lambda query: reached.set() or GOOD if query.endswith("late") else GOOD
    one.worker._post(lambda: 1 / 0)
    one.worker._post(lambda: 1 / 0)
    one.put("late")
    assert reached.wait(30)
    assert len([record for record in caplog.records if "failed" in record.getMessage()]) == 1


class Dead(MemoryJournal):
    """A journal that fails whenever it is asked for the next entry."""

    def take(self):
        raise ZeroDivisionError


def test_what_fails_again_and_again_makes_no_storm(post):
    """Something of our own that fails always is tried once a second, not as fast as it can."""
    one = post(journal=Dead(100))
    one.put("a")
    assert one.settled(0.5) is False
    assert 1 <= one.books.snapshot().reasons["failed_worker"]["ZeroDivisionError"] <= 3


def test_a_delay_waits_for_company_and_a_flush_does_not(post):
    """With a delay a first event waits; a flush goes at once, and later events wait again."""
    one = post(delay=60.0)
    one.put("first")
    assert one.settled(5)
    one.put("second")
    assert one.settled(5)
    assert one.line.sent == {"type=a&user_id=first": 1, "type=a&user_id=second": 1}
    one.put("third")
    waited = threading.Event()
    one.worker._post(waited.set)
    assert waited.wait(30)
    assert len(one.line.sent) == 2


def test_a_wait_without_end_is_possible(post):
    """Infinity is a time limit like any other."""
    one = post()
    one.put("a")
    assert one.settled(math.inf)


def test_driven_by_who_waits(post):
    """Where no thread can be started, whoever waits does the work, and starts no call past the end."""
    one = post(most=16)
    one.worker._start = lambda: False
    for number in range(20):
        one.put(str(number))
    assert one.settled(10)
    assert set(one.line.sent.values()) == {1}
    assert len(one.line.sent) == 20


def test_no_call_is_started_past_the_end(post):
    """When time is up, what was not begun is not begun, however many calls would have been allowed."""
    go_on = threading.Event()
    one = post(Line(lambda query: GOOD if query.endswith("=first") else go_on.wait(60) and judge(503)), most=16)
    one.worker._start = lambda: False
    one.put("first")
    assert one.settled(60)
    for number in range(20):
        one.put(str(number))
    assert one.settled(0.5) is False
    begun = sum(one.line.sent.values())
    assert 1 < begun <= 5  # as many as the pace allows after one good answer
    go_on.set()
    threading.Event().wait(0.3)
    assert sum(one.line.sent.values()) == begun


def test_the_worker_does_not_wait_for_itself(post):
    """A flush in the worker's own thread, by a handler of our messages, say, says at once that it cannot wait."""
    one, told = post(Line(lambda query: threading.Event().wait(0.2) or GOOD)), []
    heard = threading.Event()
    one.put("a")
    one.worker._post(lambda: told.append((one.settled(60), time.monotonic())) or heard.set())
    began = time.monotonic()
    assert heard.wait(60)
    assert told[0][0] is False
    assert told[0][1] - began < 30
    assert one.settled(60)
