"""Tagged lines that a level hides: counted and told once with what to do, at no cost to a line that is not hidden."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk._logs import LoggerProvider

from ocm_otel import OCMHandler, OCMLogRecordProcessor, OCMProcessor, Outbox, tags

from .conftest import Arrived, Run

SAVED = tags("course-save", course_id=7)
NESTED = {"ocm": {"event_type": "course-save"}}
BELOW = "INFO is below the level of logger 'hidden.site', WARNING, inherited from the root logger"
DISABLED = "logger 'hidden.site' is disabled, as logging.config does with those that it does not name"
Log = logging.Logger


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of hidden lines."""
    said = [record.getMessage() for record in caplog.records if record.name == "ocm_otel"]
    start = "ocm.event_type was on a log line that a level hides: no event is made of it; "
    assert all(text.startswith(start) and text.endswith(", or use emit()") for text in said), said
    return [text.removeprefix(start).removesuffix(", or use emit()") for text in said]


def lost(outbox: Outbox) -> int:
    """How many tags are booked as hidden; no other note may be there."""
    reasons = dict(outbox.books.snapshot().reasons.get("lost", {}))
    number = reasons.pop("hidden", 0)
    assert reasons == {}
    return number


@pytest.fixture
def handler(outbox: Outbox) -> Iterator[OCMHandler]:
    """A handler of ours at a logger that has the root's level, which is WARNING."""
    made, log = OCMHandler(outbox=outbox), logging.getLogger("hidden.site")
    log.addHandler(made)
    yield made
    log.removeHandler(made)


@pytest.mark.parametrize(
    ("write", "number"),
    [
        (lambda log: log.info("saved", extra=SAVED), 1),
        (lambda log: log.debug("saved", extra=SAVED), 1),
        (lambda log: log.log(logging.INFO, "saved", extra=NESTED), 1),
        (lambda log: log.log(level=15, msg="saved", extra={"ocm_event_type": "course-save"}), 1),
        (lambda log: log.info({"event": "saved", **SAVED}, extra={"_name": "a"}), 1),
        (lambda log: logging.LoggerAdapter(log, {}).info("saved", extra=SAVED), 1),
        (lambda log: logging.LoggerAdapter(logging.LoggerAdapter(log, {}), SAVED).info("saved"), 1),
        (lambda log: log.info("saved", extra={"http.route": "/"}), 0),
        (lambda log: log.info("saved", extra=None), 0),
        (lambda log: log.info("saved", extra=7), 0),
        (lambda log: log.info("saved", stack_info=True), 0),
        (lambda log: log.info("saved"), 0),
        (lambda log: logging.LoggerAdapter(log, None).info("saved"), 0),
    ],
)
@pytest.mark.usefixtures("handler")
def test_a_line_of_logging_below_its_level(outbox: Outbox, write: Callable[[Log], None], number: int) -> None:
    """Whichever method is called, a tag on a line that its level hides is counted; a line without one is not."""
    for _ in range(2):
        write(logging.getLogger("hidden.site"))
    assert lost(outbox) == 2 * number
    assert outbox.books.snapshot().accepted == 0


@pytest.mark.usefixtures("handler")
def test_a_line_that_no_level_hides(outbox: Outbox, arrived: Arrived, caplog: pytest.LogCaptureFixture) -> None:
    """An enabled line is an event, by each method and with its arguments, and none is counted as lost."""
    log = logging.getLogger("hidden.site")
    for name in ("warning", "error", "critical", "exception"):
        getattr(log, name)("saved %s", name, extra=tags(name))
    log.log(logging.WARNING, "saved %d", 5, extra=tags("log"))
    logging.LoggerAdapter(log, tags("adapter")).error("saved %d", 6)
    names = ["adapter", "critical", "error", "exception", "log", "warning"]
    assert [event[0] for event in arrived()] == names
    said = [record.getMessage() for record in caplog.records]
    assert said[:2] + said[-2:] == ["saved warning", "saved error", "saved 5", "saved 6"]
    assert lost(outbox) == 0
    with pytest.raises(TypeError, match="level must be an integer"):
        log.log("INFO", "saved")  # type: ignore[arg-type]


def switched_off(log: Log) -> None:
    """Hide a line as logging's own switch for all does."""
    logging.disable(logging.INFO)
    log.info("saved", extra=SAVED)
    logging.disable(logging.NOTSET)


def disabled(log: Log) -> None:
    """Hide a line as `logging.config` does."""
    log.disabled = True
    log.error("saved", extra=SAVED)
    log.disabled = False


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            lambda log: log.info("saved", extra=SAVED),
            f"{BELOW}: call setLevel(logging.INFO)",
        ),
        (switched_off, "logging.disable(INFO) is in force: take it back with logging.disable(logging.NOTSET)"),
        (
            disabled,
            f"{DISABLED}: say disable_existing_loggers=False",
        ),
    ],
)
@pytest.mark.usefixtures("handler")
def test_what_is_said(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, write: Callable[[Log], None], said: str
) -> None:
    """The log names who hides the line, with which value, and what to do; once for each kind of culprit."""
    for _ in range(3):
        write(logging.getLogger("hidden.site"))
    assert (lost(outbox), told(caplog)) == (3, [said])


@pytest.mark.usefixtures("handler")
def test_each_kind_of_culprit_is_told_once(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    """Who mends one of them is not left alone with the next; a second logger of the same kind is only counted."""
    for name in ("hidden.site", "hidden.other"):
        for write in (switched_off, disabled, lambda log: log.info("saved", extra=SAVED)):
            write(logging.getLogger(name))
    assert (lost(outbox), len(told(caplog))) == (6, 3)


class Strange(dict[str, Any]):
    """An `extra` that fails when it is looked at."""

    def __contains__(self, key: object) -> bool:
        raise RuntimeError


@pytest.mark.usefixtures("handler")
def test_a_line_that_cannot_be_looked_at(outbox: Outbox) -> None:
    """What goes wrong in the look is counted, and does not reach the application."""
    logging.getLogger("hidden.site").info("saved", extra=Strange(a=1))
    assert outbox.books.snapshot().reasons == {"failed_door": {"RuntimeError": 1}}


def later(name: str, **fields: object) -> Callable[[Any], None]:
    """A line that is written the asynchronous way."""
    return lambda log: asyncio.run(getattr(log, name)("saved", **fields))


@pytest.mark.parametrize(
    ("write", "number"),
    [
        (lambda log: log.info("saved", **SAVED), 1),
        (lambda log: log.msg("saved", **NESTED), 1),
        (lambda log: log.debug("saved %s", 1, ocm_event_type="course-save"), 1),
        (lambda log: log.bind(**SAVED).info("saved"), 1),
        (later("ainfo", **SAVED), 1),
        (later("adebug", **NESTED), 1),
        (later("ainfo", a=1), 0),
        (lambda log: log.info("saved", a=1), 0),
        (lambda log: log.bind(a=1).info("saved"), 0),
        (lambda log: log.warning("saved", **SAVED), 0),
        (later("awarning", **SAVED), 0),
    ],
)
def test_a_line_below_the_level_of_structlogs_class(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, write: Callable[[Any], None], number: int
) -> None:
    """The methods that do nothing look for a tag on the line and on its logger; the others are structlog's own."""
    log = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[OCMProcessor(outbox=outbox), structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    for _ in range(2):
        write(log)
    assert lost(outbox) == 2 * number
    for text in told(caplog):
        assert "is below the level of structlog's logger class, WARNING: set wrapper_class=structlog.make_filt" in text
    assert len(told(caplog)) == number


def test_what_the_methods_of_structlog_return(outbox: Outbox) -> None:
    """They return and raise what structlog's own do, and are called as those are."""
    door = OCMProcessor(outbox=outbox)
    kind: Any = structlog.make_filtering_bound_logger(logging.ERROR)
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[door], wrapper_class=kind)
    assert (log.info("saved", **SAVED), asyncio.run(log.awarn(event="saved"))) == (None, None)
    assert (kind.info.__name__, kind.error.__name__) == ("_nop", "error")
    with pytest.raises(TypeError):
        log.info()


@pytest.mark.parametrize(("ours_first", "number"), [(True, 0), (False, 1)])
def test_filter_by_level(outbox: Outbox, caplog: pytest.LogCaptureFixture, ours_first: bool, number: int) -> None:
    """What the filter drops before us is counted, also where the chain was made before there was a door of ours."""
    steps: list[Any] = [structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs]
    log = structlog.wrap_logger(
        logging.getLogger("hidden.site"), processors=steps, wrapper_class=structlog.stdlib.BoundLogger
    )
    steps.insert(0 if ours_first else 1, OCMProcessor(outbox=outbox))
    for _ in range(2):
        log.info("saved", **SAVED)
        log.info("saved", a=1)
        log.warning("saved", **SAVED)
    assert lost(outbox) == 2 * number
    assert outbox.books.snapshot().accepted == (2 if number else 4)
    assert told(caplog) == number * [f"{BELOW}: put OCMProcessor before filter_by_level"]


@pytest.mark.parametrize("stamp", [True, False])
@pytest.mark.parametrize("render", ["render_to_log_kwargs", "wrap_for_formatter"])
@pytest.mark.parametrize("seen", [True, False])
def test_a_line_that_structlog_hands_on(
    make_outbox: Callable[..., Outbox], render: str, seen: bool, stamp: bool
) -> None:
    """What OCMProcessor has seen is not lost when logging then hides it; what it has not seen is."""
    outbox = make_outbox(stamp_event_id=stamp)
    door, handler = OCMProcessor(outbox=outbox), OCMHandler(outbox=outbox)
    final = {
        "render_to_log_kwargs": structlog.stdlib.render_to_log_kwargs,
        "wrap_for_formatter": structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    }[render]
    log = structlog.wrap_logger(
        logging.getLogger("hidden.site"),
        processors=[door, final] if seen else [final],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    log.info("saved", **SAVED)
    assert (lost(outbox), outbox.books.snapshot().accepted) == ((0, 1) if seen else (1, 0))
    handler.close()


def test_a_line_that_another_door_has_stamped(outbox: Outbox) -> None:
    """Where a processor of structlog's chain hands lines to OpenTelemetry, they are events before logging hides one."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(OCMLogRecordProcessor(outbox=outbox))

    def hand_on(logger: object, name: str, event_dict: Any) -> Any:  # as the official instrumentation does it
        provider.get_logger("structlog").emit(body=event_dict["event"], attributes=dict(event_dict))
        return event_dict

    log = structlog.wrap_logger(
        logging.getLogger("hidden.site"),
        processors=[hand_on, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    log.info("saved", **SAVED)
    provider.shutdown()
    assert (lost(outbox), outbox.books.snapshot().accepted) == (0, 1)


OTHER_DOOR = """
import structlog
from ocm_otel import OCMHandler, OCMLogRecordProcessor, Outbox, tags
import logging, warnings
warnings.simplefilter("ignore")
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler

outbox, log = Outbox(), logging.getLogger("site")
log.addHandler(OCMHandler("ERROR", outbox=outbox))
log.warning("saved", extra=tags("one"))
log.error("saved", extra=tags("two"))
log.warning("saved")
print(outbox.books.snapshot().reasons, outbox.books.snapshot().accepted)
provider = LoggerProvider()
provider.add_log_record_processor(OCMLogRecordProcessor(outbox=outbox))
log.addHandler(LoggingHandler(logger_provider=provider))
log.warning("saved", extra=tags("three"))
print(outbox.books.snapshot().reasons, outbox.books.snapshot().accepted)
"""


def test_a_line_below_the_level_of_our_handler(run: Run) -> None:
    """It is lost, and told of, unless there is another door that may take it."""
    done = run(OTHER_DOOR)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'lost': {'hidden': 1}} 1\n{'lost': {'hidden': 1}} 2\n"
    assert done.stderr.count("WARNING is below the level of OCMHandler, ERROR: call its setLevel, or use emit()") == 1


@pytest.mark.parametrize("level", [logging.INFO, "INFO"])
def test_the_level_of_our_handler(outbox: Outbox, arrived: Arrived, level: int | str) -> None:
    """It holds as that of any handler does, and can be set anew."""
    handler = OCMHandler(level, outbox=outbox)
    log = Log("alone")
    log.addHandler(handler)
    log.debug("saved", extra=tags("one"))
    log.info("saved", extra=tags("two"))
    handler.setLevel("DEBUG")
    log.debug("saved", extra=tags("three"))
    assert [event[0] for event in arrived()] == ["three", "two"]
    with pytest.raises(ValueError, match="Unknown level"):
        handler.setLevel("LOUD")


GONE = """
import gc, logging
import structlog
from ocm_otel import OCMHandler, OCMInstrumentor, OCMProcessor, Outbox, tags

def standing():
    filtering = structlog.make_filtering_bound_logger(40)
    return [*(vars(logging.Logger)[name] for name in ("debug", "info", "warning", "error", "critical", "log")),
            logging.LoggerAdapter.log, filtering.info, filtering.awarning, filtering.error,
            structlog.stdlib.DropEvent]

def same():
    return sum(now is then for now, then in zip(standing(), own))

own, outbox = standing(), Outbox()
seen = [same()]
OCMInstrumentor().instrument(outbox=outbox)
seen.append(same())
log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])  # it keeps our processor
OCMInstrumentor().uninstrument()
seen.append(same())
door = OCMProcessor(outbox=outbox)
handler = OCMHandler(outbox=outbox)
del door
gc.collect()
seen.append(same())
del handler
gc.collect()
seen.append(same())
logging.getLogger().info("saved", extra=tags("late"))
print(seen, outbox.books.snapshot().reasons)
"""


def test_nobody_looks_when_our_doors_are_gone(run: Run) -> None:
    """While nobody wants to hear of it all methods are logging's and structlog's own again."""
    done = run(GONE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[11, 1, 11, 1, 11] {}\n", "")


def test_nothing_is_told_where_opentelemetry_is_switched_off(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `OTEL_SDK_DISABLED` the log processor gets no record anyway: a hidden line is not counted as lost by it."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(OCMLogRecordProcessor(outbox=outbox))
    logging.getLogger("hidden.site").info("saved", extra=SAVED)
    provider.shutdown()
    assert outbox.books.snapshot().reasons == {}


ZERO_CODE = """
import logging
logging.getLogger("site").info("saved", extra={"ocm.event_type": "course-save"})
import structlog
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30), cache_logger_on_first_use=True)
structlog.get_logger().info("saved", ocm={"event_type": "course-save"})
"""


def test_under_opentelemetry_instrument(run: Run) -> None:
    """Without a line of ours a person reads what hides a tagged line, and what to do."""
    done = run(ZERO_CODE, by_name=True, OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
    assert done.returncode == 0, done.stderr
    for said in (
        "INFO is below the level of logger 'site', WARNING, inherited from the root logger: call setLevel(logging.INFO",
        "INFO is below the level of structlog's logger class, WARNING: set wrapper_class=structlog.make_filtering_b",
    ):
        assert done.stderr.count(said) == 1, done.stderr


PLACES = """
import functools, logging, sys, traceback
import structlog
from ocm_otel import OCMHandler, Outbox, Settings

seen = []

class Keep(logging.Handler):
    def emit(self, record):
        seen.append((record.name, record.levelno, record.pathname, record.lineno, record.funcName, record.msg,
                     record.stack_info, bool(record.exc_info)))

class Fail(logging.Filter):
    def filter(self, record):
        raise ValueError("no")

def through(call, *args, **kwargs):
    return call(*args, **kwargs)

def write(log):
    for name in ("debug", "info", "warning", "error", "critical", "exception", "fatal"):
        method = getattr(log, name, None)
        for level in (1, 2, 3, 50):
            method and method("said", stacklevel=level)
            method and through(method, "said", stacklevel=level, stack_info=True)
    for level in (1, 2, 3):
        log.log(20, "said", stacklevel=level)
        through(log.log, 35, "said", stacklevel=level)

def places():
    seen.clear()
    plain = logging.getLogger("a.b")
    adapter = logging.LoggerAdapter(plain, {"one": 1})
    for log in (plain, adapter, logging.LoggerAdapter(adapter, {"two": 2}), logging):
        write(log)
    structlog.configure(processors=[structlog.stdlib.render_to_log_kwargs],
                        logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger)
    for name in ("debug", "info", "warning", "error", "critical", "exception"):
        getattr(structlog.get_logger("a.c"), name)("said")
    failing = logging.getLogger("failing")
    if not failing.filters:
        failing.addFilter(Fail())
    for call in (failing.info, functools.partial(failing.log, 20), logging.LoggerAdapter(failing, {}).info):
        try:
            call("said")
        except ValueError as error:
            seen.append([(step.filename, step.lineno, step.name, step.line)
                         for step in traceback.extract_tb(error.__traceback__)])
    return list(seen)

def patched(*names):
    # as other libraries do it
    originals = {name: getattr(logging.Logger, name) for name in names}
    def put(name, original):
        @functools.wraps(original)
        def call(*args, **kwargs):
            return original(*args, **kwargs)
        setattr(logging.Logger, name, call)
    for name, original in originals.items():
        put(name, original)
    return lambda: [setattr(logging.Logger, name, original) for name, original in originals.items()]

def ours():
    handlers = [OCMHandler(outbox=outbox)]
    return handlers.clear

def at_one_place(*steps):
    undo = [step() for step in steps]
    found = places(), [vars(logging.Logger)[name] for name in stdlib]
    for each in reversed(undo):
        each()
    return found

root = logging.getLogger()
root.addHandler(Keep())
root.setLevel(1)
outbox = Outbox(Settings(api_key="k", durability="memory"))
stdlib = {name: vars(logging.Logger)[name] for name in ("debug", "info", "warning", "error", "critical", "log")}
late, early = functools.partial(patched, "makeRecord", "callHandlers"), functools.partial(patched, "info", "makeRecord")
orders = (), (ours,), (ours, late), (late, ours), (), (early,), (early, ours)
alone, mine, before, after, again, theirs, both = [at_one_place(*order) for order in orders]
print(sum(now is not own for now, own in zip(mine[1], stdlib.values())), sum(map(bool, alone[0])) > 200)
print([found[0] == alone[0] for found in (mine, before, after)], both[0] == theirs[0])
print(again == alone, [vars(logging.Logger)[name] for name in stdlib] == list(stdlib.values()))
"""


def test_the_place_of_a_line_stays_the_same(run: Run) -> None:
    """File, line, function, `stacklevel` and tracebacks are those without us, also beside other libraries' patches."""
    done = run(PLACES)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == "6 True\n[True, True, True] True\nTrue True\n"
