"""What a request handler feels: its 99th percentile while 500 events a second go out, beside none going out.

The handler works for 0.3 ms and sleeps for 1 ms, over and over, and is timed from the moment it should have woken to
the end of its work. It puts the events itself, so what `put` costs is in it as well. Blocks with and without events
take turns in one process, idle - busy - idle, so that the second idle block says what the machine does by itself.
"""

from __future__ import annotations

import tempfile
import time

from core import percentile

RATE = 500


def work() -> int:
    """Take about 0.3 ms of Python."""
    found = 0
    for number in range(WORK):
        found += number * number % 7
    return found


def calibrated() -> int:
    """Return how many steps take 0.3 ms on this machine."""
    global WORK
    WORK = 2000
    took = []
    for _ in range(50):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return int(WORK * 0.0003 / sorted(took)[10])


WORK = 2000


def block(seconds: float, put, rate: int) -> list[float]:
    """Serve for some seconds and return how long each request took, in microseconds."""
    took, end = [], time.perf_counter() + seconds
    due = time.perf_counter()
    while (now := time.perf_counter()) < end:
        wake = now + 0.001
        time.sleep(0.001)
        work()
        while put is not None and due <= wake:
            put()
            due += 1 / rate
        took.append((time.perf_counter() - wake) * 1e6)
    return took


def _outbox(place: str, port: int):
    from ocm_otel import Outbox, Settings

    return Outbox(Settings(api_key="demo-key", endpoint=f"http://127.0.0.1:{port}/v2.0/events", spool_dir=place))


def _percentiles(**blocks: list[float]) -> dict[str, float]:
    return {f"{name}{n}": percentile(took, n) for name, took in blocks.items() for n in (50, 90, 99)}


def requests(port: int, authority: str, seconds: float, rate: int = RATE) -> dict[str, float]:
    """Return the percentiles of one idle, one busy and one more idle block."""
    from ocm_otel import Event

    global WORK
    WORK = calibrated()
    with tempfile.TemporaryDirectory() as place:
        outbox = _outbox(place, port)

        def put() -> None:
            outbox.put(Event("course-save", course_id=7, user_id="ann"))

        block(0.5, put, rate)
        outbox.flush(20)
        idle = block(seconds, None, rate)
        accepted = outbox.books.snapshot().accepted
        busy = block(seconds, put, rate)
        accepted = outbox.books.snapshot().accepted - accepted
        outbox.flush(20)
        again = block(seconds, None, rate)
        outbox.close()
    return {"rate": accepted / seconds, **_percentiles(idle=idle, busy=busy, again=again)}


def drained(port: int, authority: str, seconds: float, backlog: int) -> dict[str, float]:
    """Return the percentiles of an idle block, and of one in which a backlog goes out."""
    from ocm_otel import Event

    global WORK
    WORK = calibrated()
    with tempfile.TemporaryDirectory() as place:
        outbox = _outbox(place, port)
        event = Event("course-save", course_id=7, user_id="ann")
        outbox.put(event)
        outbox.flush(20)
        idle = block(seconds, None, RATE)
        for _ in range(backlog):
            outbox.put(event)
        before = outbox.books.snapshot()
        busy = block(seconds, None, RATE)
        after = outbox.books.snapshot()
        outbox.close(0)
    found = {"rate": (after.delivered - before.delivered) / seconds, "left": float(after.waiting)}
    return found | _percentiles(idle=idle, busy=busy)
