"""What a line of a log that somebody kept says: the tags in it, and when it was written.

Pure: a line in, what it bears out. It knows structlog's JSON (and any that is written like it), and what the file
exporter of an OpenTelemetry Collector writes: OTLP as JSON, one request a line. The rules are those of the doors: a
span bears its tags flat, a log record or line in any of the three forms, and a body is never searched.

Source: the OTLP specification, "JSON Protobuf Encoding" (ids in hex, 64-bit integers as texts, camelCase names).
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from ocm_otel._tags import TYPE, find

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Every form of a tag's name has it, so that a line without it is not parsed.
MARK = b"ocm"
_TIMES = ("timestamp", "@timestamp", "time", "ts", "datetime", "asctime")
_ERROR = (2, "2", "STATUS_CODE_ERROR")


class BadLine(ValueError):
    """A line that seems to bear a tag and cannot be read; the message says why."""


class Found(NamedTuple):
    """A set of tags.

    Attributes:
        tags: by their flat names, with their values as they were.
        at: when it was written, seconds since 1970, None if the line does not say.
        failed: True for a span that ended with an error status.
    """

    tags: Mapping[str, object]
    at: float | None
    failed: bool = False


def read_json(line: bytes) -> list[Found]:
    """Return what a line bears; nothing for one without tags, or that is no JSON and names none.

    Raises:
        BadLine: it names a tag, and is no JSON object.
    """
    if MARK not in line:
        return []
    try:
        said = json.loads(line)
        if not isinstance(said, dict):
            raise TypeError
        if "resourceSpans" in said or "resourceLogs" in said:
            return [*_spans(said), *_records(said)]
        tags = find(said)
        return (
            [] if tags is None else [Found(tags, moment(next((said[name] for name in _TIMES if name in said), None)))]
        )
    except (ValueError, TypeError, RecursionError):
        if b"event_type" in line:
            raise BadLine("names a tag, and is no whole JSON object") from None
        return []


def _spans(said: Mapping[str, Any]) -> Iterator[Found]:
    """Yield the tagged spans of a request, and their tagged span events."""
    for span in _inner(said, "resourceSpans", "scopeSpans", "spans"):
        tags = _attributes(span)
        status = span.get("status")
        failed = isinstance(status, dict) and status.get("code") in _ERROR
        if tags.get(TYPE) is not None:
            yield Found(tags, _nanos(span.get("endTimeUnixNano")), failed)
        for happened in _inner(span, "events"):
            tags = _attributes(happened)
            if tags.get(TYPE) is not None:
                yield Found(tags, _nanos(happened.get("timeUnixNano")))


def _records(said: Mapping[str, Any]) -> Iterator[Found]:
    """Yield the tagged log records of a request."""
    for record in _inner(said, "resourceLogs", "scopeLogs", "logRecords"):
        tags = find(_attributes(record))
        if tags is not None:
            yield Found(tags, _nanos(record.get("timeUnixNano")) or _nanos(record.get("observedTimeUnixNano")))


def _inner(said: Mapping[str, Any], *path: str) -> Iterator[dict[str, Any]]:
    """Yield the objects at the end of a path of lists; what is of another form is passed over."""
    inside = said.get(path[0])
    for one in inside if isinstance(inside, list) else ():
        if isinstance(one, dict):
            if len(path) == 1:
                yield one
            else:
                yield from _inner(one, *path[1:])


def _attributes(said: Mapping[str, Any], name: str = "attributes") -> dict[str, object]:
    """Return a list of keys and values as a mapping."""
    return {one["key"]: _value(one.get("value")) for one in _inner(said, name) if isinstance(one.get("key"), str)}


def _value(said: object) -> object:
    """Return an OTLP value, None for one of a kind that is not known."""
    if not isinstance(said, dict) or len(said) != 1:
        return None
    ((kind, value),) = said.items()
    if kind == "intValue":
        return int(value)
    if kind == "kvlistValue":
        return _attributes(value, "values") if isinstance(value, dict) else None
    if kind == "arrayValue":
        return [_value(one) for one in value.get("values", ())] if isinstance(value, dict) else None
    return value if kind in ("stringValue", "doubleValue", "boolValue") else None


def _nanos(value: object) -> float | None:
    """Return nanoseconds since 1970 as seconds, None for what is none (0 stands for unknown)."""
    try:
        return int(value) / 1e9 or None  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None


def moment(value: object) -> float | None:
    """Return a time as seconds since 1970: ISO 8601 (without a zone: UTC), or seconds or milliseconds since then."""
    if isinstance(value, str):
        with suppress(ValueError):
            return _since_1970(float(value))
        text = value.strip().replace(",", ".")
        try:
            found = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
            return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
        except (ValueError, OverflowError):
            return None
    return _since_1970(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _since_1970(number: float) -> float | None:
    """Return a number of seconds, or of milliseconds where seconds would be thousands of years away."""
    number = number / 1000 if number > 1e11 else number
    return number if 0 < number < 1e11 else None
