"""What there is in kept logs: events by type, from when to when, and what cannot be used. It only counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ocm_otel._identity import Beside, completed
from ocm_otel._reading import read

if TYPE_CHECKING:
    from ocm_otel._recording import Fact
    from ocm_otel._replayed import Replayed
    from ocm_otel._settings import Settings

#: Types and faults that are told one by one.
_MOST_KINDS = 200
OTHER = "(others)"
_BESIDE = Beside(baggage={})  # what stood there when it was written is not known any more


@dataclass
class Survey:
    """What was found.

    Attributes:
        types: how many events of each type are to be sent, or were.
        before: how many were replayed before, or stood in another of the files already.
        skipped: spans that failed, where the settings say that they are no events.
        first: when the first of the events was written, seconds since 1970, `last` the last.
        undated: how many of them do not say when.
        faults: what could not be used, how often, and where first.
        lines: lines that were read.
    """

    types: Counter[str] = field(default_factory=Counter)
    before: int = 0
    skipped: int = 0
    first: float | None = None
    last: float | None = None
    undated: int = 0
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    lines: int = 0
    _seen: set[int] = field(default_factory=set)

    @property
    def events(self) -> int:
        """How many events are to be sent, or were."""
        return self.types.total()

    def take(self, fact: Fact, name: str, replayed: Replayed, settings: Settings) -> str | None:
        """Judge a fact; returns the query of its event, None if there is none to send.

        Args:
            fact: what was found.
            name: the file, for a person.
            replayed: what was replayed before.
            settings: whether a span that failed is an event; whom an event concerns that does not say.
        """
        if fact.found is None:
            self._fault(fact.fault, name, fact.line)
            return None
        if fact.found.failed and settings.on_span_error == "skip":
            self.skipped += 1
            return None
        event, faults = read(completed(fact.found.tags, settings, _BESIDE))
        if fact.identity in self._seen or fact.identity in replayed:
            self.before += event is not None
            return None
        self._seen.add(fact.identity)
        for fault in faults:
            done = "no event is made of it" if event is None else "the event is sent without it"
            self._fault(f"{fault.key}: {fault.rule}; {done}", name, fact.line)
        if event is None:
            return None
        self.types[event.type if event.type in self.types or len(self.types) < _MOST_KINDS else OTHER] += 1
        if (at := fact.found.at) is None:
            self.undated += 1
        else:
            self.first = at if self.first is None else min(self.first, at)
            self.last = at if self.last is None else max(self.last, at)
        return (event.veiled(key) if (key := settings.user_id_hash_key) else event).query()

    def _fault(self, text: str, name: str, line: int) -> None:
        text = text if text in self.faults or len(self.faults) < _MOST_KINDS else OTHER
        count, where = self.faults.get(text, (0, f"{name}, line {line}"))
        self.faults[text] = (count + 1, where)
