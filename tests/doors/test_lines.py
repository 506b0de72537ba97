"""The doors for log lines: OpenTelemetry's, plain logging's and structlog's; the proof is what arrived."""

from __future__ import annotations

import copy
import gc
import io
import json
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor

from ocm_otel import OCMHandler, OCMLogExporter, OCMLogRecordProcessor, OCMProcessor, Settings, tags

from .conftest import Memory

SAVED = tags("course-save", course_id=7, user_id="ann", entity_id="north")
NESTED = {"ocm": {"event_type": "course-save", "course_id": 7, "user_id": "ann", "entity_id": "north"}}
KEYWORDS = {key.replace(".", "_"): value for key, value in SAVED.items()}
FORMS = pytest.mark.parametrize("form", [SAVED, NESTED, KEYWORDS], ids=["flat", "nested", "keywords"])
ONE = [("course-save", "7", "ann", "north")]


class Witness(LogRecordProcessor):
    """Another processor of the user's: it notes what it sees, and keeps no record alive."""

    def __init__(self) -> None:
        self.seen = []
        self.refs = []

    def on_emit(self, log_record) -> None:
        content = log_record.log_record
        self.seen.append((id(log_record), id(content), copy.deepcopy(dict(content.attributes or {})), content.body))
        self.refs.append(weakref.ref(content))

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


@pytest.fixture
def logs() -> Iterator[LoggerProvider]:
    """A logger provider of the real SDK, without any processor."""
    made = LoggerProvider(shutdown_on_exit=False)
    yield made
    made.shutdown()


@pytest.fixture
def plain() -> Iterator[logging.Logger]:
    """A logger of plain logging, without any handler."""
    made = logging.getLogger("application.under.test")
    made.setLevel(logging.INFO)
    yield made
    made.handlers.clear()


def record(attributes: Any, body: str = "saved") -> LogRecord:
    return LogRecord(timestamp=1, severity_number=SeverityNumber.INFO, body=body, attributes=attributes)


# --- OpenTelemetry's log records -------------------------------------------------------------------------


@FORMS
def test_a_tagged_record_arrives(logs, outbox, arrived, form):
    """A log record arrives in each of the forms that tags can have."""
    logs.add_log_record_processor(OCMLogRecordProcessor(outbox=outbox))
    logs.get_logger("t").emit(record({"other": 1, **form}))
    assert arrived() == ONE


@FORMS
def test_a_record_behind_the_batch_processor_arrives(logs, outbox, arrived, form):
    """The exporter makes the same event of what the SDK's batch processor gives it."""
    logs.add_log_record_processor(BatchLogRecordProcessor(OCMLogExporter(outbox=outbox)))
    logs.get_logger("t").emit(record(form))
    logs.get_logger("t").emit(record({"other": 1}))
    logs.force_flush()
    assert arrived() == ONE


@pytest.mark.parametrize(
    "attributes", [None, {}, {"ocm.course_id": 7}, {"ocm": "x"}, {"ocm.event_type": None}], ids=repr
)
def test_an_untagged_record_leaves_no_trace(logs, memory, attributes):
    """A record without a type, or without attributes, puts nothing into the outbox and is not kept alive."""
    witness = Witness()
    logs.add_log_record_processor(OCMLogRecordProcessor(outbox=memory))
    logs.add_log_record_processor(witness)
    logs.get_logger("t").emit(record(attributes))
    gc.collect()
    assert memory.events == []
    assert [ref() for ref in witness.refs] == [None]
    assert memory.books.snapshot().reasons == {}


def test_the_body_is_not_read(logs, memory):
    """What the body says is text for people: no tag is looked for in it."""
    logs.add_log_record_processor(OCMLogRecordProcessor(outbox=memory))
    logs.get_logger("t").emit(record(None, body=json.dumps(SAVED)))
    logs.get_logger("t").emit(record({}, body=dict(SAVED)))
    assert memory.events == []


def test_the_record_stays_as_it_is(logs, memory):
    """A processor after ours is given the very same record with the same content as one before it."""
    before, after = Witness(), Witness()
    for processor in (before, OCMLogRecordProcessor(outbox=memory), after):
        logs.add_log_record_processor(processor)
    logs.get_logger("t").emit(record({**SAVED, "list": [1, 2]}))
    assert before.seen == after.seen
    assert len(memory.events) == 1


def test_each_record_has_an_identity(logs, memory):
    """Two equal records are two events, unless they say that they are one."""
    logs.add_log_record_processor(OCMLogRecordProcessor(outbox=memory))
    logs.get_logger("t").emit(record(SAVED))
    logs.get_logger("t").emit(record(SAVED))
    logs.get_logger("t").emit(record({**SAVED, "ocm.event_id": "e1"}))
    first, second, third = (event.event_id for event in memory.events)
    assert first != second
    assert third == "e1"


@pytest.mark.parametrize("door", [OCMLogRecordProcessor, OCMLogExporter])
def test_nothing_raised_in_a_log_door_reaches_the_application(logs, broken, caplog, door):
    """An outbox that raises is counted for each record and told once; the application goes on."""
    made = door(outbox=broken)
    logs.add_log_record_processor(made if isinstance(made, LogRecordProcessor) else SimpleLogRecordProcessor(made))
    for _ in range(3):
        logs.get_logger("t").emit(record(SAVED))
    assert broken.books.snapshot().reasons == {"failed_door": {"RuntimeError": 3}}
    assert len(caplog.records) == 1
    assert made.force_flush() is False


@pytest.mark.parametrize("door", [OCMLogRecordProcessor, OCMLogExporter])
def test_flushing_and_shutting_down(memory, door):
    """`force_flush` waits as long as it is told, `shutdown` as long as the setting says."""
    made = door(outbox=memory)
    assert made.force_flush(2_500) is True
    made.shutdown()
    assert memory.flushed == [2.5, None]


def test_any_record_may_be_tagged(memory):
    """The processor asks for every record, for only the record itself shows a tag."""
    assert OCMLogRecordProcessor(outbox=memory).enabled(severity_number=SeverityNumber.TRACE) is True


# --- plain logging ---------------------------------------------------------------------------------------


@FORMS
def test_a_plain_line_arrives(plain, outbox, arrived, form):
    """A line of plain logging arrives, whatever form its extra has."""
    plain.addHandler(OCMHandler(outbox=outbox))
    plain.info("saved %s", "it", extra=form)
    plain.info("nothing to count")
    assert arrived() == ONE


def test_a_line_that_cannot_be_formatted(plain, outbox, arrived):
    """The handler formats nothing, so a line whose text is broken is an event all the same."""
    plain.propagate = False
    plain.addHandler(OCMHandler(outbox=outbox))
    plain.info("%d", "no number", extra=SAVED)
    plain.propagate = True
    assert arrived() == ONE


@FORMS
def test_a_message_that_is_a_mapping(plain, outbox, arrived, form):
    """Tags are found in a message that is a mapping, as structlog makes it for its formatter."""
    plain.addHandler(OCMHandler(outbox=outbox))
    plain.info({"event": "saved", **form})
    assert arrived() == ONE


@pytest.mark.parametrize("stamp", [True, False])
def test_the_line_stays_as_it_is(plain, stamp):
    """The record that a later handler gets is the same as without ours, but for its id if that is wanted."""
    memory, seen = Memory(Settings(stamp_event_id=stamp)), []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((id(record), dict(record.__dict__)))

    for handler in (Keeping(), OCMHandler(outbox=memory), Keeping()):
        plain.addHandler(handler)
    plain.info("saved", extra=SAVED)
    assert seen[0][0] == seen[1][0]
    assert seen[1][1] == seen[0][1] | ({"ocm.event_id": memory.events[0].event_id} if stamp else {})
    assert len(memory.events) == 1


def test_levels_and_filters_hold(plain, memory):
    """The handler keeps to its level and its filters, as every handler does."""
    handler = OCMHandler(logging.WARNING, outbox=memory)
    handler.addFilter(lambda record: record.getMessage() != "hidden")
    plain.addHandler(handler)
    for level, text in ((logging.INFO, "low"), (logging.WARNING, "hidden"), (logging.WARNING, "shown")):
        plain.log(level, text, extra=tags(text))
    assert [event.type for event in memory.events] == ["shown"]


def test_the_handler_has_no_lock(memory):
    """No thread waits for another in the handler, so none can be caught between it and the outbox."""
    assert OCMHandler(outbox=memory).lock is None


def test_nothing_raised_in_the_handler_reaches_the_application(plain, broken, capsys, caplog):
    """An outbox that raises is counted and told once; nothing is printed and nothing raised."""
    handler = OCMHandler(outbox=broken)
    plain.addHandler(handler)
    for _ in range(3):
        plain.info("saved", extra=SAVED)
    handler.flush()
    assert broken.books.snapshot().reasons == {"failed_door": {"RuntimeError": 4}}
    assert [line.name for line in caplog.records].count("ocm_otel") == 1
    assert capsys.readouterr().err == ""


def test_the_handler_flushes(memory):
    """`logging.shutdown` flushes each handler: what waits is delivered, as long as the setting says."""
    handler = OCMHandler(outbox=memory)
    handler.flush()
    handler.close()
    assert memory.flushed == [None]


# --- structlog -------------------------------------------------------------------------------------------


@pytest.fixture
def chain() -> Iterator[Any]:
    """Configures structlog with the processors that a test names, and puts it back afterwards."""
    yield structlog.configure
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@FORMS
def test_the_json_chain(chain, outbox, arrived, form):
    """In structlog's JSON chain a tagged line arrives, and is printed with nothing but its id besides."""
    printed = io.StringIO()
    chain(
        processors=[
            structlog.contextvars.merge_contextvars,
            OCMProcessor(outbox=outbox),
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(printed),
    )
    structlog.get_logger().info("saved", other=1, **form)
    structlog.get_logger().info("nothing to count")
    assert arrived() == ONE
    first, second = (json.loads(line) for line in printed.getvalue().splitlines())
    assert first.pop("ocm.event_id").startswith("line-")
    assert [first, second] == [
        {"event": "saved", "other": 1, "level": "info", **form},
        {"event": "nothing to count", "level": "info"},
    ]


def test_bound_tags_and_contextvars(chain, outbox, arrived):
    """Tags may come from contextvars and from the logger, and the line adds the type."""
    chain(
        processors=[
            structlog.contextvars.merge_contextvars,
            OCMProcessor(outbox=outbox),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(io.StringIO()),
    )
    structlog.contextvars.bind_contextvars(**{"ocm.user_id": "ann", "ocm.entity_id": "north"})
    log = structlog.get_logger().bind(**{"ocm.course_id": 7})
    log.info("saved", ocm_event_type="course-save")
    log.info("opened")
    assert arrived() == ONE


@pytest.mark.parametrize(
    "last",
    [
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        structlog.stdlib.render_to_log_kwargs,
        structlog.processors.JSONRenderer(),
    ],
    ids=["formatter", "kwargs", "json"],
)
def test_the_stdlib_chain(chain, plain, outbox, arrived, last):
    """In front of structlog's stdlib renderers, the processor sees each line once."""
    chain(
        processors=[structlog.stdlib.filter_by_level, OCMProcessor(outbox=outbox), last],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    structlog.get_logger(plain.name).info("saved", **SAVED)
    assert arrived() == ONE


@pytest.mark.parametrize(
    "last",
    [structlog.stdlib.ProcessorFormatter.wrap_for_formatter, structlog.stdlib.render_to_log_kwargs],
    ids=["formatter", "kwargs"],
)
@FORMS
def test_structlog_lines_at_the_handler(chain, plain, memory, last, form):
    """Without our processor, the handler of plain logging finds the tags of structlog's lines."""
    plain.addHandler(OCMHandler(outbox=memory))
    chain(
        processors=[last],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    structlog.get_logger(plain.name).info("saved", **form)
    assert [(event.type, event.course_id, event.user_id) for event in memory.events] == [("course-save", "7", "ann")]


def test_two_formatters_tell_one_event(chain, plain, memory):
    """In formatters the processor runs once for each handler; both tell the same identity."""
    plain.propagate = False
    for _ in range(2):
        handler = logging.StreamHandler(io.StringIO())
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                processors=[
                    OCMProcessor(outbox=memory),
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(),
                ]
            )
        )
        plain.addHandler(handler)
    chain(
        processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    structlog.get_logger(plain.name).info("saved", **SAVED)
    structlog.get_logger(plain.name).info("saved", **SAVED)
    plain.propagate = True
    first, again, second, second_again = (event.event_id for event in memory.events)
    assert first == again
    assert second == second_again
    assert first != second
    assert first is not None


@pytest.mark.parametrize("line", [{"event": "saved", **SAVED}, {"event": "x"}, {"ocm": {"event_type": "a"}}], ids=repr)
@pytest.mark.parametrize("stamp", [True, False])
def test_the_line_is_passed_on(line, stamp):
    """What goes in comes out: the same object, with an id if it is tagged and that is wanted, else as it was."""
    memory, was = Memory(Settings(stamp_event_id=stamp)), copy.deepcopy(line)
    assert OCMProcessor(outbox=memory)(None, "info", line) is line
    assert line == was | ({"ocm.event_id": memory.events[0].event_id} if stamp and memory.events else {})


def test_a_nested_value_of_the_bound_context_stays(chain, memory):
    """The nested mapping is shared by all lines of a logger, and stays as the application made it."""
    chain(processors=[OCMProcessor(outbox=memory), structlog.processors.JSONRenderer()],
          logger_factory=structlog.PrintLoggerFactory(io.StringIO()))  # fmt: skip
    shared = {"user_id": "ann"}
    log = structlog.get_logger().bind(ocm=shared)
    log.info("saved", **{"ocm.event_type": "course-save"})
    assert shared == {"user_id": "ann"}
    assert [event.user_id for event in memory.events] == ["ann"]


@pytest.mark.parametrize(
    "rendered",
    ['{"ocm.event_type": "course-save"}', b"ocm.event_type", (({"ocm.event_type": "a"},), {}), None],
    ids=lambda line: type(line).__name__,
)  # fmt: skip
def test_after_the_renderer(memory, caplog, rendered):
    """Placed after a renderer it passes the line on, and says once where it belongs."""
    processor = OCMProcessor(outbox=memory)
    assert all(processor(None, "info", rendered) is rendered for _ in range(3))
    assert memory.events == []
    assert len(caplog.records) == 1
    assert "put it before the renderer" in caplog.text


def test_nothing_raised_in_the_processor_reaches_the_application(broken, caplog):
    """An outbox that raises is counted for each line and told once; the line goes on."""
    processor = OCMProcessor(outbox=broken)
    line = {"event": "saved", **SAVED}
    assert all(processor(None, "info", line) is line for _ in range(3))
    assert broken.books.snapshot().reasons == {"failed_door": {"RuntimeError": 3}}
    assert len(caplog.records) == 1


class Counting(OCMProcessor):
    """A processor of a class of the user's own."""

    lines = 0

    def __call__(self, logger, method_name, event_dict):
        self.lines += 1
        return super().__call__(logger, method_name, event_dict)


@pytest.mark.parametrize("kind", [OCMProcessor, Counting])
def test_the_processor_is_one_of_its_class(memory, kind):
    """Whatever is handed out for speed, it is known by its class and its name, and a class of one's own is called."""
    processor = kind(outbox=memory)
    assert isinstance(processor, kind)
    assert isinstance(processor, OCMProcessor)
    assert not isinstance(len, OCMProcessor)
    assert getattr(processor, "__name__", type(processor).__name__) == kind.__name__
    for line in ({"event": "saved"}, {"event": "saved", **SAVED}):
        assert processor(None, "info", event_dict=line) is line
    assert len(memory.events) == 1
    assert kind is OCMProcessor or processor.lines == 2
    with pytest.raises(TypeError):
        kind(memory)
