"""What OpenTelemetry and structlog are known to do to a guest, where no other test meets it."""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Callable, Iterator

import pytest
import structlog
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from ocm_otel import (
    OCMLogExporter,
    OCMLogRecordProcessor,
    OCMProcessor,
    OCMSampler,
    OCMSpanProcessor,
    Outbox,
    tags,
)
from ocm_otel.emulator import Emulator

from .conftest import Arrived, Memory, Run

try:
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
except ImportError:  # until 0.61 it was the SDK's
    from opentelemetry.sdk._logs import LoggingHandler

SAVED = tags("course-save", course_id=7, user_id="ann")


@pytest.mark.parametrize(("flags", "exported"), [(0x00, 0), (0x01, 1), (0x02, 0), (0x03, 1)])
def test_a_caller_whose_flags_have_the_random_bit(outbox: Outbox, arrived: Arrived, flags: int, exported: int) -> None:
    """The flags of a trace are bits: sampled is sampled, and not sampled is not, whatever other bit is set."""
    provider = TracerProvider(sampler=OCMSampler(ParentBased(ALWAYS_ON)), shutdown_on_exit=False)
    kept = InMemorySpanExporter()
    for processor in (OCMSpanProcessor(outbox=outbox), SimpleSpanProcessor(kept)):
        provider.add_span_processor(processor)
    caller = set_span_in_context(NonRecordingSpan(SpanContext(5, 7, is_remote=True, trace_flags=TraceFlags(flags))))
    with provider.get_tracer("t").start_as_current_span("save", caller) as span:
        span.set_attributes(SAVED)
    provider.shutdown()
    assert len(arrived()) == 1
    assert len(kept.get_finished_spans()) == exported


@pytest.mark.parametrize("kind", ["spans", "records"])
def test_each_record_has_the_resource_that_it_has(memory: Memory, kind: str) -> None:
    """The resource of a process changes when it forks, so none is remembered: each record says its own."""
    spans, records = OCMSpanProcessor(outbox=memory), OCMLogRecordProcessor(outbox=memory)
    for entity in ("before", "after"):
        resource = Resource({"ocm.entity_id": entity})
        if kind == "spans":
            tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
            tracers.add_span_processor(spans)
            tracers.get_tracer("t").start_span("save", attributes=SAVED).end()
        else:
            loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
            loggers.add_log_record_processor(records)
            loggers.get_logger("t").emit(LogRecord(body="saved", attributes=SAVED))
    assert [event.entity_id for event in memory.events] == ["before", "after"]


def test_an_event_can_go_to_another_process(provider: TracerProvider, memory: Memory) -> None:
    """A span cannot be pickled, for it holds a lock; the event that is made of it can, and is the same."""
    provider.add_span_processor(OCMSpanProcessor(outbox=memory))
    provider.get_tracer("t").start_span("save", attributes=SAVED).end()
    (event,) = memory.events
    assert pickle.loads(pickle.dumps(event)) == event


# --- structlog -------------------------------------------------------------------------------------------


@pytest.fixture
def drop() -> Iterator[Callable[..., object]]:
    """Configures structlog with a processor of the application's that drops every line, behind others."""

    def dropped(*_: object) -> None:
        raise structlog.DropEvent

    def configure(*processors: object) -> structlog.BoundLogger:
        structlog.configure(processors=[*processors, dropped])
        return structlog.get_logger()

    yield configure
    structlog.reset_defaults()


def test_a_line_that_is_dropped_after_us(drop: Callable[..., structlog.BoundLogger], memory: Memory) -> None:
    """A line that a later processor drops is an event all the same, and stays dropped: nothing of it is printed."""
    log = drop(structlog.contextvars.merge_contextvars, OCMProcessor(outbox=memory))
    assert log.info("saved", **SAVED) is None
    assert [event.type for event in memory.events] == ["course-save"]


# --- what we say ourselves -------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["processor", "exporter"])
def test_what_we_say_while_a_line_is_handled(memory: Memory, door: str, capsys: pytest.CaptureFixture[str]) -> None:
    """OpenTelemetry's handler lets no line through that is logged while it works; ours get through, once each."""
    provider, kept = LoggerProvider(shutdown_on_exit=False), InMemoryLogRecordExporter()
    ours = {
        "processor": lambda: OCMLogRecordProcessor(outbox=memory),
        "exporter": lambda: SimpleLogRecordProcessor(OCMLogExporter(outbox=memory)),
    }
    provider.add_log_record_processor(ours[door]())
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    root, shop = logging.getLogger(), logging.getLogger("application.under.test")
    shop.setLevel(logging.INFO)
    handlers = [LoggingHandler(logger_provider=provider), logging.StreamHandler(io.StringIO())]
    for handler in handlers:
        root.addHandler(handler)
    try:
        for _ in range(2):
            shop.info("saved", extra={**SAVED, "ocm.user_id": True})
    finally:
        for handler in handlers:
            root.removeHandler(handler)
    told = [str(one.log_record.body) for one in kept.get_finished_logs()]
    assert sorted(text.partition(":")[0] for text in told) == ["ocm.user_id = True", "saved", "saved"]
    assert "recursive" not in handlers[1].stream.getvalue() + capsys.readouterr().err
    provider.shutdown()
    assert len(memory.events) == 2


def test_the_other_httpx_by_the_name_of_httpx(run: Run, emulator: Emulator) -> None:
    """Where httpx2 took the name of httpx, a transport of it delivers, and nothing of our calls is logged."""
    pytest.importorskip("httpx2", reason="it needs Python 3.11, and comes with the newest packages")
    done = run(
        "import logging\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "import httpx2\n"
        "httpx2.alias_httpx()\n"
        "import httpx\n"
        "from ocm_otel import Event, Outbox\n"
        "with Outbox(transport=httpx.HTTPTransport()) as outbox:\n"
        "    outbox.put(Event('course-save', course_id=7, user_id='ann'))\n"
        "print(httpx.__name__)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "httpx2\n", "")
    assert [event["user_id"] for event in emulator.events()] == ["ann"]
