"""The sampler: what it makes of each decision of the application's, and which sampler a text names."""

from __future__ import annotations

import itertools

import pytest
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState, set_span_in_context

from ocm_otel import OCMSampler
from ocm_otel._doors import last_resort
from ocm_otel._named_sampler import by_file, by_variable


@pytest.fixture(autouse=True)
def nothing_told_yet():
    """What is told once in a process is told once in each test."""
    last_resort._told.clear()


TRACE = 0x5B8AA5A2D2C872E8321CF37308D69DF2
STATE = TraceState([("vendor", "kept")])
TAGGED = {"ocm.event_type": "course-save", "http.route": "/save"}
UNTAGGED = {"http.route": "/save", "ocm.course_id": 7}


def context(*, remote: bool, sampled: bool = False):
    """Return a context whose span is the parent of the one to come."""
    parent = SpanContext(TRACE, 7, remote, TraceFlags(sampled), STATE)
    return set_span_in_context(NonRecordingSpan(parent))


class Fixed(Sampler):
    """A sampler of the user's that decides one thing, and notes how it was asked."""

    def __init__(self, decision, attributes=None):
        self.result = SamplingResult(decision, attributes, STATE)
        self.asked = []

    def should_sample(self, *arguments, **named):
        self.asked.append((arguments, named))
        return self.result

    def get_description(self):
        return "Fixed"


class Older(Sampler):
    """A sampler that was written before there was a trace state to pass, with names of its own."""

    def should_sample(self, parent, trace, title, span_kind=None, values=None, others=None):
        return SamplingResult(Decision.DROP)

    def get_description(self):
        return "Older"


@pytest.mark.parametrize("mode", ["all", "entry", "tagged", "off"])
@pytest.mark.parametrize("decision", [Decision.RECORD_ONLY, Decision.RECORD_AND_SAMPLE])
def test_what_is_recorded_anyway_is_left_alone(decision, mode):
    """A result that is no drop is the application's own object, in every mode."""
    root = Fixed(decision, {"rule": 1})
    assert OCMSampler(root, mode=mode).should_sample(None, TRACE, "x", None, TAGGED) is root.result


PARENTS = {"root": None, "local": context(remote=False), "remote": context(remote=True)}
ENTRIES = {"root", "remote"}


@pytest.mark.parametrize(("parent", "kind"), list(itertools.product(PARENTS, [None, *SpanKind])))
def test_which_drops_are_recorded(parent, kind):
    """`all` records all, `entry` what begins or comes in or is tagged, `tagged` what is tagged, `off` nothing."""
    enters = parent in ENTRIES or kind in (SpanKind.SERVER, SpanKind.CONSUMER)
    expected = {
        ("all", True): True, ("entry", True): True, ("tagged", True): True, ("off", True): False,
        ("all", False): True, ("entry", False): enters, ("tagged", False): False, ("off", False): False,
    }  # fmt: skip
    for (mode, tagged), recorded in expected.items():
        sampler = OCMSampler(Fixed(Decision.DROP), mode=mode)
        result = sampler.should_sample(PARENTS[parent], TRACE, "x", kind, TAGGED if tagged else UNTAGGED)
        assert result.decision is (Decision.RECORD_ONLY if recorded else Decision.DROP), (mode, tagged)


@pytest.mark.parametrize("attributes", [None, {}, {"http.route": "/"}])
def test_no_kind_of_attributes_is_tagged_by_itself(attributes):
    """Without a tag at the start `tagged` leaves the drop as it is."""
    assert OCMSampler(ALWAYS_OFF, mode="tagged").should_sample(None, TRACE, "x", None, attributes).decision is (
        Decision.DROP
    )


def test_start_attributes_and_trace_state_stay():
    """A recorded drop has the attributes of the start, those of the sampler on top, and its trace state."""
    result = OCMSampler(ALWAYS_OFF, mode="all").should_sample(context(remote=True), TRACE, "x", None, TAGGED)
    assert (result.decision, dict(result.attributes), result.trace_state) == (Decision.RECORD_ONLY, TAGGED, STATE)
    root = Fixed(Decision.DROP, {"rule": "7", "http.route": "/other"})
    result = OCMSampler(root, mode="all").should_sample(None, TRACE, "x", None, TAGGED)
    assert dict(result.attributes) == {**TAGGED, "rule": "7", "http.route": "/other"}
    assert result.trace_state is STATE


def test_the_application_s_sampler_is_asked_as_the_sdk_asks():
    """All that we are given goes on; a sampler that knows of no trace state is not given one."""
    root = Fixed(Decision.DROP)
    parent = context(remote=False)
    OCMSampler(root).should_sample(parent, TRACE, "x", SpanKind.SERVER, TAGGED, [1])
    OCMSampler(root).should_sample(parent, TRACE, "x", SpanKind.SERVER, TAGGED, [1], STATE)
    asked = (parent, TRACE, "x", SpanKind.SERVER, TAGGED, [1])
    assert root.asked == [(asked, {}), ((*asked, STATE), {})]
    assert OCMSampler(Older(), mode="all").should_sample(None, TRACE, "x").decision is Decision.RECORD_ONLY


def test_the_application_s_own_error_is_its_own():
    """What the application's sampler raises goes on, as it would without us."""

    class Raising(Fixed):
        def should_sample(self, *arguments, **named):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        OCMSampler(Raising(Decision.DROP)).should_sample(None, TRACE, "x")


def test_our_own_error_changes_nothing(caplog):
    """Where we cannot make up our mind, the application's result stands, and one line says so."""
    sampler = OCMSampler(ALWAYS_OFF, mode="tagged")
    for _ in range(2):
        assert sampler.should_sample(None, TRACE, "x", None, 7).decision is Decision.DROP
    assert [line.getMessage()[:28] for line in caplog.records] == ["OCMSampler failed (TypeError"]


def test_description():
    """The description names the mode and the application's sampler."""
    assert OCMSampler(ALWAYS_OFF, mode="entry").get_description() == "OCMSampler{mode:entry,root:AlwaysOffSampler}"


def test_the_mode_of_the_environment(monkeypatch):
    """Without a mode in code the setting counts, and what it is not is `all`."""
    assert OCMSampler(ALWAYS_ON).mode == "all"
    monkeypatch.setenv("OTEL_EXPORTER_OCM_SAMPLER_MODE", "Tagged")
    assert OCMSampler(ALWAYS_ON).mode == "tagged"
    assert OCMSampler(ALWAYS_ON, mode="off").mode == "off"
    monkeypatch.setenv("OTEL_EXPORTER_OCM_SAMPLER_MODE", "some")
    assert OCMSampler(ALWAYS_ON).mode == "all"


def test_an_unknown_mode_in_code(caplog):
    """A mode that is none is told once, and all drops are recorded."""
    assert [OCMSampler(ALWAYS_OFF, mode="some").mode for _ in range(2)] == ["all", "all"]
    assert [line.getMessage() for line in caplog.records] == [
        "OCMSampler: mode is 'all' or 'entry' or 'tagged' or 'off'; 'all' is used"
    ]


def test_inside_a_parent_based_it_is_not_asked():
    """As the root of a `ParentBased` it sees no child of an unsampled span; around it, it does."""
    child = context(remote=False)
    inside = ParentBased(OCMSampler(TraceIdRatioBased(0.0)))
    around = OCMSampler(ParentBased(TraceIdRatioBased(0.0)))
    assert inside.should_sample(child, TRACE, "x").decision is Decision.DROP
    assert around.should_sample(child, TRACE, "x").decision is Decision.RECORD_ONLY


DEFAULT = by_variable().root.get_description()
RATIO = TraceIdRatioBased(0.1).get_description()
BY_PARENT = ParentBased(TraceIdRatioBased(0.1)).get_description()


@pytest.mark.parametrize(
    ("argument", "description"),
    [
        (None, DEFAULT), ("", DEFAULT), (" ", DEFAULT), ("parentbased_always_on", DEFAULT),
        ("always_on", "AlwaysOnSampler"), (" Always_Off ", "AlwaysOffSampler"), ("always_off,", "AlwaysOffSampler"),
        ("traceidratio,0.1", RATIO), ("traceidratio = .1", RATIO), ("traceidratio:0.1", RATIO),
        ("parentbased_traceidratio,0.1", BY_PARENT), ("PARENTBASED_TRACEIDRATIO, 1e-1", BY_PARENT),
        ("0.1", BY_PARENT), (".1", BY_PARENT), (0.1, BY_PARENT),
    ],
)  # fmt: skip
def test_which_sampler_a_text_names(argument, description, caplog):
    """A name with or without its argument, or a ratio alone, in the spellings that people use."""
    assert by_variable(argument).root.get_description() == description
    assert caplog.records == []


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("allways_on", "no sampler 'allways_on' is installed"), ("traceidratio", "None is no ratio"),
        ("traceidratio,ten", "'ten' is no ratio"), ("parentbased_traceidratio,1.5", "'1.5' is no ratio"),
        ("traceidratio,nan", "'nan' is no ratio"), ("10 %", "'10 %' is no ratio"), ("-0.5", "'-0.5' is no sampler"),
        ("{}", "'{}' is no sampler"), ("x" * 5_000, "no sampler 'xxx"), ("1" * 5_000, "is no ratio"),
    ],
)  # fmt: skip
def test_a_text_that_names_no_sampler(argument, told, caplog):
    """One line with the variable, the value and what is used instead; the application keeps its traces."""
    for _ in range(2):
        assert by_variable(argument).root.get_description() == DEFAULT
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("OTEL_TRACES_SAMPLER_ARG: ")
    assert told in line
    assert line.endswith("; parentbased_always_on is used")
    assert len(line) < 400


@pytest.mark.parametrize(
    ("root", "description"),
    [
        (None, DEFAULT), ("parentbased_traceidratio,0.1", BY_PARENT), ({"always_off": None}, "AlwaysOffSampler"),
        ({"always_on": {}}, "AlwaysOnSampler"), ({"trace_id_ratio_based": {"ratio": 0.1}}, RATIO),
        ({"trace_id_ratio_based": None}, TraceIdRatioBased(1.0).get_description()),
        ({"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 0.1}}}}, BY_PARENT),
        ({"parent_based": None}, DEFAULT),
        (
            {"parent_based": {"root": {"always_off": {}}, "remote_parent_not_sampled": {"always_on": {}}}},
            ParentBased(ALWAYS_OFF, remote_parent_not_sampled=ALWAYS_ON).get_description(),
        ),
    ],
)  # fmt: skip
def test_which_sampler_a_file_names(root, description, caplog):
    """A sampler as a YAML file writes it anywhere else, or as the variable has it."""
    sampler = by_file(root=root, mode="Tagged")
    assert (sampler.root.get_description(), sampler.mode) == (description, "tagged")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"root": {"always_onn": None}}, "no sampler 'always_onn' is installed"),
        ({"root": {"always_on": None, "always_off": None}}, "one name, not 2"), ({"root": {}}, "one name, not 0"),
        ({"root": {"trace_id_ratio_based": {"ratio": "a tenth"}}}, "'a tenth' is no ratio"),
        ({"root": {"trace_id_ratio_based": 0.1}}, "it cannot be used (AttributeError)"),
        ({"root": {"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 2}}}}}, "2 is no ratio"),
        ({"root": None, "ratio": 0.1}, "no option called 'ratio'"), ({"mode": "sometimes"}, "mode is 'all' or"),
    ],
)  # fmt: skip
def test_a_file_that_names_no_sampler(options, told, caplog):
    """One line for what cannot be used, and a sampler all the same."""
    sampler = by_file(**options)
    assert (sampler.root.get_description(), sampler.mode) == (DEFAULT, "all")
    (line,) = [record.getMessage() for record in caplog.records]
    assert told in line
