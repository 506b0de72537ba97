"""What the events API answers to one call, as documented: a pure decision, without socket, store or clock.

The sources are the vendor's guide, part 8 (S), and the documented answers of the gateway in front of the
API, AWS API Gateway (G). Where neither says anything, the choice made here is marked *ours*. This file
knows nothing of faults: an API that is unwell is the business of ``faults``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qsl

PATH = "/v2.0/events"
METHOD = "GET"
FIELDS = ("type", "course_id", "user_id", "entity_id")
MAX_REQUEST_BYTES = 10_240
MAX_TYPE_CHARACTERS = 256

OK_BODY = b'{"status":"OK"}'
NO_TYPE_BODY = b'{"error":"NO-TYPE-PARAMETER","message":"The type parameter is missing or not valid."}'
FORBIDDEN_BODY = b'{"message":"Forbidden"}'
EXPLICIT_DENY_BODY = b'{"message":"User is not authorized to access this resource with an explicit deny"}'
UNKNOWN_PLACE_BODY = b'{"message":"Missing Authentication Token"}'
THROTTLED_BODY = b'{"message":"Too Many Requests"}'
QUOTA_BODY = b'{"message":"Limit Exceeded"}'
TOO_LARGE_BODY = b'{"message":"Request Too Long"}'


@dataclass(frozen=True)
class Call:
    """One request as it came in, reduced to what the rules look at."""

    method: str
    path: str
    query: bytes
    key: str | None
    size: int
    """Bytes of the request line and the headers together."""

    @cached_property
    def fields(self) -> dict[str, str]:
        """The parameters, decoded."""
        return fields(self.query)


@dataclass(frozen=True)
class Ruling:
    """What the API answers: a status, a JSON body and, for a refusal, the reason in words."""

    status: int
    body: bytes
    reason: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the call counts as an event."""
        return self.reason is None


def is_api(method: str, path: str) -> bool:
    """Return whether a call reaches the events resource (S: one path, one method)."""
    return method == METHOD and path == PATH


def fields(query: bytes) -> dict[str, str]:
    """Return the parameters of a query string, decoded.

    A repeated name keeps its last value (G). Bytes that are no UTF-8 become U+FFFD (ours).

    Args:
        query: what follows the question mark, still percent-encoded.
    """
    text = query.decode("utf-8", "replace")
    return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))


def type_problem(value: str | None) -> str | None:
    """Return what is wrong with a type, or None for a type that is admitted.

    The guide (S) says "missing or invalid" and keeps the list of types open. What counts as invalid is
    ours: empty, blank, with a control character, or over 256 characters.

    Args:
        value: the decoded parameter, None when it was absent.
    """
    if value is None:
        return "type is missing"
    if not value.strip():
        return "type is empty"
    if any(unicodedata.category(char) == "Cc" for char in value):
        return "type has a control character"
    if len(value) > MAX_TYPE_CHARACTERS:
        return f"type has {len(value)} characters, {MAX_TYPE_CHARACTERS} are admitted"
    return None


def judge(call: Call, keys: Collection[str] | None, refusal_status: int = 400) -> Ruling:
    """Return the documented answer to one call, checked in the order of the gateway.

    Size first, because the gateway reads a whole request before it looks anywhere; then the place, the
    key and, behind the gateway, the type. That a request over the limit gets 413 is ours: G names the
    limit of 10,240 bytes, and more than one status is seen for it.

    Args:
        call: the request.
        keys: the accepted API keys; None accepts any key that is not empty.
        refusal_status: the HTTP status of ``NO-TYPE-PARAMETER``, which is written down nowhere.

    Returns:
        The ruling; ``accepted`` says whether the event counts.
    """
    if call.size > MAX_REQUEST_BYTES:
        reason = f"request line and headers have {call.size} bytes, {MAX_REQUEST_BYTES} are admitted"
        return Ruling(413, TOO_LARGE_BODY, reason)
    if not is_api(call.method, call.path):
        return Ruling(403, UNKNOWN_PLACE_BODY, "unknown path or method")
    if not call.key:
        return Ruling(403, FORBIDDEN_BODY, "no key")
    if keys is not None and call.key not in keys:
        return Ruling(403, FORBIDDEN_BODY, "wrong key")
    problem = type_problem(call.fields.get("type"))
    if problem is not None:
        return Ruling(refusal_status, NO_TYPE_BODY, problem)
    return Ruling(200, OK_BODY)
