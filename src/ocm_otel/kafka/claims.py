"""Which records a member on another machine may have taken, as a committed offset says it. Pure.

A member writes down what it is about to take before it takes it: the text beside the committed offset (Kafka's commit
metadata) names its spool and the offset up to which it goes. When it has taken the records it commits their end, and
the text is gone. Where a member dies in between, the next one finds the text. If the spool is its own, the known ids
say which records were taken. If it is another's, nobody here can say: those records are ambiguous, and are counted.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = "ocm1"
_CLAIM = re.compile(r"([0-9a-f]{16}):([0-9]{1,19})")
#: Kafka allows 4,096 bytes; a claim has at most 37.
_MOST = 32


class Claim(NamedTuple):
    """What a member may have taken from the committed offset on.

    Attributes:
        spool: the name of its spool.
        end: the offset after the last one.
    """

    spool: str
    end: int


def parsed(text: str | None) -> list[Claim]:
    """Return the claims that a committed offset bears; what is not ours says nothing."""
    form, _, rest = (text or "").partition(" ")
    if form != _FORM:
        return []
    found = (_CLAIM.fullmatch(word) for word in rest.split(" ")[:_MOST])
    return [Claim(match[1], int(match[2])) for match in found if match]


class Past:
    """What may have been taken of one partition, from the moment that it is ours.

    Args:
        text: what is written beside its committed offset.
        spool: the name of our own spool.
    """

    def __init__(self, text: str | None, spool: str) -> None:
        self._spool = spool
        self._claims = parsed(text)
        #: The offset after the last record that may have been taken on another machine; 0 if none may.
        self.end = max((claim.end for claim in self._claims if claim.spool != spool), default=0)

    def in_doubt(self, offset: int) -> bool:
        """Return whether a record may have been taken on another machine."""
        return offset < self.end

    def text(self, offset: int, end: int | None = None) -> str:
        """Return what to write beside an offset.

        An older claim of our own spool stays as long as another machine's would: to others it says as much.

        Args:
            offset: the one to be committed.
            end: up to where we are about to take records; None if we are not.
        """
        claims = [claim for claim in self._claims if claim.end > offset]
        if end is not None:
            claims.append(Claim(self._spool, end))
        found: dict[str, int] = {}
        for claim in claims:
            found[claim.spool] = max(claim.end, found.get(claim.spool, 0))
        words = sorted(found.items(), key=lambda pair: pair[1])[-_MOST:]  # those that matter longest
        return " ".join([_FORM, *(f"{spool}:{last}" for spool, last in words)]) if words else ""
