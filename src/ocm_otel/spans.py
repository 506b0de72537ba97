"""The doors for spans: a processor (the better one) and an exporter.

A span that bears ``ocm.event_type`` is an event when it ends, and so is each of its span events that
bears one. The processor sees every recorded span at once, sampled or not; the exporter sees what the
SDK's batch processor lets through. Neither changes a span, nor keeps one. They know nothing of delivery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ocm_otel._diversion import heed
from ocm_otel._process import importing
from ocm_otel._variables import explaining

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from ocm_otel._outbox import Outbox


class OCMSpanProcessor(SpanProcessor):
    """Makes an event of each span, and each span event, that bears ``ocm.event_type``; never raises.

    The recommended door for spans: it sees a span the moment it ends, sampled or only recorded, and
    shares no queue with untagged spans.

    Args:
        outbox: where the events go; by default the process's shared outbox, made from the environment.
        on_error: ``send`` or ``skip``: whether a span that ended with an error status is an event; by
            default as the outbox's setting ``on_span_error`` says. A span event counts in any case.
    """

    if not TYPE_CHECKING:  # whoever checks types reads `__init__`

        def __new__(cls, *_: object, **__: object) -> OCMSpanProcessor:
            """Return one that lets most spans pass with less, unless the class is another's or the process explains."""
            return super().__new__(_Passing if cls is OCMSpanProcessor and not explaining() else cls)

    def __init__(self, *, outbox: Outbox | None = None, on_error: str | None = None) -> None:
        with importing:
            from ocm_otel._span_door import SpanDoor
            from ocm_otel._unrecorded import unrecorded
        self._door, passing = SpanDoor(type(self).__name__, outbox, {}, on_error), type(self) is _Passing
        if passing and self._door.baggage_keys:
            self.__class__ = OCMSpanProcessor
        unrecorded.watch(self, self._door)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Read the baggage if `baggage_keys` say so, for it is gone when the span ends; else do nothing."""
        if self._door.baggage_keys:
            self._door.note(span, parent_context)

    def on_end(self, span: Any) -> None:
        """Take the events of an ended span, a `ReadableSpan`; it stays as it is and is not kept."""
        self._door.take(span)

    def shutdown(self) -> None:
        """Deliver what waits, as long as ``shutdown_timeout`` allows; the outbox stays open."""
        self._door.flush(None)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True when all that was accepted is delivered or refused within `timeout_millis`."""
        return self._door.flush_millis(timeout_millis)


class _Passing(OCMSpanProcessor):
    """The processor as it is where nobody reads baggage: most spans only pass by.

    An `OCMSpanProcessor` is one from the beginning, for an object that becomes of another class is called more slowly
    ever after; one of a class of the user's own is not.
    """

    on_start = SpanProcessor.on_start  # which does nothing

    def on_end(self, span: Any) -> None:
        """Do as `OCMSpanProcessor.on_end`, and see with as little as can be that a span has no tag."""
        try:  # the name is written out, and what costs least comes first; `take` has the public fallback
            bounded = span._attributes  # noqa: SLF001 - as just said
            if not (
                bounded.dropped
                or "ocm.event_type" in bounded._dict  # noqa: SLF001 - likewise
                or span._events._dq  # noqa: SLF001 - likewise
            ):
                return
        except Exception:  # noqa: BLE001 - a span of another make: `take` finds out what it is
            self._door.take(span)
            return
        self._door.take(span)


_Passing.__name__ = _Passing.__qualname__ = OCMSpanProcessor.__name__  # what a person reads, in `ocm-otel check`, say
_pass_by = _Passing.on_end


def _watch(*, opened: bool) -> None:
    """Have each span looked at, tagged or not, while a test watches; to ask at each span costs what one saves."""
    _Passing.on_end = OCMSpanProcessor.on_end if opened else _pass_by  # type: ignore[method-assign]  # meant so


heed(_watch)


class OCMSpanExporter(SpanExporter):
    """Makes events of the tagged spans among those that the SDK exports; never raises.

    For places that only take an exporter. It stands behind a batch processor, so it sees sampled spans
    only, and late; where a processor can be added, `OCMSpanProcessor` is the better door.

    Args:
        outbox: where the events go; by default the process's shared outbox.
        options: fields of `Settings` that win over the environment, as a YAML file gives them; what is
            no setting is reported.
    """

    def __init__(self, *, outbox: Outbox | None = None, **options: object) -> None:
        with importing:
            from ocm_otel._span_door import SpanDoor
        self._door = SpanDoor(type(self).__name__, outbox, options)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take the events of ended spans; what becomes of each event stands in the books."""
        for span in spans:
            self._door.take(span)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Deliver what waits, as long as ``shutdown_timeout`` allows; the outbox stays open."""
        self._door.flush(None)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True when all that was accepted is delivered or refused within `timeout_millis`."""
        return self._door.flush_millis(timeout_millis)


if explaining():
    from ocm_otel._explain_doors import explain, of_span
    from ocm_otel._span_door import SpanDoor

    explain(SpanDoor, "take", of_span, line=False)
