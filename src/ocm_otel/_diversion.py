"""Where events go in place of an outbox while a test looks at them.

A diversion stands at the waist, `Outbox.put`, so that it takes what any door makes, however the application is
wired. It is opened for the context of who opens it, tasks of that context included; a thread that has no diversion
of its own uses the one that was opened last. While none is open, this room costs one look at an empty list.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ocm_otel._clean import InvalidEvent
    from ocm_otel._event import Event


class Heeding(Protocol):
    """Who is told whether a diversion is open."""

    def __call__(self, *, opened: bool) -> object:
        """Take it in."""


class Diversion(Protocol):
    """Takes events in the place of outboxes."""

    def wants(self, outbox: object) -> bool:
        """Return whether it takes the events of this outbox."""

    def take(self, event: Event) -> bool:
        """Take an event; returns what `Outbox.put` is to return."""

    def flush(self, timeout: float | None) -> bool:
        """Do as `Outbox.flush` for what was taken."""

    def saw(self, record: str, fields: Mapping[str, object]) -> None:
        """Note that a record passed a door, tagged or not."""

    def fault(self, fault: InvalidEvent) -> None:
        """Note what was wrong with a tag."""


#: Those that are open, the latest last. Doors look whether it is empty, and do no more while it is.
opened: list[Diversion] = []

_heeding: list[Heeding] = []
_mine: ContextVar[Diversion | None] = ContextVar("ocm_otel_diversion", default=None)


def heed(tell: Heeding) -> None:
    """Have `tell` told, now and whenever it changes, whether any is open.

    For those who ask at each record: a global of their own costs them a fifth of what a look at the list does.
    """
    _heeding.append(tell)
    tell(opened=bool(opened))


def _changed() -> None:
    for tell in _heeding:
        tell(opened=bool(opened))


def current() -> Diversion | None:
    """Return the diversion of this context, else the one that was opened last, None if none is open."""
    mine = _mine.get()
    there = tuple(opened)
    if mine is not None and any(mine is one for one in there):
        return mine
    return there[-1] if there else None


def diverted(outbox: object) -> Diversion | None:
    """Return what takes the events of this outbox in its place, None if it keeps them."""
    found = current()
    return found if found is not None and found.wants(outbox) else None


def saw(record: str, fields: Mapping[str, object]) -> None:
    """Tell whoever looks that a record passed a door."""
    if (found := current()) is not None:
        found.saw(record, fields)


def fault(what: InvalidEvent) -> None:
    """Tell whoever looks what was wrong with a tag."""
    if (found := current()) is not None:
        found.fault(what)


@contextmanager
def divert(to: Diversion) -> Iterator[None]:
    """Let events go to `to` for the length of a block."""
    before = _mine.get()
    opened.append(to)
    _changed()
    _mine.set(to)
    try:
        yield
    finally:
        opened[:] = [one for one in opened if one is not to]
        _changed()
        _mine.set(before)  # no token: a generator may end in another context than it began in
