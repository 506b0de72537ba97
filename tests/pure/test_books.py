"""The counters: exact under threads, balanced at any moment, told once."""

from __future__ import annotations

import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocm_otel._books import MOST_REPORTS, Books


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.DEBUG, "ocm_otel")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "ocm_otel"]


def test_no_count_is_lost_between_threads():
    """Eight threads count, one reads all the time: every step is there, and the columns balance."""
    books = Books()
    done = threading.Event()

    def work(_: int) -> None:
        for number in range(2_000):
            books.add("accepted")
            if number % 2:
                books.add("delivered")
            else:
                books.add("dropped", "why")

    def read() -> list[bool]:
        seen = []
        while not done.is_set():
            now = books.snapshot()
            seen.append(now.balanced and now.waiting >= 0)
        return seen

    with ThreadPoolExecutor(9) as pool:
        reader = pool.submit(read)
        list(pool.map(work, range(8)))
        done.set()
        assert all(reader.result())
    now = books.snapshot()
    assert (now.accepted, now.delivered, now.dropped, now.waiting) == (16_000, 8_000, 8_000, 0)
    assert now.reasons == {"dropped": {"why": 8_000}}


def test_reading_counts_nothing():
    """Looking at the books does not change them."""
    books = Books()
    books.add("accepted")
    assert {books.snapshot().accepted for _ in range(100)} == {1}


def test_what_came_in_and_did_not_end_waits():
    """Adopted events are in the balance like accepted ones; notes are not."""
    books = Books()
    for column in ("accepted", "adopted", "adopted", "refused", "turned_away", "ambiguous", "retried", "mended"):
        books.add(column, "r")
    now = books.snapshot()
    assert (now.waiting, now.balanced, now.turned_away, now.reasons["mended"]) == (2, True, 1, {"r": 1})


def test_more_ends_than_beginnings_is_no_balance():
    """An event that ended twice shows."""
    books = Books()
    books.add("accepted")
    books.add("delivered")
    books.add("dropped", "closed")
    assert books.snapshot().balanced is False


def test_a_report_is_made_once(told):
    """The same key is told once, by however many threads at once."""
    books = Books()
    barrier = threading.Barrier(8)

    def work(_: int) -> None:
        for number in range(150):
            barrier.wait()
            books.report(number, "about %s", number)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(usual)
    assert sorted(told()) == sorted(f"about {number}" for number in range(150))


def test_reports_are_bounded(told):
    """Keys from outside cannot fill log or memory."""
    books = Books()
    for number in range(10 * MOST_REPORTS):
        books.report(number, "%s", number)
    assert len(told()) == MOST_REPORTS


def test_a_broken_log_breaks_nothing():
    """A filter of the application's that raises is counted, and goes no further."""

    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise ZeroDivisionError

    books, broken = Books(), Broken()
    logging.getLogger("ocm_otel").addFilter(broken)
    try:
        books.tell("news")
        books.report("key", "news")
    finally:
        logging.getLogger("ocm_otel").removeFilter(broken)
    assert books.snapshot().reasons["failed_log"] == {"ZeroDivisionError": 2}


def test_counting_inside_of_reading():
    """A finalizer that looks at the books while they are being read does not wait for itself."""
    books = Books()
    inner = []

    class Curious(str):
        __slots__ = ()
        armed = False

        def __eq__(self, other: object) -> bool:
            if Curious.armed:
                Curious.armed = False
                inner.append(books.snapshot())
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    books.add(Curious("accepted"))
    Curious.armed = True
    reader = threading.Thread(target=books.snapshot, daemon=True)
    reader.start()
    reader.join(10)
    assert [now.accepted for now in inner] == [1]
