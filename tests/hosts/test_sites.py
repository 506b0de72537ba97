"""Real FastAPI and Flask applications, real HTTP requests: what the emulator counts is what was done."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest

REQUESTS = 200
FRAMEWORKS = pytest.mark.parametrize("framework", ["fastapi", "flask"])

#: Action, course, user and group of each request; no two of them are alike.
VISITS = [(("save", "complete")[n % 2], n, f"user-{n % 17}", f"group-{n % 5}") for n in range(REQUESTS)]
PATHS = [f"/courses/{course}/{action}?user={user}&group={group}" for action, course, user, group in VISITS]
EVENTS = Counter((f"course-{action}", str(course), user, group) for action, course, user, group in VISITS)


def counted(emulator) -> Counter[tuple[str, ...]]:
    """What the emulator counted, as `EVENTS` tells it."""
    names = ("type", "course_id", "user_id", "entity_id")
    return Counter(tuple(event[name] for name in names) for event in emulator.events())


def visit_and_end(site, emulator, collector=None) -> None:
    """Make all requests, wait for what comes of them, end the server, and see what came in."""
    assert site.visit(PATHS) == {200: REQUESTS}
    emulator.wait_for(REQUESTS, 60)
    assert collector is None or collector.wait_for_requests(REQUESTS)
    assert site.end() in {0, -signal.SIGTERM}
    assert counted(emulator) == EVENTS
    assert "Traceback" not in site.stderr
    assert len(emulator.requests()) == REQUESTS


@FRAMEWORKS
def test_four_attributes(site, emulator, framework):
    """200 requests to a site with four attributes in its views are 200 events, each as it was tagged."""
    running = site(f"{framework}_spans", OTEL_TRACES_EXPORTER="ocm")
    visit_and_end(running, emulator)


def test_beside_otlp(site, emulator, make_collector):
    """With `otlp,ocm` the collector gets the spans that it gets with `otlp` alone, and each event comes once."""
    found = []
    for exporters in ("otlp", "otlp,ocm"):
        collector = make_collector()
        running = site(
            "fastapi_spans",
            OTEL_TRACES_EXPORTER=exporters,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_EXPORTER_OCM_SIGNALS="none",  # zero code would find the tags without the name
        )
        if exporters == "otlp":
            assert running.visit(PATHS) == {200: REQUESTS}
            assert collector.wait_for_requests(REQUESTS)
            running.end()
            assert emulator.requests() == []
        else:
            visit_and_end(running, emulator, collector)
        found.append(collector.spans())
    assert found[0].total() >= REQUESTS
    assert found[0] == found[1]


@FRAMEWORKS
def test_plain_lines(site, emulator, framework):
    """200 lines of plain logging with their tags in `extra` are 200 events, and the lines are written as ever."""
    running = site(f"{framework}_lines", OTEL_LOGS_EXPORTER="ocm")
    visit_and_end(running, emulator)
    lines = Counter(running.stderr.splitlines())
    assert (lines["shop: opened"], lines["shop: done"]) == (REQUESTS, REQUESTS)


@FRAMEWORKS
def test_json_lines(site, emulator, framework):
    """200 lines of structlog, each with the user bound to its request, are 200 events and 200 JSON lines."""
    running = site(f"{framework}_structlog", by_name=False)
    visit_and_end(running, emulator)
    lines = [json.loads(line) for line in running.stdout.splitlines() if line.startswith("{")]
    names = ("ocm.event_type", "ocm.course_id", "ocm.user_id", "ocm.entity_id")
    done = Counter(tuple(str(line[name]) for name in names) for line in lines if line["event"] == "done")
    assert (done, len(lines)) == (EVENTS, 2 * REQUESTS)


def test_without_a_key(site, emulator):
    """A site without a key serves as ever, says once what is missing, and sends nothing."""
    running = site("flask_spans", OTEL_TRACES_EXPORTER="ocm", OTEL_EXPORTER_OCM_API_KEY=None)
    assert running.visit(PATHS) == {200: REQUESTS}
    assert running.end() in {0, -signal.SIGTERM}
    assert sum("OTEL_EXPORTER_OCM_API_KEY" in line for line in running.stderr.splitlines()) == 1, running.stderr
    assert "Traceback" not in running.stderr
    assert emulator.requests() == []
