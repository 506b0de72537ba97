"""What each answer means: the table, row by row, and what holds for any answer at all."""

from __future__ import annotations

import gzip
import json
import math
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocm_otel._head import LONGEST_WAIT
from ocm_otel._verdict import Failure, Fate, judge, judge_failure

NOW = 1_780_000_000.0
DENY = b'{"message": "User is not authorized to access this resource with an explicit deny"}'


def said(body: object) -> bytes:
    return json.dumps(body).encode()


SUCCESS = [
    (200, b'{"status":"OK"}', Fate.DELIVERED, "delivered"),
    (200, b"", Fate.DELIVERED, "delivered"),
    (201, b"OK", Fate.DELIVERED, "delivered"),
    (204, b"", Fate.DELIVERED, "delivered"),
    (299, b"[]", Fate.DELIVERED, "delivered"),
    (200, b'{"error":null,"errors":[],"errorCode":0}', Fate.DELIVERED, "delivered"),
    (200, b'{"success":true,"status":"ok"}', Fate.DELIVERED, "delivered"),
    (200, b'"error"', Fate.DELIVERED, "delivered"),
    (200, b"\xff\xfe\x00", Fate.DELIVERED, "delivered"),
    (200, b'{"status":', Fate.DELIVERED, "delivered"),
    (200, b"[" * 60_000, Fate.DELIVERED, "delivered"),
    (200, b"9" * 60_000, Fate.DELIVERED, "delivered"),
    (200, said({"error": "NO-TYPE-PARAMETER"}), Fate.REFUSED, "no-type-parameter"),
    (200, said({"errors": [{"code": "NO-TYPE-PARAMETER"}]}), Fate.REFUSED, "no-type-parameter"),
    (200, said({"status": "OK", "result": {"error": {"id": "no_type_parameter"}}}), Fate.REFUSED, "no-type-parameter"),
    (200, said(["NO-TYPE-PARAMETER"]), Fate.REFUSED, "no-type-parameter"),
    (200, b"NO-TYPE-PARAMETER", Fate.REFUSED, "no-type-parameter"),
    (200, b"<error>NO TYPE PARAMETER</error>", Fate.REFUSED, "no-type-parameter"),
    (202, said({"error": "SOMETHING-ELSE"}), Fate.REFUSED, "error-in-body"),
    (200, said({"errors": [{"message": "x"}]}), Fate.REFUSED, "error-in-body"),
    (200, said({"errorMessage": "x", "errorType": "Runtime.Unhandled"}), Fate.REFUSED, "error-in-body"),
    (200, said({"success": False}), Fate.REFUSED, "error-in-body"),
    (200, said({"status": "error"}), Fate.REFUSED, "error-in-body"),
    (200, b"<!DOCTYPE html><html>log in", Fate.LOCKED_OUT, "not-the-api"),
    (200, b"\xef\xbb\xbf \n<HTML>", Fate.LOCKED_OUT, "not-the-api"),
]
CLIENT_ERRORS = [
    (400, said({"error": "NO-TYPE-PARAMETER"}), Fate.REFUSED, "no-type-parameter"),
    (422, said({"error": {"code": "NO-TYPE-PARAMETER"}}), Fate.REFUSED, "no-type-parameter"),
    (400, b"Bad Request", Fate.REFUSED, "http-400"),
    (400, b"<html>400 Bad Request", Fate.LOCKED_OUT, "not-the-api"),
    (401, b'{"message":"Unauthorized"}', Fate.LOCKED_OUT, "key-refused"),
    (403, b'{"message":"Forbidden"}', Fate.LOCKED_OUT, "key-refused"),
    (403, b"", Fate.LOCKED_OUT, "key-refused"),
    (403, DENY, Fate.LOCKED_OUT, "address-refused"),
    (401, DENY.upper(), Fate.LOCKED_OUT, "address-refused"),
    (403, b'{"message":"Missing Authentication Token"}', Fate.LOCKED_OUT, "wrong-path"),
    (403, b'{"message":"Limit Exceeded"}', Fate.LOCKED_OUT, "quota"),
    (403, b"\xff\xfe\xfd", Fate.LOCKED_OUT, "key-refused"),
    (404, b'{"error":"NO-TYPE-PARAMETER"}', Fate.LOCKED_OUT, "not-found"),
    (405, b"", Fate.LOCKED_OUT, "http-405"),
    (407, b"", Fate.LOCKED_OUT, "proxy-refused"),
    (408, b"", Fate.RETRY, "request-timeout"),
    (413, b"", Fate.REFUSED, "too-long"),
    (414, b"", Fate.REFUSED, "too-long"),
    (431, b"", Fate.REFUSED, "too-long"),
    (418, b"", Fate.LOCKED_OUT, "http-418"),
    (429, b'{"message":"Too Many Requests"}', Fate.THROTTLED, "throttled"),
    (429, b'{"message":"Limit Exceeded"}', Fate.THROTTLED, "quota"),
]
OTHERS = [
    (301, b"", Fate.LOCKED_OUT, "redirect"),
    (302, b"<html>", Fate.LOCKED_OUT, "redirect"),
    (304, b"", Fate.LOCKED_OUT, "redirect"),
    (308, b"", Fate.LOCKED_OUT, "redirect"),
    (500, b'{"message":"Internal server error"}', Fate.RETRY, "http-500"),
    (500, b"<html>", Fate.RETRY, "http-500"),
    (502, b"", Fate.RETRY, "http-502"),
    (503, b"", Fate.RETRY, "http-503"),
    (504, b'{"message":"Endpoint request timed out"}', Fate.RETRY, "http-504"),
    (599, b"", Fate.RETRY, "http-599"),
    (600, b"", Fate.RETRY, "not-http"),
    (999, b"", Fate.RETRY, "not-http"),
    (0, b"", Fate.RETRY, "not-http"),
    (199, b"", Fate.RETRY, "not-http"),
]


@pytest.mark.parametrize(("status", "body", "fate", "reason"), SUCCESS + CLIENT_ERRORS + OTHERS)
def test_an_answer(status, body, fate, reason):
    """Each answer has its fate and its name; only the slow back end and what is no HTTP are ambiguous."""
    verdict = judge(status, body)
    assert (verdict.fate, verdict.reason) == (fate, reason)
    assert verdict.ambiguous is (reason in ("http-504", "not-http"))
    assert verdict.wait is None
    assert verdict.words.endswith((".", ")", "?"))


@pytest.mark.parametrize(
    ("failure", "fate", "ambiguous"),
    [
        (Failure.NO_CONNECTION, Fate.RETRY, False),
        (Failure.NO_TLS, Fate.RETRY, False),
        (Failure.UNTRUSTED, Fate.LOCKED_OUT, False),
        (Failure.MISCONFIGURED, Fate.LOCKED_OUT, False),
        (Failure.CUT_OFF, Fate.RETRY, False),
        (Failure.NO_ANSWER, Fate.RETRY, True),
        (Failure.SILENCE, Fate.RETRY, True),
        (Failure.NOT_HTTP, Fate.RETRY, True),
        (Failure.BROKEN, Fate.RETRY, True),
    ],
)
def test_a_call_without_an_answer(failure, fate, ambiguous):
    """What never left is not ambiguous; what left and was not answered is."""
    verdict = judge_failure(failure)
    assert (verdict.fate, verdict.reason, verdict.ambiguous) == (fate, failure.value, ambiguous)


def test_every_failure_has_a_verdict():
    """No way for a call to fail is without its meaning."""
    assert {judge_failure(failure).reason for failure in Failure} == {failure.value for failure in Failure}


def date(seconds: float, form: str = "imf") -> str:
    when = datetime.fromtimestamp(NOW, timezone.utc) + timedelta(seconds=seconds)
    if form == "asctime":
        return when.strftime("%a %b %d %H:%M:%S %Y")
    if form == "rfc850":
        return when.strftime("%A, %d-%b-%y %H:%M:%S GMT")
    return format_datetime(when, usegmt=True)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, None), ("0", 0.0), ("1", 1.0), (" 7 ", 7.0), ("2.5", 2.5), ("3600", 3600.0), ("3601", LONGEST_WAIT),
        ("1" * 60, LONGEST_WAIT), ("9" * 5_000, None), ("-1", None), ("inf", None), ("nan", None), ("", None),
        ("soon", None), ("12 seconds", None), ("\x00", None), ("1;2", None), ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        (date(30), 30.0), (date(30, "asctime"), 30.0), (date(30, "rfc850"), 30.0), (date(-30), 0.0),
        (date(10**8), LONGEST_WAIT),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        (date(30).replace("GMT", "-0000"), 30.0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [429, 500, 503])
def test_retry_after(status, header, wait):
    """Seconds and dates are understood; the past is now, the absurd an hour, the malformed nothing."""
    assert judge(status, b"", header, now=NOW).wait == (None if wait is None else pytest.approx(wait, abs=1))


def test_retry_after_does_not_depend_on_the_time_zone(monkeypatch):
    """A date without a zone is meant in GMT, wherever the machine stands."""
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert judge(429, b"", date(30, "asctime"), now=NOW).wait == pytest.approx(30, abs=1)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@given(
    st.integers(),
    st.binary(max_size=300) | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(said),
    st.none() | st.text() | st.floats().map(str) | st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_answer_has_a_verdict(status, body, retry_after, now):
    """Whatever comes: nothing is raised, and a wait is a number of seconds that is not absurd."""
    verdict = judge(status, body, retry_after, now=now)
    assert verdict.reason
    assert verdict.wait is None or (0 <= verdict.wait <= LONGEST_WAIT and math.isfinite(verdict.wait))
    if verdict.fate is Fate.DELIVERED:
        assert 200 <= status < 300


@given(st.sampled_from(["Mon", "Foo", ""]), st.text("0123456789 :-GMTJan,+", max_size=40))
def test_any_date_is_read_or_left(day, rest):
    """What looks like a date but is none raises nothing."""
    assert judge(429, b"", f"{day}, {rest}", now=NOW).fate is Fate.THROTTLED


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
def test_a_packed_body_does_no_harm(status):
    """Bytes that are no text at all are judged by their status."""
    assert judge(status, gzip.compress(b'{"a": 1}')).fate is judge(status, b"{}").fate
