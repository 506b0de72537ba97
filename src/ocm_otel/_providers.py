"""Which OpenTelemetry providers have our processors: those of the process, whoever makes them, and when.

A provider is global when the application sets it, which may be before us, after us (a vendor's distribution, the
application's own code), or again and again behind a stand-in (logfire). OpenTelemetry has no public way to be
told, so two public functions are hooked, the one that sets the provider and the one that every tracer comes
from: no span is started without either. A provider that comes second is not taken by OpenTelemetry, and its owner
uses it all the same, so it is served, too. Others are not, and each provider gets one processor. A provider of
spans gets our sampler around its own as well, for a processor does not see what is not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel._doors import last_resort, shut
from ocm_otel._hidden import hidden
from ocm_otel._hooks import Hook
from ocm_otel._unrecorded import unrecorded
from ocm_otel.logs import OCMLogRecordProcessor
from ocm_otel.sampling import unwrap, wrap
from ocm_otel.spans import OCMSpanProcessor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel._outbox import Outbox

#: Providers that stand in for others and were set, the last ones; more than one is rare.
_MOST_STAND_INS = 4


class Providers:
    """The providers of one signal that have our processor.

    Args:
        sdk: the SDK's class of them.
        api: the module that has the global one.
        setter: the function of `api` that sets it; its getter begins with ``get`` instead.
        source: the method of a provider that all tracers, or all loggers, come from.
        add: gives a provider a processor for an outbox, and returns what takes all of it back from that provider.
    """

    def __init__(self, sdk: type, api: Any, setter: str, source: str, add: Callable[..., Any]) -> None:
        self._sdk, self._api, self._setter, self._source, self._add = sdk, api, setter, source, add
        self._served: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._outbox: Any = None
        self._stand_ins: list[Any] = []
        self._hooks: list[Hook] = []

    def serve(self, provider: Any, outbox: Outbox) -> bool:
        """Give a provider of the SDK our processor, unless it has it.

        Args:
            provider: one of the SDK, or a stand-in that names one as its ``provider``.
            outbox: where the events go.

        Returns:
            True if it has it now; False for a provider that is none of the SDK's.
        """
        real = self._real(provider)
        if real is None:
            return False

        def mine(_: object) -> None:
            """There is nothing to take back yet."""

        if self._served.setdefault(real, mine) is mine:  # of several threads at once, one adds it
            self._served[real] = self._add(real, outbox)
        return True

    def watch(self, outbox: Outbox) -> None:
        """Give the global provider our processor: the one that is, and those that will be."""
        if not self._hooks:
            self._outbox = outbox
            self._hooks = [Hook(self._api, self._setter, self._set), Hook(self._sdk, self._source, self._asked)]
        self._serve_all()

    def has_global(self) -> bool:
        """Return whether the global provider has our processor."""
        real = self._real(self._global())
        return real is not None and real in self._served

    def leave(self) -> None:
        """Watch no more, and let no more events through the processors that are there: they cannot be removed."""
        for hook in self._hooks:
            hook.undo()
        self._hooks.clear()
        for provider, undo in list(self._served.items()):
            undo(provider)
        self._served.clear()
        self._stand_ins.clear()

    def _global(self) -> Any:
        return getattr(self._api, self._setter.replace("set", "get", 1))()

    def _real(self, provider: Any) -> Any:
        """Return the SDK's provider that this is, or that this stands in for; None if there is none."""
        if isinstance(provider, self._sdk):
            return provider
        inner = getattr(provider, "provider", None)
        return inner if isinstance(inner, self._sdk) else None

    def _serve_all(self, *further: Any) -> None:
        """Serve the global provider, further ones, and what the stand-ins that were set have inside by now."""
        try:
            for provider in (self._global(), *further, *self._stand_ins):
                self.serve(provider, self._outbox)
        except Exception as error:  # noqa: BLE001 - the border to the application; counted
            last_resort.add("failed_door", type(error).__name__)

    def _set(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        given = (*args, *kwargs.values())
        stand_ins = [provider for provider in given if not isinstance(provider, self._sdk)]
        self._stand_ins = [*self._stand_ins, *stand_ins][-_MOST_STAND_INS:]
        self._serve_all(*given)

    def _asked(self, original: Callable[..., Any], provider: Any, *args: Any, **kwargs: Any) -> Any:
        """Look at a provider that is asked for a tracer before it gives one: it may be global by now."""
        if provider not in self._served:
            self._serve_all()
        return original(provider, *args, **kwargs)


def _add_to_tracers(provider: TracerProvider, outbox: Outbox) -> Callable[[TracerProvider], None]:
    processor = OCMSpanProcessor(outbox=outbox)
    provider.add_span_processor(processor)
    before = provider.sampler
    wrap(provider, mode=outbox.settings.sampler_mode)
    changed = provider.sampler is not before

    def undo(provider: TracerProvider) -> None:  # given again, for kept here it would never be let go
        shut(processor)
        unrecorded.leave(processor)
        if changed:
            unwrap(provider)

    return undo


def _add_to_loggers(provider: LoggerProvider, outbox: Outbox) -> Callable[[LoggerProvider], None]:
    processor = OCMLogRecordProcessor(outbox=outbox)
    provider.add_log_record_processor(processor)

    def undo(_: LoggerProvider) -> None:
        shut(processor)
        hidden.leave(processor)

    return undo


#: The process's providers of spans, and of log records.
tracers = Providers(TracerProvider, trace, "set_tracer_provider", "get_tracer", _add_to_tracers)
loggers = Providers(LoggerProvider, _logs, "set_logger_provider", "get_logger", _add_to_loggers)
