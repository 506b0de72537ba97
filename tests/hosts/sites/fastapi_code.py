"""The course site on FastAPI that sets OpenTelemetry up itself, in each process that loads it."""

from __future__ import annotations

import fastapi_spans
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel import OCMSpanProcessor

provider = TracerProvider()
provider.add_span_processor(OCMSpanProcessor())
trace.set_tracer_provider(provider)
app = fastapi_spans.app
FastAPIInstrumentor.instrument_app(app)
