"""Small applications: one way each to make a span, a log record or a structlog line, with one processor or another."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import structlog
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from ocm_otel import OCMLogRecordProcessor, OCMProcessor, OCMSpanProcessor, Settings, tags

TAGGED = tags("course-save", course_id=7, user_id="ann", entity_id="north")
PLAIN = {"http.route": "/courses", "http.status": 200, "part": "shop", "size": 17}
Make = Callable[[], None]


class Nowhere:
    """An outbox that accepts and forgets."""

    books = None

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**settings)

    def put(self, event: object) -> bool:
        return True

    def accept(self, query: str, event_id: str | None) -> bool:
        return True


class Forget(SpanExporter):
    """A span exporter that does nothing."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class ForgetRecords(InMemoryLogRecordExporter):
    """A log exporter that does nothing."""

    def export(self, batch: Any) -> Any:
        self.clear()
        return super().export(())


class IdleSpans(SpanProcessor):
    """A span processor that does nothing."""


class LookSpans(SpanProcessor):
    """A span processor that looks for the one name of a type, and does nothing."""

    def on_end(self, span: Any) -> None:
        if "ocm.event_type" in span._attributes._dict:
            raise ValueError


class IdleRecords(LogRecordProcessor):
    """A log processor that does nothing."""

    def on_emit(self, log_record: Any) -> None:
        return

    def shutdown(self) -> None:
        return

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def idle(logger: Any, name: str, line: Any) -> Any:
    """A structlog processor that does nothing."""
    return line


def look(logger: Any, name: str, line: Any) -> Any:
    """A structlog processor that looks for the three names of a type, and does nothing."""
    if "ocm.event_type" in line or "ocm_event_type" in line or "ocm" in line:
        raise ValueError
    return line


def spans(processor: SpanProcessor | None, attributes: dict[str, Any]) -> Make:
    """Return what makes a span, in an application with this processor."""
    provider = TracerProvider(shutdown_on_exit=False)
    if processor is not None:
        provider.add_span_processor(processor)
    tracer = provider.get_tracer("bench")
    return lambda: tracer.start_span("page", attributes=attributes).end()


def records(processor: LogRecordProcessor | None, attributes: dict[str, Any]) -> Make:
    """Return what makes a log record."""
    provider = LoggerProvider(shutdown_on_exit=False)
    if processor is not None:
        provider.add_log_record_processor(processor)
    logger = provider.get_logger("bench")
    return lambda: logger.emit(body="saved", attributes=attributes)


def lines(processor: Any, fields: dict[str, Any]) -> Make:
    """Return what makes a structlog line."""
    log = structlog.wrap_logger(
        structlog.PrintLogger(io.StringIO()),
        processors=[
            structlog.contextvars.merge_contextvars,
            *([processor] if processor else []),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            lambda *_: "",
        ],
    ).bind()
    return lambda: log.info("saved", **fields)


def set_ups(kind: str, content: dict[str, Any], kept: Any, only: list[str] | None = None) -> dict[str, Make]:
    """Return the applications of one kind by the name of their row; `idle` is what the others are compared with.

    Args:
        kind: span, log record or structlog line.
        content: the attributes of each.
        kept: an outbox with a journal on disk.
        only: the rows that are wanted, for one application is not to change another; all but `baggage` if left out.
    """
    make, processors = _PROCESSORS[kind]
    found = processors(content is PLAIN, kept)
    return {row: make(found[row](), content) for row in only or found if row != "baggage" or only}


def _span_processors(plain: bool, kept: Any) -> dict[str, Callable[[], Any]]:
    return {
        "none": lambda: None,
        "idle": IdleSpans,
        "look": LookSpans if plain else IdleSpans,
        "ours": lambda: OCMSpanProcessor(outbox=Nowhere()),
        "baggage": lambda: OCMSpanProcessor(outbox=Nowhere(baggage_keys="user_id=user")),
        "disk": lambda: OCMSpanProcessor(outbox=kept),
        "stock": lambda: BatchSpanProcessor(Forget()),
    }


def _record_processors(_: bool, kept: Any) -> dict[str, Callable[[], Any]]:
    return {
        "none": lambda: None,
        "idle": IdleRecords,
        "ours": lambda: OCMLogRecordProcessor(outbox=Nowhere()),
        "disk": lambda: OCMLogRecordProcessor(outbox=kept),
        "stock": lambda: BatchLogRecordProcessor(ForgetRecords()),
    }


def _line_processors(plain: bool, kept: Any) -> dict[str, Callable[[], Any]]:
    return {
        "none": lambda: None,
        "idle": lambda: idle,
        "look": lambda: look if plain else idle,
        "ours": lambda: OCMProcessor(outbox=Nowhere()),
        "disk": lambda: OCMProcessor(outbox=kept),
    }


_PROCESSORS: dict[str, tuple[Callable[..., Make], Callable[..., dict[str, Callable[[], Any]]]]] = {
    "span": (spans, _span_processors),
    "log record": (records, _record_processors),
    "structlog line": (lines, _line_processors),
}
