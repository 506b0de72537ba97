"""Whom an event concerns, where its own tags do not say: other attributes, baggage, the resource, a setting."""

from __future__ import annotations

import gc
import hashlib
import hmac
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry import baggage, context
from opentelemetry._logs import LogRecord
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel import (
    Event,
    OCMHandler,
    OCMLogExporter,
    OCMLogRecordProcessor,
    OCMProcessor,
    OCMSpanProcessor,
    Outbox,
    Settings,
)

from .conftest import Memory

DOORS = ["span", "span event", "record", "line", "structlog"]
CLICK = {"ocm.event_type": "menu-click"}


class Site:
    """An application with a door of each kind, and a way to tell something by it."""

    def __init__(self, memory: Memory | Outbox, resource: dict[str, Any]) -> None:
        self.spans = TracerProvider(resource=Resource(resource), shutdown_on_exit=False)
        self.logs = LoggerProvider(resource=Resource(resource), shutdown_on_exit=False)
        self.door = OCMSpanProcessor(outbox=memory)
        self.spans.add_span_processor(self.door)
        self.logs.add_log_record_processor(OCMLogRecordProcessor(outbox=memory))
        self.plain = logging.getLogger("application.under.test")
        self.plain.setLevel(logging.INFO)
        self.plain.propagate = False
        self.plain.addHandler(OCMHandler(outbox=memory))
        self.lines = structlog.wrap_logger(
            structlog.PrintLogger(io.StringIO()),
            processors=[
                structlog.contextvars.merge_contextvars,
                OCMProcessor(outbox=memory),
                structlog.processors.JSONRenderer(),
            ],
        )

    def tell(self, door: str, tagged: dict[str, Any]) -> None:
        if door == "span":
            self.spans.get_tracer("t").start_span("click", attributes=tagged).end()
        elif door == "span event":
            with self.spans.get_tracer("t").start_as_current_span("page") as span:
                span.add_event("click", tagged)
        elif door == "record":
            self.logs.get_logger("t").emit(LogRecord(body="click", attributes=tagged))
        elif door == "line":
            self.plain.info("click", extra=tagged)
        else:
            self.lines.info("click", **tagged)


@pytest.fixture
def site() -> Iterator[Callable[..., tuple[Site, Memory]]]:
    """Makes an application with settings and a resource, and the outbox that remembers what it told."""
    made = []

    def make(resource: dict[str, Any] | None = None, **settings: Any) -> tuple[Site, Memory]:
        memory = Memory(Settings(**settings))
        made.append(Site(memory, resource or {}))
        return made[-1], memory

    yield make
    structlog.contextvars.clear_contextvars()
    for one in made:
        one.plain.handlers.clear()
        one.plain.propagate = True
        one.spans.shutdown()
        one.logs.shutdown()


@pytest.fixture
def sent_along() -> Iterator[Callable[[str], None]]:
    """Makes what another service sent along the baggage of the code that runs."""
    tokens = []

    def attach(header: str) -> None:
        tokens.append(context.attach(W3CBaggagePropagator().extract({"baggage": header})))

    yield attach
    for token in reversed(tokens):
        context.detach(token)


def whom(event: Event) -> tuple[str | None, str | None, str | None]:
    return event.user_id, event.entity_id, event.course_id


@pytest.mark.parametrize("door", DOORS)
def test_other_names_for_the_user(site, door):
    """The first of the named attributes that says something is the user; the tag itself wins."""
    app, memory = site(user_id_keys="user.id, enduser.id")
    app.tell(door, CLICK | {"enduser.id": "bob"})
    app.tell(door, CLICK | {"user.id": "ann", "enduser.id": "bob"})
    app.tell(door, CLICK | {"user.id": "", "enduser.id": "bob"})
    app.tell(door, CLICK | {"user.id": "ann", "ocm.user_id": "eve"})
    app.tell(door, CLICK | {"session.id": "s"})
    assert [event.user_id for event in memory.events] == ["bob", "ann", "bob", "eve", None]


@pytest.mark.parametrize("door", DOORS)
def test_baggage(site, door, sent_along):
    """Ids come from the baggage entries that are named, without their metadata; the record's own tag wins."""
    app, memory = site(baggage_keys="user_id=session.user,ocm.entity_id")
    sent_along("session.user=ann%20b;secret=1,ocm.entity_id=north,ocm.course_id=9")
    app.tell(door, CLICK)
    app.tell(door, CLICK | {"ocm.user_id": "eve", "ocm.course_id": 1})
    assert [whom(event) for event in memory.events] == [("ann b", "north", None), ("eve", "north", "1")]


@pytest.mark.parametrize("door", DOORS)
def test_nothing_is_read_unless_it_is_asked_for(site, door, sent_along):
    """Without settings neither baggage nor other attributes say whom an event concerns."""
    app, memory = site()
    sent_along("ocm.user_id=ann,ocm.entity_id=north")
    app.tell(door, CLICK | {"user.id": "ann", "enduser.id": "ann"})
    assert [whom(event) for event in memory.events] == [(None, None, None)]


def test_baggage_is_read_when_the_span_starts(site):
    """What the baggage was when a span began counts, whatever it is when the span ends, in its events, too."""
    app, memory = site(baggage_keys="user_id=user")
    begun = app.spans.get_tracer("t").start_span("page", context=baggage.set_baggage("user", 7))
    token = context.attach(baggage.set_baggage("user", 8))
    begun.set_attributes(CLICK)
    begun.add_event("click", CLICK)
    begun.end()
    context.detach(token)
    assert [event.user_id for event in memory.events] == ["7", "7"]
    assert "ocm.user_id" not in begun.attributes


def test_no_span_is_kept_for_its_baggage(site):
    """What was noted at the start of a span goes when it ends, and when it is given up without an end."""
    app, _ = site(baggage_keys="user_id=user")
    with_user = baggage.set_baggage("user", 7)
    spans = [app.spans.get_tracer("t").start_span("page", context=with_user) for _ in range(10)]
    assert len(app.door._door._started) == 10
    ended = spans.pop()
    ended.end()
    assert len(app.door._door._started) == 9
    spans.clear()
    gc.collect()
    assert app.door._door._started == {}


def test_a_class_of_the_users_reads_baggage_as_well(memory):
    """A class derived from ours has both methods to call, and what it bears besides changes nothing."""
    seen = []

    class Mine(OCMSpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append("start")
            super().on_start(span, parent_context)

        def on_end(self, span):
            seen.append("end")
            super().on_end(span)

    memory.settings = Settings(baggage_keys="user_id=user")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Mine(outbox=memory))
    tracer, with_user = provider.get_tracer("t"), baggage.set_baggage("user", 7)
    tracer.start_span("page", context=with_user, attributes=CLICK).end()
    tracer.start_span("page", context=with_user).end()
    assert [event.user_id for event in memory.events] == ["7"]
    assert seen == ["start", "end"] * 2


def test_an_exporter_sees_no_baggage(memory, sent_along):
    """An exporter runs elsewhere: it takes nobody's baggage for that of its records."""
    provider = LoggerProvider(shutdown_on_exit=False)
    memory.settings = Settings(baggage_keys="user_id=user")
    exporter = OCMLogExporter(outbox=memory)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    provider.get_logger("t").emit(LogRecord(body="click", attributes=CLICK, context=context.Context()))
    sent_along("user=ann")
    provider.force_flush()
    provider.shutdown()
    assert [event.user_id for event in memory.events] == [None]


@pytest.mark.parametrize("door", ["span", "span event", "record"])
@pytest.mark.parametrize(
    ("setting", "resource", "entity"),
    [
        (None, {"ocm.entity_id": 7}, "7"),
        ("south", {"ocm.entity_id": "7"}, "7"),
        ("resource:tenant.id", {"tenant.id": "north"}, "north"),
        ("resource:tenant.id", {}, None),
        (12, {}, "12"),
    ],
)
def test_the_entity_of_a_resource(site, door, setting, resource, entity):
    """The resource, or the setting, says the entity of all that a process tells; a record's own tag wins."""
    app, memory = site(resource, entity_id=setting)
    app.tell(door, CLICK)
    app.tell(door, CLICK | {"ocm.entity_id": "own"})
    assert [event.entity_id for event in memory.events] == [entity, "own"]


@pytest.mark.parametrize("door", ["line", "structlog"])
def test_the_entity_of_a_process(site, door):
    """Lines that have no resource have the entity that the setting names."""
    app, memory = site(entity_id="north")
    app.tell(door, CLICK)
    assert [event.entity_id for event in memory.events] == ["north"]


def test_contextvars_as_they_are(site):
    """Tags that are bound to structlog's contextvars are those of each line."""
    app, memory = site()
    structlog.contextvars.bind_contextvars(ocm_user_id="ann", **{"ocm.entity_id": "north"})
    app.tell("structlog", CLICK)
    app.tell("structlog", CLICK | {"ocm.user_id": "eve"})
    assert [whom(event)[:2] for event in memory.events] == [("ann", "north"), ("eve", "north")]


def test_bad_baggage(site, sent_along, caplog):
    """An entry that can be no id is told, and the event goes without it."""
    app, memory = site(baggage_keys="user_id=user")
    sent_along("user=%0A" + "x" * 3000)
    app.tell("structlog", CLICK)
    assert [event.user_id for event in memory.events] == [None]
    assert "ocm.user_id" in caplog.text


@pytest.mark.parametrize("door", [*DOORS, "put"])
def test_a_hash_in_the_place_of_the_user(emulator, tmp_path, door):
    """With a key, a hash of the user's id is delivered, and the id itself is neither sent nor on disk nor told."""
    settings = Settings(
        api_key=emulator.key,
        endpoint=emulator.endpoint,
        spool_dir=str(tmp_path / "spool"),
        user_id_hash_key="pepper",
        user_id_keys="user.id",
    )
    outbox = Outbox(settings)
    if door == "put":
        outbox.put(Event("menu-click", user_id="ann@example.com"))
    else:
        app = Site(outbox, {})
        app.tell(door, CLICK | {"user.id": "ann@example.com"})
        app.plain.handlers.clear()
        app.plain.propagate = True
    on_disk = b"".join(path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file())
    assert outbox.flush(30)
    wanted = hmac.new(b"pepper", b"ann@example.com", hashlib.sha256).hexdigest()
    assert [event["user_id"] for event in emulator.events()] == [wanted]
    assert b"menu-click" in on_disk
    assert b"example.com" not in on_disk
    assert "pepper" not in repr(settings)
    outbox.close(5)
