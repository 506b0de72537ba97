"""How soon an event is on its way: a process that does nothing, `put`, and the time at which the server has it."""

from __future__ import annotations

import http.client
import random
import tempfile
import time

from core import percentile, wait_for
from server import ask


def _rest(number: int, longest: float) -> None:
    """Be idle for a while; for a long while, now and then."""
    time.sleep(1.2 if number % 20 == 10 else random.uniform(0.005, longest))


def _summary(put: list[int], port: int) -> dict[str, float]:
    arrived = [int(line) for line in ask(port, "times").split()]
    took = [(there - here) / 1e6 for here, there in zip(put, arrived[-len(put) :], strict=True)]
    return {"median": percentile(took, 50), "p99": percentile(took, 99), "most": max(took)}


def outbox(port: int, authority: str, events: int, longest: float) -> dict[str, float]:
    """Return the milliseconds from `put` to the server, and those of the first event of the process."""
    from ocm_otel import Event, Outbox, Settings

    with tempfile.TemporaryDirectory() as place:
        one = Outbox(Settings(api_key="demo-key", endpoint=f"http://127.0.0.1:{port}/v2.0/events", spool_dir=place))
        ask(port, "times")
        began = time.monotonic_ns()
        one.put(Event("course-save", course_id=7, user_id="ann"))
        one.flush(20)
        first = (int(ask(port, "times").split()[0]) - began) / 1e6
        put = []
        for number in range(events):
            _rest(number, longest)
            put.append(time.monotonic_ns())
            one.put(Event("course-save", course_id=7, user_id=f"ann-{number}"))
            wait_for(lambda expected=number + 2: one.books.snapshot().delivered >= expected, 20, 0.002)
        found = _summary(put, port)
        one.close()
    return {"first": first, **found}


def call(port: int, authority: str, events: int, longest: float) -> dict[str, float]:
    """Return the same of a call that the application's own thread makes over a kept connection."""
    line = http.client.HTTPConnection("127.0.0.1", port)
    ask(port, "times")
    put = []
    for number in range(events):
        _rest(number, longest)
        put.append(time.monotonic_ns())
        line.request("GET", f"/v2.0/events?type=course-save&course_id=7&user_id=ann-{number}")
        line.getresponse().read()
    return _summary(put, port)
