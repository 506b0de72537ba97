"""Bad input, through every door: counted, told once, no exception, and what the API can take is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel import OCMHandler, OCMLogRecordProcessor, OCMProcessor, OCMSpanProcessor, Outbox

BAD_IDS = {
    "boolean": True,
    "list": ["ann"],
    "empty": "",
    "blank": " \t ",
    "nan": float("nan"),
    "infinite": float("inf"),
    "fraction": 1.5,
    "50 kB": "secret-name-" * 4_200,
    "control character": "secret-name\x00",
    "line break": "secret-name\r\nx-api-key: stolen",
    "lone surrogate": "secret-name\ud800",
}
BAD_TYPES = {
    "number": 7,
    "boolean": True,
    "list": ["course-save"],
    "empty": "",
    "blank": "  ",
    "line break": "a\nb",
}
DOORS = ["span", "record", "line", "structlog"]


@pytest.fixture(params=DOORS)
def tell(request: pytest.FixtureRequest, outbox: Outbox) -> Iterator[Callable[[dict[str, object]], None]]:
    """Puts tags on a record of each kind, in an application that has the door for it."""
    spans, logs = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    spans.add_span_processor(OCMSpanProcessor(outbox=outbox))
    logs.add_log_record_processor(OCMLogRecordProcessor(outbox=outbox))
    plain = logging.getLogger("application.under.test")
    plain.setLevel(logging.INFO)
    plain.addHandler(OCMHandler(outbox=outbox))
    plain.propagate = False
    processor = OCMProcessor(outbox=outbox)
    yield {
        "span": lambda tags: spans.get_tracer("t").start_span("save", attributes=tags).end(),
        "record": lambda tags: logs.get_logger("t").emit(LogRecord(body="saved", attributes=tags)),
        "line": lambda tags: plain.info("saved", extra=tags),
        "structlog": lambda tags: processor(None, "info", {"event": "saved", **tags}),
    }[request.param]
    plain.handlers.clear()
    plain.propagate = True


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages of the library, not those of the SDK."""
    return [line.getMessage() for line in caplog.records if line.name == "ocm_otel"]


@pytest.mark.parametrize("bad", BAD_IDS.values(), ids=BAD_IDS)
def test_a_bad_id(tell, outbox, arrived, caplog, bad):
    """The event is sent without an id that is none; that is counted, and told once without the value."""
    for course in (7, 8):
        tell({"ocm.event_type": "course-save", "ocm.course_id": course, "ocm.user_id": bad})
    assert arrived() == [("course-save", "7", None, None), ("course-save", "8", None, None)]
    assert outbox.books.snapshot().reasons["mended"] == {"user_id": 2}
    (message,) = ours(caplog)
    assert message.startswith("ocm.user_id = ")
    assert message.endswith("; the event is sent without it")
    assert "secret-name" not in message
    assert len(message) < 250


@pytest.mark.parametrize("bad", BAD_TYPES.values(), ids=BAD_TYPES)
def test_a_bad_type(tell, outbox, arrived, caplog, bad):
    """A type that is none makes no event: it is not accepted, but counted and told once."""
    for _ in range(2):
        tell({"ocm.event_type": bad, "ocm.course_id": 7})
    assert arrived() == []
    assert outbox.books.snapshot().reasons == {"invalid": {"event_type": 2}}
    assert outbox.books.snapshot().accepted == 0
    (message,) = ours(caplog)
    assert message.startswith("ocm.event_type = ")
    assert message.endswith("; no event is made of it")


@pytest.mark.parametrize("odd", ["São Tomé", "a&type=b", "50%", "名前", "a/b?c#d", "ann+bob", "😀"])
def test_odd_ids_are_encoded(tell, arrived, odd):
    """Whatever text an id is, the API reads it as the application wrote it."""
    tell({"ocm.event_type": "menu-click", "ocm.user_id": odd})
    assert arrived() == [("menu-click", None, odd, None)]


def test_a_course_event_without_a_course(tell, outbox, arrived, caplog):
    """A course event without a course is sent, counted each time and told once for each type."""
    for kind in ("course-save", "course-save", "course-click", "menu-click"):
        tell({"ocm.event_type": kind})
    assert [event[0] for event in arrived()] == ["course-click", "course-save", "course-save", "menu-click"]
    assert outbox.books.snapshot().reasons["incomplete"] == {"course_id": 3}
    assert len(ours(caplog)) == 2
    assert "course-save has no ocm.course_id" in ours(caplog)[0]


def test_two_rules_are_two_messages(tell, outbox, arrived, caplog):
    """The same key is told again when another rule is broken."""
    for bad in (True, [1], [2], False):
        tell({"ocm.event_type": "menu-click", "ocm.user_id": bad})
    assert len(arrived()) == 4
    assert len(ours(caplog)) == 2
    assert outbox.books.snapshot().reasons["mended"] == {"user_id": 4}
