"""A course site on Flask that sets OpenTelemetry up itself when it is loaded: under --preload, before the fork."""

from __future__ import annotations

import os
import sys

import flask_spans
from opentelemetry import trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel import OCMSpanProcessor, emit

provider = TracerProvider()
provider.add_span_processor(OCMSpanProcessor())
trace.set_tracer_provider(provider)
app = flask_spans.app
FlaskInstrumentor().instrument_app(app)
emit("site-load", user_id=str(os.getpid()))
print("loaded", os.getpid(), file=sys.stderr)
