"""What one answer of the events API means. The only file that knows status codes.

Of the API's errors the vendor's guide names one, ``NO-TYPE-PARAMETER``, and neither its status nor its
JSON; the rest is what the gateway in front of the API is documented to answer (AWS API Gateway). So the
table leans to the side that loses nothing: only an answer about the event itself refuses the event, and
everything that smells of a wrong configuration keeps all events.

Pure: the clock comes in as an argument, the answer as plain values.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from ocm_otel._head import retry_seconds

#: Bodies up to this many bytes are remembered, with what they meant.
_REMEMBERED = 512

_NO_TYPE = re.compile(rb"NO[-_ ]TYPE[-_ ]PARAMETER", re.IGNORECASE)
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)", re.IGNORECASE)
_ERROR_KEYS = ("error", "errors", "errorCode", "error_code", "errorMessage", "errorType")


class Fate(Enum):
    """What becomes of the event, and what the answer says about the API."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # this event, for good; the next one may pass
    RETRY = "retry"  # again, a little later
    THROTTLED = "throttled"  # again, and all senders wait
    LOCKED_OUT = "locked out"  # the configuration is wrong: keep everything, probe now and then


class Failure(Enum):
    """A call that brought no answer."""

    NO_CONNECTION = "no-connection"
    NO_TLS = "no-tls"
    UNTRUSTED = "untrusted-server"
    MISCONFIGURED = "misconfigured"
    CUT_OFF = "cut-off"  # broken while the request was being written
    NO_ANSWER = "no-answer"  # closed or reset after the request had left
    SILENCE = "silence"
    NOT_HTTP = "not-http"
    BROKEN = "broken"  # something in our own client that should not happen


@dataclass(frozen=True)
class Verdict:
    """What one call meant.

    Attributes:
        fate: what becomes of the event.
        reason: the short name that the books use.
        words: one sentence for a person, with what to do where there is something.
        ambiguous: True if the event may have been counted although no answer says so.
        wait: seconds that the API asked us to wait, None if it did not say.
    """

    fate: Fate
    reason: str
    words: str
    ambiguous: bool = False
    wait: float | None = None


_DELIVERED = Verdict(Fate.DELIVERED, "delivered", "The events API has counted the event.")
_NO_TYPE_PARAMETER = Verdict(
    Fate.REFUSED, "no-type-parameter", "The events API does not accept this event type (NO-TYPE-PARAMETER)."
)
_NOT_THE_API = Verdict(
    Fate.LOCKED_OUT,
    "not-the-api",
    "A web page came back instead of the API's answer: check the endpoint, and any proxy or login page on the way.",
)
_KEY_REFUSED = "The events API refuses the key: check the API key setting, and that it belongs to this endpoint."

#: 401 and 403 by a word of the gateway's message, in small letters; the first that fits.
_LOCKED: tuple[tuple[str, str, str], ...] = (
    (
        "explicit deny",
        "address-refused",
        "The events API refuses this machine's IP address: have OfCourseMe enable it, or use an enabled forwarder.",
    ),
    (
        "missing authentication token",
        "wrong-path",
        "There is no such call at this address: check the endpoint, its path above all.",
    ),
    ("limit exceeded", "quota", "The quota of the account is used up: ask OfCourseMe for more."),
    ("", "key-refused", _KEY_REFUSED),
)

#: Statuses with one meaning whatever the body says: fate, reason, words, ambiguous.
_STATUSES: dict[int, Verdict] = {
    404: Verdict(Fate.LOCKED_OUT, "not-found", "There is no such address at the server: check the endpoint."),
    407: Verdict(Fate.LOCKED_OUT, "proxy-refused", "The proxy wants a login: check the proxy's address and user."),
    408: Verdict(Fate.RETRY, "request-timeout", "The server did not get the request in time."),
    413: Verdict(Fate.REFUSED, "too-long", "The server finds the event too long: shorten its ids."),
    414: Verdict(Fate.REFUSED, "too-long", "The server finds the event too long: shorten its ids."),
    421: Verdict(Fate.RETRY, "http-421", "The server wants another connection."),
    425: Verdict(Fate.RETRY, "http-425", "The server wants the request later."),
    431: Verdict(Fate.REFUSED, "too-long", "The server finds the event too long: shorten its ids or the headers."),
    # The gateway gave up on a back end that is slow, not dead: it may count the event after all.
    504: Verdict(Fate.RETRY, "http-504", "The API's back end took too long; it may have counted.", ambiguous=True),
}

_FAILURES: dict[Failure, Verdict] = {
    Failure.NO_CONNECTION: Verdict(Fate.RETRY, "no-connection", "The events API cannot be reached."),
    Failure.NO_TLS: Verdict(Fate.RETRY, "no-tls", "No TLS connection came about: is the endpoint an https server?"),
    Failure.UNTRUSTED: Verdict(
        Fate.LOCKED_OUT,
        "untrusted-server",
        "The server's certificate is not trusted: check the endpoint, the certificate setting, and the clock.",
    ),
    Failure.MISCONFIGURED: Verdict(
        Fate.LOCKED_OUT,
        "misconfigured",
        "The connection cannot be set up: check the certificate and proxy settings.",
    ),
    Failure.CUT_OFF: Verdict(Fate.RETRY, "cut-off", "The connection broke before the request had left."),
    Failure.NO_ANSWER: Verdict(
        Fate.RETRY, "no-answer", "The connection broke after the request had left.", ambiguous=True
    ),
    Failure.SILENCE: Verdict(Fate.RETRY, "silence", "No answer came in time.", ambiguous=True),
    Failure.NOT_HTTP: Verdict(Fate.RETRY, "not-http", "The answer was no HTTP.", ambiguous=True),
    Failure.BROKEN: Verdict(Fate.RETRY, "broken", "The call failed in an unexpected way.", ambiguous=True),
}


def judge(status: int, body: bytes = b"", retry_after: str | None = None, *, now: float = 0.0) -> Verdict:
    """Return what an answer means.

    Args:
        status: the HTTP status.
        body: the body, or as much of it as was read.
        retry_after: the header of that name, as it came.
        now: the wall clock in seconds since 1970, for a Retry-After that is a date.
    """
    if retry_after is None and len(body) <= _REMEMBERED:
        return _judge_again(status, body)
    return _judge(status, body, retry_after, now)


@lru_cache(maxsize=64)
def _judge_again(status: int, body: bytes) -> Verdict:
    """Return what a short answer means; one is much like the other."""
    return _judge(status, body, None, 0.0)


def _judge(status: int, body: bytes, retry_after: str | None, now: float) -> Verdict:
    if _HTML.match(body) and (status < 300 or status == 400):
        return _NOT_THE_API
    if 200 <= status < 300:
        return _judge_success(body)
    if status in _STATUSES:
        return _STATUSES[status]
    if status in (401, 403):
        return _judge_lockout(status, body)
    if status == 429:
        return _judge_throttling(body, retry_seconds(retry_after, now))
    if 300 <= status < 400:
        words = f"The server redirects (HTTP {status}), which is never followed: check the endpoint."
        return Verdict(Fate.LOCKED_OUT, "redirect", words)
    if 400 <= status < 500:
        return _judge_client_error(status, body)
    if 500 <= status < 600:
        wait = retry_seconds(retry_after, now)
        return Verdict(Fate.RETRY, f"http-{status}", f"The events API has a problem (HTTP {status}).", wait=wait)
    return _FAILURES[Failure.NOT_HTTP]


def judge_failure(failure: Failure) -> Verdict:
    """Return what a call without an answer means."""
    return _FAILURES[failure]


def misconfigured(why: str) -> Verdict:
    """Return the verdict on a call that could not be made with these settings.

    Args:
        why: what cannot be used, in a few words.
    """
    wrong = _FAILURES[Failure.MISCONFIGURED]
    return replace(wrong, words=f"{wrong.words} ({why})")


def _judge_success(body: bytes) -> Verdict:
    """Return what a 2xx means: some APIs say yes and put the error into the body."""
    if _NO_TYPE.search(body):
        return _NO_TYPE_PARAMETER
    content = _json(body)
    if isinstance(content, dict):
        bad = [key for key in _ERROR_KEYS if content.get(key)]
        if bad or content.get("success") is False or content.get("status") in ("error", "fail", "failed"):
            words = "The events API answered with success and an error in the body; the event is kept to look at."
            return Verdict(Fate.REFUSED, "error-in-body", words)
    return _DELIVERED


def _judge_lockout(status: int, body: bytes) -> Verdict:
    """Return what a 401 or 403 means, by the gateway's wording."""
    said = body.decode("utf-8", "replace").lower()
    reason, words = next((reason, words) for word, reason, words in _LOCKED if word in said)
    return Verdict(Fate.LOCKED_OUT, reason, f"{words} (HTTP {status})")


def _judge_throttling(body: bytes, wait: float | None) -> Verdict:
    """Return what a 429 means: too fast, or the plan's quota is used up."""
    if b"limit exceeded" in body.lower():
        return Verdict(Fate.THROTTLED, "quota", "The quota of the account is used up; all wait.", wait=wait)
    return Verdict(Fate.THROTTLED, "throttled", "The events API asks to go slower; all wait.", wait=wait)


def _judge_client_error(status: int, body: bytes) -> Verdict:
    """Return what another 4xx means: about the event only if the API says so, else about our set-up."""
    if _NO_TYPE.search(body):
        return _NO_TYPE_PARAMETER
    if status in (400, 409, 422):
        return Verdict(Fate.REFUSED, f"http-{status}", f"The events API does not accept this event (HTTP {status}).")
    words = f"The server does not want such calls (HTTP {status}): check the endpoint and the key."
    return Verdict(Fate.LOCKED_OUT, f"http-{status}", words)


def _json(body: bytes) -> object:
    """Return the body as JSON, or None if it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
