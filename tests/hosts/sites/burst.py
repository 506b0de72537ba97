"""A tight loop: 1,000 tagged spans among 30,000 untagged. With `processor` it sets OpenTelemetry up itself."""

from __future__ import annotations

import sys

from opentelemetry import trace

if sys.argv[1:] == ["processor"]:
    from opentelemetry.sdk.trace import TracerProvider

    from ocm_otel import OCMSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(OCMSpanProcessor())
    trace.set_tracer_provider(provider)

tracer = trace.get_tracer("burst")
for number in range(1_000):
    for _ in range(30):
        tracer.start_span("untagged").end()
    with tracer.start_as_current_span("tagged") as span:
        span.set_attributes({"ocm.event_type": "course-save", "ocm.course_id": number, "ocm.user_id": "ann"})
print("looped")
