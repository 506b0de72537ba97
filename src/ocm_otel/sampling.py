"""The sampler that lets a span be an event although it is not sampled.

A span that the sampler drops is never recorded: a tag that is set on it leaves no trace anywhere. So this
sampler stands around the application's own, and where that one says "drop" it says "record, do not sample":
processors see the span, exporters do not, and the sampled flag that travels on is as it was. It makes no
sampling decision of its own, and knows nothing of events but the name of the tag that makes one.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, get_current_span

from ocm_otel._process import importing
from ocm_otel._tags import TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link
    from opentelemetry.trace.span import TraceState
    from opentelemetry.util.types import Attributes

_ENTRIES = (SpanKind.SERVER, SpanKind.CONSUMER)


class OCMSampler(Sampler):
    """Records spans that the application's sampler drops, so that their tags are seen; samples none more.

    It has to be the outermost sampler: inside a `ParentBased` it would never be asked about the children of
    a span that was not sampled. A span that is recorded here and not sampled reaches no exporter: the SDK's
    simple and batch processors look at the sampled flag, which stays what the application's sampler decided.

    Args:
        root: the application's sampler; it decides on its own, and is given all that we are given. What it
            raises is not ours, and goes on to whoever started the span.
        mode: which of the spans that `root` drops are recorded: ``all``; ``entry``, those that begin a trace
            or come in from outside (kind server or consumer, or a remote parent), and those that bear
            ``ocm.event_type`` when they start; ``tagged``, only the latter; ``off``, none. By default what
            ``OTEL_EXPORTER_OCM_SAMPLER_MODE`` says. A value that is none of these is reported, and is ``all``.
    """

    def __init__(self, root: Sampler, *, mode: str | None = None) -> None:
        with importing:
            from ocm_otel._doors import last_resort
            from ocm_otel._settings import Settings
            from ocm_otel._table import SAMPLER_MODES
        if mode is None:
            mode = Settings.from_env().sampler_mode  # a bad value there is told by the outbox, once
        elif mode not in SAMPLER_MODES:
            choices = " or ".join(map(repr, SAMPLER_MODES))
            last_resort.report(("sampler", "mode"), "OCMSampler: mode is %s; 'all' is used", choices)
            mode = "all"
        self._root = root
        self._mode = mode

    @property
    def root(self) -> Sampler:
        """The application's sampler, around which this one stands."""
        return self._root

    @property
    def mode(self) -> str:
        """Which dropped spans are recorded: ``all``, ``entry``, ``tagged`` or ``off``."""
        return self._mode

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return what the application's sampler decides, with "record only" in place of "drop".

        Returns:
            Its own result, untouched, unless it drops a span that is wanted; then one with its trace state,
            the attributes that the span was started with, and on top of them those that it added.
        """
        if trace_state is None:  # as the SDK calls: a sampler of the user's may not know of a seventh
            result = self._root.should_sample(parent_context, trace_id, name, kind, attributes, links)
        else:
            result = self._root.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        try:
            if result.decision is not Decision.DROP or not self._wants(parent_context, kind, attributes):
                return result
            # The SDK's samplers return no attributes with a drop; the span would start without its own.
            kept = {**(attributes or {}), **result.attributes} if result.attributes else attributes
            return SamplingResult(Decision.RECORD_ONLY, kept, result.trace_state)
        except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
            failed("OCMSampler", error)
            return result

    def get_description(self) -> str:
        """Return the mode, and the description of the application's sampler."""
        return f"OCMSampler{{mode:{self._mode},root:{self._root.get_description()}}}"

    def _wants(self, parent_context: Context | None, kind: SpanKind | None, attributes: Attributes) -> bool:
        """Return whether a dropped span is to be recorded."""
        if self._mode == "all":
            return True
        if self._mode == "off":
            return False
        if attributes and TYPE in attributes:
            return True
        if self._mode == "tagged":
            return False
        parent = get_current_span(parent_context).get_span_context()
        return kind in _ENTRIES or not parent.is_valid or parent.is_remote


def wrap(provider: object, *, mode: str | None = None) -> bool:
    """Put an `OCMSampler` around the sampler of a tracer provider that is in use; never raises.

    The tracers that the provider has made already are given it too. A provider whose sampler is an
    `OCMSampler` is left as it is, so to call this twice does no harm.

    Args:
        provider: the SDK's tracer provider; anything else is left as it is.
        mode: as for `OCMSampler`; with ``off`` nothing is changed.

    Returns:
        True if the provider now records spans that its sampler drops.
    """
    try:
        if not isinstance(provider, TracerProvider):
            return False
        inner = provider.sampler
        outer = inner if isinstance(inner, OCMSampler) else OCMSampler(inner, mode=mode)
        if outer is not inner and outer.mode != "off":
            provider.sampler = outer
            for tracer in _tracers_of(provider, inner):
                tracer.sampler = outer
        return outer.mode != "off"
    except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
        failed("OCMSampler", error)
        return False


def unwrap(provider: object) -> None:
    """Take back what `wrap` did: the provider and its tracers have the application's sampler again; never raises."""
    try:
        outer = getattr(provider, "sampler", None)
        if isinstance(provider, TracerProvider) and isinstance(outer, OCMSampler):
            provider.sampler = outer.root
            for tracer in _tracers_of(provider, outer):
                tracer.sampler = outer.root
    except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
        failed("OCMSampler", error)


def failed(name: str, error: Exception) -> None:
    """Count and tell, once for each kind, what went wrong around a sampler; never raises."""
    from ocm_otel._doors import last_resort  # it came with the first sampler

    kind = type(error).__name__
    last_resort.add("failed_door", kind)
    last_resort.report(
        (name, "failed", kind),
        "%s failed (%s): spans are sampled as without it, and tags on spans that are dropped are not seen",
        name,
        kind,
    )


def _tracers_of(provider: TracerProvider, sampler: Sampler) -> Iterator[Tracer]:
    """Yield the tracers that a provider made while `sampler` was its sampler.

    A tracer keeps the sampler that its provider had, and no public name leads from the provider to its tracers
    (before 1.41 not even a private one), so they are looked for among all objects, once (20 ms for 60,000).
    Another provider's tracer may have the same sampler, for the SDK's are shared, but not the same id generator.
    """
    for thing in gc.get_objects():
        # Not isinstance(): that asks the object itself, and a lazy proxy of the application's would wake up.
        if Tracer in type(thing).__mro__ and thing.sampler is sampler and thing.id_generator is provider.id_generator:
            yield thing
