"""What the names in ``OTEL_TRACES_EXPORTER`` and ``OTEL_LOGS_EXPORTER`` switch on.

An exporter by name stands behind the SDK's batch processor, whose queue of 2,048 is shared with all
untagged spans, drops the oldest, and never sees a span that was recorded but not sampled. So these
classes hand over: they add our processor to the provider that is being configured, and then export
nothing themselves, so that each event is made once. This works because the SDK sets its providers before
it constructs the exporters that the environment names, and constructs those without arguments. With
arguments (a YAML file), or where no SDK provider is set, they export as any exporter does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import get_tracer_provider

from ocm_otel.logs import OCMLogExporter, OCMLogRecordProcessor
from ocm_otel.spans import OCMSpanExporter, OCMSpanProcessor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

    from ocm_otel._outbox import Outbox

#: Providers that have our processor already: a second exporter of that name must not add another.
_served: WeakSet[TracerProvider | LoggerProvider] = WeakSet()


class NamedSpanExporter(OCMSpanExporter):
    """What ``OTEL_TRACES_EXPORTER=ocm`` constructs: puts an `OCMSpanProcessor` in its own place.

    Args:
        outbox: where the events go; by default the process's shared outbox.
        options: fields of `Settings`, as a YAML file gives them.
    """

    def __init__(self, *, outbox: Outbox | None = None, **options: object) -> None:
        super().__init__(outbox=outbox, **options)
        self._handed_over = False
        try:
            self._handed_over = not options and _serve_spans(outbox)
        except Exception as error:  # noqa: BLE001 - raising here would take all of OpenTelemetry down
            self._door.failed(error)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take the events of ended spans, unless the processor did so when they ended."""
        return SpanExportResult.SUCCESS if self._handed_over else super().export(spans)


class NamedLogExporter(OCMLogExporter):
    """What ``OTEL_LOGS_EXPORTER=ocm`` constructs: puts an `OCMLogRecordProcessor` in its own place.

    Args:
        outbox: where the events go; by default the process's shared outbox.
        options: fields of `Settings`, as a YAML file gives them.
    """

    def __init__(self, *, outbox: Outbox | None = None, **options: object) -> None:
        super().__init__(outbox=outbox, **options)
        self._handed_over = False
        try:
            self._handed_over = not options and _serve_logs(outbox)
        except Exception as error:  # noqa: BLE001 - raising here would take all of OpenTelemetry down
            self._door.failed(error)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Take the events of log records, unless the processor did so when they were emitted."""
        return LogRecordExportResult.SUCCESS if self._handed_over else super().export(batch)


def _serve_spans(outbox: Outbox | None) -> bool:
    """Add our processor to the SDK's tracer provider, once; return whether it has it."""
    provider = get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return False
    if provider not in _served:
        provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
        _served.add(provider)
    return True


def _serve_logs(outbox: Outbox | None) -> bool:
    """Add our processor to the SDK's logger provider, once; return whether it has it."""
    provider = get_logger_provider()
    if not isinstance(provider, LoggerProvider):
        return False
    if provider not in _served:
        provider.add_log_record_processor(OCMLogRecordProcessor(outbox=outbox))
        _served.add(provider)
    return True
