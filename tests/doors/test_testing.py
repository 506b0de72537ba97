"""`ocm_otel.testing` with the real doors: what tests of an application see, and what they never reach."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel import (
    Event,
    InvalidEvent,
    OCMHandler,
    OCMLogRecordProcessor,
    OCMSpanProcessor,
    Outbox,
    Settings,
    SettingsError,
    emit,
    tags,
)
from ocm_otel.emulator import Emulator
from ocm_otel.structlog import OCMProcessor
from ocm_otel.testing import capture_events, run_emulator


@pytest.fixture
def tracer() -> object:
    """A tracer whose spans pass our processor."""
    provider = TracerProvider()
    provider.add_span_processor(OCMSpanProcessor())
    return provider.get_tracer("app")


def test_every_door_is_captured(tracer, emulator: Emulator) -> None:
    """Spans, span events, log records, structlog lines, log lines, `emit` and a door's own outbox: all, in order."""
    outbox = Outbox(Settings(api_key=emulator.key, endpoint=emulator.endpoint))
    records = LoggerProvider()
    records.add_log_record_processor(OCMLogRecordProcessor(outbox=outbox))
    logger = logging.Logger("app")  # noqa: LOG001 - one that nobody else has
    logger.addHandler(OCMHandler())
    lines = structlog.wrap_logger(None, processors=[OCMProcessor(outbox=outbox), lambda *_: ""], wrapper_class=Quiet)
    with capture_events() as events, outbox:
        with tracer.start_as_current_span("save") as span:
            span.add_event("clicked", tags("course-click", course_id=1))
            span.set_attributes(tags("course-save", course_id=2))
        records.get_logger("app").emit(attributes=tags("course-view", course_id=3), body="viewed")
        lines.info("searched", **tags("search", user_id="ann"))
        logger.info("left", extra=tags("logout"))
        assert emit("menu-click", entity_id=12)
        assert outbox.put(Event("put"))
        assert outbox.flush(0.0)
    expected = ["course-save", "course-click", "course-view", "search", "logout", "menu-click", "put"]
    assert [event.type for event in events] == expected
    assert (events[2].course_id, events[5].entity_id, len(events[1:3])) == ("3", "12", 2)
    assert (outbox.books.snapshot().accepted, emulator.requests()) == (0, [])
    assert repr(events).startswith("<7 captured events>\n  course-save course_id='2'\n")


class Quiet(structlog.BoundLogger):
    """A structlog logger that writes nowhere."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, *_: object, **values: object) -> None:
        self._process_event(method_name, event, values)


def test_the_assertions(tracer) -> None:
    """They return what they found; ids that are not given are not looked at, None has to be absent."""
    with capture_events() as events:
        for user in ("ann", "bob"):
            with tracer.start_as_current_span("save") as span:
                span.set_attributes(tags("course-save", course_id=7, user_id=user))
    assert events.assert_one("course-save", course_id="7", user_id="ann") is events[0]
    assert events.assert_one("course-save", user_id="bob", entity_id=None).course_id == "7"
    assert events.assert_count(2, "course-save", course_id=7.0) == list(events) == events.matching()
    events.assert_none("course-view")
    events.assert_none("course-save", course_id=8)
    with pytest.raises(AssertionError, match="expected one course-save course_id='7', and there are 2"):
        events.assert_one("course-save", course_id=7)
    with pytest.raises(AssertionError, match="expected no event, and there are 2"):
        events.assert_none()
    with pytest.raises(InvalidEvent, match="a boolean is no id"):
        events.assert_one("course-save", course_id=True)
    with pytest.raises(TypeError):
        events.assert_one("course-save", curse_id=7)
    events.clear()
    events.assert_none()


def test_a_wrong_tag_is_told(tracer) -> None:
    """A misspelt tag, a value that is no id and a door that is not there are told by the failure."""
    with capture_events() as events:
        with pytest.raises(AssertionError, match="no span or line passed a door of ocm-otel: is OCMSpanProcessor in"):
            events.assert_one("course-save")
        with tracer.start_as_current_span("save") as span:
            span.set_attributes({"ocm.event_typ": "course-save", "ocm.course_id": True})
        with pytest.raises(AssertionError) as wrong:
            events.assert_one("course-save")
        assert "1 spans or lines passed the doors, none with a usable ocm.event_type" in str(wrong.value)
        assert "span 'save': ocm.event_typ = 'course-save', is ocm.event_type meant?" in str(wrong.value)
        with tracer.start_as_current_span("save") as span:
            span.set_attributes({"ocm.event_type": "course-save", "ocm.course_id": True})
        with pytest.raises(AssertionError) as wrong:
            events.assert_one("course-save", course_id=1)
        assert "course-save  <- course_id is None, not '1'" in str(wrong.value)
        assert "values that could not be used:\n  ocm.course_id = True: a boolean is no id" in str(wrong.value)


def test_a_wrong_tag_on_a_line_is_told() -> None:
    """Each line of structlog without a usable tag is seen while there is a capture, as a span is, and only then."""
    before = structlog.wrap_logger(None, [OCMProcessor(), structlog.processors.JSONRenderer()], wrapper_class=Quiet)
    wrong = {"ocm.event_typ": "course-save"}
    for _ in range(2):
        before.info("saved", **wrong)
    with capture_events() as events:
        within = structlog.wrap_logger(None, [OCMProcessor(), structlog.processors.JSONRenderer()], wrapper_class=Quiet)
        for log in (before, before, within, within):
            log.info("saved", **wrong)
        with pytest.raises(AssertionError, match="4 spans or lines passed the doors") as told:
            events.assert_one("course-save")
        assert "line 'saved': ocm.event_typ = 'course-save', is ocm.event_type meant?" in str(told.value)
    within.info("saved", **wrong)
    with pytest.raises(AssertionError, match="4 spans or lines passed the doors"):
        events.assert_one("course-save")


def test_a_wrong_tag_on_a_log_record_is_told() -> None:
    """So is a log record of OpenTelemetry."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(OCMLogRecordProcessor())
    log = provider.get_logger("app")
    log.emit(body="saved", attributes={"ocm.event_typ": "before"})
    with capture_events() as events:
        log.emit(body="saved", attributes={"ocm.event_typ": "course-save"})
        with pytest.raises(AssertionError, match="1 spans or lines passed the doors") as told:
            events.assert_one("course-save")
        assert "log record 'saved': ocm.event_typ = 'course-save', is ocm.event_type meant?" in str(told.value)


def test_threads_are_captured_and_waited_for() -> None:
    """An event of a thread that knows nothing of the test is captured; `within` waits for it."""
    with capture_events() as events:
        timer = threading.Timer(0.05, lambda: contextvars.Context().run(emit, "late"))
        timer.start()
        events.assert_one("late", within=10)
        timer.join()


def test_tasks_have_their_own() -> None:
    """Two tasks that capture at once see their own events, and those of tasks that they start."""

    async def one(name: str) -> list[str]:
        with capture_events() as events:
            await asyncio.to_thread(str)
            await asyncio.gather(*(asyncio.to_thread(emit, f"{name}-{number}") for number in range(3)))
            emit(name)
        return sorted(event.type for event in events)

    async def both() -> list[list[str]]:
        return await asyncio.gather(one("a"), one("b"))

    assert asyncio.run(both()) == [["a", "a-0", "a-1", "a-2"], ["b", "b-0", "b-1", "b-2"]]


def test_the_inner_capture_wins_and_the_outer_goes_on() -> None:
    """Captures may stand in each other; one for an outbox leaves all others alone."""
    other = Outbox(Settings(api_key="k", endpoint="http://127.0.0.1:9/", durability="memory"))
    with capture_events() as outer:
        emit("before")
        with capture_events() as inner:
            emit("within")
        with capture_events(other) as of_other:
            other.put(Event("other"))
        emit("after")
    assert [[event.type for event in events] for events in (outer, inner, of_other)] == [
        ["before", "after"], ["within"], ["other"],
    ]  # fmt: skip


def test_what_comes_when_it_is_over_is_not_captured() -> None:
    """A context that outlives its capture puts its events where they would go without it."""
    with capture_events() as events:
        context = contextvars.copy_context()
    with capture_events() as later:
        context.run(emit, "late")
    assert (len(events), [event.type for event in later]) == (0, ["late"])


def test_events_are_led_to_an_emulator(tracer) -> None:
    """In `run_emulator` the shared doors deliver to it, flush waits for it, and an outbox of its own stays itself."""
    with run_emulator() as emulator:
        with tracer.start_as_current_span("save") as span:
            span.set_attributes(tags("course-save", course_id=7))
        own = Outbox(Settings(api_key=emulator.key, endpoint=emulator.endpoint, durability="memory"))
        with own:
            own.put(Event("own"))
            assert own.flush(30)
        assert own.books.snapshot().delivered == 1
        with Outbox(Settings(durability="memory")) as keyless:
            assert keyless.put(Event("led"))
            assert keyless.flush(30)
        assert emulator.wait_for(3, 30)
        assert sorted(event["type"] for event in emulator.events()) == ["course-save", "led", "own"]


# --- the guard --------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which the guard is up, with a key for the real API."""
    monkeypatch.setenv("OTEL_EXPORTER_OCM_REAL_API", "refuse")
    monkeypatch.setenv("OTEL_EXPORTER_OCM_API_KEY", "a-real-key")
    monkeypatch.delenv("OTEL_EXPORTER_OCM_ENDPOINT", raising=False)
    return monkeypatch


@pytest.mark.parametrize("made", ["in code", "from the environment"])
def test_no_test_reaches_the_real_api(
    guarded: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, made: str
) -> None:
    """However an outbox is made, with the guard up it accepts nothing for the real API, and keeps nothing on disk."""
    guarded.setenv("OTEL_EXPORTER_OCM_SPOOL_DIR", str(tmp_path / "spool"))
    settings = Settings(api_key="k", spool_dir=str(tmp_path / "spool")) if made == "in code" else Settings.from_env()
    with Outbox(settings) as outbox:
        assert not outbox.put(Event("logout"))
        assert outbox.books.snapshot().turned_away == 1
    assert not (tmp_path / "spool").exists()
    assert "api.ofcourse.me is the real API" in caplog.text
    assert "a-real-key" not in caplog.text
    with pytest.raises(SettingsError, match="pytest --ocm-real-api"):
        settings.key()
    assert settings.key(real=False)


def test_the_guard_can_be_taken_down(guarded: pytest.MonkeyPatch) -> None:
    """Without the guard, and for an emulator in any case, the key is there."""
    assert Settings(api_key="k", endpoint="http://127.0.0.1:8377/v2.0/events").key() == "k"
    guarded.setenv("OTEL_EXPORTER_OCM_REAL_API", "allow")
    assert Settings(api_key="k").key() == "k"
