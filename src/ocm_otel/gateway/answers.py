"""What is answered: OTLP's responses in the encoding of the request, and the API's own. Pure.

OTLP: the specification's section "OTLP/HTTP Response". The API: what its guide and the documents of the service in
front of it say; the bodies are small and never contain anything that came with the request.
"""

from __future__ import annotations

import json
from typing import NamedTuple

PROTOBUF, JSON, TEXT = "application/x-protobuf", "application/json", "text/plain; charset=utf-8"

#: How long a sender is asked to wait, in seconds, where the journal has no room.
WAIT = 5


class Reply(NamedTuple):
    """One answer.

    Attributes:
        status: of HTTP.
        body: its content.
        kind: its content type.
        headers: further headers.
        close: whether the connection is to end with it.
    """

    status: int
    body: bytes = b""
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


def success(kind: str, records: str, rejected: int, why: str) -> Reply:
    """Return an ``ExportTraceServiceResponse`` or its like.

    Args:
        kind: the content type of the request.
        records: what a record is called in JSON: ``Spans`` or ``LogRecords``.
        rejected: how many of them were rejected.
        why: what was wrong with them.
    """
    if not rejected:
        return Reply(200, b"{}" if kind == JSON else b"", kind)
    told = f"{rejected} not taken: {why}"
    if kind == JSON:
        partial = {f"rejected{records}": str(rejected), "errorMessage": told}
        return Reply(200, json.dumps({"partialSuccess": partial}).encode(), kind)
    partial_success = b"\x08" + _varint(rejected) + _text(0x12, told)
    return Reply(200, b"\x0a" + _varint(len(partial_success)) + partial_success, kind)


def failure(
    status: int, told: str, kind: str = JSON, headers: tuple[tuple[str, str], ...] = (), *, close: bool = False
) -> Reply:
    """Return a ``google.rpc.Status`` that says in words what went wrong."""
    if kind == PROTOBUF:
        return Reply(status, _text(0x12, told), kind, headers, close)
    return Reply(status, json.dumps({"message": told}).encode(), JSON, headers, close)


def wait(status: int, told: str, kind: str = JSON, seconds: int = WAIT, *, close: bool = False) -> Reply:
    """Return what asks a sender to come again."""
    return failure(status, told, kind, (("retry-after", str(seconds)),), close=close)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _text(tag: int, text: str) -> bytes:
    encoded = text.encode()
    return bytes((tag,)) + _varint(len(encoded)) + encoded


# --- the API's own ---------------------------------------------------------------------------------------------------

API_OK = Reply(200, b'{"status":"OK"}')
API_NO_TYPE = Reply(400, b'{"error":"NO-TYPE-PARAMETER","message":"The type parameter is missing or not valid."}')
API_FORBIDDEN = Reply(403, b'{"message":"Forbidden"}')
API_UNKNOWN_PLACE = Reply(403, b'{"message":"Missing Authentication Token"}')
API_TOO_LONG = Reply(413, b'{"message":"Request Too Long"}', close=True)
API_TOO_OFTEN = Reply(429, b'{"message":"Too Many Requests"}', headers=(("retry-after", "1"),), close=True)
API_LATER = Reply(503, b'{"message":"Service Unavailable"}', headers=(("retry-after", str(WAIT)),))
