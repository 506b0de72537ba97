"""Tags that OpenTelemetry's limits cut or push out, or that a chain renders before us: counted, and told once."""

from __future__ import annotations

import logging
import warnings

import pytest
import structlog
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from ocm_otel import OCMLogRecordProcessor, OCMProcessor, OCMSpanProcessor, Outbox, tags

from .conftest import Arrived

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
