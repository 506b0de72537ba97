"""The doors for OpenTelemetry log records: a processor (the better one) and an exporter.

A record whose attributes bear an event type is an event. The body is never searched for tags: it is
text for people. Neither door changes a record, nor keeps one. They know nothing of delivery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from ocm_otel._diversion import heed
from ocm_otel._process import importing
from ocm_otel._variables import explaining, sdk_disabled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry._logs import SeverityNumber
    from opentelemetry.context import Context
    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from ocm_otel._outbox import Outbox


class OCMLogRecordProcessor(LogRecordProcessor):
    """Makes an event of each log record that bears an event type among its attributes; never raises.

    Args:
        outbox: where the events go; by default the process's shared outbox, made from the environment.
    """

    def __init__(self, *, outbox: Outbox | None = None) -> None:
        with importing:
            from ocm_otel._hidden import hidden
            from ocm_otel._log_door import LogDoor
        self._door = LogDoor(type(self).__name__, outbox)
        if not sdk_disabled():  # then no record comes by, and nobody wants to hear of it
            hidden.watch(self, self._door)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Take the event of a record; the record stays as it is and is not kept."""
        try:  # most records have no tag, and are let by with as little as can be; `take` has the public fallback
            bounded: Any = log_record.log_record.attributes
            fields = bounded._dict  # noqa: SLF001 - as just said
            if not (bounded.dropped or "ocm.event_type" in fields or "ocm_event_type" in fields or "ocm" in fields):
                return
        except Exception:  # noqa: BLE001 - a record of another make: `take` finds out what it is
            self._door.take(log_record)
            return
        self._door.take(log_record)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Return True: a tag is seen only on the record itself, whatever its level."""
        return True

    def shutdown(self) -> None:
        """Deliver what waits, as long as ``shutdown_timeout`` allows; the outbox stays open."""
        self._door.flush(None)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True when all that was accepted is delivered or refused within `timeout_millis`."""
        return self._door.flush_millis(timeout_millis)


def _take(self: OCMLogRecordProcessor, log_record: ReadWriteLogRecord) -> None:
    self._door.take(log_record)


_pass_by = OCMLogRecordProcessor.on_emit


def _watch(*, opened: bool) -> None:
    """Have each record looked at, tagged or not, while a test watches or where the process explains itself."""
    look = opened or explaining()
    OCMLogRecordProcessor.on_emit = _take if look else _pass_by  # type: ignore[method-assign]  # meant so


heed(_watch)


class OCMLogExporter(LogRecordExporter):
    """Makes events of the tagged records among those that the SDK exports; never raises.

    For places that only take an exporter; where a processor can be added, `OCMLogRecordProcessor` is
    the better door, for no batch queue stands before it.

    Args:
        outbox: where the events go; by default the process's shared outbox.
        options: fields of `Settings` that win over the environment, as a YAML file gives them; what is
            no setting is reported.
    """

    def __init__(self, *, outbox: Outbox | None = None, **options: object) -> None:
        with importing:
            from ocm_otel._log_door import LogDoor
        self._door = LogDoor(type(self).__name__, outbox, options)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Take the events of log records; what becomes of each event stands in the books."""
        for record in batch:
            self._door.take(record)
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        """Deliver what waits, as long as ``shutdown_timeout`` allows; the outbox stays open."""
        self._door.flush(None)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True when all that was accepted is delivered or refused within `timeout_millis`."""
        return self._door.flush_millis(timeout_millis)


if explaining():
    from ocm_otel._explain_doors import explain, of_log_record
    from ocm_otel._log_door import LogDoor

    explain(LogDoor, "take", of_log_record)
