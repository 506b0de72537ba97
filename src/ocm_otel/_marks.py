"""Who waits for the events that are there now: a flush, each with the last event that it waits for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Marks:
    """Those who wait, in the order of their last events.

    Args:
        lent: the events that are not settled and were taken from the journal: how manieth each was; the oldest first.
        has_ready: returns whether an event waits that was not taken yet.

    Attributes:
        first: how manieth the last event is that somebody waits for; infinity if nobody waits.
    """

    def __init__(self, lent: Mapping[int, tuple[int, float]], has_ready: Callable[[], bool]) -> None:
        self._lent = lent
        self._has_ready = has_ready
        self._marks: list[tuple[int, Callable[[], object]]] = []
        self.first = math.inf

    def add(self, last: int, done: Callable[[], object]) -> None:
        """Have `done` called once so many events were taken, and all of them are settled."""
        self._marks.append((last, done))
        self.first = self._marks[0][0]

    def look(self, taken: int) -> None:
        """Let go of those whose events are all settled; `taken` is how many were taken so far."""
        if self.first > taken and self._lent:
            return  # the last event that anybody waits for is still in the journal
        oldest = next(iter(self._lent.values()), (math.inf,))[0]
        while self._marks and self._marks[0][0] < oldest and (taken >= self._marks[0][0] or not self._has_ready()):
            self._marks.pop(0)[1]()
        self.first = self._marks[0][0] if self._marks else math.inf
