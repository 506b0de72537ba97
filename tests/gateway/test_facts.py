"""OTLP's two forms become the same facts, by the rules of the doors in the process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ocm_otel.gateway import otlp_json, otlp_protobuf
from ocm_otel.gateway.facts import Batch, Malformed

from .conftest import attribute, logs, span, tagged, traces

NOW = {"timeUnixNano": "1795459368000000000"}
TRACE, SPAN = f"{1:032x}", f"{1:016x}"


def in_protobuf(content: dict[str, Any]) -> bytes:
    """Return what `content` is in protobuf; its ids are hexadecimal, which protobuf's own JSON does not know."""
    kind = ExportLogsServiceRequest if "resourceLogs" in content else ExportTraceServiceRequest
    message = ParseDict(content, kind())
    for one, named in zip(getattr(message, "resource_spans", ()), content.get("resourceSpans", ()), strict=True):
        for scope, spans in zip(one.scope_spans, named["scopeSpans"], strict=True):
            for found, its in zip(scope.spans, spans["spans"], strict=True):
                found.trace_id = bytes.fromhex(its["traceId"])
                found.span_id = bytes.fromhex(its["spanId"])
    return message.SerializeToString()


def read(content: dict[str, Any], form: str) -> Batch:
    """Return the facts of an export request in one of the two forms."""
    signal = "logs" if "resourceLogs" in content else "traces"
    if form == "json":
        return getattr(otlp_json, signal)(json.dumps(content).encode())
    return getattr(otlp_protobuf, signal)(in_protobuf(content))


@pytest.fixture(params=["json", "protobuf"])
def form(request: pytest.FixtureRequest) -> str:
    """Each of the two forms."""
    return str(request.param)


def test_a_tagged_span_has_the_identity_of_the_door_in_the_process(form: str) -> None:
    """A span is known by its trace and its own id; ids of capital digits are the same ids."""
    found = read(traces(span(0, tagged("ann")), span(1, [attribute("a", 1)])), form)
    assert found.records == 2
    assert [(fact.record, fact.event_id, fact.failed) for fact in found.facts] == [(1, f"{TRACE}-{SPAN}", False)]
    assert found.facts[0].tags["ocm.course_id"] == 7
    assert found.facts[0].tags["ocm.user_id"] == "ann"


def test_span_events_count_as_well(form: str) -> None:
    """Each tagged span event is a fact of its own, known by its place in the span, whatever the span's status."""
    events = [{"name": "x"}, {"name": "y", "attributes": tagged("bob")}]
    found = read(traces(span(0, tagged("ann"), events=events, status={"code": 2})), form)
    assert [(fact.tags["ocm.user_id"], fact.event_id, fact.failed) for fact in found.facts] == [
        ("ann", f"{TRACE}-{SPAN}", True),
        ("bob", f"{TRACE}-{SPAN}-1", False),
    ]


def test_what_stands_around_a_record_is_there(form: str) -> None:
    """Attributes of the resource come with the fact, for ids that the record does not have."""
    found = read(traces(span(0, tagged("ann")), resource=[attribute("ocm.entity_id", "group-3")]), form)
    assert found.facts[0].around == {"ocm.entity_id": "group-3"}


def test_all_forms_of_tags_on_log_records(form: str) -> None:
    """Flat names, keywords and a nested mapping are tags on a log record, as they are at the doors."""
    inner = [attribute("event_type", "course-save"), attribute("user_id", 7)]
    nested = [{"key": "ocm", "value": {"kvlistValue": {"values": inner}}}]
    flat, keyword = tagged("ann"), [attribute("ocm_event_type", "menu-click"), attribute("ocm_user_id", "eve")]
    lines = [{**NOW, "attributes": one} for one in (flat, keyword, nested, [attribute("ocm.user_id", "nobody")])]
    found = read(logs(*lines), form)
    assert [(fact.record, fact.tags["ocm.user_id"]) for fact in found.facts] == [(1, "ann"), (2, "eve"), (3, 7)]


def test_ten_equal_lines_are_ten_and_stay_ten(form: str) -> None:
    """Equal records of one batch have ten identities, and the same ones when the batch comes again."""
    batch = logs(*[{**NOW, "attributes": tagged("ann")}] * 10)
    first, again = ([fact.event_id for fact in read(batch, form).facts] for _ in range(2))
    assert len(set(first)) == 10
    assert first == again


def test_a_line_without_any_time_has_no_identity(form: str) -> None:
    """Two records without a time may be two facts, so nothing is said to be the same; an observed time is a time."""
    found = read(logs({"attributes": tagged("ann")}, {"observedTimeUnixNano": "5", "attributes": tagged("ann")}), form)
    assert [fact.event_id is None for fact in found.facts] == [True, False]


def test_a_span_without_valid_ids_is_known_by_its_content(form: str) -> None:
    """Ids of zeros are none; two such spans differ by what is in them."""
    zero = {"traceId": "0" * 32, "spanId": "0" * 16}
    found = read(traces({**span(0, tagged("ann")), **zero}, {**span(1, tagged("bob")), **zero}), form)
    ids = [fact.event_id for fact in found.facts]
    assert len(set(ids)) == 2
    assert all(name is not None and name.startswith("otlp-") for name in ids)


def test_numbers_of_json_come_as_texts_or_numbers() -> None:
    """64-bit numbers are texts in OTLP's JSON, and numbers by some senders; both are the same value."""
    for value in ("7", 7, 7.0):
        pairs = [attribute("ocm.event_type", "x"), {"key": "ocm.course_id", "value": {"intValue": value}}]
        assert read(traces(span(0, pairs)), "json").facts[0].tags["ocm.course_id"] == 7


@pytest.mark.parametrize("escaped", [r"\u006fcm.event_type", r"ocm\u002eevent_type", r"o\u0063m.event\u005ftype"])
def test_an_escaped_name_of_json_is_found(escaped: str) -> None:
    """JSON may write any letter as an escape; a tag is found all the same."""
    body = json.dumps(traces(span(0, tagged("ann")))).replace("ocm.event_type", escaped)
    assert len(otlp_json.traces(body.encode()).facts) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"7", b"\xff\xfe{\0}\0", b'{"resourceSpans":5}', b'{"resourceSpans":[5]}',
        b'{"resourceSpans":[{"scopeSpans":{}}]}', b'{"resourceSpans":[{"scopeSpans":[{"spans":["a"]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":"ab"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":[]}]}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":5,"attributes":[{"key":"ocm.event_type"}]}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"ocm.event_type","value":{"intValue":"x"}}]}]}]}]}',
        b"[" * 200_000,
    ],
)  # fmt: skip
def test_what_is_no_request_of_json_is_malformed(body: bytes) -> None:
    """A body of the wrong shape is refused as a whole, with words that show nothing of it."""
    with pytest.raises(Malformed) as caught:
        otlp_json.traces(body)
    assert len(str(caught.value)) < 80


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_requests_are_facts_or_malformed(data: st.DataObject) -> None:
    """Whatever bytes are changed, cut or doubled, reading ends in facts or in `Malformed`."""
    content = data.draw(st.sampled_from([
        traces(span(0, tagged("ann"), events=[{"name": "y", "attributes": tagged("bob")}])),
        logs({**NOW, "attributes": tagged("ann")}, {"attributes": tagged(7)}),
    ]))  # fmt: skip
    form = data.draw(st.sampled_from(["json", "protobuf"]))
    body = bytearray(json.dumps(content).encode() if form == "json" else in_protobuf(content))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        piece = data.draw(st.binary(max_size=4))
        body[at : at + data.draw(st.integers(0, 8))] = piece
        body = body or bytearray(b"x")
    module = otlp_json if form == "json" else otlp_protobuf
    for reader in (module.traces, module.logs):
        try:
            assert isinstance(reader(bytes(body)), Batch)
        except Malformed:
            continue
