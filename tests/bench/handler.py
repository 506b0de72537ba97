"""What a request handler feels: its 99th percentile while 500 events a second go out, beside none going out.

The handler works for 0.3 ms and sleeps for 1 ms, over and over, and is timed from the moment it should have woken to
the end of its work. It puts the events itself, so what `put` costs is in it as well. Blocks with and without events
take turns in one process, idle - busy - idle, so that the second idle block says what the machine does by itself.
"""

from __future__ import annotations

import tempfile
import time

from core import cpu, percentile

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


def requests(port: int, authority: str, seconds: float, rate: int = RATE) -> dict[str, float]:
    """Return the percentiles of one idle, one busy and one more idle block."""
    from ocm_otel import Event, Outbox, Settings

    global WORK
    WORK = calibrated()
    with tempfile.TemporaryDirectory() as place:
        outbox = Outbox(Settings(api_key="demo-key", endpoint=f"http://127.0.0.1:{port}/v2.0/events", spool_dir=place))

        def put() -> None:
            outbox.put(Event("course-save", course_id=7, user_id="ann"))

        block(0.5, put, rate)
        outbox.flush(20)
        idle = block(seconds, None, rate)
        spent, accepted = cpu(), outbox.books.snapshot().accepted
        busy = block(seconds, put, rate)
        spent, accepted = cpu() - spent, outbox.books.snapshot().accepted - accepted
        outbox.flush(20)
        again = block(seconds, None, rate)
        outbox.close()
    found = {"rate": accepted / seconds, "share": spent / seconds}
    for name, took in (("idle", idle), ("busy", busy), ("again", again)):
        for hundredth in (50, 90, 99):
            found[f"{name}{hundredth}"] = percentile(took, hundredth)
    return found
