"""The doors by their names in `OTEL_*` variables, in real processes under `opentelemetry-instrument`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SPANS = """
from opentelemetry import trace
from ocm_otel import tags
tracer = trace.get_tracer("application")
for number in range(40):
    tagged = tags("course-save", course_id=number, user_id="ann")
    with tracer.start_as_current_span("save", attributes=tagged):
        for _ in range(100):
            tracer.start_span("noise").end()
print("the application's own output")
"""

LINES = """
import logging
logging.basicConfig(level=logging.INFO, format="app: %(message)s")
log = logging.getLogger("shop")
for number in range(20):
    log.info("saved", extra={"ocm.event_type": "course-save", "ocm.course_id": number})
    log.info("opened", extra={"page": number})
print("the application's own output")
"""


def courses(emulator) -> Counter[str]:
    return Counter(event["course_id"] for event in emulator.events())


@pytest.fixture
def collector() -> Iterator[ThreadingHTTPServer]:
    """Takes OTLP over HTTP and counts the requests by path in its `seen`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.server.seen[self.path] += 1
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = Counter()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_by_name(run, emulator):
    """`OTEL_TRACES_EXPORTER=ocm`: 40 tagged spans among 4,000 others in a tight loop arrive once each."""
    done = run(SPANS, by_name=True, OTEL_TRACES_EXPORTER="ocm", OTEL_LOGS_EXPORTER="none")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the application's own output\n", "")
    assert courses(emulator) == {str(number): 1 for number in range(40)}
    assert {(event["type"], event["user_id"]) for event in emulator.events()} == {("course-save", "ann")}


def test_beside_otlp(run, emulator, collector):
    """`OTEL_TRACES_EXPORTER=otlp,ocm`: each event once, and the spans go to the collector as before."""
    done = run(
        SPANS,
        by_name=True,
        OTEL_TRACES_EXPORTER="otlp,ocm",
        OTEL_LOGS_EXPORTER="none",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_port}",
    )
    assert (done.returncode, done.stdout) == (0, "the application's own output\n")
    assert courses(emulator) == {str(number): 1 for number in range(40)}
    assert collector.seen["/v1/traces"] > 0


def test_with_a_sampler(run, emulator):
    """With a ratio sampler each tagged span is an event, once, whether it is sampled or not."""
    done = run(
        SPANS,
        by_name=True,
        OTEL_TRACES_EXPORTER="ocm",
        OTEL_LOGS_EXPORTER="none",
        OTEL_TRACES_SAMPLER="traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.5",
    )
    assert done.returncode == 0, done.stderr
    assert courses(emulator) == {str(number): 1 for number in range(40)}


def test_unsampled_spans_by_name(run, emulator):
    """A provider of the application's own that only records: by name its spans are events all the same."""
    code = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from ocm_otel import tags
from ocm_otel._named_exporters import NamedSpanExporter

class RecordOnly(Sampler):
    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, *rest, **further):
        return SamplingResult(Decision.RECORD_ONLY, attributes)
    def get_description(self):
        return "RecordOnly"

provider = TracerProvider(sampler=RecordOnly())
trace.set_tracer_provider(provider)
for _ in range(2):
    provider.add_span_processor(BatchSpanProcessor(NamedSpanExporter()))
for number in range(5):
    with trace.get_tracer("t").start_as_current_span("x", attributes=tags("course-save", course_id=number)):
        pass
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert courses(emulator) == {str(number): 1 for number in range(5)}


@pytest.mark.parametrize("options", ["", "timeout=5000, unknown=1"])
def test_before_the_provider_is_set(run, emulator, options):
    """Where no provider is set yet, as in the YAML path, the named exporters export what they get."""
    code = f"""
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from ocm_otel import tags
from ocm_otel._named_exporters import NamedLogExporter, NamedSpanExporter

spans, logs = NamedSpanExporter({options}), NamedLogExporter({options})
tracers, loggers = TracerProvider(), LoggerProvider()
tracers.add_span_processor(BatchSpanProcessor(spans))
loggers.add_log_record_processor(BatchLogRecordProcessor(logs))
with tracers.get_tracer("t").start_as_current_span("save", attributes=tags("course-save", course_id="span")):
    pass
loggers.get_logger("t").emit(LogRecord(body="saved", attributes=tags("course-save", course_id="line")))
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("unknown") == (1 if options else 0)
    assert courses(emulator) == {"span": 1, "line": 1}


def test_lines_by_name(run, emulator):
    """`OTEL_LOGS_EXPORTER=ocm`: tagged lines of plain logging arrive once each."""
    done = run(LINES, by_name=True, OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="ocm")
    assert (done.returncode, done.stdout) == (0, "the application's own output\n")
    assert done.stderr.splitlines() == ["app: saved", "app: opened"] * 20
    assert courses(emulator) == {str(number): 1 for number in range(20)}


def test_lines_and_spans_by_name(run, emulator):
    """Both signals by name in one process share one outbox, and each record is one event."""
    done = run(SPANS + LINES.replace("number}", "100 + number}"), by_name=True,
               OTEL_TRACES_EXPORTER="ocm", OTEL_LOGS_EXPORTER="ocm")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert courses(emulator) == {str(number): 1 for number in (*range(40), *range(100, 120))}


@pytest.mark.parametrize("signal", ["TRACES", "LOGS"])
@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "OTEL_EXPORTER_OCM_API_KEY"),
        ("line\nbreak", "characters that cannot stand in an HTTP header"),
        ("wrong", "403"),
    ],
    ids=["missing", "bad", "refused"],
)
def test_no_good_key(run, emulator, signal, key, said):
    """A missing, a bad or a refused key is one clear message, and the application goes on as ever."""
    names = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", f"OTEL_{signal}_EXPORTER": "ocm"}
    done = run(
        SPANS if signal == "TRACES" else LINES.replace("app: %", "%"),
        by_name=True,
        OTEL_EXPORTER_OCM_API_KEY=key,
        OTEL_EXPORTER_OCM_SHUTDOWN_TIMEOUT="3000",
        **names,
    )
    assert (done.returncode, done.stdout) == (0, "the application's own output\n")
    told = [line for line in done.stderr.splitlines() if line not in {"saved", "opened"}]
    assert sum(said in line for line in told) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "line\nbreak" not in done.stderr
    assert "wrong" not in done.stderr.replace("is wrong", "")
    assert courses(emulator) == {}


def test_emit(run, emulator):
    """`emit` needs neither span nor line, says whether the event was taken, and never raises."""
    code = """
from ocm_otel import emit
print(emit("course-save", course_id=7, user_id="ann", entity_id="north", event_id="e1"))
print(emit("menu-click", user_id=True), emit(None), emit(7), emit(" "))
"""
    done = run(code)
    assert (done.returncode, done.stdout) == (0, "True\nTrue False False False\n")
    names = ("type", "course_id", "user_id", "entity_id")
    assert sorted(tuple(event[name] for name in names) for event in emulator.events()) == [
        ("course-save", "7", "ann", "north"),
        ("menu-click", None, None, None),
    ]
    assert done.stderr.count("ocm.user_id") == 1
    assert done.stderr.count("ocm.event_type") == 2


def test_a_door_without_events_makes_nothing(run, emulator):
    """Doors that see no tagged record load no HTTP library, start no thread and say nothing."""
    code = """
import logging, sys, threading
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from ocm_otel import *

tracers, loggers = TracerProvider(), LoggerProvider()
tracers.add_span_processor(OCMSpanProcessor())
loggers.add_log_record_processor(OCMLogRecordProcessor())
plain = logging.getLogger("plain")
plain.propagate = False
plain.addHandler(OCMHandler())
plain.warning("untagged")
plain.handlers[0].flush()
tracers.get_tracer("t").start_span("untagged").end()
OCMProcessor()(None, "info", {"event": "untagged"})
assert tracers.force_flush() is True
assert OCMSpanExporter().force_flush() and OCMLogExporter().force_flush()
tracers.shutdown()
print("httpx" in sys.modules, threading.active_count())
"""
    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False 1\n", "")
    assert emulator.requests() == []


def test_the_package_alone_is_light(run):
    """`import ocm_otel` loads no room of the engine, no OpenTelemetry, no structlog and no HTTP library."""
    code = """
import sys, ocm_otel
print([name for name in sys.modules if name.startswith(("ocm_otel.", "httpx", "opentelemetry", "structlog"))])
"""
    done = run(code)
    assert (done.stdout, done.stderr) == ("[]\n", "")
