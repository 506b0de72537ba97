"""The instrumentor: our processors where spans, log records and structlog's lines pass, without a line of code.

It is loaded into every process that runs under `opentelemetry-instrument` where this package is installed, and that
is no reason to act: without a key it touches nothing, and imports no room but that of the settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocm_otel._variables import key_given, sdk_disabled

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ocm_otel._outbox import Outbox

    BaseInstrumentor = object  # its own module is not typed
else:
    try:
        from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
    except ImportError:  # it comes with the extra `auto`, and is not needed to be called in code
        BaseInstrumentor = object

#: What those who load instrumentors add to the options.
_LOADERS_OWN = ("skip_dep_check", "raise_exception_on_conflict")


class OCMInstrumentor(BaseInstrumentor):
    """Makes events of tagged spans, log records and structlog lines, wherever OpenTelemetry and structlog are set up.

    What ``opentelemetry-instrument`` finds under the name ``ocm``; in code, `OCMInstrumentor().instrument()` does the
    same. Whichever providers are global now or later get our processors, each once, and structlog's chains get ours
    right after `merge_contextvars`. Without a key it leaves everything alone; where other settings are made, but no
    key, it says so once. ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=ocm``, ``OTEL_SDK_DISABLED=true`` and, one by one,
    ``OTEL_EXPORTER_OCM_SIGNALS`` switch it off.
    """

    _in_use: Outbox | None = None

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """True while our processors are put in."""
        return self._in_use is not None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no packages: what is instrumented is what we depend on ourselves."""
        return ()

    def instrument(
        self,
        *,
        outbox: Outbox | None = None,
        tracer_provider: TracerProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        **options: Any,
    ) -> None:
        """Put our processors in, now and wherever providers and chains are set later; never raises.

        May be called again: what has our processor is left as it is.

        Args:
            outbox: where the events go; by default the process's shared outbox, made from the environment.
            tracer_provider: a provider of the SDK that is to have our processor besides the global one.
            logger_provider: the same for log records.
            meter_provider: where to show the books as metrics, whether or not OpenTelemetry's own are wanted.
            options: fields of `Settings` that win over the environment; what is none is reported and left out.
        """
        options = {name: value for name, value in options.items() if name not in _LOADERS_OWN}
        if outbox is not None and not hasattr(outbox, "put"):  # a YAML file may name anything
            options["outbox"], outbox = outbox, None
        try:
            # After a YAML file has named us, those who load instrumentors call us once more, without its options.
            known = self._in_use if outbox is None and not options else None
            found = known or _find_outbox(outbox, options)
            if found is not None:
                self._put_in(found, tracer_provider, logger_provider)
                if meter_provider is not None:
                    from ocm_otel._meters import observe

                    observe(found, meter_provider)
        except Exception as error:  # noqa: BLE001 - raising here would take other instrumentations down; counted, told
            from ocm_otel._doors import last_resort

            last_resort.add("failed_door", type(error).__name__)
            last_resort.report("instrument", "OCMInstrumentor could not be set up (%s)", type(error).__name__)

    def uninstrument(self, **kwargs: Any) -> None:
        """Take our processors out; where they have to stay, they let no more events in."""
        if self._in_use is not None:
            from ocm_otel._chains import chains
            from ocm_otel._providers import loggers, tracers

            for place in (tracers, loggers, chains):
                place.leave()
            self._use(None)

    def _uninstrument(self, **kwargs: Any) -> None:
        self.uninstrument()

    def _put_in(
        self, outbox: Outbox, tracer_provider: TracerProvider | None, logger_provider: LoggerProvider | None
    ) -> None:
        from ocm_otel._chains import chains
        from ocm_otel._providers import loggers, tracers

        signals = outbox.settings.signals
        for signal, place, given in (("traces", tracers, tracer_provider), ("logs", loggers, logger_provider)):
            if signal in signals:
                place.watch(outbox)
                if given is not None and not place.serve(given, outbox):
                    text = "%s is no provider of OpenTelemetry's SDK, so it has no place for our processor"
                    outbox.books.report((signal, "provider"), text, type(given).__name__)
        if "structlog" in signals:
            chains.watch(outbox)
        self._use(outbox if signals else None)

    @classmethod
    def _use(cls, outbox: Outbox | None) -> None:
        """Remember for all instances where the events go: without OpenTelemetry's base there may be several."""
        cls._in_use = outbox


def _find_outbox(outbox: Outbox | None, options: dict[str, Any]) -> Outbox | None:
    """Return where the events go; None for nowhere, as nobody wants any, or there is no key for it."""
    if sdk_disabled():
        return None
    if outbox is None:
        key, meant = key_given(options)
        if not meant:
            return None
        from ocm_otel._shared import shared

        found = shared(**options)  # which says so if the key is missing
        return found if key else None
    if options:
        text = "OCMInstrumentor was given an outbox, so these options of its own have no effect: %s"
        outbox.books.report("instrument-options", text, ", ".join(sorted(options)))
    return outbox
