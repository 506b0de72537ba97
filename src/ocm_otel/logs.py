"""The doors for OpenTelemetry log records: a processor (the better one) and an exporter.

A record whose attributes bear an event type is an event. The body is never searched for tags: it is
text for people. Neither door changes a record, nor keeps one. They know nothing of delivery.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from ocm_otel._diversion import opened, saw
from ocm_otel._doors import Door
from ocm_otel._explain_doors import explain, of_log_record
from ocm_otel._hidden import hidden
from ocm_otel._identity import Beside, from_baggage
from ocm_otel._lines import fresh, of_moment, source, stamped, without_cut_id
from ocm_otel._tags import EVENT, find
from ocm_otel._variables import sdk_disabled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry._logs import SeverityNumber
    from opentelemetry.context import Context
    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from ocm_otel._outbox import Outbox


#: Where an id stands on attributes without being one of them.
_MARK = "_ocm_event_id"


class _LogDoor(Door):
    """What the processor and the exporter do with one log record."""

    __slots__ = ()

    def take(self, record: ReadableLogRecord | ReadWriteLogRecord) -> None:
        """Make an event of a record, if it is tagged; never raises."""
        try:
            attributes: Any = record.log_record.attributes
            if opened:
                saw(f"log record {record.log_record.body!r}", attributes or {})
            if not attributes:
                return
            # The SDK's own mapping answers `in` by way of an exception: 0.6 µs each time.
            fields: Mapping[str, object] = getattr(attributes, "_dict", attributes)
            tags = find(fields)
            if tags is not None:
                self.cut(tags, getattr(attributes, "max_value_len", None))
                tags = without_cut_id(tags, attributes)
                name = None if EVENT in tags else self._line_id(record, attributes)
                self.admit(tags, name, Beside(fields, self._baggage(record), _resource(record)))
            elif getattr(attributes, "dropped", 0):
                self.pushed_out(fields)
        except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
            self.failed(error)

    def _line_id(self, record: ReadableLogRecord | ReadWriteLogRecord, attributes: Any) -> str:
        """Return the id of a record that has none; those who see the same attributes will find it there."""
        name: str | None = getattr(attributes, _MARK, None)
        if name is None:
            line = source()
            name = stamped(line, stamp=self.stamps) if line is not None else None
            if name is None and record.instrumentation_scope is not None:
                name = of_moment(record.log_record.timestamp, record.instrumentation_scope.name)
            name = name or fresh()
            with suppress(AttributeError):  # attributes of another make, which cannot be marked
                setattr(attributes, _MARK, name)
        return name

    def _baggage(self, record: ReadableLogRecord | ReadWriteLogRecord) -> Mapping[str, object]:
        """Return the ids that came with the request; an exporter, which runs elsewhere, may not see them."""
        keys, context = self.outbox().settings.baggage_keys, record.log_record.context
        return from_baggage(keys, context) if keys and context else {}


def _resource(record: ReadableLogRecord | ReadWriteLogRecord) -> Mapping[str, object]:
    return {} if record.resource is None else record.resource.attributes


explain(_LogDoor, "take", of_log_record)


class OCMLogRecordProcessor(LogRecordProcessor):
    """Makes an event of each log record that bears an event type among its attributes; never raises.

    Args:
        outbox: where the events go; by default the process's shared outbox, made from the environment.
    """

    def __init__(self, *, outbox: Outbox | None = None) -> None:
        self._door = _LogDoor(type(self).__name__, outbox)
        if not sdk_disabled():  # then no record comes by, and nobody wants to hear of it
            hidden.watch(self, self._door)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Take the event of a record; the record stays as it is and is not kept."""
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
        self._door = _LogDoor(type(self).__name__, outbox, options)

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
