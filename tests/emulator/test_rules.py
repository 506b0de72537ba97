"""The documented rules as tables: what the API answers to which call."""

from __future__ import annotations

import json

import pytest

from ocm_otel.emulator.rules import Call, fields, judge, type_problem

KEYS = ("demo-key", "second-key")


def call(method="GET", path="/v2.0/events", query=b"type=menu-click", key="demo-key", size=200):
    return Call(method, path, query, key, size)


@pytest.mark.parametrize(
    ("given", "status", "body", "reason"),
    [
        (call(), 200, {"status": "OK"}, None),
        (call(key="second-key"), 200, {"status": "OK"}, None),
        (call(query=b"type=course-save&course_id=1&user_id=1"), 200, {"status": "OK"}, None),
        (call(size=10_240), 200, {"status": "OK"}, None),
        (call(size=10_241), 413, {"message": "Request Too Long"}, "request line and headers have 10241"),
        (call(method="POST"), 403, {"message": "Missing Authentication Token"}, "unknown path or method"),
        (call(method="HEAD"), 403, {"message": "Missing Authentication Token"}, "unknown path or method"),
        (call(path="/v2.0/events/"), 403, {"message": "Missing Authentication Token"}, "unknown path"),
        (call(path="/v1.0/events"), 403, {"message": "Missing Authentication Token"}, "unknown path"),
        (call(key=None), 403, {"message": "Forbidden"}, "no key"),
        (call(key=""), 403, {"message": "Forbidden"}, "no key"),
        (call(key="demo-keY"), 403, {"message": "Forbidden"}, "wrong key"),
    ],
)
def test_each_call_has_its_documented_answer(given, status, body, reason):
    """Place, key and size are answered with the gateway's own statuses and words."""
    ruling = judge(given, KEYS)
    assert (ruling.status, json.loads(ruling.body)) == (status, body)
    assert ruling.accepted is (reason is None)
    assert reason is None or (ruling.reason or "").startswith(reason)


@pytest.mark.parametrize("refusal_status", [200, 400])
@pytest.mark.parametrize("query", [b"", b"user_id=1", b"type=", b"type=+%20", b"type=a%00b", b"type=a&type="])
def test_a_missing_or_invalid_type_is_named_in_the_body(query, refusal_status):
    """A call without a usable type is refused with NO-TYPE-PARAMETER under the chosen status."""
    ruling = judge(call(query=query), KEYS, refusal_status)
    assert not ruling.accepted
    assert ruling.status == refusal_status
    assert "NO-TYPE-PARAMETER" in json.loads(ruling.body).values()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"size": 20_000}, {"path": "/elsewhere"}),
        ({"path": "/elsewhere"}, {"key": None}),
        ({"key": "wrong"}, {"query": b""}),
    ],
)
def test_the_gateway_checks_in_its_order(first, then):
    """Of two faults in one call the earlier check of the gateway decides."""
    assert judge(call(**first, **then), KEYS).reason == judge(call(**first), KEYS).reason


def test_any_key_is_accepted_when_none_is_named():
    """With keys=None any key that is not empty passes, and no key still does not."""
    assert judge(call(key="whatever"), None).accepted
    assert not judge(call(key=""), None).accepted


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("menu-click", None),
        ("x" * 256, None),
        ("completado \N{LATIN SMALL LETTER E WITH ACUTE} \N{GRINNING FACE}", None),
        ("a\u202eb", None),
        (None, "type is missing"),
        ("", "type is empty"),
        (" \t\u2003", "type is empty"),
        ("a\tb", "type has a control character"),
        ("a\x7fb", "type has a control character"),
        ("a\x9fb", "type has a control character"),
        ("x" * 257, "type has 257 characters, 256 are admitted"),
    ],
)
def test_which_types_are_admitted(value, problem):
    """The list of types is open; empty, blank, control characters and over-long are not admitted."""
    assert type_problem(value) == problem


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"type=a+b%20c&course_id=%C3%A9", {"type": "a b c", "course_id": "\u00e9"}),
        (b"type=a&type=b", {"type": "b"}),
        (b"type=a&user_id=", {"type": "a", "user_id": ""}),
        (b"type=%ff", {"type": "\ufffd"}),
        (b"type=\xc3\xa9", {"type": "\u00e9"}),
        (b"type=a%26b%3Dc", {"type": "a&b=c"}),
    ],
)
def test_a_query_string_is_decoded(query, expected):
    """Percent signs, plus signs, repeated names and bytes that are no UTF-8 all have one reading."""
    assert fields(query) == expected
