"""What a team adds to its site, once: a door for its spans, one for structlog, one for `logging`.

In an application of one's own the doors are made without `outbox=`; they then take the one that the
environment describes. Here they are given an outbox that leads to the emulator, whatever the environment
says. Everything set up here is the process's own: the demo is a process of its own.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import structlog
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from ocm_otel.demo.site import classic_log, create_site
from ocm_otel.logging import OCMHandler
from ocm_otel.spans import OCMSpanProcessor
from ocm_otel.structlog import OCMProcessor

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from starlette.types import ASGIApp

    from ocm_otel._outbox import Outbox


class Census(SpanProcessor):
    """Counts the spans that bear no tag; how it is told apart is its own reading, not ours."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.untagged = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Count an ended span."""
        happened = [span.attributes, *(event.attributes for event in span.events)]
        if not any("ocm.event_type" in (attributes or {}) for attributes in happened):
            with self._lock:
                self.untagged += 1


def instrumented_site(outbox: Outbox, census: Census) -> tuple[ASGIApp, TracerProvider]:
    """Return the learning site with its telemetry, and the provider to shut down at the end.

    Args:
        outbox: where the events go.
        census: counts the spans.
    """
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    provider.add_span_processor(census)

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            OCMProcessor(outbox=outbox),  # before the renderer
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.ReturnLoggerFactory(),  # a real site prints its lines
    )

    classic_log.addHandler(OCMHandler(outbox=outbox))
    classic_log.setLevel(logging.INFO)
    classic_log.propagate = False

    return OpenTelemetryMiddleware(create_site(), tracer_provider=provider), provider
