"""A program without a line of ours, but for what its arguments ask: tagged spans, lines and structlog lines.

Arguments: `initialize` starts OpenTelemetry's auto-instrumentation in code, `logfire` sets logfire up.
"""

from __future__ import annotations

import logging
import sys

if "initialize" in sys.argv:
    from opentelemetry.instrumentation.auto_instrumentation import initialize

    initialize()
if "logfire" in sys.argv:
    import logfire

    logfire.configure(send_to_logfire=False, console=False)

import structlog
from opentelemetry import trace


def course(number: int) -> dict[str, object]:
    return {"ocm.event_type": "course-save", "ocm.course_id": number, "ocm.user_id": "ann"}


tracer = trace.get_tracer("shop")
log = logging.getLogger("shop")
log.setLevel(logging.INFO)
structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()],
    cache_logger_on_first_use=True,
)
lines = structlog.get_logger()

for number in range(10):
    with tracer.start_as_current_span("request"):
        trace.get_current_span().set_attributes(course(number))
        log.info("opened", extra={"page": number})
        log.info("saved", extra=course(100 + number))
        with structlog.contextvars.bound_contextvars(**course(200 + number)):
            lines.info("saved")
        lines.info("opened", page=number)
