"""The instrumentor in code: providers set before and after it, structlog's chains, and being switched off again."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from functools import partial

import pytest
import structlog
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from ocm_otel import OCMInstrumentor, OCMProcessor, OCMSampler, Settings, tags
from ocm_otel._named_exporters import NamedSpanExporter

MERGE = structlog.contextvars.merge_contextvars


@pytest.fixture
def instrument(memory, monkeypatch):
    """Calls `instrument()` with an outbox that remembers, and takes everything back at the end."""
    for name in ("OTEL_SDK_DISABLED", "OTEL_EXPORTER_OCM_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(**arguments):
        OCMInstrumentor().instrument(**({"outbox": memory} | arguments))
        return memory

    yield call
    OCMInstrumentor().uninstrument()
    structlog.reset_defaults()


def render(logger, method_name, line):
    raise structlog.DropEvent


def tell(log, course) -> None:
    log.info("saved", **tags("course-save", course_id=course))


def courses(memory) -> list[str]:
    return [event.course_id for event in memory.events]


HEAD = """
from opentelemetry import trace
from opentelemetry._logs import LogRecord, get_logger, set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_tracer_provider
from ocm_otel import OCMInstrumentor, tags

early = trace.get_tracer("early")
tracers, loggers = TracerProvider(), LoggerProvider()
own = tracers.get_tracer("own")
"""
TAIL = """
for tracer in (early, own, trace.get_tracer("late"), TracerProvider().get_tracer("not global")):
    tracer.start_span("x", attributes=tags("course-save", course_id="span")).end()
get_logger("late").emit(LogRecord(body="saved", attributes=tags("course-save", course_id="line")))
"""


@pytest.mark.parametrize("first", ["providers", "instrumentor", "names"])
def test_providers_set_before_and_after(run, emulator, first):
    """Whoever sets the global providers, and when, they have each processor once; others have none."""
    steps = ["OCMInstrumentor().instrument()\n", "set_tracer_provider(tracers)\nset_logger_provider(loggers)\n"]
    if first == "providers":
        steps.reverse()
    if first == "instrumentor":  # the module's functions are asked for by attribute, as most code does
        steps[1] = (
            "from opentelemetry import _logs\ntrace.set_tracer_provider(tracers)\n_logs.set_logger_provider(loggers)\n"
        )
    done = run(HEAD + "".join(steps) + "OCMInstrumentor().instrument()\n" + TAIL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert Counter(event["course_id"] for event in emulator.events()) == {"span": 3, "line": 1}


def test_a_provider_that_comes_second(run, emulator):
    """A provider that OpenTelemetry refuses, and one that stands in for changing ones, are served all the same."""
    code = """
class StandIn(trace.TracerProvider):
    provider = TracerProvider()
    __hash__ = None
    def get_tracer(self, *args, **kwargs):
        return self.provider.get_tracer(*args, **kwargs)

OCMInstrumentor().instrument()
stand_in, second = StandIn(), TracerProvider()
for provider in (tracers, second, stand_in):
    trace.set_tracer_provider(provider)
stand_in.get_tracer("first").start_span("x", attributes=tags("course-save", course_id="stand-in")).end()
stand_in.provider = TracerProvider()
stand_in.get_tracer("second").start_span("x", attributes=tags("course-save", course_id="stand-in")).end()
second.get_tracer("t").start_span("x", attributes=tags("course-save", course_id="second")).end()
"""
    done = run(HEAD + code + TAIL.partition("get_logger")[0])
    assert done.returncode == 0
    assert done.stderr.splitlines() == ["Overriding of current TracerProvider is not allowed"] * 2
    assert Counter(event["course_id"] for event in emulator.events()) == {"span": 3, "stand-in": 2, "second": 1}


def test_a_provider_that_is_given(instrument, memory):
    """A provider that is given has our processor besides the global one, once however often it is given."""
    tracers, loggers = TracerProvider(), LoggerProvider()
    for _ in range(2):
        instrument(tracer_provider=tracers, logger_provider=loggers)
    tracers.get_tracer("t").start_span("x", attributes=tags("course-save", course_id="span")).end()
    loggers.get_logger("t").emit(LogRecord(body="x", attributes=tags("course-save", course_id="line")))
    assert courses(memory) == ["span", "line"]


def test_a_provider_that_is_none_of_the_sdk(instrument, caplog):
    """A provider that has no place for a processor is told of, by its class."""
    instrument(tracer_provider=trace.NoOpTracerProvider())
    assert [record.getMessage().split()[0] for record in caplog.records] == ["NoOpTracerProvider"]


def test_uninstrument(instrument, memory):
    """After `uninstrument` nothing comes in, hooked functions are what they were, and one may begin again."""
    before = (trace.set_tracer_provider, TracerProvider.get_tracer, structlog.configure, structlog.wrap_logger)
    provider = TracerProvider()
    span = provider.get_tracer("t").start_span
    instrument(tracer_provider=provider)
    assert OCMInstrumentor().is_instrumented_by_opentelemetry
    assert trace.set_tracer_provider is not before[0]
    cached = structlog.wrap_logger(None, processors=[render], cache_logger_on_first_use=True)
    tell(cached, "1")
    OCMInstrumentor().uninstrument()
    assert not OCMInstrumentor().is_instrumented_by_opentelemetry
    assert before == (trace.set_tracer_provider, TracerProvider.get_tracer, structlog.configure, structlog.wrap_logger)
    assert not any(isinstance(each, OCMProcessor) for each in structlog.get_config()["processors"])
    tell(cached, "2")
    span("x", attributes=tags("course-save", course_id="3")).end()
    assert courses(memory) == ["1"]
    instrument(tracer_provider=provider)
    span("x", attributes=tags("course-save", course_id="4")).end()
    tell(structlog.wrap_logger(None, processors=[render]), "5")
    assert courses(memory) == ["1", "4", "5"]


@pytest.mark.parametrize(("mode", "seen"), [("all", ["early", "late"]), ("off", [])])
def test_what_is_sampled_away(instrument, memory, mode, seen):
    """Our sampler stands around a provider's own, for tracers made before as well, until it is taken away."""
    provider = TracerProvider(sampler=ALWAYS_OFF)
    early = provider.get_tracer("early")
    memory.settings = Settings(sampler_mode=mode)
    instrument(tracer_provider=provider)
    for tracer, name in ((early, "early"), (provider.get_tracer("late"), "late")):
        tracer.start_span("x", attributes=tags("course-save", course_id=name)).end()
    assert courses(memory) == seen
    OCMInstrumentor().uninstrument()
    assert provider.sampler is ALWAYS_OFF
    assert not early.start_span("x").is_recording()
    provider.sampler = by_hand = OCMSampler(ALWAYS_OFF)
    instrument(tracer_provider=provider)
    OCMInstrumentor().uninstrument()
    assert provider.sampler is by_hand


def test_a_hook_under_a_hook(instrument, memory):
    """If somebody stands in for our stand-in, taking ours off leaves theirs, and ours adds nothing any more."""
    instrument()
    ours = structlog.configure
    try:
        structlog.configure = partial(ours)
        theirs = structlog.configure
        OCMInstrumentor().uninstrument()
        assert structlog.configure is theirs
        structlog.configure(processors=[render])
        assert structlog.get_config()["processors"] == [render]
    finally:
        structlog.configure = ours.__wrapped__


def test_chains_given_later(instrument, memory):
    """Each chain that is configured or given later has our processor after `merge_contextvars`, or first, once."""
    instrument()
    own = [MERGE, render]
    structlog.configure(own)
    assert own == [MERGE, render], "the application's own list stays as it is"
    ours = structlog.get_config()["processors"][1]
    assert isinstance(ours, OCMProcessor)
    structlog.configure(processors=structlog.get_config()["processors"])
    structlog.configure(cache_logger_on_first_use=False)
    assert structlog.get_config()["processors"] == [MERGE, ours, render]
    with structlog.contextvars.bound_contextvars(**tags("course-save", course_id="bound")):
        structlog.get_logger().info("saved")
    structlog.reset_defaults()
    structlog.configure_once(processors=(render for _ in range(1)))
    assert structlog.get_config()["processors"] == [ours, render]
    structlog.stdlib.recreate_defaults(log_level=None)
    chain = structlog.get_config()["processors"]
    assert chain.index(ours) == chain.index(MERGE) + 1
    by_hand = OCMProcessor(outbox=memory)
    structlog.configure((render, by_hand))
    assert list(structlog.get_config()["processors"]) == [render, by_hand]
    for chain in ([render], (MERGE, render)):
        tell(structlog.wrap_logger(None, chain), "given")
    tell(structlog.wrap_logger(None, processors=[MERGE, OCMProcessor(outbox=memory), render]), "by hand")
    assert courses(memory) == ["bound", "given", "given", "by hand"]


@pytest.mark.parametrize("chain", [[MERGE, render], (render,)], ids=["list", "tuple"])
def test_loggers_cached_before(instrument, memory, chain):
    """A chain configured before us is extended, in place where it can be, so that cached loggers have it, too."""
    structlog.configure(processors=chain, cache_logger_on_first_use=True)
    cached = structlog.get_logger()
    cached.info("now it is cached")
    instrument()
    tell(cached, "cached")
    tell(structlog.get_logger(), "new")
    assert courses(memory) == (["cached", "new"] if isinstance(chain, list) else ["new"])
    structlog.reset_defaults()
    OCMInstrumentor().uninstrument()
    assert not isinstance(chain, list) or [type(each) for each in chain if isinstance(each, OCMProcessor)]


def test_what_is_no_chain(instrument):
    """What structlog itself would not take raises what it raises without us."""
    instrument()
    with pytest.raises(TypeError, match="unexpected"):
        structlog.configure(chain=[])
    structlog.configure(processors=7)
    assert structlog.get_config()["processors"] == 7


@pytest.mark.parametrize(
    ("signals", "expected"),
    [("traces", ["span"]), ("logs", ["line"]), (["structlog"], ["structlog"]), ("none", [])],
    ids=str,
)
def test_signals(instrument, memory, signals, expected):
    """Each signal can be switched off by itself."""
    tracers, loggers = TracerProvider(), LoggerProvider()
    memory.settings = Settings(signals=signals)
    instrument(tracer_provider=tracers, logger_provider=loggers)
    tracers.get_tracer("t").start_span("x", attributes=tags("course-save", course_id="span")).end()
    loggers.get_logger("t").emit(LogRecord(body="x", attributes=tags("course-save", course_id="line")))
    tell(structlog.wrap_logger(None, processors=[render]), "structlog")
    assert courses(memory) == expected
    assert OCMInstrumentor().is_instrumented_by_opentelemetry is bool(expected)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, 0),
        ({"OTEL_EXPORTER_OCM_ENDPOINT": "http://127.0.0.1:9/"}, 1),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OCM_API_KEY": "key"}, 0),
    ],
    ids=["unused", "no key", "disabled"],
)
def test_nothing_is_done(instrument, monkeypatch, caplog, environment, said):
    """Without a key, or with OpenTelemetry disabled, nothing is touched; a forgotten key is told once."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        instrument(outbox=None)
    assert not OCMInstrumentor().is_instrumented_by_opentelemetry
    assert structlog.configure.__module__ == "structlog._config"
    assert not hasattr(structlog.configure, "__wrapped__")
    assert sum("OTEL_EXPORTER_OCM_API_KEY" in record.getMessage() for record in caplog.records) == said


def test_options(instrument, caplog):
    """Options that are none, or have no usable value, are told by name, and the rest is used."""
    instrument(outbox=None, api_key=83, time_out=7, timeout="soon")
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "quotes" in said
    assert "'time_out'" in said
    assert "timeout: 'soon'" in said
    assert "83" not in said
    caplog.clear()
    OCMInstrumentor().uninstrument()
    instrument(timeout=7)
    assert "no effect: timeout" in caplog.text


def test_an_exporter_by_name_hands_over(instrument, memory):
    """An exporter by name watches for the global provider, too; while there is none it exports what it gets."""
    exporter = NamedSpanExporter(outbox=memory)
    provider = TracerProvider()
    span = provider.get_tracer("t").start_span("x", attributes=tags("course-save", course_id="span"))
    span.end()
    exporter.export([span])
    assert courses(memory) == ["span"]


def test_without_the_extra():
    """Without opentelemetry-instrumentation the instrumentor can be imported, and called in code."""
    code = """
import sys
sys.modules["opentelemetry.instrumentation"] = None
from opentelemetry.sdk.trace import TracerProvider
from ocm_otel import *
provider = TracerProvider()
here = {"endpoint": "http://127.0.0.1:9/", "durability": "memory", "shutdown_timeout": 0}
OCMInstrumentor().instrument(tracer_provider=provider, api_key="key", **here)
assert OCMInstrumentor().is_instrumented_by_opentelemetry
assert "structlog" not in sys.modules and "httpx" not in sys.modules
import structlog
print(structlog.get_config()["processors"][1])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "OCMProcessor" in done.stdout
