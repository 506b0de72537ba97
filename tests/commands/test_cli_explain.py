"""`ocm-otel explain`, run as a person runs it: what it says of each tag, against what the emulator counted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocm_otel.emulator import Emulator

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
PREFIX = "OTEL_EXPORTER_OCM_"
EXPLAIN = [sys.executable, "-m", "ocm_otel.cli", "explain"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(emulator: Emulator, tmp_path: Path) -> Run:
    """Runs a program, explained by the command, in an environment that leads to the emulator."""

    def start(code: str, *, command: list[str] | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        program = tmp_path / "app.py"
        program.write_text(code, encoding="utf-8")
        leads = {
            f"{PREFIX}ENDPOINT": emulator.endpoint, f"{PREFIX}API_KEY": emulator.key,
            f"{PREFIX}SPOOL_DIR": str(tmp_path / "spool"), f"{PREFIX}SHUTDOWN_TIMEOUT": "30000",
        }  # fmt: skip
        before = [*EXPLAIN, "--json", str(tmp_path / "sums.json"), "--"] if command is None else command
        return subprocess.run(
            [*before, sys.executable, str(program)], env=CLEAN | leads | variables, input="typed\n",
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip

    return start


def sums(folder: Path) -> dict[tuple[str, str | None], int]:
    """What the command added up, in its file."""
    content = json.loads((folder / "sums.json").read_text(encoding="utf-8"))
    assert not any(row["at_least"] for row in content["sums"])
    return {(row["outcome"], row["type"]): row["count"] for row in content["sums"]}


SPANS = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Status, StatusCode
from ocm_otel import OCMSpanProcessor, emit, tags

def tracer(**options):
    provider = TracerProvider(**options)
    provider.add_span_processor(OCMSpanProcessor(on_error="skip"))
    return provider.get_tracer("site")

def span(name, attributes, tracer=tracer()):
    with tracer.start_as_current_span(name) as made:
        made.set_attributes(attributes)
    return made

span("enroll", tags("course-save", course_id=7, user_id="annabelle"))
span("page", {"http.route": "/"})
span("mended", tags("course-save", course_id=True))
span("seven", {"ocm.event_type": 7})
span("camel", {"ocm.eventType": "x"})
span("keyword", {"ocm_event_type": "x"})
span("untyped", {"ocm.course_id": 7})
span("failed", tags("failing"))._status
with tracer().start_as_current_span("failed") as made:
    made.set_attributes(tags("failing"))
    made.set_status(Status(StatusCode.ERROR))
span("done", {}).set_attribute("ocm.event_type", "late")
span("done", {}).add_event("more", tags("late"))
span("pushed", {**tags("pushed", course_id=7), **{str(n): n for n in range(4)}},
     tracer(span_limits=SpanLimits(max_span_attributes=5)))
span("gone", {**tags("pushed"), **{str(n): n for n in range(4)}}, tracer(span_limits=SpanLimits(max_span_attributes=4)))
span("cut", tags("cut"), tracer(span_limits=SpanLimits(max_span_attribute_length=3)))
none = tracer(sampler=TraceIdRatioBased(0))
with none.start_as_current_span("dropped", attributes=tags("at-start")) as made:
    made.set_attribute("ocm.event_type", "dropped")
    made.set_attributes(tags("dropped"))
    made.add_event("more", tags("dropped"))
trace.get_current_span().set_attribute("ocm.event_type", "nowhere")
emit("told")
emit("")
print("out", sys.stdin.read().strip())
print("err", file=sys.stderr)
sys.exit(3)
"""

OF_SPANS = {
    ("event", "course-save"): 1, ("event", "failing"): 1, ("event", "cut"): 1, ("event", "told"): 1,
    ("mended", "course-save"): 1, ("refused", None): 2, ("skipped", "failing"): 1,
    ("lost", None): 2, ("lost", "late"): 2, ("lost", "at-start"): 1, ("lost", "dropped"): 3, ("lost", "nowhere"): 1,
    ("near-miss", None): 4,
}  # fmt: skip


def test_what_became_of_spans(run: Run, emulator: Emulator, tmp_path: Path) -> None:
    """Each span that bears a tag, or nearly one, is told with its reason, and the sums are what the API counted."""
    done = run(SPANS)
    assert (done.returncode, done.stdout) == (3, "out typed\n"), done.stderr
    assert sums(tmp_path) == OF_SPANS
    assert sorted(event["type"] for event in emulator.events()) == [
        "course-save",
        "course-save",
        "cut",
        "failing",
        "told",
    ]
    for said in (
        "event course-save #0.1: span 'enroll': accepted (ocm.course_id a value of type int, ocm.user_id 'ann'…",
        "span 'mended': accepted, without ocm.course_id (ocm.course_id = True: a boolean is no id",
        "span 'seven': no event is made of it (ocm.event_type = a value of type int: an event type is a text",
        "span 'camel': 'ocm.eventType' is no tag: ocm.event_type is",
        "span 'keyword': 'ocm_event_type' is no tag on a span: ocm.event_type is",
        "span 'untyped': ocm.course_id without ocm.event_type",
        "span 'failed': the span ended with an error status, and on_span_error is skip",
        "span 'done': the span had ended when the tag was set",
        "span 'pushed': a span or line with too many attributes lost ocm.event_type, and kept ocm.course_id",
        "span 'cut': ocm.event_type has just as many characters as an attribute may have here, 3",
        "span 'dropped': the sampler dropped this span: OTEL_TRACES_SAMPLER=ocm_record lets tags count all the same",
        "span 'gone': attributes were dropped at the limit, and a tag may have been among them",
        "there is no current span here",
        "emit(): no event is made of it",
        "err\n",
    ):
        assert said in done.stderr, said
    assert "'page'" not in done.stderr
    assert re.search(r"^lost +dropped +3$", done.stderr, re.MULTILINE)
    assert "The program ended (exit code 3)." in done.stderr
    assert "annabelle" not in done.stderr
    assert emulator.key not in done.stderr + (tmp_path / "sums.json").read_text(encoding="utf-8")


LINES = """
import asyncio, logging, structlog
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from ocm_otel import OCMHandler, OCMLogRecordProcessor, OCMProcessor, tags

plain = logging.getLogger("site")
plain.addHandler(OCMHandler())
plain.warning("kept", extra=tags("plain"))
plain.info("below", extra=tags("plain"))
plain.info("no tag below")
logging.getLogger("a\\x1b[31mred").info("below", extra=tags("plain"))
plain.warning("typo", extra={"ocm_event-type": "x"})
logging.LoggerAdapter(plain, {"own": 1}).warning("adapted", extra=tags("plain"))
logging.LoggerAdapter(plain, {"own": 1}).info("adapted", extra=tags("plain"))

provider = LoggerProvider()
provider.add_log_record_processor(OCMLogRecordProcessor())
record = provider.get_logger("l").emit
record(LogRecord(body="kept", attributes=tags("record")))
record(LogRecord(body=tags("record")))

merge, render = structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()
structlog.configure(processors=[merge, OCMProcessor(), render], logger_factory=structlog.ReturnLoggerFactory(),
                    wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
log = structlog.get_logger()
log.warning("kept", ocm={"event_type": "line"})
log.info("below", ocm_event_type="line")
log.bind(**tags("line")).debug("bound")
with structlog.contextvars.bound_contextvars(**tags("line")):
    asyncio.run(log.ainfo("below"))
log.info("no tag below")
log.warning("typo", ocm={"type": "x"})

structlog.configure(processors=[structlog.stdlib.filter_by_level, OCMProcessor(), render],
                    logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger)
structlog.get_logger("site").info("filtered", **tags("filtered"))
structlog.configure(processors=[OCMProcessor(), structlog.stdlib.filter_by_level, render])
structlog.get_logger("site").info("seen", **tags("seen"))
structlog.configure(processors=[render, OCMProcessor(), lambda *_: (("x",), {})])
structlog.get_logger("site").warning("rendered", **tags("rendered"))
"""


def test_what_became_of_lines(run: Run, emulator: Emulator, tmp_path: Path) -> None:
    """Each line that bears a tag, or nearly one, is told with its reason, also those that reach no door at all."""
    done = run(LINES)
    assert done.returncode == 0, done.stderr
    assert sums(tmp_path) == {
        ("event", "plain"): 1, ("event", "record"): 1, ("event", "line"): 1, ("event", "seen"): 1,
        ("lost", "plain"): 4, ("lost", "line"): 3, ("lost", "filtered"): 1, ("lost", None): 1, ("near-miss", None): 3,
    }  # fmt: skip
    assert sorted(event["type"] for event in emulator.events()) == ["line", "plain", "record", "seen"]
    for said in (
        "line 'below': INFO is below the level of logger 'site', WARNING, inherited from the root logger: call setLev",
        "line 'typo': 'ocm_event-type' is no tag: ocm.event_type is",
        "line 'adapted': a LoggerAdapter puts its own extra in place of the call's",
        "tags in the body of a log record are not searched for",
        "line 'below': INFO is below the level of structlog's logger class, WARNING",
        "line 'bound': DEBUG is below the level of structlog's logger class, WARNING",
        "line 'typo': ocm has 'type', and no event_type",
        "line 'filtered': INFO is below the level of logger 'site', WARNING, inherited from the root logger: put OCMPr",
        "OCMProcessor got a rendered line (of type str)",
    ):
        assert said in done.stderr, said
    assert "\x1b" not in done.stderr


def test_what_the_outbox_does_not_take(run: Run, tmp_path: Path) -> None:
    """An event that the outbox turns away is told with the reason."""
    code = "from ocm_otel import emit\nfor _ in range(3): emit('logout')"
    done = run(code, **{f"{PREFIX}MAX_QUEUE_SIZE": "1", f"{PREFIX}DURABILITY": "memory", f"{PREFIX}API_KEY": ""})
    assert sums(tmp_path) == {("turned-away", "logout"): 3}
    assert "the outbox did not accept it (" in done.stderr


def test_a_storm_of_events_is_told_in_a_few_lines(run: Run, emulator: Emulator, tmp_path: Path) -> None:
    """Of thousands that are alike some lines are told, and the sum is exact; of kinds some hundred."""
    done = run("from ocm_otel import emit, tags\nfor n in range(612): emit('logout', user_id=n)\n"
               "for n in range(320): emit(f'kind-{n}')")  # fmt: skip
    found = sums(tmp_path)
    assert (found["event", "logout"], sum(found.values())) == (612, 932)
    assert len(done.stderr.splitlines()) < 400
    assert re.search(r"^and \d+ more kinds", done.stderr, re.MULTILINE)
    assert emulator.count == 932


def test_a_process_that_is_killed_and_one_that_was_forked(run: Run, emulator: Emulator, tmp_path: Path) -> None:
    """Children are heard as well, each for itself; of one that was killed the sum says that it may be more."""
    code = (
        "import os, signal, sys\nfrom ocm_otel import emit\nfor _ in range(7): emit('parent')\nif os.fork() == 0:\n"
        "    for _ in range(57): emit('child')\n    os.kill(os.getpid(), signal.SIGKILL)\nos.wait()\n"
        "if os.fork() == 0:\n    emit('tidy')\n    sys.exit()\nos.wait()\nemit('parent')"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^event +child +at least 10$", done.stderr, re.MULTILINE), done.stderr
    assert re.search(r"^event +parent +8$", done.stderr, re.MULTILINE), done.stderr
    assert re.search(r"^event +tidy +1$", done.stderr, re.MULTILINE)


def test_a_program_that_dies_of_a_signal(run: Run) -> None:
    """The exit code is the one that a shell would give."""
    done = run("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == 128 + signal.SIGKILL
    assert "The program ended (signal 9)." in done.stderr
    assert "No tag was seen, and nothing like one." in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--", "/no/such/program"]])
def test_wrong_use(arguments: list[str]) -> None:
    """Without a program, or with one that cannot be started: exit code 2, and no traceback."""
    done = subprocess.run([*EXPLAIN, *arguments], env=CLEAN, capture_output=True, text=True, timeout=150, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_sigterm_reaches_the_program(emulator: Emulator, tmp_path: Path) -> None:
    """Who ends the command with SIGTERM ends the program, and still gets the sums."""
    code = (
        "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('up', flush=True)\nwhile True: signal.sigtimedwait([], 1)"
    )
    command = [*EXPLAIN, "--", sys.executable, "-c", code]
    with subprocess.Popen(command, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        _, said = process.communicate(timeout=150)
    assert process.returncode == 7
    assert "The program ended (exit code 7)." in said


SWITCH = """
import logging
from opentelemetry.trace import NonRecordingSpan
from ocm_otel import _doors, _span_door, emit, spans
emit("logout")
print(logging.LoggerAdapter.process.__module__, NonRecordingSpan.set_attribute.__module__,
      _doors.admit.__module__, _span_door.SpanDoor.take.__module__)
"""


def test_the_switch_alone_and_without_it(run: Run) -> None:
    """The variable does the same in any process; without it nothing is told, and nothing is put around anything."""
    off, on = (run(SWITCH, command=[], **{f"{PREFIX}EXPLAIN": value}) for value in ("", "true"))
    assert off.stdout.split() == ["logging", "opentelemetry.trace.span", "ocm_otel._doors", "ocm_otel._span_door"]
    assert off.stderr == ""
    assert set(on.stdout.split()) == {"ocm_otel._explain"}
    assert re.fullmatch(r"ocm-otel explain \[\d+\] event logout #0\.1: emit\(\): accepted\n", on.stderr)
