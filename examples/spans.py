"""Spans that bear four more attributes become events: `python examples/spans.py`.

The events API is emulated here, and nothing is left on the disk. In your application leave `outbox=` out,
and set OTEL_EXPORTER_OCM_API_KEY.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel import OCMSpanProcessor, Outbox, Settings, tags
from ocm_otel.emulator import Emulator

with Emulator() as api:
    outbox = Outbox(Settings(endpoint=api.endpoint, api_key=api.key, durability="memory"))
    provider = TracerProvider()
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))  # the one new line of the set-up
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("shop")

    with tracer.start_as_current_span("POST /courses/7/save") as span:
        span.set_attribute("ocm.event_type", "course-save")
        span.set_attribute("ocm.course_id", 7)
        span.set_attribute("ocm.user_id", "ann")

    # Two facts in one span: the span itself, and a span event.
    with tracer.start_as_current_span("GET /search") as span:
        span.set_attributes(tags("search", user_id="ann"))
        span.add_event("first result opened", tags("course-click", course_id=8, user_id="ann"))

    with tracer.start_as_current_span("SELECT courses"):
        pass  # no tags, no event

    provider.shutdown()  # waits until all is delivered
    outbox.close()
    for event in api.events():
        print(event["type"], event["course_id"], event["user_id"])
