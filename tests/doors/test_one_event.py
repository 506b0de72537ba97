"""One event a fact: a line or a span that passes several doors arrives once, and equal ones arrive each."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from logging.handlers import QueueHandler, QueueListener
from typing import Any

import pytest
import structlog
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from ocm_otel import (
    Event,
    OCMHandler,
    OCMLogExporter,
    OCMLogRecordProcessor,
    OCMProcessor,
    OCMSpanExporter,
    OCMSpanProcessor,
    Outbox,
    Settings,
    tags,
)
from ocm_otel._journal import MemoryJournal

try:
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
except ImportError:  # until 0.61 it was the SDK's
    from opentelemetry.sdk._logs import LoggingHandler
try:
    from opentelemetry.instrumentation.structlog import StructlogProcessor
except ImportError:  # there is none for OpenTelemetry before 1.44
    StructlogProcessor = None

Formatter = structlog.stdlib.ProcessorFormatter
official = pytest.mark.skipif(StructlogProcessor is None, reason="no official structlog instrumentation")


@pytest.fixture
def outbox(make_outbox: Callable[..., Outbox]) -> Outbox:
    """An outbox that delivers to the emulator, without a disk."""
    return make_outbox(durability="memory")


class Application:
    """An application with two logger providers, plain logging and structlog, all of it put back at the end."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.providers = [LoggerProvider(shutdown_on_exit=False) for _ in range(2)]
        self.plain = logging.getLogger("application.under.test")
        self.plain.propagate = False
        self.plain.setLevel(logging.INFO)
        self.log = structlog.get_logger(self.plain.name)

    def export(self, number: int = 0, *, batch: bool = True) -> None:
        kind = BatchLogRecordProcessor if batch else SimpleLogRecordProcessor
        self.providers[number].add_log_record_processor(kind(OCMLogExporter(outbox=self.outbox)))

    def process(self, number: int = 0) -> None:
        self.providers[number].add_log_record_processor(OCMLogRecordProcessor(outbox=self.outbox))

    def official(self, number: int = 0) -> Any:
        return StructlogProcessor(logger_provider=self.providers[number])

    def bridge(self, number: int = 0) -> logging.Handler:
        return LoggingHandler(logger_provider=self.providers[number])

    def door(self) -> logging.Handler:
        return OCMHandler(outbox=self.outbox)

    def formatter(self) -> logging.Handler:
        """A handler whose formatter has our processor, for structlog's lines and for others."""
        handler = logging.StreamHandler(io.StringIO())
        ours = OCMProcessor(outbox=self.outbox)
        handler.setFormatter(
            Formatter(
                foreign_pre_chain=[structlog.stdlib.ExtraAdder(), ours],
                processors=[ours, Formatter.remove_processors_meta, structlog.processors.JSONRenderer(default=str)],
            )
        )
        return handler

    def handle(self, *handlers: logging.Handler) -> None:
        for handler in handlers:
            self.plain.addHandler(handler)

    def chain(self, *processors: Any, last: Any = structlog.stdlib.render_to_log_kwargs, cached: bool = False) -> None:
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, *processors, last],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=cached,
        )

    def flush(self) -> None:
        for provider in self.providers:
            provider.force_flush()


@pytest.fixture
def app(outbox: Outbox) -> Iterator[Application]:
    """An application whose doors all lead to the emulator."""
    made = Application(outbox)
    yield made
    made.plain.handlers.clear()
    made.plain.propagate = True
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    for provider in made.providers:
        provider.shutdown()


@pytest.fixture
def sixty(app: Application, arrived: Any, emulator: Any) -> Callable[[Callable[..., None]], None]:
    """Tells 50 different lines and 10 equal ones, and sees 60 events at the far end."""

    def tell(say: Callable[..., None]) -> None:
        for number in range(50):
            say("saved", tags("course-save", course_id=number))
        for _ in range(10):
            say("saved", tags("course-save", course_id="same"))
        app.flush()
        courses = [course for _, course, _, _ in arrived()]
        assert {course: courses.count(course) for course in courses} == {
            **{str(number): 1 for number in range(50)},
            "same": 10,
        }
        books = app.outbox.books.snapshot()
        assert books.balanced
        assert books.accepted == 60

    return tell


# --- lines of structlog ----------------------------------------------------------------------------------


@official
@pytest.mark.parametrize("last", [Formatter.wrap_for_formatter, structlog.stdlib.render_to_log_kwargs])
def test_the_worst_chain(app, sixty, last):
    """Our processor, the official one, both handlers, two formatters, a log processor and an exporter: 60 events."""
    app.process()
    app.export()
    app.handle(app.bridge(), app.formatter(), app.door(), app.formatter())
    app.chain(OCMProcessor(outbox=app.outbox), app.official(), last=last)
    sixty(lambda text, tagged: app.log.info(text, **tagged))
    assert app.outbox.books.snapshot().reasons["duplicate"]["event_id"] >= 60 * 4


@official
@pytest.mark.parametrize(
    "order",
    [*itertools.permutations(["ours", "official", "again"]), ("official",), ("official", "again")],
    ids="-".join,
)
def test_the_order_of_the_chain_does_not_matter(app, sixty, order):
    """Ours before the official processor, behind it, or not there at all; one provider or two."""
    app.process(0)
    app.process(1)
    app.handle(app.door(), app.bridge(0), app.formatter())
    made = {"ours": OCMProcessor(outbox=app.outbox), "official": app.official(0), "again": app.official(1)}
    app.chain(*(made[name] for name in order))
    sixty(lambda text, tagged: app.log.info(text, **tagged))


@official
def test_with_a_time_stamp_and_a_level(app, sixty):
    """A chain that adds what chains add, with bound, cached loggers, is no different."""
    app.process()
    app.handle(app.bridge(), app.door())
    app.chain(
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        app.official(),
        OCMProcessor(outbox=app.outbox),
        cached=True,
    )
    log = structlog.get_logger(app.plain.name).bind(part="shop")
    sixty(lambda text, tagged: log.bind(**tagged).info(text))
    log.debug("too low", **tags("course-save", course_id="low"))
    assert app.outbox.books.snapshot().accepted == 60


@official
def test_asynchronous_lines(app, sixty):
    """`ainfo` runs the chain in another thread; one line is one event there, too."""
    app.process()
    app.export()
    app.handle(app.bridge(), app.door(), app.formatter())
    app.chain(app.official(), OCMProcessor(outbox=app.outbox))
    sixty(lambda text, tagged: asyncio.run(app.log.ainfo(text, **tagged)))


def test_tags_bound_once_are_many_events(app, arrived):
    """Tags that are bound to a logger and to contextvars make an event of each line."""
    app.chain(OCMProcessor(outbox=app.outbox))
    structlog.contextvars.bind_contextvars(**{"ocm.user_id": "ann"})
    log = app.log.bind(**tags("course-click", course_id=1))
    for _ in range(3):
        log.info("clicked")
    assert len(arrived()) == 3


def test_a_bound_id_makes_one_event(app, arrived):
    """Lines with one `ocm.event_id` of the application's own are one event."""
    app.chain(OCMProcessor(outbox=app.outbox))
    log = app.log.bind(**tags("course-click", course_id=1, event_id="order-17"))
    for _ in range(3):
        log.info("clicked")
    assert len(arrived()) == 1
    assert app.outbox.books.snapshot().reasons["duplicate"] == {"event_id": 2}


# --- lines of plain logging ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [*itertools.permutations(["door", "bridge", "formatter"]), ("bridge", "other", "door"), ("formatter", "formatter")],
    ids="-".join,
)
@pytest.mark.parametrize("behind", ["process", "export", "simple"])
def test_the_order_of_the_handlers_does_not_matter(app, sixty, order, behind):
    """Our handler, OpenTelemetry's and formatters in any order, before a log processor or an exporter."""
    for number in range(2):
        if behind == "process":
            app.process(number)
        else:
            app.export(number, batch=behind != "simple")
    made = {"door": app.door, "bridge": app.bridge, "formatter": app.formatter, "other": lambda: app.bridge(1)}
    app.handle(*(made[name]() for name in order))
    sixty(lambda text, tagged: app.plain.info("%s", text, extra=tagged))


def test_a_handler_on_two_loggers(app, sixty):
    """One handler that hangs on a logger and on its parent sees each line twice: one event."""
    handler = app.door()
    app.handle(handler)
    child = app.plain.getChild("part")
    child.addHandler(handler)
    sixty(lambda text, tagged: child.info(text, extra=tagged))
    child.handlers.clear()


def test_a_mapping_that_is_logged_often(app, arrived):
    """A mapping of the application's own, logged ten times, is ten events, and stays as it is."""
    app.handle(app.door(), app.bridge())
    app.process()
    message = {"event": "saved", **tags("course-save", course_id=1)}
    was = dict(message)
    for _ in range(10):
        app.plain.info(message)
    assert len(arrived()) == 10
    assert message == was


def test_a_line_that_is_logged_while_another_is_handled(app, arrived):
    """A line that a handler logs on its way is a line of its own, though it lies deeper in the same calls."""

    class Chatty(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == "outer":
                app.plain.info("inner", extra=tags("menu-click"))

    app.process()
    app.handle(Chatty(), app.bridge(), app.door())
    app.plain.info("outer", extra=tags("course-save", course_id=1))
    assert [event[0] for event in arrived()] == ["course-save", "menu-click"]


def test_behind_a_queue(app, sixty):
    """A line that our handler saw, and that reaches OpenTelemetry's through a queue, is one event."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    app.process()
    app.handle(app.door(), QueueHandler(waiting))
    listener = QueueListener(waiting, app.bridge())
    listener.start()

    def say(text: str, tagged: dict[str, Any]) -> None:
        app.plain.info(text, extra=tagged)

    flush, app.flush = app.flush, lambda: (listener.stop(), flush())
    sixty(say)


# --- OpenTelemetry's own records -------------------------------------------------------------------------


@pytest.mark.parametrize("order", [["process", "export"], ["simple", "process"], ["export", "export"]], ids="-".join)
def test_records(app, sixty, order):
    """A record that passes a log processor and an exporter is one event; equal records are as many as there are."""
    seen = []
    for name in order:
        app.process() if name == "process" else app.export(batch=name == "export")
    logger = app.providers[0].get_logger("t")

    def say(text: str, tagged: dict[str, Any]) -> None:
        record = LogRecord(timestamp=1, body=text, attributes=tagged)
        logger.emit(record)
        seen.append(dict(record.attributes))

    sixty(say)
    assert all("ocm.event_id" not in attributes for attributes in seen)


def test_ids_that_are_cut(app, sixty, monkeypatch):
    """Where OpenTelemetry cuts texts to 12 characters, our ids are not mistaken for one another."""
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "12")
    app.providers[0] = LoggerProvider(shutdown_on_exit=False)
    app.process()
    app.handle(app.door(), app.bridge())
    app.chain(OCMProcessor(outbox=app.outbox))
    sixty(lambda text, tagged: app.log.info(text, **tagged))


# --- spans -----------------------------------------------------------------------------------------------


def test_spans(outbox, arrived):
    """Two processors and two exporters on one provider: a span, and each of its span events, is one event."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OCMSpanExporter(outbox=outbox)))
    for _ in range(2):
        provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    provider.add_span_processor(BatchSpanProcessor(OCMSpanExporter(outbox=outbox)))
    for _ in range(10):
        with provider.get_tracer("t").start_as_current_span("page", attributes=tags("menu-click")) as span:
            span.add_event("clicked", tags("course-click", course_id=1))
            span.add_event("clicked", tags("course-click", course_id=1))
    provider.shutdown()
    kinds = [event[0] for event in arrived()]
    assert (kinds.count("menu-click"), kinds.count("course-click")) == (10, 20)


def test_spans_whose_ids_are_cut(outbox, arrived):
    """An id of the application's own that OpenTelemetry has cut makes no two spans one."""
    provider = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_attribute_length=12))
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    for number in range(5):
        tagged = tags("menu-click", event_id=f"order-of-today-{number}")
        with provider.get_tracer("t").start_as_current_span("page", attributes=tagged) as span:
            span.add_event("clicked", tags("course-click", course_id=1, event_id=f"click-of-today-{number}"))
    kinds = [event[0] for event in arrived()]
    assert (kinds.count("menu-click"), kinds.count("course-click")) == (5, 5)


def test_a_span_and_a_line_with_one_id(app, provider, arrived):
    """A span and a line are two facts, unless they say with one `ocm.event_id` that they are the same."""
    provider.add_span_processor(OCMSpanProcessor(outbox=app.outbox))
    app.chain(OCMProcessor(outbox=app.outbox))
    for tagged in (tags("course-save", course_id=1), tags("course-save", course_id=2, event_id="order-17")):
        with provider.get_tracer("t").start_as_current_span("save", attributes=tagged):
            app.log.info("saved", **tagged)
    assert [course for _, course, _, _ in arrived()] == ["1", "1", "2"]


# --- the outbox ------------------------------------------------------------------------------------------


class FullOnce(MemoryJournal):
    """A journal that has no room at first."""

    full = True

    def append(self, query: str, at: float, accepted: Callable[[], object], event_id: str | None = None) -> str:
        full, self.full = self.full, False
        return "queue-full" if full else super().append(query, at, accepted, event_id)


def test_what_was_turned_away_may_come_again(emulator):
    """An id whose event was not accepted is not remembered; one that was is, after the end of the outbox, too."""
    outbox = Outbox(Settings(api_key=emulator.key, endpoint=emulator.endpoint), journal=FullOnce(9))
    event = Event("menu-click", event_id="a")
    assert [outbox.put(event) for _ in range(3)] == [False, True, True]
    assert outbox.close(10)
    assert outbox.put(event) is True
    assert outbox.put(Event("menu-click", event_id="b")) is False
    assert len(emulator.events()) == 1
    assert outbox.books.snapshot().reasons == {
        "turned_away": {"queue-full": 1, "closed": 1},
        "duplicate": {"event_id": 2},
    }
    assert outbox.books.snapshot().balanced


def until(seen: Callable[[], bool]) -> None:
    """Wait until something is so, for a minute at most."""
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def test_an_id_that_waits_in_a_ledger(emulator, tmp_path):
    """A process that takes over what another one left knows its ids: what is told again is told once."""
    place = {"api_key": emulator.key, "spool_dir": str(tmp_path)}
    with Outbox(Settings(endpoint="http://127.0.0.1:9/v2.0/events", shutdown_timeout=0, **place)) as dead:
        assert dead.put(Event("course-save", course_id=1, event_id="Order 17/ä%"))
        assert dead.put(Event("menu-click"))
    heir = Outbox(Settings(endpoint="http://127.0.0.1:9/v2.0/events", **place))
    until(lambda: heir.books.snapshot().adopted == 2)
    assert heir.put(Event("course-save", course_id=1, event_id="Order 17/ä%"))
    books = heir.books.snapshot()
    assert (books.accepted, books.adopted, books.reasons["duplicate"]) == (0, 2, {"event_id": 1})
    heir.close(0)


def test_a_child_knows_what_its_parent_told(run, emulator):
    """After a fork the child knows the ids that were accepted before, and gives its lines ids of its own."""
    code = """
import os
from ocm_otel import Event, Outbox
from ocm_otel._lines import fresh
outbox = Outbox()
outbox.put(Event("menu-click", event_id="a"))
names = [fresh()]
read, write = os.pipe()
if os.fork() == 0:
    outbox.put(Event("menu-click", event_id="a"))
    outbox.put(Event("course-click", course_id=1, event_id="b"))
    outbox.flush(30)
    os.write(write, fresh().encode())
    os._exit(0)
os.wait()
names += [os.read(read, 100).decode(), fresh()]
print(len({name.split("-")[1] for name in names}), len({name.split("-")[2] for name in names}))
outbox.close(10)
"""
    done = run(code)
    assert (done.returncode, done.stdout) == (0, "2 2\n"), done.stderr
    assert sorted(event["type"] for event in emulator.events()) == ["course-click", "menu-click"]


def test_one_id_in_many_threads(outbox, arrived):
    """Of eight threads that tell an id at the same moment, one makes the event, and all hear that it is accepted."""
    heard, gate = [], threading.Barrier(8)

    def tell() -> None:
        for number in range(300):
            gate.wait()
            heard.append(outbox.put(Event("menu-click", user_id=number, event_id=f"fact-{number}")))

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(user) for _, _, user, _ in arrived()) == list(range(300))
    assert heard == [True] * 2_400
    assert outbox.books.snapshot().reasons["duplicate"] == {"event_id": 2_100}
