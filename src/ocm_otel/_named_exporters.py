"""The exporters called ``ocm``: what ``OTEL_TRACES_EXPORTER``, ``OTEL_LOGS_EXPORTER`` and a YAML file can name.

An exporter by name stands behind the SDK's batch processor, whose queue of 2,048 is shared with all untagged spans,
drops the oldest, and never sees a span that was recorded but not sampled. So these classes hand over: they have our
processor put into the global provider, now or when it is set, and where it is there they export nothing themselves,
so that each event is made once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from ocm_otel._providers import loggers, tracers
from ocm_otel._variables import sdk_disabled
from ocm_otel.logs import OCMLogExporter
from ocm_otel.spans import OCMSpanExporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

    from ocm_otel._outbox import Outbox


class NamedSpanExporter(OCMSpanExporter):
    """What ``ocm`` among the exporters of spans constructs: has an `OCMSpanProcessor` put in its own place.

    Args:
        outbox: where the events go; by default the process's shared outbox.
        options: fields of `Settings`, as a YAML file gives them.
    """

    def __init__(self, *, outbox: Outbox | None = None, **options: object) -> None:
        super().__init__(outbox=outbox, **options)
        try:
            if not sdk_disabled():
                tracers.watch(self._door.outbox())
        except Exception as error:  # noqa: BLE001 - raising here would take all of OpenTelemetry down
            self._door.failed(error)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take the events of ended spans, unless the processor did so when they ended."""
        return SpanExportResult.SUCCESS if tracers.has_global() else super().export(spans)


class NamedLogExporter(OCMLogExporter):
    """What ``ocm`` among the exporters of log records constructs: has an `OCMLogRecordProcessor` put in its own place.

    Args:
        outbox: where the events go; by default the process's shared outbox.
        options: fields of `Settings`, as a YAML file gives them.
    """

    def __init__(self, *, outbox: Outbox | None = None, **options: object) -> None:
        super().__init__(outbox=outbox, **options)
        try:
            if not sdk_disabled():
                loggers.watch(self._door.outbox())
        except Exception as error:  # noqa: BLE001 - raising here would take all of OpenTelemetry down
            self._door.failed(error)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Take the events of log records, unless the processor did so when they were emitted."""
        return LogRecordExportResult.SUCCESS if loggers.has_global() else super().export(batch)
