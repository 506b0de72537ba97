"""What an event costs with the peers' libraries, which pack many into a request, and how many of a burst arrive.

Each gets the same number of events as fast as one thread can give them, with its own defaults, and then its own flush.
What arrived is counted in the bodies that the server kept.
"""

from __future__ import annotations

import gzip
import tempfile
import time
import zlib
from contextlib import suppress

from core import cpu, memory, wait_for
from server import bodies


def _ours(port: int):
    from ocm_otel import Event, Outbox, Settings

    place = tempfile.mkdtemp(prefix="ocm-bench-")
    outbox = Outbox(Settings(api_key="demo-key", endpoint=f"http://127.0.0.1:{port}/v2.0/events", spool_dir=place))
    put = lambda number: outbox.put(Event("course-save", course_id=7, user_id=f"ann-{number}"))
    return put, lambda: outbox.flush(60), outbox


def _posthog(port: int):
    from posthog import Posthog

    client = Posthog("demo-key", host=f"http://127.0.0.1:{port}")
    fields = {"course_id": 7}
    put = lambda number: client.capture("course-save", distinct_id=f"ann-{number}", properties=fields)
    return put, client.flush, client


def _segment(port: int):
    from segment.analytics.client import Client

    client = Client("demo-key", host=f"http://127.0.0.1:{port}")
    put = lambda number: client.track(f"ann-{number}", "course-save", {"course_id": 7})
    return put, client.flush, client


def _sentry(port: int):
    import sentry_sdk
    import sentry_sdk.logger

    sentry_sdk.init(dsn=f"http://demo@127.0.0.1:{port}/1", enable_logs=True, default_integrations=False)
    put = lambda number: sentry_sdk.logger.info("course-save", attributes={"course": 7, "user": f"ann-{number}"})
    return put, lambda: sentry_sdk.flush(30), None


def _counted(body: bytes) -> int:
    """Return how many of the events are in a body, whatever packs it."""
    with suppress(OSError, zlib.error):
        body = gzip.decompress(body)
    return body.count(b'"course-save"')


PEERS = {"ours": _ours, "posthog": _posthog, "segment": _segment, "sentry": _sentry}


def burst(peer: str, port: int, keep: str, events: int, warm: int = 20) -> dict[str, float]:
    """Return what a burst costs: the caller's CPU, that of the whole process, memory, and how many arrived.

    Args:
        keep: where the server keeps the bodies that it gets; each peer has a server of its own.
    """
    from server import ask

    put, flush, _ = PEERS[peer](port)
    for number in range(warm):
        put(number)
    flush()
    time.sleep(0.2)
    before = int(ask(port, "count")) if peer == "ours" else sum(map(_counted, bodies(keep)))
    resident, spent, mine, began = memory(), cpu(), time.thread_time(), time.perf_counter()
    for number in range(events):
        put(number)
    mine = time.thread_time() - mine
    flush()
    spent, took = cpu() - spent, time.perf_counter() - began
    arrived = lambda: (int(ask(port, "count")) if peer == "ours" else sum(map(_counted, bodies(keep)))) - before
    wait_for(lambda: arrived() >= events, 1.0, 0.25)
    found = {"arrived": arrived(), "lost": (events - arrived()) / events * 100}
    return found | {
        "put": mine / events * 1e6,
        "cpu": spent / events * 1e6,
        "each": spent / max(1, arrived()) * 1e6,
        "rate": arrived() / took,
        "memory": memory("VmHWM") - resident,
    }
