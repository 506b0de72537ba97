"""OTLP in JSON: the text of an export request becomes facts.

OTLP's JSON differs from protobuf's own: ids are in hexadecimal, names in lowerCamelCase only, enums are numbers; 64-bit
numbers come as texts or as numbers. What has the wrong shape is refused whole, as a protobuf parser would. A text is
searched for tags after it was decoded, so that no way to escape a letter hides one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ocm_otel._tags import KEYWORD_TYPE, NESTED, TYPE, find
from ocm_otel.gateway.facts import Batch, Fact, Identities, Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_SPAN_NAMES = frozenset((TYPE,))
_LINE_NAMES = frozenset((TYPE, KEYWORD_TYPE, NESTED))
_ERRORS = (2, "2", "STATUS_CODE_ERROR")
_NO_TIME = (None, 0, "0", "")
_NOTHING: dict[str, Any] = {}


def traces(data: bytes) -> Batch:
    """Return the facts of an ``ExportTraceServiceRequest``.

    Raises:
        Malformed: it is none.
    """
    facts: list[Fact] = []
    identities, number = Identities(), 0
    for one, scope, spans in _groups(data, "resourceSpans", "scopeSpans", "spans"):
        around: Mapping[str, object] | None = None
        for span in spans:
            number += 1
            happened = _list(span, "events")
            if not _bears(span, _SPAN_NAMES) and not any(_bears(event, _SPAN_NAMES) for event in happened):
                continue
            around = _around(one, scope) if around is None else around
            facts += _of_span(number, span, happened, around, identities)
    return Batch(number, facts)


def logs(data: bytes) -> Batch:
    """Return the facts of an ``ExportLogsServiceRequest``.

    Raises:
        Malformed: it is none.
    """
    facts: list[Fact] = []
    identities, number = Identities(), 0
    for one, scope, lines in _groups(data, "resourceLogs", "scopeLogs", "logRecords"):
        for line in lines:
            number += 1
            if not _bears(line, _LINE_NAMES):
                continue
            fields = _fields(line)
            tags = find(fields)
            if tags is not None:
                timed = line.get("timeUnixNano") not in _NO_TIME or line.get("observedTimeUnixNano") not in _NO_TIME
                content = _content(line, one.get("resource"), scope.get("scope"))
                facts.append(Fact(number, tags, identities.of_content(timed, content), fields, _around(one, scope)))
    return Batch(number, facts)


def _groups(
    data: bytes, ones: str, scopes: str, records: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]]:
    """Yield each group of records with what stands around it."""
    try:
        message = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed("the body is no JSON in UTF-8") from None
    if not isinstance(message, dict):
        raise Malformed("the body is no JSON object")
    for one in _list(message, ones):
        for scope in _list(one, scopes):
            yield one, scope, _list(scope, records)


def _of_span(
    number: int,
    span: dict[str, Any],
    happened: list[dict[str, Any]],
    around: Mapping[str, object],
    identities: Identities,
) -> Iterator[Fact]:
    """Yield a span's own fact and those of its span events."""
    timed = span.get("startTimeUnixNano") not in _NO_TIME or span.get("endTimeUnixNano") not in _NO_TIME
    name = identities.of_span(_text(span, "traceId"), _text(span, "spanId"), timed, _content(span))
    fields = _fields(span)
    if fields.get(TYPE) is not None:
        yield Fact(number, fields, name, fields, around, failed=_object(span, "status").get("code") in _ERRORS)
    for index, event in enumerate(happened):
        fields = _fields(event)
        if fields.get(TYPE) is not None:
            yield Fact(number, fields, name and f"{name}-{index}", fields, around)


def _around(one: dict[str, Any], scope: dict[str, Any]) -> Mapping[str, object]:
    return {**_fields(_object(one, "resource")), **_fields(_object(scope, "scope"))}


def _content(*parts: object) -> Callable[[], bytes]:
    return lambda: json.dumps(parts, sort_keys=True).encode()


def _bears(thing: dict[str, Any], names: frozenset[str]) -> bool:
    """Return whether one of its attributes has one of the names."""
    pairs = thing.get("attributes")
    if not pairs:
        return False
    try:
        return any(pair["key"] in names for pair in pairs)
    except (KeyError, TypeError):  # an empty key is left out, as protobuf's JSON leaves out what is empty
        return any(_text(pair, "key") in names for pair in _list(thing, "attributes"))


def _list(thing: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a list of objects, an empty one if it is not there."""
    found = thing.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(type(item) is dict for item in found):
        raise Malformed(f"{name} is no list of objects")
    return found


def _object(thing: dict[str, Any], name: str) -> dict[str, Any]:
    found = thing.get(name)
    if found is None:
        return _NOTHING
    if not isinstance(found, dict):
        raise Malformed(f"{name} is no object")
    return found


def _text(thing: dict[str, Any], name: str) -> str:
    found = thing.get(name, "")
    if not isinstance(found, str):
        raise Malformed(f"{name} is no text")
    return found


def _fields(thing: dict[str, Any], name: str = "attributes") -> dict[str, object]:
    return {_text(pair, "key"): _value(_object(pair, "value")) for pair in _list(thing, name)}


def _value(value: dict[str, Any]) -> object:
    for kind, found in value.items():
        if found is None or kind not in _KINDS:
            continue
        try:
            return _KINDS[kind](found)
        except (AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise error if isinstance(error, Malformed) else Malformed(f"the value of a {kind} is none") from None
    return None


def _whole(found: object) -> int:
    if isinstance(found, bool) or (isinstance(found, float) and not found.is_integer()):
        raise TypeError
    return int(found)  # type: ignore[call-overload, no-any-return]


def _same(kind: type) -> Callable[[Any], object]:
    def read(found: object) -> object:
        if not isinstance(found, kind):
            raise TypeError
        return found

    return read


_KINDS: dict[str, Callable[[Any], object]] = {
    "stringValue": _same(str),
    "boolValue": _same(bool),
    "intValue": _whole,
    "doubleValue": float,
    "bytesValue": _same(str),
    "kvlistValue": lambda found: _fields({"attributes": _list(found, "values")}),
    "arrayValue": lambda found: [_value(item) for item in _list(found, "values")],
}
