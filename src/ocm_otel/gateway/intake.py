"""From the facts of a request to the journal: all of them are on disk before the sender is told so.

What was taken before is not taken again. What has no usable type is rejected, and the sender is told how many and why;
if the journal has no room, the sender is told to come again, and what was taken until then is known when it does.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from ocm_otel._doors import judge
from ocm_otel._identity import Beside
from ocm_otel._recent import Recent
from ocm_otel.gateway.answers import WAIT
from ocm_otel.gateway.known import Busy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ocm_otel._event import Event
    from ocm_otel._outbox import Outbox
    from ocm_otel.gateway.facts import Batch
    from ocm_otel.gateway.known import Known

_MOST_REASONS = 3
_CALM = 1.0


class Outcome(NamedTuple):
    """What became of a request.

    Attributes:
        events: how many of its events are in the journal, those that were there before included.
        duplicates: how many of them were there before.
        rejected: how many records have tags that make no event.
        why: what was wrong with those, for a person; no value that came with them.
        retry: the request is to be sent again, for not all of it could be taken.
        wait: after how many seconds.
    """

    events: int = 0
    duplicates: int = 0
    rejected: int = 0
    why: str = ""
    retry: bool = False
    wait: int = WAIT


class Intake:
    """Puts the events of requests into the outbox.

    Args:
        outbox: where they go.
        known: what was taken lately, by this worker and its siblings.
    """

    def __init__(self, outbox: Outbox, known: Known) -> None:
        self._outbox = outbox
        self._known = known
        self._sync = outbox.settings.durability == "fsync"
        self._full_until = 0.0

    @property
    def has_room(self) -> bool:
        """False for a moment after the journal could not take an event."""
        return time.monotonic() >= self._full_until

    def take(self, batch: Batch) -> Outcome:
        """Take in a request; returns when all of it is in the journal, or what could not be is known."""
        events: list[Event] = []
        rejected: set[int] = set()
        reasons: Counter[str] = Counter()
        settings, books = self._outbox.settings, self._outbox.books
        for fact in batch.facts:
            if fact.failed and settings.on_span_error == "skip":
                books.add("skipped", "span_error")
                continue
            event, faults = judge(self._outbox, fact.tags, fact.event_id, Beside(fact.fields, {}, fact.around))
            if event is not None:
                events.append(event)
            elif fact.record not in rejected:
                rejected.add(fact.record)
                reasons.update(f"{fault.key}: {fault.rule}" for fault in faults[:1])
        why = "; ".join(f"{many} with {reason}" for reason, many in reasons.most_common(_MOST_REASONS))
        try:
            duplicates = self._put(events)
        except Busy:
            return Outcome(retry=True, wait=1)
        if duplicates is None:
            self._full_until = time.monotonic() + _CALM
            return Outcome(retry=True)
        return Outcome(len(events), duplicates, len(rejected), why)

    def put(self, event: Event) -> bool:
        """Take in one event that came by itself; False if the journal has no room for it."""
        taken = self._outbox.put(event)
        if not taken:
            self._full_until = time.monotonic() + _CALM
        return taken

    def _put(self, events: Sequence[Event]) -> int | None:
        """Put events into the outbox; returns how many were there before, None if not all could be put.

        Raises:
            Busy: one of them is being taken by somebody else in this moment.
        """
        duplicates = 0
        with self._known.claim([event.event_id for event in events]) as places:
            for event, place in zip(events, places, strict=True):
                if place is None:
                    duplicates += 1
                    self._outbox.books.add("duplicate", "event_id")
                elif self._outbox.put(event):
                    self._known.keep(place)
                else:
                    return None
        if self._sync:
            self._known.sync()
        return duplicates


class Told(Recent):
    """What an outbox remembers, and what is to be known to all workers besides: the ids that it takes over."""

    __slots__ = ("_shared",)

    def __init__(self, known: Known) -> None:
        super().__init__()
        self._shared = known

    def learn(self, ids: Iterable[str]) -> None:
        """Remember the ids of events that another process accepted and this one delivers."""
        found = list(ids)
        self._shared.learn(found)
        super().learn(found)
