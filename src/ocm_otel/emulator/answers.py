"""One answer of the emulator that is planned instead of decided by the rules: what it says, and how it is given.

It is a description: giving it is the business of ``wire``, choosing it that of ``faults``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from math import ceil

from .rules import FORBIDDEN_BODY, NO_TYPE_BODY, OK_BODY, THROTTLED_BODY

# The gateway's own wordings (AWS API Gateway, "gateway response types"); others get the standard phrase.
_BODIES = {
    200: OK_BODY,
    400: NO_TYPE_BODY,
    403: FORBIDDEN_BODY,
    429: THROTTLED_BODY,
    500: b'{"message":"Internal server error"}',
    502: b'{"message":"Internal server error"}',
    504: b'{"message":"Endpoint request timed out"}',
}

#: How an answer is given: in one piece, in two segments, byte by byte, not at all, or by a reset connection.
MANNERS = ("whole", "split", "slow", "silence", "reset")


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else f"Status {status}"


@dataclass(frozen=True)
class Answer:
    """One answer that is given whatever the request says.

    Args:
        status: HTTP status, 200 to 599; without a meaning where the manner is silence or reset.
        body: the bytes (or text) of the body; None for what the gateway says with that status.
        headers: further response headers, such as ``{"retry-after": "2"}``.
        latency: seconds before this answer; None for the emulator's own latency.
        counted: whether the event counts although this is the answer. None: a 2xx counts, nothing else
            does. A call without a valid key or type never counts.
        manner: one of ``MANNERS``.
        over: seconds that a slow body takes.
        retry_after: seconds for the header Retry-After; None for no such header.
        as_date: whether Retry-After is a date instead of a number of seconds.
        label: the name of the fault that it belongs to, for the record.

    Raises:
        ValueError: the status is none that a final answer can have, or there is no such manner.
    """

    status: int
    body: bytes | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    latency: float | None = None
    counted: bool | None = None
    manner: str = "whole"
    over: float = 0.0
    retry_after: float | None = None
    as_date: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"status {self.status!r} is no final answer: give a number from 200 to 599")
        if self.manner not in MANNERS:
            raise ValueError(f"manner {self.manner!r} is none of {', '.join(MANNERS)}")

    @property
    def counts(self) -> bool:
        """Whether a call that the rules accept counts as an event under this answer."""
        return self.status < 300 if self.counted is None else self.counted

    @property
    def told(self) -> int:
        """The status that the client gets to see; 0 when it sees none."""
        return 0 if self.manner in {"silence", "reset"} else self.status

    @property
    def content(self) -> bytes:
        """The bytes of the body."""
        if self.status in (204, 304):
            return b""
        if isinstance(self.body, str):
            return self.body.encode("utf-8")
        if self.body is not None:
            return self.body
        default = json.dumps({"message": _phrase(self.status)}, separators=(",", ":")).encode()
        return _BODIES.get(self.status, default)

    def lines(self, now: float) -> dict[str, str]:
        """Return the response headers, names in lower case.

        Args:
            now: seconds since 1970, for a Retry-After that is a date.
        """
        found = {"content-type": "application/json"} if self.content else {}
        if self.retry_after is not None:
            whole = ceil(self.retry_after)
            found["retry-after"] = formatdate(now + whole, usegmt=True) if self.as_date else str(whole)
        return {**found, **{name.lower(): value for name, value in self.headers.items()}}
