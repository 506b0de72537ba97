"""Tags that OpenTelemetry's limits cut or push out, or that a chain renders before us: counted, and told once."""

from __future__ import annotations

import logging
import warnings

import pytest
import structlog
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span, SpanContext

from ocm_otel import OCMLogRecordProcessor, OCMProcessor, OCMSampler, OCMSpanProcessor, Outbox, tags

from .conftest import Arrived, Run

SAVED = tags("course-save", course_id=7, user_id="annabelle")
MANY = {f"attribute.{number}": number for number in range(10)}


def told(caplog: pytest.LogCaptureFixture, text: str) -> int:
    """How many messages of ours have this text."""
    return sum(text in record.getMessage() for record in caplog.records if record.name == "ocm_otel")


@pytest.mark.parametrize(("attributes", "lost"), [({**SAVED, **MANY}, 1), ({**MANY, **SAVED}, 0), (MANY | MANY, 0)])
def test_a_type_that_is_pushed_out_of_a_span(
    outbox: Outbox, arrived: Arrived, caplog: pytest.LogCaptureFixture, attributes: dict[str, object], lost: int
) -> None:
    """The type goes first where tags come first and are too many; what is left of them gives it away, once told."""
    provider = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_span_attributes=12))
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    for _ in range(3):
        with provider.get_tracer("t").start_as_current_span("s", attributes=attributes):
            pass
    provider.shutdown()
    assert len(arrived()) == (3 if attributes and not lost and "ocm.event_type" in attributes else 0)
    assert outbox.books.snapshot().reasons.get("lost", {}) == ({"pushed_out": 3} if lost else {})
    assert told(caplog, "with too many attributes lost ocm.event_type, and kept ocm.course_id") == lost


def test_a_type_that_is_pushed_out_of_a_log_record(
    outbox: Outbox, arrived: Arrived, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a span: what is left of the tags gives it away."""
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "12")
    monkeypatch.setenv("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "12")
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(OCMLogRecordProcessor(outbox=outbox))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenTelemetry's own, which says that attributes were dropped
        provider.get_logger("l").emit(LogRecord(body="saved", attributes={**SAVED, **MANY}))
        provider.get_logger("l").emit(LogRecord(body="saved", attributes={**MANY, **SAVED, "x": 1}))
    provider.shutdown()
    assert (len(arrived()), outbox.books.snapshot().reasons["lost"]) == (1, {"pushed_out": 1})
    assert told(caplog, "lost ocm.event_type") == 1


@pytest.mark.parametrize(("length", "cut"), [(9, 3), (11, 3), (12, 0), (None, 0)])
def test_a_tag_that_may_have_been_cut(
    outbox: Outbox, arrived: Arrived, caplog: pytest.LogCaptureFixture, length: int | None, cut: int
) -> None:
    """A tag that is as long as the limit is told of once and counted each time, and its event is sent as it is."""
    provider = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_span_attribute_length=length))
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    for _ in range(3):
        with provider.get_tracer("t").start_as_current_span("s") as span:
            span.set_attributes(SAVED)
    provider.shutdown()
    assert len(arrived()) == 3
    both = length == 9  # the type of 11 characters as well as the user of 9
    assert outbox.books.snapshot().reasons.get("lost", {}).get("cut", 0) == cut * (1 + both)
    assert told(caplog, "may have been cut") == bool(cut)


def tag_late(span: Span) -> None:
    """Tag a span that runs, in each of the ways that there are, and set what is no tag."""
    span.set_attribute("http.route", "/")
    span.set_attributes({"http.route": "/"})
    span.add_event("opened")
    span.set_attribute("ocm.event_type", "course-save")
    span.set_attributes(SAVED)
    span.add_event("saved", SAVED)


@pytest.mark.parametrize(
    ("place", "reason", "said"),
    [
        ("dropped", "unsampled", "OTEL_TRACES_SAMPLER=ocm_record"),
        ("nowhere", "no_span", "or use emit()"),
        ("the caller's", "no_span", "or use emit()"),
    ],
)
def test_a_tag_that_comes_late_to_a_span_that_is_not_recorded(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, place: str, reason: str, said: str
) -> None:
    """Such a span keeps nothing: each tag on it is counted as lost, and the first is told with what to do."""
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    made = {
        "dropped": lambda: provider.get_tracer("t").start_span("save"),
        "nowhere": lambda: INVALID_SPAN,
        "the caller's": lambda: NonRecordingSpan(SpanContext(5, 7, is_remote=True)),
    }
    for _ in range(2):
        tag_late(made[place]())
    provider.shutdown()
    assert outbox.books.snapshot().reasons == {"lost": {reason: 6}}
    assert told(caplog, said) == 1


@pytest.mark.parametrize(("mode", "lost"), [("all", 0), ("entry", 0), ("tagged", 3), ("off", 3)])
def test_which_modes_of_the_sampler_lose_a_late_tag(outbox: Outbox, mode: str, lost: int) -> None:
    """What a mode of our sampler does not see on the span of a request is counted."""
    provider = TracerProvider(sampler=OCMSampler(ALWAYS_OFF, mode=mode), shutdown_on_exit=False)
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("GET") as span:
        tag_late(span)
    provider.shutdown()
    assert outbox.books.snapshot().reasons.get("lost", {}) == ({"unsampled": lost} if lost else {})
    assert outbox.books.snapshot().accepted == (0 if lost else 2)


def test_nothing_is_told_where_opentelemetry_is_switched_off(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `OTEL_SDK_DISABLED` no span is recorded, as somebody wanted it: a tag on one is not counted as lost."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("GET") as span:
        tag_late(span)
    provider.shutdown()
    assert outbox.books.snapshot().reasons == {}


GONE = """
import gc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan
from ocm_otel import OCMInstrumentor, OCMSpanProcessor, Outbox, tags

own, seen = NonRecordingSpan.set_attribute, []
outbox, provider = Outbox(), TracerProvider(sampler=ALWAYS_OFF)
OCMInstrumentor().instrument(outbox=outbox, tracer_provider=provider)
seen.append(NonRecordingSpan.set_attribute is own)
OCMInstrumentor().uninstrument()
seen.append(NonRecordingSpan.set_attribute is own)
processor = OCMSpanProcessor(outbox=outbox)
seen.append(NonRecordingSpan.set_attribute is own)
del processor
gc.collect()
seen.append(NonRecordingSpan.set_attribute is own)
provider.get_tracer("t").start_span("save").set_attributes(tags("late"))
print(seen, outbox.books.snapshot().reasons)
"""


def test_nobody_looks_when_our_processors_are_gone(run: Run) -> None:
    """While nobody wants to hear of it the methods of such a span are OpenTelemetry's own."""
    done = run(GONE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[False, True, False, True] {}\n", "")


@pytest.mark.parametrize(("line", "lost"), [(SAVED, 2), ({"a": 1}, 0)])
def test_a_line_that_is_rendered_before_us(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, line: dict[str, object], lost: int
) -> None:
    """A chain in the wrong order is told once; only lines that seem to bear a tag are counted as lost."""
    chain = [structlog.processors.JSONRenderer(), OCMProcessor(outbox=outbox)]
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=chain, wrapper_class=structlog.BoundLogger)
    for _ in range(2):
        log.info("saved", **line)
    assert outbox.books.snapshot().reasons.get("lost", {}).get("rendered", 0) == lost
    assert told(caplog, "put it before the renderer") == 1
    assert logging.getLogger("ocm_otel").level == logging.NOTSET


@pytest.mark.parametrize("late", ['{"ocm.event_type": "course-save"}', b'{"ocm.event_type": "course-save"}'])
def test_a_line_that_is_rendered_before_us_later(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, late: object
) -> None:
    """A tag in a rendered line is seen, whatever came before it; the line goes on as it is, and nothing is raised."""
    process = OCMProcessor(outbox=outbox)
    for line in ({"event": "page"}, {"event": "page"}, late, late):
        assert process(None, "info", line) is line
    assert outbox.books.snapshot().reasons["lost"] == {"rendered": 2}
    assert told(caplog, "put it before the renderer") == 1


def test_a_line_that_is_wrapped_before_us(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    """In a chain that wraps each line for a formatter of logging before us each lost tag is counted, and told once."""
    chain = [structlog.stdlib.ProcessorFormatter.wrap_for_formatter, OCMProcessor(outbox=outbox)]
    log = structlog.wrap_logger(logging.getLogger("shop"), processors=chain, wrapper_class=structlog.stdlib.BoundLogger)
    for tag in ({}, SAVED, {"a": 1}, SAVED):
        log.error("saved", **tag)
    assert outbox.books.snapshot().reasons["lost"] == {"rendered": 2}
    assert told(caplog, "put it before the renderer") == 1
