"""OTLP in protobuf: the bytes of an export request become facts.

Reading costs a quarter of a microsecond a span; to walk through attributes in Python costs seven times that, so it is
done only where the bytes of a tag's name occur at all: texts stand in protobuf as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ocm_otel._tags import KEYWORD_TYPE, NESTED, TYPE, find
from ocm_otel.gateway.facts import Batch, Fact, Identities, Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_LINE_NAMES = frozenset((TYPE, KEYWORD_TYPE, NESTED))
_ERROR = 2  # STATUS_CODE_ERROR


def traces(data: bytes) -> Batch:
    """Return the facts of an ``ExportTraceServiceRequest``.

    Raises:
        Malformed: it is none.
    """
    message = _parsed(ExportTraceServiceRequest, data)
    count = sum(len(scope.spans) for one in message.resource_spans for scope in one.scope_spans)
    if TYPE.encode() not in data:
        return Batch(count, [])
    facts: list[Fact] = []
    identities, number = Identities(), 0
    for one in message.resource_spans:
        for scope in one.scope_spans:
            around: Mapping[str, object] | None = None
            for span in scope.spans:
                number += 1
                own = any(pair.key == TYPE for pair in span.attributes)
                if not own and not any(pair.key == TYPE for event in span.events for pair in event.attributes):
                    continue
                around = _around(one, scope) if around is None else around
                facts += _of_span(number, span, around, identities)
    return Batch(count, facts)


def logs(data: bytes) -> Batch:
    """Return the facts of an ``ExportLogsServiceRequest``.

    Raises:
        Malformed: it is none.
    """
    message = _parsed(ExportLogsServiceRequest, data)
    count = sum(len(scope.log_records) for one in message.resource_logs for scope in one.scope_logs)
    if b"event_type" not in data or b"ocm" not in data:
        return Batch(count, [])
    facts: list[Fact] = []
    identities, number = Identities(), 0
    for one in message.resource_logs:
        for scope in one.scope_logs:
            around: Mapping[str, object] | None = None
            for line in scope.log_records:
                number += 1
                if not any(pair.key in _LINE_NAMES for pair in line.attributes):
                    continue
                fields = _fields(line.attributes)
                tags = find(fields)
                if tags is not None:
                    around = _around(one, scope) if around is None else around
                    timed = bool(line.time_unix_nano or line.observed_time_unix_nano)
                    name = identities.of_content(timed, _content(line, one.resource, scope.scope))
                    facts.append(Fact(number, tags, name, fields, around))
    return Batch(count, facts)


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except (DecodeError, RecursionError):
        raise Malformed(f"the body is no {kind.DESCRIPTOR.name} in protobuf") from None


def _of_span(number: int, span: Any, around: Mapping[str, object], identities: Identities) -> Iterator[Fact]:
    """Yield a span's own fact and those of its span events."""
    timed = bool(span.start_time_unix_nano or span.end_time_unix_nano)
    name = identities.of_span(span.trace_id.hex(), span.span_id.hex(), timed, _content(span))
    fields = _fields(span.attributes)
    if fields.get(TYPE) is not None:
        yield Fact(number, fields, name, fields, around, failed=span.status.code == _ERROR)
    for index, event in enumerate(span.events):
        fields = _fields(event.attributes)
        if fields.get(TYPE) is not None:
            yield Fact(number, fields, name and f"{name}-{index}", fields, around)


def _around(one: Any, scope: Any) -> Mapping[str, object]:
    return {**_fields(one.resource.attributes), **_fields(scope.scope.attributes)}


def _content(*parts: Any) -> Callable[[], bytes]:
    return lambda: b"\0".join(part.SerializeToString(deterministic=True) for part in parts)


def _fields(pairs: Any) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> object:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "kvlist_value":
        return _fields(value.kvlist_value.values)
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind)
