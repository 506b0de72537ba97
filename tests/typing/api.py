"""A user's view of the library, checked by mypy and never run."""

from __future__ import annotations

import logging

import structlog
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

import ocm_otel
from ocm_otel import (
    Event,
    InvalidEvent,
    OCMHandler,
    OCMInstrumentor,
    OCMLogExporter,
    OCMLogRecordProcessor,
    OCMSampler,
    OCMSpanExporter,
    OCMSpanProcessor,
    Outbox,
    Settings,
    SettingsError,
    emit,
    tags,
)
from ocm_otel.structlog import OCMProcessor
from ocm_otel.testing import CapturedEvents, capture_events, run_emulator

version: str = ocm_otel.__version__

# Settings: all of them keywords, all of them optional.
settings = Settings()
settings = Settings(api_key="key", endpoint="http://127.0.0.1:8377/v2.0/events", timeout=2_000, max_rate=50.0)
settings = Settings(user_id_keys="user.id", baggage_keys=["user_id=session.user"], entity_id=7, stamp_event_id=False)
settings = Settings(user_id_keys=("user.id",), baggage_keys={"user_id": "session.user"}, user_id_hash_key="pepper")
settings = Settings.from_env()
Settings("key")  # type: ignore[call-arg]
Settings(timeout="soon")  # type: ignore[arg-type]

# The outbox: put in, gets delivered.
outbox = Outbox(settings)
accepted: bool = outbox.put(Event("menu-click"))
flushed: bool = outbox.flush()
outbox.close()

# The doors on spans.
tracing = TracerProvider()
tracing.add_span_processor(OCMSpanProcessor())
tracing.add_span_processor(OCMSpanProcessor(outbox=outbox))
tracing.add_span_processor(BatchSpanProcessor(OCMSpanExporter()))
tracing.add_span_processor(BatchSpanProcessor(OCMSpanExporter(outbox=outbox)))
OCMSpanProcessor(outbox)  # type: ignore[call-arg]

# The sampler around one's own.
tracing = TracerProvider(sampler=OCMSampler(ParentBasedTraceIdRatio(0.01)))
tracing = TracerProvider(sampler=OCMSampler(ParentBasedTraceIdRatio(0.01), mode="entry"))
OCMSampler(ParentBasedTraceIdRatio(0.01), "entry")  # type: ignore[call-arg]

with tracing.get_tracer("app").start_as_current_span("save") as span:
    span.set_attributes(tags("course-save", course_id=7, user_id="ann", entity_id="school-1"))
    span.add_event("completed", tags("course-completed", course_id=7))

# The doors on log lines.
logs = LoggerProvider()
logs.add_log_record_processor(OCMLogRecordProcessor())
logs.add_log_record_processor(OCMLogRecordProcessor(outbox=outbox))
logs.add_log_record_processor(BatchLogRecordProcessor(OCMLogExporter(outbox=outbox)))

logging.getLogger().addHandler(OCMHandler())
logging.getLogger().addHandler(OCMHandler(outbox=outbox, level=logging.INFO))
logging.getLogger("app").info("saved", extra=tags("course-save", course_id=7))

structlog.configure(processors=[OCMProcessor(), structlog.processors.JSONRenderer()])
structlog.configure(processors=[OCMProcessor(outbox=outbox), structlog.processors.JSONRenderer()])
structlog.get_logger().info("saved", **tags("course-save", course_id=7))

# Everywhere at once.
meters = MeterProvider()
OCMInstrumentor().instrument()
OCMInstrumentor().instrument(
    outbox=outbox, tracer_provider=tracing, logger_provider=logs, meter_provider=meters, timeout=5000
)
OCMInstrumentor().instrument(outbox)  # type: ignore[call-arg]
OCMInstrumentor().uninstrument()

# Without a span or a line.
taken: bool = emit("course-save", course_id=7, user_id="ann")
taken = emit("menu-click", entity_id=12)
emit("course-save", 7)  # type: ignore[call-arg]
emit()  # type: ignore[call-arg]

try:
    event = Event("course-save", course_id=7)
except InvalidEvent as error:
    problem: ValueError = error
try:
    settings = Settings(timeout=-1)
except SettingsError as error:
    problem = error

# In tests.
with capture_events() as events:
    emit("course-save", course_id=7)
captured: CapturedEvents = events
saved: Event = events.assert_one("course-save", course_id=7, user_id=None, within=1.5)
both: list[Event] = events.assert_count(2, "course-save")
events.assert_none()
events.assert_one("course-save", curse_id=7)  # type: ignore[call-arg]
first: Event = events[0]
with run_emulator() as emulator:
    came: bool = emulator.wait_for(1)
