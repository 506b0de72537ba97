"""What a kept line says: structlog's JSON, a Collector's OTLP, and times of every form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocm_otel._kept_lines import BadLine, Found, moment, read_json

SAVED = {"ocm.event_type": "course-save", "ocm.course_id": 7}
NOON = 1_795_435_200.0


@pytest.mark.parametrize(
    ("line", "tags"),
    [
        ({"event": "saved", **SAVED}, SAVED),
        ({"ocm_event_type": "course-save", "ocm_course_id": "7"}, SAVED | {"ocm.course_id": "7"}),
        ({"ocm": {"event_type": "course-save", "course_id": 7}, "event": "saved"}, SAVED),
    ],
)
def test_a_loggers_line(line: dict, tags: dict) -> None:
    """A JSON line bears tags in any of the three forms, and its time."""
    text = json.dumps({**line, "timestamp": "2026-11-23T12:00:00Z"}).encode()
    assert read_json(text + b"\n") == [Found(tags, NOON)]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b'{"event": "saved"}', b"INFO plain text", b"the docmanager", b'{"ocm.course_id": 7}', b"[1, 2]",
        b'{"ocm": 7}', b'{"ocm.other": 1}', b'{"resourceMetrics": [{"ocm": 1}]}',
        b'{"event": "GET /x?ocm.event", "b": 1}',
    ],
)  # fmt: skip
def test_lines_without_a_type_are_nothing(line: bytes) -> None:
    """A line that bears no type is passed over, whatever else it is."""
    assert read_json(line) == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"ocm.event_type": "course-save"',
        b'INFO {"ocm.event_type": "course-save"}',
        b'["ocm.event_type"]',
        b'{"ocm.event_type": ' + b"[" * 100_000,
        b'{"ocm.event_type": "t", "n": ' + b"9" * 10_000 + b"}",
        b'{"ocm.event_type": "\xff"}',
    ],
)
def test_a_line_that_names_a_tag_and_cannot_be_read(line: bytes) -> None:
    """What seems to bear a tag and is no whole JSON object is a fault, never a crash."""
    with pytest.raises(BadLine, match="names a tag, and is no whole JSON object"):
        read_json(line)


def attributes(**values: object) -> list[dict]:
    """Return attributes as OTLP writes them."""
    return [{"key": name.replace("__", "."), "value": value} for name, value in values.items()]


TYPE = {"ocm__event_type": {"stringValue": "course-save"}}


def test_a_collectors_spans() -> None:
    """Tagged spans and their tagged span events, with integers as texts, in the order of the file."""
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "save",
        "endTimeUnixNano": "1795435200000000000", "status": {"code": 2},
        "attributes": attributes(**TYPE, ocm__course_id={"intValue": "7"}, ocm__user_id={"boolValue": True}),
        "events": [
            {"timeUnixNano": "0", "name": "click", "attributes": attributes(ocm__event_type={"stringValue": "click"})},
            {"name": "exception", "attributes": attributes(x={"stringValue": "ocm"})},
        ],
    }  # fmt: skip
    plain = {"name": "ocm", "attributes": attributes(http__status={"intValue": "200"})}
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [plain, span]}, {}]}, {"scopeSpans": "none"}]}
    assert read_json(json.dumps(request).encode()) == [
        Found(SAVED | {"ocm.user_id": True}, NOON, failed=True),
        Found({"ocm.event_type": "click"}, None),
    ]


def test_a_collectors_log_records() -> None:
    """Log records bear tags flat or nested; a body is never searched."""
    nested = {"kvlistValue": {"values": attributes(event_type={"stringValue": "search"}, user_id={"doubleValue": 7.0})}}
    records = [
        {"timeUnixNano": "1795435200000000000", "attributes": attributes(**TYPE, ocm__course_id={"intValue": 7})},
        {"observedTimeUnixNano": "1795435200000000000", "attributes": attributes(ocm=nested)},
        {"body": {"stringValue": '{"ocm.event_type": "no"}'}, "attributes": attributes(a={"arrayValue": {}})},
    ]
    request = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}
    assert read_json(json.dumps(request).encode()) == [
        Found(SAVED, NOON), Found({"ocm.event_type": "search", "ocm.user_id": 7.0}, NOON),
    ]  # fmt: skip


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["resourceSpans", "scopeSpans", "spans", "attributes", "events", "key", "value", "values", "status", "code",
             "resourceLogs", "scopeLogs", "logRecords", "ocm.event_type", "ocm", "event_type", "timestamp",
             "stringValue", "intValue", "kvlistValue", "arrayValue", "endTimeUnixNano"]
        ),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(ANY)
def test_no_json_is_too_strange(said: object) -> None:
    """Whatever JSON a line is: what it bears, or a fault, and nothing else."""
    try:
        found = read_json(json.dumps({"ocm": said} if not isinstance(said, dict) else said).encode())
    except BadLine:
        return
    assert all(isinstance(one, Found) for one in found)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-11-23T12:00:00Z", NOON), ("2026-11-23T13:00:00+01:00", NOON), ("2026-11-23 12:00:00", NOON),
        ("2026-11-23 12:00:00,000", NOON), (NOON, NOON), (NOON * 1000, NOON), (str(NOON), NOON),
        ("yesterday", None), ("", None), (None, None), (True, None), ([1], None), (float("nan"), None), (-1, None),
        (1e300, None),
    ],
)  # fmt: skip
def test_times(value: object, seconds: float | None) -> None:
    """ISO 8601 with and without a zone, seconds and milliseconds since 1970; all else is no time."""
    assert moment(value) == seconds
