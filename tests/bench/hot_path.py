"""What a span, a log record or a line costs with us, beside what it costs without: `python tests/bench/hot_path.py`.

Each row is one way to set an application up. They take turns in short slices, in an order that changes, so that all of
them see the same machine; what is shown is the median of the rounds, in microseconds of the thread's CPU time for one
record, and the median of how much that is, in the same round, above a processor that does nothing. Delivery is held up
(the outbox leads nowhere), so that only the caller's part is seen. Run it on a quiet machine; the differences are what
to read, not the figures.
"""

from __future__ import annotations

import gc
import io
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import structlog
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from ocm_otel import OCMLogRecordProcessor, OCMProcessor, OCMSpanProcessor, Outbox, Settings, tags

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 101
RECORDS = 400
TAGGED = tags("course-save", course_id=7, user_id="ann", entity_id="north")
PLAIN = {"http.route": "/courses", "http.status": 200, "part": "shop", "size": 17}


class Nowhere:
    """An outbox that accepts and forgets."""

    settings = Settings()
    books = None

    def put(self, event: object) -> bool:
        return True


class Forget(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class ForgetRecords(InMemoryLogRecordExporter):
    def export(self, batch: Any) -> Any:
        self.clear()
        return super().export(())


class IdleSpans(SpanProcessor):
    """A span processor that does nothing."""


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


def spans(processor: SpanProcessor | None, attributes: dict[str, Any]) -> Callable[[], None]:
    """Return what makes a span, in an application with this processor."""
    provider = TracerProvider(shutdown_on_exit=False)
    if processor is not None:
        provider.add_span_processor(processor)
    tracer = provider.get_tracer("bench")
    return lambda: tracer.start_span("page", attributes=attributes).end()


def records(processor: LogRecordProcessor | None, attributes: dict[str, Any]) -> Callable[[], None]:
    """Return what makes a log record."""
    provider = LoggerProvider(shutdown_on_exit=False)
    if processor is not None:
        provider.add_log_record_processor(processor)
    logger = provider.get_logger("bench")
    return lambda: logger.emit(body="saved", attributes=attributes)


def lines(processor: Any, fields: dict[str, Any]) -> Callable[[], None]:
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


def disk(folder: str) -> Outbox:
    """Return an outbox that writes to the disk and delivers nothing."""
    nobody = "http://127.0.0.1:9/v2.0/events"
    return Outbox(Settings(api_key="bench", endpoint=nobody, spool_dir=folder, shutdown_timeout=0))


def cases(outbox: Any, kept: Any) -> dict[str, dict[str, Callable[[], None]]]:
    """Return the set-ups by table and row; the row of a processor that does nothing is called `idle`."""
    baggage = Nowhere()
    baggage.settings = Settings(baggage_keys="user_id=user")
    found = {}
    for kind, content in (("untagged", PLAIN), ("tagged", TAGGED)):
        found[f"{kind} span"] = {
            "no processor": spans(None, content),
            "idle": spans(IdleSpans(), content),
            "ours": spans(OCMSpanProcessor(outbox=outbox), content),
            "ours, baggage keys set": spans(OCMSpanProcessor(outbox=baggage), content),
            "ours, to disk": spans(OCMSpanProcessor(outbox=kept), content),
            "stock batch processor": spans(BatchSpanProcessor(Forget()), content),
        }
        found[f"{kind} log record"] = {
            "no processor": records(None, content),
            "idle": records(IdleRecords(), content),
            "ours": records(OCMLogRecordProcessor(outbox=outbox), content),
            "ours, to disk": records(OCMLogRecordProcessor(outbox=kept), content),
            "stock batch processor": records(BatchLogRecordProcessor(ForgetRecords()), content),
        }
        found[f"{kind} structlog line"] = {
            "no processor": lines(None, content),
            "idle": lines(idle, content),
            "ours": lines(OCMProcessor(outbox=outbox), content),
            "ours, to disk": lines(OCMProcessor(outbox=kept), content),
        }
    return found


def measure(make: Callable[[], None]) -> float:
    """Return the microseconds of CPU time that one call takes."""
    gc.collect()
    gc.disable()
    began = time.thread_time_ns()
    for _ in range(RECORDS):
        make()
    took = time.thread_time_ns() - began
    gc.enable()
    return took / RECORDS / 1_000


def main() -> None:
    """Measure all, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        kept = disk(folder)
        for table, rows in cases(Nowhere(), kept).items():
            seen: dict[str, list[float]] = {row: [] for row in rows}
            for _ in range(ROUNDS):
                for row in random.sample(sorted(rows), len(rows)):
                    seen[row].append(measure(rows[row]))
            above = {
                row: statistics.median(mine - base for mine, base in zip(times, seen["idle"], strict=True))
                for row, times in seen.items()
            }
            print(f"\n{table:<28}{'median':>9}{'above idle':>12}   (microseconds)")
            for row, times in seen.items():
                print(f"  {row:<26}{statistics.median(times):>9.2f}{above[row]:>+12.2f}")
        kept.close(0)


if __name__ == "__main__":
    main()
