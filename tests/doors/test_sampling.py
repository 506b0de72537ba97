"""Sampling on the real SDK: every tagged span is an event, and nothing else is different from without us."""

from __future__ import annotations

import random
from collections import Counter
from importlib.metadata import version

import httpx
import pytest
from opentelemetry.instrumentation.httpx import SyncOpenTelemetryTransport
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, ParentBasedTraceIdRatio
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_tracer_provider,
    set_span_in_context,
)

from ocm_otel import OCMSampler, OCMSpanExporter, OCMSpanProcessor, tags
from ocm_otel._named_sampler import NAME
from ocm_otel.sampling import wrap

SDK = tuple(int(part) for part in version("opentelemetry-sdk").split(".")[:2])
#: Since 1.44 the file is read by a package of its own; 1.39 does not read one.
reads_yaml = pytest.mark.skipif(
    SDK < (1, 44), reason="OpenTelemetry reads OTEL_CONFIG_FILE with this set-up since 1.44"
)


class Seeded(IdGenerator):
    """Ids that are the same in every run."""

    def __init__(self):
        self.dice = random.Random(7)

    def generate_span_id(self):
        return self.dice.getrandbits(64) or 1

    def generate_trace_id(self):
        return self.dice.getrandbits(128) or 1


@pytest.fixture
def make_provider():
    """Makes tracer providers with ids that do not vary, and what each of the SDK's processors exports."""
    made = []

    def make(sampler, *processors):
        provider = TracerProvider(sampler=sampler, id_generator=Seeded(), shutdown_on_exit=False)
        made.append(provider)
        exporters = InMemorySpanExporter(), InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(exporters[0]))
        provider.add_span_processor(BatchSpanProcessor(exporters[1]))
        for processor in processors:
            provider.add_span_processor(processor)
        return provider, exporters

    yield make
    for provider in made:
        provider.shutdown()


def exported(provider, exporters):
    """Return the ids of the spans that came to the exporters, which are the same for both."""
    provider.force_flush()
    found = [sorted(span.context.span_id for span in exporter.get_finished_spans()) for exporter in exporters]
    assert found[0] == found[1]
    return found[0]


def requests(provider, number):
    """Serve requests that call another service: the entry tagged late, a span inside tagged at its start."""
    headers = []

    def other_service(request):
        headers.append(sorted((name, value) for name, value in request.headers.items() if name.startswith("trace")))
        return httpx.Response(200)

    transport = SyncOpenTelemetryTransport(httpx.MockTransport(other_service), tracer_provider=provider)
    tracer = provider.get_tracer("app")
    with httpx.Client(transport=transport) as client:
        for course in range(number):
            with tracer.start_as_current_span("POST", kind=SpanKind.SERVER) as entry:
                entry.set_attributes(tags("course-save", course_id=course))
                client.get("http://other.test/")
                with tracer.start_as_current_span("inner", attributes=tags("course-complete", course_id=course)):
                    pass
    return headers


def test_at_one_percent_every_tagged_span_is_an_event(make_provider, outbox, arrived):
    """300 requests at 1 %: 600 events, and the exported spans and outgoing headers are those of a run without us."""
    without, plain = make_provider(ParentBasedTraceIdRatio(0.01))
    expected = requests(without, 300)
    sampler = OCMSampler(ParentBasedTraceIdRatio(0.01), mode="all")
    provider, exporters = make_provider(sampler, OCMSpanProcessor(outbox=outbox))
    assert requests(provider, 300) == expected
    assert exported(provider, exporters) == exported(without, plain)
    assert 0 < len(exported(without, plain)) < 30
    assert Counter(dict(expected[n])["traceparent"][-2:] for n in range(300)).keys() == {"00", "01"}
    assert Counter(kind for kind, *_ in arrived()) == {"course-save": 300, "course-complete": 300}


ALL = {"root at start", "root late", "root event", "child at start", "child late", "consumer late", "remote late"}


@pytest.mark.parametrize(
    ("mode", "seen"),
    [
        ("all", ALL), ("entry", ALL - {"child late"}), ("tagged", {"root at start", "child at start"}), ("off", set()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("root", [ALWAYS_OFF, ParentBased(ALWAYS_OFF)], ids=["off", "parentbased_off"])
def test_each_mode_sees_what_it_says(make_provider, outbox, arrived, mode, seen, root):
    """Each mode with its blind spots: which tags on dropped spans become events, and none is exported."""
    provider, exporters = make_provider(OCMSampler(root, mode=mode), OCMSpanProcessor(outbox=outbox))
    tracer = provider.get_tracer("app")
    with tracer.start_as_current_span("a", attributes=tags("root at start")):
        with tracer.start_as_current_span("b", attributes=tags("child at start")):
            pass
        with tracer.start_as_current_span("b") as child:
            child.set_attributes(tags("child late"))
        with tracer.start_as_current_span("b", kind=SpanKind.CONSUMER) as child:
            child.set_attributes(tags("consumer late"))
    with tracer.start_as_current_span("a") as span:
        span.set_attributes(tags("root late"))
        span.add_event("x", tags("root event"))
    caller = set_span_in_context(NonRecordingSpan(SpanContext(5, 7, True, TraceFlags(0))))
    with tracer.start_as_current_span("a", caller) as span:
        span.set_attributes(tags("remote late"))
        assert not span.get_span_context().trace_flags.sampled
    assert {kind for kind, *_ in arrived()} == seen
    assert exported(provider, exporters) == []


def test_an_exporter_of_ours_does_not_see_unsampled_spans(make_provider, memory):
    """Behind the SDK's batch processor a span that is only recorded is no event: the processor is needed."""
    provider, _ = make_provider(OCMSampler(ALWAYS_OFF), BatchSpanProcessor(OCMSpanExporter(outbox=memory)))
    with provider.get_tracer("app").start_as_current_span("save", attributes=tags("course-save", course_id=7)):
        pass
    provider.force_flush()
    assert memory.events == []


def save(tracer):
    """Make one span that is tagged late."""
    with tracer.start_as_current_span("save") as span:
        span.set_attributes(tags("course-save", course_id=7))


def test_a_provider_that_is_in_use_is_wrapped(make_provider, memory):
    """A provider in use is wrapped once, with the tracers that it has made; another one is left as it is."""
    root = ParentBased(ALWAYS_OFF)
    provider, exporters = make_provider(root, OCMSpanProcessor(outbox=memory))
    other, _ = make_provider(root, OCMSpanProcessor(outbox=memory))
    earlier, elsewhere = provider.get_tracer("earlier"), other.get_tracer("elsewhere")
    save(earlier)
    assert memory.events == []
    assert wrap(provider) is True
    outer = provider.sampler
    assert (outer.root, outer.mode) == (root, "all")
    assert wrap(provider, mode="tagged") is True
    assert provider.sampler is outer
    assert earlier.sampler is outer
    assert elsewhere.sampler is root
    for tracer in (earlier, provider.get_tracer("later"), elsewhere):
        save(tracer)
    assert len(memory.events) == 2
    assert exported(provider, exporters) == []


def test_what_is_not_wrapped(make_provider):
    """`off` and what is no provider of the SDK stay as they are; a sampler of the user's own counts as it is."""
    provider, _ = make_provider(ALWAYS_ON)
    assert wrap(provider, mode="off") is False
    assert provider.sampler is ALWAYS_ON
    assert wrap(get_tracer_provider()) is False
    assert wrap(None) is False
    mine, _ = make_provider(OCMSampler(ALWAYS_OFF, mode="off"))
    assert wrap(mine) is False
    assert mine.sampler.mode == "off"


def test_a_provider_that_cannot_be_wrapped(caplog):
    """Whatever a provider does, nothing is raised: one line, and the spans are sampled as before."""

    class Sealed(TracerProvider):
        @property
        def sampler(self):
            return ALWAYS_OFF

        @sampler.setter
        def sampler(self, value):
            if isinstance(value, OCMSampler):
                raise PermissionError

    provider = Sealed(shutdown_on_exit=False)
    assert [wrap(provider), wrap(provider)] == [False, False]
    assert [line.getMessage().partition(":")[0] for line in caplog.records] == ["OCMSampler failed (PermissionError)"]


PROGRAM = """
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from ocm_otel import OCMSpanProcessor, tags

provider = trace.get_tracer_provider()
provider.add_span_processor(OCMSpanProcessor())
tracer = trace.get_tracer("app")
for course in range(20):
    with tracer.start_as_current_span("request", kind=SpanKind.SERVER):
        with tracer.start_as_current_span("save") as span:
            span.set_attributes(tags("course-save", course_id=course))
print("sampler", provider.sampler.get_description())
"""

#: The program puts the processor in itself; the instrumentor would put in another, and its own sampler.
BY_HAND = {"OTEL_EXPORTER_OCM_SIGNALS": "none"}


def by_name(run, argument, **variables):
    """Run the program with our sampler by name, around the one that the argument names."""
    sampler = {"OTEL_TRACES_SAMPLER": "ocm_record", "OTEL_TRACES_SAMPLER_ARG": argument}
    exporters = {"OTEL_TRACES_EXPORTER": "console", "OTEL_LOGS_EXPORTER": "none", **BY_HAND}
    return run(PROGRAM, by_name=True, **exporters, **sampler, **variables)


@pytest.mark.parametrize(
    ("argument", "description", "spans"),
    [
        ("parentbased_traceidratio,0", "root:TraceIdRatioBased{0.0}", 0),
        ("mine,with=an,argument", "root:Mine(with=an,argument)", 0),
        ("unheard-of", "root:AlwaysOnSampler", 40),
    ],
)
def test_by_name(run, emulator, tmp_path, argument, description, spans):
    """`OTEL_TRACES_SAMPLER=ocm_record`: 20 events around the SDK's sampler, another package's, or none that exists."""
    (tmp_path / "theirs.py").write_text(
        "from opentelemetry.sdk.trace.sampling import *\n"
        "class Mine(TraceIdRatioBased):\n"
        "    def __init__(self, argument):\n        super().__init__(0.0)\n        self.argument = argument\n"
        "    def get_description(self):\n        return f'root:Mine({self.argument})'\n"
    )
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[opentelemetry_traces_sampler]\nmine = theirs:Mine\n")
    done = by_name(run, argument, PYTHONPATH=str(tmp_path))
    assert description in done.stdout
    assert done.stdout.count('"context"') == spans
    assert len(emulator.events()) == 20
    assert done.stderr.count("\n") == (1 if "unheard" in argument else 0), done.stderr
    assert ("no sampler 'unheard-of' is installed" in done.stderr) == ("unheard" in argument)


FILE = """
file_format: "1.0"
tracer_provider:
  processors: [{simple: {exporter: {console: {}}}}]
  sampler: %s
"""


@reads_yaml
@pytest.mark.parametrize(
    ("sampler", "description", "spans", "events", "told"),
    [
        (
            "{ocm_record: {mode: all, root: {parent_based: {root: {trace_id_ratio_based: {ratio: 0.0}}}}}}",
            "OCMSampler{mode:all,root:ParentBased{root:TraceIdRatioBased{0.0}", 0, 20, "",
        ),
        (
            "{parent_based: {root: {ocm_record: }}}",
            "ParentBased{root:OCMSampler{mode:all,root:ParentBased{root:AlwaysOn", 40, 20, "make it the outermost one",
        ),
    ],
)  # fmt: skip
def test_by_file(run, emulator, tmp_path, sampler, description, spans, events, told):
    """A YAML file names our sampler, and the application's inside of it, which the SDK does not hand on."""
    pytest.importorskip("opentelemetry.configuration")
    path = tmp_path / "otel.yaml"
    path.write_text(FILE % sampler)
    done = run(PROGRAM, by_name=True, OTEL_CONFIG_FILE=str(path), OTEL_METRICS_EXPORTER=None, **BY_HAND)
    assert f"sampler {description}" in done.stdout, done.stderr
    assert done.stdout.count('"context"') == spans
    assert len(emulator.events()) == events
    ours = "".join(line for line in done.stderr.splitlines() if NAME in line)
    assert told in ours if told else not ours, done.stderr
