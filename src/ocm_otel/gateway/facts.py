"""What a request of OTLP says that matters here: its tagged records, whichever way they were written down.

The rules are those of the doors in the process: a tagged span, each tagged span event, a tagged log record. What
stands in the request is read by `otlp_protobuf` and `otlp_json`; this room knows what they have in common. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN = re.compile(r"(?!0{16})[0-9a-f]{16}")


class Malformed(ValueError):
    """The request is not what its content type says; the message names what, and nothing that came with it."""


class Fact(NamedTuple):
    """One tagged thing in a request.

    Attributes:
        record: the number of the record in the request; a span and its span events are one record.
        tags: its attributes under their flat names.
        event_id: its identity; None if there is nothing to know it by.
        fields: all that the record bears.
        around: the attributes of its scope and its resource; the scope's win.
        failed: whether it is a span that ended with an error.
    """

    record: int
    tags: Mapping[str, object]
    event_id: str | None
    fields: Mapping[str, object]
    around: Mapping[str, object]
    failed: bool = False


class Batch(NamedTuple):
    """One request.

    Attributes:
        records: how many spans or log records are in it.
        facts: what is tagged among them.
    """

    records: int
    facts: list[Fact]


class Identities:
    """The identities of the records of one request, as far as they can be told from the records themselves.

    A span has its ids. Any other record is known by all of its content, times included, and by how many equal ones
    came before it in the request: ten equal lines are ten, and the same batch sent twice is still ten. A record
    without any time has none: two of them may well be two facts.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def of_span(self, trace_id: str, span_id: str, timed: bool, content: Callable[[], bytes]) -> str | None:  # noqa: FBT001 - a fact of the span
        """Return the identity of a span: that of the doors in the process.

        Args:
            trace_id: in hexadecimal.
            span_id: likewise.
            timed: whether it bears a time.
            content: returns all that is in it, asked if its ids are none.
        """
        trace_id, span_id = trace_id.lower(), span_id.lower()
        if _TRACE.fullmatch(trace_id) and _SPAN.fullmatch(span_id):
            return f"{trace_id}-{span_id}"
        return self.of_content(timed, content)

    def of_content(self, timed: bool, content: Callable[[], bytes]) -> str | None:  # noqa: FBT001 - a fact of the record
        """Return the identity of a record that has nothing but its content; None without a time."""
        if not timed:
            return None
        name = hashlib.blake2b(content(), digest_size=16).hexdigest()
        self._seen[name] += 1
        return f"otlp-{name}-{self._seen[name]:x}"
