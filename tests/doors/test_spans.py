"""The doors for spans, on the real SDK; the proof is what the emulator counted."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanContext, Status, StatusCode

from ocm_otel import OCMSpanExporter, OCMSpanProcessor, tags
from ocm_otel._doors import last_resort

SAVED = tags("course-save", course_id=7, user_id="ann", entity_id="north")


class Witness(SpanProcessor):
    """Another processor of the user's: it notes what it sees, and keeps no span alive."""

    def __init__(self) -> None:
        self.seen = []
        self.refs = []

    def on_end(self, span: ReadableSpan) -> None:
        self.seen.append((id(span), span.to_json()))
        self.refs.append(weakref.ref(span))


class RecordOnly(Sampler):
    """Records every span and samples none, as a sampler at 0 % that keeps tags would."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        return SamplingResult(Decision.RECORD_ONLY, attributes)

    def get_description(self) -> str:
        return "RecordOnly"


def test_a_tagged_span_arrives(provider, outbox, arrived):
    """A span that bears the four tags arrives with all four."""
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED):
        pass
    assert arrived() == [("course-save", "7", "ann", "north")]


def test_a_tag_set_late_arrives(provider, outbox, arrived):
    """A tag that is set while the span runs is as good as one set at its start."""
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("save") as span:
        span.set_attributes(SAVED)
        span.set_attribute("ocm.course_id", 8.0)
    assert arrived() == [("course-save", "8", "ann", "north")]


def test_an_untagged_span_leaves_no_trace(provider, memory):
    """A span without a type puts nothing into the outbox and is not kept alive."""
    witness = Witness()
    provider.add_span_processor(OCMSpanProcessor(outbox=memory))
    provider.add_span_processor(witness)
    with provider.get_tracer("t").start_as_current_span("home", attributes={"ocm.course_id": 7}) as span:
        span.add_event("cache miss", {"size": 3})
    del span
    gc.collect()
    assert memory.events == []
    assert [ref() for ref in witness.refs] == [None]
    assert memory.books.snapshot().reasons == {}


def test_a_tagged_span_is_not_kept_alive(provider, memory):
    """The event is made of the span's values; the span itself can go."""
    witness = Witness()
    provider.add_span_processor(OCMSpanProcessor(outbox=memory))
    provider.add_span_processor(witness)
    with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED) as span:
        span.add_event("clicked", tags("course-click", course_id=7))
    del span
    gc.collect()
    assert len(memory.events) == 2
    assert [ref() for ref in witness.refs] == [None]


def test_a_type_of_none_is_no_tag(memory):
    """A type of None stands for no type: nothing is sent and nothing is complained of."""
    OCMSpanProcessor(outbox=memory).on_end(ReadableSpan("save", attributes={"ocm.event_type": None}))
    assert memory.events == []
    assert memory.books.snapshot().reasons == {}


def test_tagged_span_events_arrive(provider, outbox, arrived):
    """Each tagged span event is an event beside the span's own; untagged ones are not."""
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("page", attributes=tags("menu-click")) as span:
        span.add_event("clicked", tags("course-click", course_id=1))
        span.add_event("noise", {"size": 3})
        span.add_event("clicked", tags("course-click", course_id=2))
    assert arrived() == [
        ("course-click", "1", None, None),
        ("course-click", "2", None, None),
        ("menu-click", None, None, None),
    ]


def test_a_bad_span_event_does_not_hide_the_next(provider, outbox, arrived):
    """A span event with an unusable type takes nothing with it: neither the next one nor the span."""
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("page", attributes=SAVED) as span:
        span.add_event("bad", {"ocm.event_type": 7})
        span.add_event("good", tags("course-click", course_id=2))
    assert arrived() == [("course-click", "2", None, None), ("course-save", "7", "ann", "north")]


def test_identities(provider, memory):
    """A span and its span events have identities that no other span has; a tag of one's own wins."""
    provider.add_span_processor(OCMSpanProcessor(outbox=memory))
    with provider.get_tracer("t").start_as_current_span("page", attributes=tags("menu-click")) as span:
        span.add_event("noise")
        span.add_event("clicked", tags("course-click", course_id=1))
        span.add_event("clicked", tags("course-click", course_id=1, event_id="mine"))
    where = span.get_span_context()
    own = f"{where.trace_id:032x}-{where.span_id:016x}"
    assert [event.event_id for event in memory.events] == [own, own + "-1", "mine"]


def test_the_exporter_gives_the_same_identity(provider, memory):
    """A span that goes through the processor and the exporter is the same event both times."""
    provider.add_span_processor(OCMSpanProcessor(outbox=memory))
    provider.add_span_processor(SimpleSpanProcessor(OCMSpanExporter(outbox=memory)))
    with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED) as span:
        span.add_event("clicked", tags("course-click", course_id=1))
    by_processor, by_exporter = memory.events[:2], memory.events[2:]
    assert by_processor == by_exporter


def test_the_exporter_behind_a_batch_processor(provider, outbox, arrived):
    """Tagged spans that the SDK's batch processor exports arrive."""
    batch = BatchSpanProcessor(OCMSpanExporter(outbox=outbox))
    provider.add_span_processor(batch)
    for number in range(20):
        with provider.get_tracer("t").start_as_current_span("save", attributes=tags("course-save", course_id=number)):
            pass
        with provider.get_tracer("t").start_as_current_span("noise"):
            pass
    batch.force_flush()
    assert {course for _, course, _, _ in arrived()} == {str(number) for number in range(20)}


def test_unsampled_spans_are_events(outbox, arrived):
    """A span that is recorded but not sampled is an event all the same."""
    provider = TracerProvider(sampler=RecordOnly(), shutdown_on_exit=False)
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED) as span:
        assert not span.get_span_context().trace_flags.sampled
    assert arrived() == [("course-save", "7", "ann", "north")]


@pytest.mark.parametrize(
    ("setting", "argument", "sent"),
    [("send", None, True), ("skip", None, False), ("send", "skip", False), ("skip", "send", True)],
)
def test_a_span_with_an_error(make_outbox, emulator, provider, setting, argument, sent):
    """A span with an error status is sent or skipped as the setting says, unless the door says otherwise."""
    outbox = make_outbox(on_span_error=setting)
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox, on_error=argument))
    with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED) as span:
        span.set_status(Status(StatusCode.ERROR))
    with provider.get_tracer("t").start_as_current_span("well", attributes=tags("menu-click")):
        pass
    assert outbox.flush(30)
    expected = {"menu-click", "course-save"} if sent else {"menu-click"}
    assert {event["type"] for event in emulator.events()} == expected
    assert outbox.books.snapshot().reasons.get("skipped", {}) == ({} if sent else {"span_error": 1})


def test_a_span_event_of_a_failed_span_counts(make_outbox, emulator, provider):
    """What happened before the error did happen: its span event is sent where failed spans are skipped."""
    outbox = make_outbox(on_span_error="skip")
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED) as span:
        span.add_event("clicked", tags("course-click", course_id=1))
        span.set_status(Status(StatusCode.ERROR))
    assert outbox.flush(30)
    assert [event["type"] for event in emulator.events()] == ["course-click"]


def test_an_unknown_on_error(provider, memory, caplog):
    """A value of `on_error` that is none is reported once, and failed spans are sent."""
    provider.add_span_processor(OCMSpanProcessor(outbox=memory, on_error="drop"))
    for _ in range(2):
        with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED) as span:
            span.set_status(Status(StatusCode.ERROR))
    assert len(memory.events) == 2
    assert [line.getMessage() for line in caplog.records] == [
        "OCMSpanProcessor: on_error is 'send' or 'skip'; 'send' is used"
    ]


def test_a_tag_after_the_end(provider, outbox, arrived):
    """A tag that is set after the span ended is refused by the SDK: no event, no exception."""
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("save") as span:
        pass
    span.set_attributes(SAVED)
    span.add_event("late", SAVED)
    assert arrived() == []


def test_the_span_stays_as_it_is(provider, memory):
    """A processor after ours is given the very same span with the same content as one before it."""
    before, after = Witness(), Witness()
    for processor in (before, OCMSpanProcessor(outbox=memory), after):
        provider.add_span_processor(processor)
    with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED | {"other": (1, 2)}) as span:
        span.add_event("clicked", tags("course-click"))
    assert before.seen == after.seen
    assert len(memory.events) == 2


class Lookalike:
    """A span that is not the SDK's own: only what the public interface has."""

    attributes = SAVED
    events = ()
    status = Status()
    context = SpanContext(trace_id=1, span_id=2, is_remote=False)


@pytest.mark.parametrize("span", [Lookalike(), ReadableSpan("save", attributes=dict(SAVED))], ids=["foreign", "bare"])
def test_spans_of_other_makes(memory, span):
    """A span without the SDK's private parts is read by its public ones."""
    OCMSpanProcessor(outbox=memory).on_end(span)
    assert [event.course_id for event in memory.events] == ["7"]


@pytest.mark.parametrize("door", [OCMSpanProcessor, OCMSpanExporter])
def test_nothing_raised_in_a_door_reaches_the_application(provider, broken, caplog, door):
    """An outbox that raises is counted for each record and told once; the application goes on."""
    made = door(outbox=broken)
    provider.add_span_processor(made if isinstance(made, SpanProcessor) else SimpleSpanProcessor(made))
    for _ in range(3):
        with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED):
            pass
    assert broken.books.snapshot().reasons == {"failed_door": {"RuntimeError": 3}}
    assert [line.levelno for line in caplog.records] == [logging.WARNING]
    assert door.__name__ in caplog.text
    assert made.force_flush() is False


def test_one_span_event_that_fails_does_not_hide_the_next(provider, broken):
    """Each span event has a border of its own."""
    provider.add_span_processor(OCMSpanProcessor(outbox=broken))
    with provider.get_tracer("t").start_as_current_span("page") as span:
        span.add_event("a", tags("menu-click"))
        span.add_event("b", tags("menu-click"))
    assert broken.books.snapshot().reasons == {"failed_door": {"RuntimeError": 2}}


def test_an_outbox_without_books(provider):
    """Where not even the books work, the failure is counted in the last resort, and nothing is raised."""
    had = last_resort.snapshot().reasons.get("failed_door", {}).get("AttributeError, AttributeError", 0)
    provider.add_span_processor(OCMSpanProcessor(outbox=object()))
    with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED):
        pass
    assert last_resort.snapshot().reasons["failed_door"]["AttributeError, AttributeError"] == had + 1


def test_a_logging_filter_that_raises(provider, broken):
    """Where even telling fails, for a filter of the application's raises, the application goes on."""

    def refuse(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    told_by = logging.getLogger("ocm_otel")
    told_by.addFilter(refuse)
    provider.add_span_processor(OCMSpanProcessor(outbox=broken))
    try:
        with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED):
            pass
    finally:
        told_by.removeFilter(refuse)
    assert broken.books.snapshot().reasons["failed_door"] == {"RuntimeError": 1}


@pytest.mark.parametrize("span", [None, 7, object()], ids=["None", "7", "object"])
def test_what_is_no_span(memory, span):
    """Something that is no span at all is counted, and nothing is raised."""
    OCMSpanProcessor(outbox=memory).on_end(span)
    assert memory.books.snapshot().reasons == {"failed_door": {"AttributeError": 1}}


@pytest.mark.parametrize("door", [OCMSpanProcessor, OCMSpanExporter])
def test_flushing_and_shutting_down(memory, door):
    """`force_flush` waits as long as it is told, `shutdown` as long as the setting says."""
    made = door(outbox=memory)
    assert made.force_flush(2_500) is True
    made.shutdown()
    assert memory.flushed == [2.5, None]


def test_the_outbox_stays_open_after_shutdown(provider, outbox, arrived):
    """A provider that shuts down delivers what waits, and another door can go on using the outbox."""
    provider.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED):
        pass
    provider.shutdown()
    second = TracerProvider(shutdown_on_exit=False)
    second.add_span_processor(OCMSpanProcessor(outbox=outbox))
    with second.get_tracer("t").start_as_current_span("click", attributes=tags("menu-click")):
        pass
    assert arrived() == [("course-save", "7", "ann", "north"), ("menu-click", None, None, None)]


def test_options_beside_an_outbox(provider, memory, caplog):
    """Options of an exporter that was given an outbox have no effect, and that is said once."""
    provider.add_span_processor(SimpleSpanProcessor(OCMSpanExporter(outbox=memory, timeout=3)))
    for _ in range(2):
        with provider.get_tracer("t").start_as_current_span("save", attributes=SAVED):
            pass
    assert len(memory.events) == 2
    assert [line.getMessage() for line in caplog.records] == [
        "OCMSpanExporter was given an outbox, so these options of its own have no effect: timeout"
    ]
