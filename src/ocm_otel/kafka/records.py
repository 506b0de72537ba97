"""What a record of Kafka says: one export request, in protobuf or in JSON, and what its facts are known by. Pure.

The Collector's Kafka exporter writes one export request a record (its encodings ``otlp_proto`` and ``otlp_json``). A
record says nowhere how it is encoded; its first bytes do.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from ocm_otel._tags import TYPE
from ocm_otel.gateway import otlp_json, otlp_protobuf
from ocm_otel.gateway.facts import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

ENCODINGS = ("auto", "otlp_proto", "otlp_json")
SIGNALS = ("traces", "logs")
_READERS = {
    ("traces", "otlp_proto"): otlp_protobuf.traces,
    ("traces", "otlp_json"): otlp_json.traces,
    ("logs", "otlp_proto"): otlp_protobuf.logs,
    ("logs", "otlp_json"): otlp_json.logs,
}
_LIST_OF = {"traces": b'{"resourceSpans":', "logs": b'{"resourceLogs":'}
_SPACE = b" \t\r\n"


class Position(NamedTuple):
    """Where a record stands, and when it was written: no other record has the same.

    Attributes:
        topic: its topic.
        partition: its partition.
        offset: its place there.
        timestamp: milliseconds since 1970; a topic that was deleted and made anew counts from 0 again.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


def guessed(value: bytes) -> str:
    """Return the encoding of an export request: ``otlp_json`` or ``otlp_proto``.

    JSON is an object or, as some collectors write it, a bare list. In protobuf the first byte of a request that is not
    empty is a newline, and JSON may begin with one. Then what follows tells them apart. A brace there would be the
    length of a message, 123 bytes, and a quotation mark that of its resource, 34 bytes: that would go on with the tag
    of a field, which is no printable character, while JSON goes on with a name.
    """
    bare = value[:1024].lstrip(_SPACE)
    inner = bare[1:].lstrip(_SPACE)
    if bare[:1] == b"[":
        return "otlp_json" if inner[:1] in (b"{", b"]") else "otlp_proto"
    named = inner[:1] == b'"' and inner[1:2] >= b" "
    whole = bare[:1] == b"{" and (value[:1] == b"{" or named or inner[:1] == b"}")
    return "otlp_json" if whole else "otlp_proto"


def read(signal: str, encoding: str, value: bytes) -> Batch:
    """Return what an export request says.

    Args:
        signal: ``traces`` or ``logs``.
        encoding: one of `ENCODINGS`.
        value: the value of the record.

    Raises:
        ocm_otel.gateway.facts.Malformed: it is no such request.
    """
    if encoding == "auto":
        encoding = guessed(value)
    if encoding == "otlp_json" and value.lstrip(_SPACE)[:1] == b"[":
        value = _LIST_OF[signal] + value + b"}"
    reader: Callable[[bytes], Batch] = _READERS[signal, encoding]
    return reader(value)


def looks_misplaced(batch: Batch, value: bytes) -> bool:
    """Return whether a tag is named in it, and yet nothing in it is tagged: it may be of another signal."""
    return not batch.facts and TYPE.encode() in value


def numbered(batch: Batch, position: Position, value: bytes) -> Batch:
    """Return the facts of a record with an identity each.

    What a fact is known by at the gateway is the better identity, for a producer that tries again writes a record
    twice. What has none there, has a place here: where the record stands, and the how-manieth fact it is.
    """
    if all(fact.event_id is not None for fact in batch.facts):
        return batch
    name = blake2b(f"{position} {position.timestamp} ".encode() + value, digest_size=16).hexdigest()
    facts = [
        fact if fact.event_id is not None else fact._replace(event_id=f"kafka-{name}-{number:x}")
        for number, fact in enumerate(batch.facts)
    ]
    return Batch(batch.records, facts)
