"""What is in hand: records that were read and are not taken yet, by partition, and what is to be committed. Pure.

A record is in exactly one place: with the broker, in hand, or done. Only what is done is ever committed, and in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Place(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Hand:
    """The records in hand, and the progress to be committed.

    Attributes:
        due: the offset that is to be committed next, by partition: all before it is done.
        claimed: up to where the broker knows that we are taking records, by partition.
    """

    def __init__(self) -> None:
        self._records: dict[Place, deque[Any]] = {}
        self.due: dict[Place, int] = {}
        self.claimed: dict[Place, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._records.values()))

    def add(self, message: Any) -> None:
        """Take a record in hand, the next one of its partition."""
        self._records.setdefault(Place(message.topic(), message.partition()), deque()).append(message)

    def places(self) -> list[Place]:
        """Return the partitions that records in hand are of."""
        return list(self._records)

    def span(self, place: Place) -> tuple[int, int]:
        """Return the offset of the first record in hand, and the one after the last."""
        records = self._records[place]
        return records[0].offset(), records[-1].offset() + 1

    def unclaimed(self) -> dict[Place, tuple[int, int]]:
        """Return what is to be claimed before it may be taken."""
        spans = {place: self.span(place) for place in self._records}
        return {place: span for place, span in spans.items() if self.claimed.get(place, 0) < span[1]}

    def records(self) -> Iterator[tuple[Place, Any]]:
        """Yield the records, partition by partition; to be told `done` before the next is asked for."""
        for place in self.places():
            while place in self._records:
                yield place, self._records[place][0]

    def done(self, place: Place) -> None:
        """Note that the first record of a partition is done."""
        records = self._records[place]
        self.due[place] = records.popleft().offset() + 1
        if not records:
            del self._records[place]

    def progress(self) -> dict[Place, tuple[int, int | None]]:
        """Return what is to be committed: the offset, and up to where records may have been taken beyond it.

        The first record in hand may have been taken in part, where there was no room for all of it.
        """
        return {place: (due, due + 1 if place in self._records else None) for place, due in self.due.items()}

    def committed(self, place: Place, offset: int, end: int | None) -> None:
        """Note what the broker knows now."""
        if self.due.get(place) == offset:
            del self.due[place]
        if end is None:
            self.claimed.pop(place, None)
        else:
            self.claimed[place] = end

    def drop(self, places: Collection[Place]) -> int:
        """Let go of partitions that are not ours any more; returns how many records were in hand of them."""
        dropped = 0
        for place in places:
            dropped += len(self._records.pop(place, ()))
            self.due.pop(place, None)
            self.claimed.pop(place, None)
        return dropped
