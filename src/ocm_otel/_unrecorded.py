"""Tags that are set on a span that nobody records: counted and told, for such a span keeps nothing.

OpenTelemetry hands out one class of span for all that is not recorded: what the sampler dropped, the caller's span,
and what stands for "no span". Its methods do nothing, so we stand in for them while there is a processor of ours, and
look at the names that they are given. A recorded span never comes by here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import NonRecordingSpan

from ocm_otel._doors import last_resort
from ocm_otel._hooks import Hook, Wanted
from ocm_otel._tags import TYPE
from ocm_otel._variables import sdk_disabled

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import SpanProcessor

    from ocm_otel._doors import Door
    from ocm_otel._hooks import Undone

_DROPPED = (
    "%s was set on a span that the sampler had dropped: no event is made of it; let OCMSampler stand around the "
    "sampler (OTEL_TRACES_SAMPLER=ocm_record), with OTEL_EXPORTER_OCM_SAMPLER_MODE=all"
)
_NOWHERE = "%s was set where no span of this process is current: no event is made of it; start a span, or use emit()"


class Unrecorded:
    """The spans that nobody records, and those who want to hear of a tag on one: the processors, while they live."""

    def __init__(self) -> None:
        self._wanted: Wanted[Door] = Wanted(self._begin)

    def watch(self, processor: SpanProcessor, door: Door) -> None:
        """Book a tag that is set on such a span at the newest of the doors, unless OpenTelemetry is switched off.

        Args:
            processor: whose door it is; when nobody has it any more, it is not told.
            door: counts and tells it.
        """
        if not sdk_disabled():  # then there is no other span, and nobody wants to hear of it
            self._wanted.add(processor, door)

    def leave(self, processor: SpanProcessor) -> None:
        """Tell a processor no more; with the last one the methods are again what they were."""
        self._wanted.remove(processor)

    def _begin(self) -> list[Undone]:
        methods = (("set_attribute", self._one), ("set_attributes", self._many), ("add_event", self._event))
        return [Hook(NonRecordingSpan, name, around) for name, around in methods]

    def _one(self, original: Callable[..., Any], span: Any, key: str, value: Any) -> Any:
        if key == TYPE:
            self._noticed(span)
        return original(span, key, value)

    def _many(self, original: Callable[..., Any], span: Any, attributes: Any) -> Any:
        if attributes and TYPE in attributes:
            self._noticed(span)
        return original(span, attributes)

    def _event(
        self, original: Callable[..., Any], span: Any, name: str, attributes: Any = None, *more: Any, **further: Any
    ) -> Any:
        if attributes and TYPE in attributes:
            self._noticed(span)
        return original(span, name, attributes, *more, **further)

    def _noticed(self, span: Any) -> None:
        try:
            door = next(reversed(self._wanted.listeners()), None)
            if door is not None and not door.shut:
                context = span.get_span_context()
                dropped = context.is_valid and not context.is_remote
                books = door.outbox().books
                books.add("lost", "unsampled" if dropped else "no_span")
                books.report((door.name, "unrecorded", dropped), _DROPPED if dropped else _NOWHERE, TYPE)
        except Exception as error:  # noqa: BLE001 - the border to the application; counted
            last_resort.add("failed_door", type(error).__name__)


#: The process's spans that nobody records.
unrecorded = Unrecorded()
