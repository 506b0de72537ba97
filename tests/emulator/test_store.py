"""The store: pages of what came in, waiting for it, and a file that outlives the emulator."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest

from ocm_otel.emulator.store import Received, Store


@pytest.fixture
def store():
    opened = Store()
    yield opened
    opened.close()


def received(number=0, counted=True, **given):
    given.setdefault("type", "menu-click")
    return Received(1.0 + number, 2.0, "c", "GET", "/", "", 200, None, counted, "key-1", given)


def test_events_come_back_in_order_in_pages_and_filtered(store):
    """A page says how many there are in all, and filters count for the total too."""
    for number in range(10):
        store.add(received(number, user_id="ann" if number % 2 else "bob", course_id=str(number)))
    store.add(received(10, counted=False))
    total, page = store.events(limit=3, offset=4)
    assert (total, [event["course_id"] for event in page]) == (10, ["4", "5", "6"])
    total, page = store.events(where={"user_id": "ann", "limit": "ignored"})
    assert (total, [event["course_id"] for event in page]) == (5, ["1", "3", "5", "7", "9"])
    assert store.events(where={"user_id": "' OR 1 --"}) == (0, [])
    assert store.requests()[0] == 11
    assert page[0]["entity_id"] is None


def test_waiting_ends_when_the_event_comes(store):
    """A waiter wakes up by the event that completes the number, not by the end of its time."""
    done = []
    waiter = threading.Thread(target=lambda: done.append(store.wait_for(2, 30)))
    waiter.start()
    store.add(received())
    store.add(received(counted=False))
    store.add(received())
    waiter.join(10)
    assert done == [True]


def test_waiting_in_vain_ends_at_its_time(store):
    """When too few events come the answer is no, after the given time."""
    start = time.monotonic()
    assert store.wait_for(1, 0.05) is False
    assert 0.04 < time.monotonic() - start < 5


def test_clearing_forgets_all(store):
    """After clear() the store is as new."""
    store.add(received())
    assert store.clear() == 1
    assert (store.count, store.requests()) == (0, (0, []))


def test_a_file_outlives_the_store(tmp_path):
    """What one store wrote the next one reads, with its count."""
    path = tmp_path / "events.db"
    first = Store(path)
    first.add(received(course_id="7"))
    first.close()
    second = Store(path)
    assert second.count == 1
    assert second.events()[1][0]["course_id"] == "7"
    second.close()


def test_a_file_of_somebody_else_is_left_alone(tmp_path):
    """Neither a text file nor another program's database is taken over or changed."""
    letter, foreign = tmp_path / "letter.txt", tmp_path / "foreign.db"
    letter.write_text("Dear Ann, " * 200)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    for path in (letter, foreign):
        before = path.read_bytes()
        with pytest.raises(ValueError, match="name another file"):
            Store(path)
        assert path.read_bytes() == before


def test_a_file_in_no_directory_is_told(tmp_path):
    """A path that cannot be opened is named in the error."""
    with pytest.raises(OSError, match="nowhere"):
        Store(tmp_path / "nowhere" / "events.db")
