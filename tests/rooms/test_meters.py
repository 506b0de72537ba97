"""The books as OpenTelemetry metrics, read by a real reader of the SDK."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from ocm_otel import Event, Outbox, Settings


def read(reader: InMemoryMetricReader) -> dict[str, dict[str, float]]:
    """Return what the reader sees: by name and reason, the value, or the count of a histogram."""
    data = reader.get_metrics_data()
    found: dict[str, dict[str, float]] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    value = point.count if hasattr(point, "count") else point.value
                    found.setdefault(metric.name, {})[point.attributes.get("error.type", "")] = value
    return found


@pytest.fixture
def meters():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    yield reader, provider
    provider.shutdown()


def test_the_metrics_are_the_books(emulator, meters):
    """Every column is a counter of the same value, by reason where there are reasons; the lag is recorded."""
    reader, provider = meters
    emulator.script(503, 400)
    settings = Settings(endpoint=emulator.endpoint, api_key=emulator.key)
    with Outbox(settings, meter_provider=provider) as outbox:
        for number in range(5):
            assert outbox.put(Event("course-save", course_id=number))
        assert outbox.flush(30)
        seen, books = read(reader), outbox.books.snapshot()
    assert (books.accepted, books.delivered, books.refused) == (5, 4, 1)
    assert seen["ocm.events.accepted"] == {"": 5}
    assert seen["ocm.events.delivered"] == {"": 4}
    assert seen["ocm.events.refused"] == {"no-type-parameter": 1}
    assert seen["ocm.events.retried"] == {"http-503": 1}
    assert seen["ocm.events.waiting"] == {"": 0}
    assert seen["ocm.events.oldest.age"] == {"": 0}
    assert seen["ocm.events.lag"] == {"": 4}


def test_what_waits_has_an_age(emulator, meters):
    """While the API is away, the number that waits and the age of the oldest are seen."""
    reader, provider = meters
    emulator.always(503)
    settings = Settings(endpoint=emulator.endpoint, api_key=emulator.key)
    with Outbox(settings, meter_provider=provider) as outbox:
        outbox.put(Event("search"))
        assert not outbox.flush(0.3)
        seen = read(reader)
        assert seen["ocm.events.waiting"] == {"": 1}
        assert seen["ocm.events.oldest.age"][""] >= 0.3
        emulator.normally()
        assert outbox.flush(30)
        assert read(reader)["ocm.events.oldest.age"] == {"": 0}


def test_two_outboxes_are_added_up(emulator, meters):
    """The instruments of one provider exist once and show all outboxes that live."""
    reader, provider = meters
    ours = Settings(endpoint=emulator.endpoint, api_key=emulator.key)
    theirs = Settings(endpoint=emulator.endpoint, api_key=emulator.key, timeout=5000)
    with Outbox(ours, meter_provider=provider) as one, Outbox(theirs, meter_provider=provider) as other:
        one.put(Event("search"))
        other.put(Event("search"))
        assert one.flush(30)
        assert other.flush(30)
        assert read(reader)["ocm.events.delivered"] == {"": 2}


@pytest.mark.parametrize("first", ["provider", "outbox"])
def test_the_provider_may_come_later(emulator, first):
    """Set before or after the outboxes, the global provider has each instrument once, and all numbers, also those
    that never change.
    """
    here = emulator.endpoint
    steps = [
        "metrics.set_meter_provider(MeterProvider([reader]))",
        "emit('search')",
        f"memory = Outbox(Settings(api_key='key', endpoint={here!r}, durability='memory', max_queue_size=7))",
    ]
    if first == "outbox":
        steps.append(steps.pop(0))
    program = f"""
import json
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from ocm_otel import Outbox, Settings, emit
reader = InMemoryMetricReader()
{chr(10).join(steps)}
on_disk = Outbox(Settings(api_key="key", endpoint={here!r}, spool_max_bytes=2**20))
scopes = [scope for one in reader.get_metrics_data().resource_metrics for scope in one.scope_metrics]
assert [scope.scope.name for scope in scopes] == ["ocm_otel"]
print(json.dumps([[metric.name, metric.unit, metric.data.data_points[0].value] for metric in scopes[0].metrics]))
"""
    environment = {
        "OTEL_EXPORTER_OCM_ENDPOINT": emulator.endpoint,
        "OTEL_EXPORTER_OCM_API_KEY": emulator.key,
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert len({name for name, _, _ in seen}) == len(seen) > 10
    assert {("ocm.events.accepted", "{event}", 1), ("ocm.events.capacity", "{event}", 7)} <= {
        tuple(row) for row in seen
    }
    assert ["ocm.spool.capacity", "By", 2**20 + 2**28] in seen
    assert next(row[2] for row in seen if row[0] == "ocm.spool.used") > 0


def test_a_clock_that_was_put_back(emulator):
    """An event that seems to be delivered before it was accepted took no time; a histogram takes nothing below."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with Outbox(Settings(endpoint=emulator.endpoint, api_key=emulator.key), meter_provider=provider) as outbox:
        outbox.books.on_lag(-3600.0)
        (resource,) = reader.get_metrics_data().resource_metrics
        metrics = [metric for scope in resource.scope_metrics for metric in scope.metrics]
        (lag,) = (metric for metric in metrics if metric.name == "ocm.events.lag")
        assert [(point.count, point.sum) for point in lag.data.data_points] == [(1, 0.0)]
    provider.shutdown()


def test_a_provider_without_a_hash(emulator):
    """A provider that stands in for another may have no hash (logfire's has none), and shows the books all the same."""

    class StandIn(MeterProvider):
        __hash__ = None

    reader = InMemoryMetricReader()
    provider = StandIn([reader])
    with Outbox(Settings(endpoint=emulator.endpoint, api_key=emulator.key), meter_provider=provider) as outbox:
        outbox.put(Event("search"))
        assert outbox.flush(30)
        assert read(reader)["ocm.events.delivered"] == {"": 1}
    provider.shutdown()


@pytest.mark.parametrize(("switch", "seen"), [("true", True), ("false", False), (None, False)])
def test_the_switch_is_the_sdks_own(emulator, monkeypatch, switch, seen):
    """Without a provider given, metrics are shown where OpenTelemetry shows its own."""
    if switch is None:
        monkeypatch.delenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", raising=False)
    else:
        monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", switch)
    with Outbox(Settings(endpoint=emulator.endpoint, api_key=emulator.key)) as outbox:
        assert (outbox.books.on_lag.__name__ == "record") is seen


def test_a_loop_is_not_held_up_by_a_flush(emulator):
    """`aflush` waits in a thread of its own: the event loop goes on meanwhile."""
    emulator.latency = 0.2

    async def main() -> tuple[bool, int]:
        with Outbox(Settings(endpoint=emulator.endpoint, api_key=emulator.key)) as outbox:
            outbox.put(Event("search"))
            flush, turns = asyncio.ensure_future(outbox.aflush(10)), 0
            while not flush.done():
                await asyncio.wait([flush], timeout=0.01)
                turns += 1
            return await flush, turns

    done, turns = asyncio.run(main())
    assert done
    assert turns > 3
    assert emulator.count == 1


@pytest.mark.parametrize("before", ["signal.SIG_DFL", "lambda *_: (print('theirs'), sys.exit(3))"])
def test_sigterm_delivers_first(emulator, before):
    """With `flush_on_sigterm`, SIGTERM delivers what waits and then does what it did before."""
    emulator.latency = 0.1
    program = f"""
        import os, signal, sys
        from ocm_otel import Event, Outbox, Settings
        signal.signal(signal.SIGTERM, {before})
        outbox = Outbox(Settings(endpoint={emulator.endpoint!r}, api_key={emulator.key!r}, shutdown_timeout=9000))
        outbox.flush_on_sigterm()
        for number in range(20):
            outbox.put(Event("search"))
        print("put", flush=True)
        while True:
            signal.sigtimedwait([], 1)  # not pause(): the signal may come just before it
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "put\n"
    child.send_signal(signal.SIGTERM)
    said, _ = child.communicate(timeout=120)
    assert (child.returncode, said) == ((-15, "") if "DFL" in before else (3, "theirs\n"))
    assert emulator.count == 20
