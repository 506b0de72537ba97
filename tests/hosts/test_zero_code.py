"""Zero code: every way to set OpenTelemetry up, with each choice of exporters, and no line of ours.

What ran is a row of docs/zero-code.md: with `ZERO_CODE_RESULTS` set, each test that passes adds a line to that file,
and `docs/_render.py` makes the table of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SITES = Path(__file__).with_name("sites")
EXAMPLE = Path(__file__).parents[2] / "examples/otel.yaml"
SDK = version("opentelemetry-sdk")

#: How OpenTelemetry is set up: by its command, in code, by a file, by a vendor's distribution.
WAYS = ("command", "initialize", "file", "azure", "logfire")
#: What stands in `OTEL_TRACES_EXPORTER` and `OTEL_LOGS_EXPORTER`, or in the file.
EXPORTERS = ("none", "otlp", "ocm", "otlp,ocm")
#: What a way needs that not every installation has.
NEEDS = {"file": "opentelemetry.configuration", "azure": "azure.monitor.opentelemetry", "logfire": "logfire"}

AZURE = {
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=00000000-0000-0000-0000-000000000000;"
    "IngestionEndpoint=http://127.0.0.1:9/",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "OTEL_PYTHON_DISTRO": "azure_monitor_opentelemetry_distro",
    "OTEL_PYTHON_CONFIGURATOR": "azure_monitor_opentelemetry_configurator",
}
FILE = """
file_format: "1.0"
tracer_provider:
  processors: [%s]
logger_provider:
  processors: [%s]
"""


#: Instrumentations that the program has no use for; it would spend its time importing what they instrument.
OTHERS = "asgi,fastapi,flask,httpx,httpx2,requests,starlette,threading,urllib,urllib3,wsgi"


def there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def make_file(path: Path, exporters: str, endpoint: str) -> str:
    """Write a configuration with these exporters; one has to be there, so `none` writes to the console."""
    batches = []
    for kind in ("traces", "logs"):
        known = {"otlp": f"otlp_http: {{endpoint: '{endpoint}/v1/{kind}'}}", "ocm": "ocm: {}", "none": "console: {}"}
        batches.append(", ".join(f"{{batch: {{exporter: {{{known[name]}}}}}}}" for name in exporters.split(",")))
    path.write_text(FILE % tuple(batches))
    return str(path)


@pytest.fixture
def run(environment, without_upstream):
    """Runs the program to its end; it may take its time there, for what is proved is what arrives."""

    def start(*command: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        patient = {"OTEL_EXPORTER_OCM_SHUTDOWN_TIMEOUT": "30000", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OTHERS}
        done = subprocess.run(
            command, env=environment(**patient | variables),
            cwd=SITES, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        done.stderr = without_upstream(done.stderr)
        return done

    return start


def courses(emulator) -> Counter[str]:
    return Counter(event["course_id"] for event in emulator.events())


@pytest.mark.parametrize("exporters", EXPORTERS)
@pytest.mark.parametrize("way", WAYS)
def test_zero_code(run, emulator, make_collector, tmp_path, way, exporters):
    """Each tagged span, line and structlog line is one event, and with `otlp` the collector gets each span once."""
    if way in NEEDS and not there(NEEDS[way]):
        pytest.skip(f"there is no {NEEDS[way]}")
    collector = make_collector()
    variables = {
        "OTEL_TRACES_EXPORTER": exporters,
        "OTEL_LOGS_EXPORTER": exporters,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
    }
    if way == "file":
        variables |= {"OTEL_CONFIG_FILE": make_file(tmp_path / "otel.yaml", exporters, collector.endpoint)}
    if way == "azure":
        variables |= AZURE
    program = [sys.executable, "zero_code.py", *([way] if way in {"initialize", "logfire"} else [])]
    done = run(*([] if way == "initialize" else ["opentelemetry-instrument"]), *program, **variables)
    assert done.returncode == 0, done.stderr
    assert "ocm_otel" not in done.stderr, done.stderr
    tagged = [*range(10), *range(100, 110), *range(200, 210)]
    assert courses(emulator) == Counter(map(str, tagged)), done.stderr
    assert sum(collector.spans().values()) == (10 if "otlp" in exporters else 0)
    if record := os.environ.get("ZERO_CODE_RESULTS"):
        with Path(record).open("a", encoding="utf-8") as results:
            results.write(f"{SDK} {way} {exporters}\n")


def test_a_fastapi_application(site, emulator, make_collector):
    """Views annotate the current span, one trace in ten is exported: 200 requests are 200 events, about 20 traces."""
    collector = make_collector()
    running = site(
        "fastapi_spans",
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_TRACES_SAMPLER="parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.1",
    )
    paths = [f"/courses/{n}/{('save', 'complete')[n % 2]}?user=user-{n % 17}&group=group-{n % 5}" for n in range(200)]
    assert running.visit(paths) == {200: 200}
    emulator.wait_for(200, 60)
    running.interrupt()  # at its own end OpenTelemetry exports what is left; after SIGTERM uvicorn has none
    assert courses(emulator) == {str(n): 1 for n in range(200)}
    assert len(emulator.requests()) == 200
    served = sum(
        count for (_, kind, _, _), count in collector.spans().items() if kind == Span.SpanKind.SPAN_KIND_SERVER
    )
    assert 3 <= served <= 45, "four standard deviations around what a fair sampler takes"


def test_the_example_file(run, emulator, make_collector):
    """The configuration of examples/ exports some of the spans, and makes events of all that is tagged."""
    pytest.importorskip("opentelemetry.configuration")
    collector = make_collector()
    done = run(
        "opentelemetry-instrument", sys.executable, "zero_code.py",
        OTEL_CONFIG_FILE=str(EXAMPLE), OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert courses(emulator) == Counter(map(str, [*range(10), *range(100, 110), *range(200, 210)])), done.stderr
    assert sum(collector.spans().values()) < 10
    assert "ocm" not in done.stderr, done.stderr


@pytest.mark.parametrize("place", ["exporter", "instrumentor"])
def test_mistakes_in_the_file(run, emulator, tmp_path, place):
    """A misspelt option and a key that became a number are told by name; OpenTelemetry and the application go on."""
    pytest.importorskip("opentelemetry.configuration")
    ours = f"{{api_key: 0123, time_out: 7, timeout: soon, endpoint: '{emulator.endpoint}'}}"
    path = tmp_path / "otel.yaml"
    path.write_text(
        f"file_format: '1.0'\ntracer_provider: {{processors: [{{simple: {{exporter: {{ocm: {ours}}}}}}}, "
        "{simple: {exporter: {console: {}}}}]}\n"
        if place == "exporter"
        else "file_format: '1.0'\ntracer_provider: {processors: [{simple: {exporter: {console: {}}}}]}\n"
        f"instrumentation/development: {{python: {{ocm: {ours}}}}}\n"
    )
    done = run(
        "opentelemetry-instrument", sys.executable, "zero_code.py",
        OTEL_CONFIG_FILE=str(path), OTEL_EXPORTER_OCM_API_KEY=None, OTEL_EXPORTER_OCM_ENDPOINT=None,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"name": "request"') == 10, "the other exporter works"
    said = [line for line in done.stderr.splitlines() if "OTEL_CONFIG_FILE" not in line]
    assert [sum(words in line for line in said) for words in ("quotes", "'time_out'", "timeout: 'soon'")] == [1, 1, 1]
    assert "Traceback" not in done.stderr
    assert "83" not in done.stderr
    assert emulator.requests() == []


@pytest.mark.parametrize(
    "variables", [{"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": f"{OTHERS},ocm"}, {"OTEL_SDK_DISABLED": "true"}],
    ids=["the instrumentation", "all of OpenTelemetry"],
)  # fmt: skip
def test_switched_off(run, emulator, variables):
    """Where it is switched off it does nothing and says nothing."""
    done = run("opentelemetry-instrument", sys.executable, "zero_code.py", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert emulator.requests() == []


def test_options_of_the_command(run, emulator):
    """Our settings are options of `opentelemetry-instrument`."""
    ours = ["--exporter_ocm_api_key", emulator.key, "--exporter_ocm_signals", "structlog"]
    done = run("opentelemetry-instrument", *ours, sys.executable, "zero_code.py", OTEL_EXPORTER_OCM_API_KEY=None)
    assert done.returncode == 0, done.stderr
    assert courses(emulator) == Counter(map(str, range(200, 210)))


def test_metrics_in_zero_code_order(run, emulator):
    """With OpenTelemetry's own metrics on, ours are there, although its meter provider is set after the tracers'."""
    done = run(
        "opentelemetry-instrument", sys.executable, "zero_code.py",
        OTEL_METRICS_EXPORTER="console", OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED="true",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(courses(emulator)) == 30
    metrics = {
        metric["name"]: metric["data"]["data_points"][0].get("value")
        for line in done.stdout.split("\n{\n")
        if '"resource_metrics"' in line
        for resource in json.loads("{" + line.removeprefix("{"))["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    assert metrics["ocm.events.accepted"] == 30, metrics
    assert metrics["ocm.spool.capacity"] == 256 * 1024 * 1024
