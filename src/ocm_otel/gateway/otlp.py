"""OTLP over HTTP: a request's head and body become an answer, as the specification's section "OTLP/HTTP" says.

What is answered with success is in the journal. What is malformed is answered with 400 and need not be sent again; what
there is no room for now is answered with 503 and a time to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ocm_otel.gateway import otlp_json, otlp_protobuf
from ocm_otel.gateway.answers import JSON, PROTOBUF, Reply, failure, success, wait
from ocm_otel.gateway.bodies import ENCODINGS, NotDecodable, TooLarge, UnknownEncoding, decompress
from ocm_otel.gateway.facts import Malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ocm_otel.gateway.figures import Figures
    from ocm_otel.gateway.intake import Intake

READERS = {
    ("traces", PROTOBUF): otlp_protobuf.traces,
    ("traces", JSON): otlp_json.traces,
    ("logs", PROTOBUF): otlp_protobuf.logs,
    ("logs", JSON): otlp_json.logs,
}
_RECORDS = {"traces": "Spans", "logs": "LogRecords"}


class Head(NamedTuple):
    """What the head of a request says of its body.

    Attributes:
        signal: ``traces`` or ``logs``.
        kind: the content type, without parameters.
        encoding: the content encoding.
    """

    signal: str
    kind: str
    encoding: str

    @classmethod
    def of(cls, signal: str, headers: Mapping[bytes, bytes]) -> Head | Reply:
        """Return the head of a request, or the answer if its content type is none of OTLP's."""
        kind = content_type(headers)
        if kind not in (PROTOBUF, JSON):
            told = f"the content type is neither {PROTOBUF} nor {JSON}"
            return failure(415, told, headers=(("accept", f"{PROTOBUF}, {JSON}"),), close=True)
        return cls(signal, kind, headers.get(b"content-encoding", b"").decode("latin-1"))


def content_type(headers: Mapping[bytes, bytes]) -> str:
    """Return the content type of a request, without parameters: what is answered has the same."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")


def answer(head: Head, body: bytes, most: int, intake: Intake, figures: Figures) -> Reply:
    """Take in a request; returns when its events are in the journal.

    Args:
        head: what is known of the body.
        body: as it came.
        most: how many bytes it may have when it is decompressed.
        intake: where its facts go.
        figures: where they are counted.
    """
    try:
        batch = READERS[head.signal, head.kind](decompress(body, head.encoding, most))
    except UnknownEncoding as error:
        return failure(415, str(error), head.kind, (("accept-encoding", ENCODINGS),))
    except TooLarge as error:
        return failure(413, str(error), head.kind)
    except (NotDecodable, Malformed) as error:
        return failure(400, str(error), head.kind)
    outcome = intake.take(batch)
    if outcome.retry:
        return wait(503, "not all of it could be kept now: send it again", head.kind, outcome.wait)
    for name, many in (
        ("records", batch.records),
        ("events", outcome.events),
        ("duplicates", outcome.duplicates),
        ("rejected", outcome.rejected),
    ):
        if many:
            figures.add(name, many, door=head.signal)
    return success(head.kind, _RECORDS[head.signal], outcome.rejected, outcome.why)
