"""What the doors for log records do with one record.

It is loaded when the first of them is made: an application that only imports them does not pay for it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ocm_otel._diversion import opened, saw
from ocm_otel._doors import Door
from ocm_otel._identity import Beside, from_baggage
from ocm_otel._lines import fresh, of_moment, source, stamped, without_cut_id
from ocm_otel._tags import EVENT, find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord

#: Where an id stands on attributes without being one of them.
_MARK = "_ocm_event_id"


class LogDoor(Door):
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
