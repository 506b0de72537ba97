"""What the doors for spans do with one ended span, and what they keep until it ends.

It is loaded when the first of them is made: an application that only imports them does not pay for it.
"""

from __future__ import annotations

import weakref
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import StatusCode

from ocm_otel._diversion import opened, saw
from ocm_otel._doors import Door
from ocm_otel._identity import Beside, asked, from_baggage
from ocm_otel._lines import without_cut_id
from ocm_otel._tags import TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from ocm_otel._outbox import Outbox

_CHOICES = ("send", "skip")
_NONE: Mapping[str, object] = MappingProxyType({})


class SpanDoor(Door):
    """What the processor and the exporter do with one ended span."""

    __slots__ = ("_on_error", "_plain", "_started", "baggage_keys")

    def __init__(
        self, name: str, outbox: Outbox | None, options: Mapping[str, object], on_error: str | None = None
    ) -> None:
        super().__init__(name, outbox, options)
        self._on_error = on_error
        self.baggage_keys: Iterable[Any] = getattr(getattr(self._outbox, "settings", None), "baggage_keys", ())
        self._plain: object = self  # the last resource that nothing is asked of
        self._started: dict[int, tuple[dict[str, object], weakref.ref[Span]]] = {}

    def note(self, span: Span, context: Context | None) -> None:
        """Keep the ids that came with the request until the span ends, or goes without an end; never raises."""
        try:
            if found := from_baggage(self.baggage_keys, context):
                number, started = span.get_span_context().span_id, self._started
                started[number] = found, weakref.ref(span, lambda _: started.pop(number, None))
        except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
            self.failed(error)

    def take(self, span: ReadableSpan) -> None:
        """Make events of a span and its span events, if they are tagged; never raises."""
        private: Any = span
        try:
            baggage = self._noted(span) if self._started else _NONE
            # The SDK's public properties copy or wrap on each access: 0.5 µs on every untagged span.
            try:
                bounded = private._attributes  # noqa: SLF001 - public fallback below
                attributes, dropped = bounded._dict, bounded.dropped  # noqa: SLF001 - as above
            except AttributeError:
                attributes, dropped = span.attributes or {}, getattr(span, "dropped_attributes", 0)
            if opened:
                _show(span, attributes)
            if TYPE in attributes:
                self._take_span(span, attributes, baggage)
            elif dropped:
                self.pushed_out(attributes)
            try:
                happened = private._events  # noqa: SLF001 - public fallback below
            except AttributeError:
                happened = span.events
            if happened:
                self._take_events(span, baggage)
        except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
            self.failed(error)

    def _noted(self, span: ReadableSpan) -> Mapping[str, object]:
        """Return the ids that were kept for a span, and keep them no more."""
        context = span.context
        return _NONE if context is None else self._started.pop(context.span_id, (_NONE,))[0]

    def _take_span(self, span: ReadableSpan, attributes: Mapping[str, object], baggage: Mapping[str, object]) -> None:
        if attributes[TYPE] is None:
            return
        if span.status.status_code is StatusCode.ERROR and self._skips_errors():
            self.outbox().books.add("skipped", "span_error")
            return
        tags, bounded = attributes, getattr(span, "_attributes", None)
        if (limit := getattr(bounded, "max_value_len", None)) is not None:
            self.cut(attributes, limit)
            tags = without_cut_id(attributes, bounded)
        self.admit(tags, _identity(span), self._beside(span, attributes, baggage))

    def _beside(self, span: ReadableSpan, fields: Mapping[str, object], baggage: Mapping[str, object]) -> Beside | None:
        """Return what stands beside the tags of a span; None if nothing of it is asked for, as usual."""
        resource = getattr(span, "resource", None)
        if resource is self._plain:
            return None
        beside = Beside(fields, baggage, _NONE if resource is None else resource.attributes)
        if not asked(self.outbox().settings, beside.resource):
            self._plain = resource
        return beside

    def _take_events(self, span: ReadableSpan, baggage: Mapping[str, object]) -> None:
        """A span event is a fact of its own: it counts whatever the span's status became later."""
        for index, happened in enumerate(span.events):
            attributes = happened.attributes
            if attributes and attributes.get(TYPE) is not None:
                identity = _identity(span)
                try:
                    beside = self._beside(span, attributes, baggage)
                    self.admit(without_cut_id(attributes, attributes), identity and f"{identity}-{index}", beside)
                except Exception as error:  # noqa: BLE001 - one span event must not hide the next
                    self.failed(error)

    def _skips_errors(self) -> bool:
        outbox = self.outbox()
        if self._on_error is None:
            return outbox.settings.on_span_error == "skip"
        if self._on_error not in _CHOICES:
            outbox.books.report((self.name, "on_error"), "%s: on_error is 'send' or 'skip'; 'send' is used", self.name)
        return self._on_error == "skip"


def _show(span: ReadableSpan, attributes: Mapping[str, object]) -> None:
    """Let a test see which spans and span events passed."""
    saw(f"span {span.name!r}", attributes)
    for happened in span.events:
        saw(f"span event {happened.name!r}", happened.attributes or {})


def _identity(span: ReadableSpan) -> str | None:
    """Return what makes a span one of a kind: its trace and its own number."""
    context = span.context
    return None if context is None else "%032x-%016x" % (context.trace_id, context.span_id)  # noqa: UP031 - a third faster
