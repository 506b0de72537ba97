"""That the cost of an event does not grow: with what waits, with the doors, with the length of an outage.

What waits is put in while nobody listens; then the server starts, and the CPU of the whole process for each event that
is delivered is taken over the first few thousand, while the rest still waits.
"""

from __future__ import annotations

import itertools
import tempfile
import time

from core import cpu, memory, wait_for
from server import Server

#: How many times faster than a real one an outage goes by.
FASTER = 600


def _outbox(place: str, port: int, **more):
    from ocm_otel import Outbox, Settings

    where = f"http://127.0.0.1:{port}/v2.0/events"
    settings = Settings(api_key="demo-key", endpoint=where, spool_dir=place, spool_max_bytes=2**30)
    return Outbox(settings, **more)


def _free_port() -> int:
    with Server() as nobody:
        return nobody.port


def _door(outbox, number: int):
    from opentelemetry.sdk.trace import TracerProvider

    from ocm_otel import OCMSpanProcessor, tags

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    tracer, tagged = provider.get_tracer("bench"), tags("course-save", course_id=7, user_id=f"ann-{number}")
    return lambda: tracer.start_span("page", attributes=tagged).end()


def _deliver(outbox, events: int) -> dict[str, float]:
    """Return what an event costs while so many are delivered; the first few hundred are not counted.

    They are waited for as `few` waits, with a flush: else the one works in short turns for the sake of whoever looks
    on, the other does not, and what is compared is that.
    """

    def done() -> int:
        return outbox.books.snapshot().delivered

    wait_for(lambda: done() >= min(300, events // 2), 15, 0.001)
    outbox.flush(0.05)
    spent, before, began = cpu(), done(), time.perf_counter()
    while (many := done() - before) < events and time.perf_counter() < began + 40:
        outbox.flush(0.1)
    return {"cpu": (cpu() - spent) / max(1, many) * 1e6, "rate": many / (time.perf_counter() - began)}


def _putter(outbox):
    from ocm_otel import Event

    events = itertools.cycle([Event("course-save", course_id=7, user_id=f"ann-{number}") for number in range(1000)])
    return lambda: outbox.put(next(events))


def waiting(backlog: int, events: int, doors: int = 0) -> dict[str, float]:
    """Return what an event costs to put and to deliver with so many waiting; and the memory that those take.

    Args:
        backlog: how many wait.
        events: how many deliveries are measured.
        doors: through how many span processors, each of an application of its own, they come in; 0 for `put` itself.
    """
    port = _free_port()
    with tempfile.TemporaryDirectory() as place:
        outbox = _outbox(place, port)
        putters = [_door(outbox, number) for number in range(doors)] or [_putter(outbox)]
        for _ in range(50):
            putters[0]()
        time.sleep(0.7)  # the first attempts fail; now it is a process that waits
        idle, anonymous, spent = memory(), memory("RssAnon"), time.thread_time()
        for number in range(backlog):
            putters[number % len(putters)]()
        found = {"put": (time.thread_time() - spent) / backlog * 1e6, "memory": memory() - idle}
        with Server(port=port):
            found |= _deliver(outbox, min(events, backlog * 2 // 3))
            found["memory"] = max(found["memory"], memory() - idle)
            found["anonymous"] = memory("RssAnon") - anonymous
        outbox.close(0)
    return found


def few(backlog: int, events: int) -> dict[str, float]:
    """Return what an event costs where so many wait, over and over: put in while none is under way, then delivered."""
    from ocm_otel import Event

    with Server() as server, tempfile.TemporaryDirectory() as place:
        outbox = _outbox(place, server.port)
        event = Event("course-save", course_id=7, user_id="ann")

        def some(many: int) -> tuple[float, float]:
            mine = whole = 0.0
            for _ in range(many // backlog):
                before, thread = cpu(), time.thread_time()
                for _ in range(backlog):
                    outbox.put(event)
                mine += time.thread_time() - thread
                outbox.flush(20)
                whole += cpu() - before
            return mine, whole

        some(1000)
        mine, whole = some(events)
        outbox.close(0)
    return {"cpu": (whole - mine) / events * 1e6}


def outage(minutes: float, backlog: int, events: int) -> dict[str, float]:
    """Return what an event costs after an outage; it goes by faster than a real one, with as many probes."""
    from ocm_otel._outlook import WAITS
    from ocm_otel._pace import Pace

    port = _free_port()
    waits = {state: (first / FASTER, longest / FASTER) for state, (first, longest) in WAITS.items()}
    with tempfile.TemporaryDirectory() as place:
        outbox = _outbox(place, port, pace=lambda: Pace(16, waits=waits))
        put = _door(outbox, 1)
        for _ in range(backlog):
            put()
        time.sleep(minutes * 60 / FASTER)
        found = {"calls": float(outbox.books.snapshot().retried)}
        with Server(port=port):
            found |= _deliver(outbox, events)
        outbox.close(0)
    return found


def burst(events: int) -> dict[str, float]:
    """Return what becomes of a burst of spans while the server is dead, and after it has come back."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as place:
        outbox = _outbox(place, port)
        put = _door(outbox, 1)
        for _ in range(20):
            put()
        time.sleep(0.5)
        idle, began = memory(), time.perf_counter()
        for _ in range(events):
            put()
        took = time.perf_counter() - began
        found = {"put": took / events * 1e6, "memory": memory("VmHWM") - idle}
        with Server(port=port):
            began = time.perf_counter()
            wait_for(lambda: outbox.books.snapshot().delivered >= events + 20, 60, 0.02)
            books = outbox.books.snapshot()
            found |= {"seconds": time.perf_counter() - began, "lost": events + 20.0 - books.delivered}
        outbox.close(0)
    return found | {"each": found["memory"] * 2**20 / events}
