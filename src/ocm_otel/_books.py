"""The books: what was accepted and what became of it, counted without a lock.

Every event that the outbox accepts or adopts ends in exactly one of three columns, and until then it
waits: ``accepted + adopted = delivered + refused + dropped + waiting``. Beside these stand notes that
move no event (turned away, ambiguous, retried, mended …). This room counts and tells; it decides nothing.

Counting takes no lock, so that no finalizer, signal handler or fork can be caught holding one: `next`
on an `itertools.count` is a single step of the interpreter.
"""

from __future__ import annotations

import logging
import threading
import time
from contextvars import Context
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger("ocm_otel")

#: Messages that are remembered as told. What comes from outside is bounded: past this, no more are told.
MOST_REPORTS = 200
#: Seconds without an event turned away after which there is said to be room again.
CALM = 1.0


@dataclass(frozen=True)
class Snapshot:
    """The books at one moment; every number counts events.

    Attributes:
        accepted: taken by `Outbox.put`.
        adopted: left behind by another process and taken over by this one.
        delivered: answered by the API as counted.
        refused: the API would not have them; kept with their reason.
        dropped: accepted and then given up, always with a reason.
        waiting: in none of these columns yet.
        turned_away: not accepted by `put`, for instance because the queue was full; in no other column.
        ambiguous: calls whose request left and whose answer never came: they may have counted.
        retried: calls that had to be made again.
        reasons: the same numbers by reason, ``{"refused": {"no-type-parameter": 1}}``, and every other
            note there is: ``mended`` (sent without an id that was none), ``invalid`` (a tag without a
            usable type), ``incomplete`` (a course event without a course), ``skipped``, ``lost`` (a tag
            that never became an event, or only in part), ``failed_…`` (our own failures).
    """

    accepted: int
    adopted: int
    delivered: int
    refused: int
    dropped: int
    waiting: int
    turned_away: int
    ambiguous: int
    retried: int
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """True when every event that came in stands in exactly one column."""
        out = self.delivered + self.refused + self.dropped + self.waiting
        return self.accepted + self.adopted == out and self.waiting >= 0


class Room(NamedTuple):
    """How full the place is where events wait.

    Attributes:
        used: how much is taken, on disk by all processes of the account.
        most: how much may be taken.
        unit: ``By`` for bytes on disk, ``{event}`` for events in memory.
    """

    used: int
    most: int
    unit: str


class _Tally:
    """A number that only grows: any thread adds without a lock, readers come one at a time."""

    __slots__ = ("_looks", "add")

    def __init__(self) -> None:
        self.add: Callable[[], int] = count().__next__
        self._looks = 0

    def read(self) -> int:
        value = self.add() - self._looks  # a look is a step too, and is taken off again
        self._looks += 1
        return value


class Books:
    """The counters of one outbox.

    Attributes:
        on_lag: told the seconds from acceptance to delivery of each delivered event; below 0 if the clock was put back.
        room: returns how full the place is where events wait.
        turning_away: True from the first event that was turned away until there is room again.
    """

    def __init__(self) -> None:
        self.on_lag: Callable[[float], object] = _ignore
        self.room: Callable[[], Room | None] = _unknown
        self.turning_away = False
        self._turned_away_at = 0.0
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._told: dict[object, object] = {}
        self._reading = threading.RLock()  # a finalizer may look in the middle of a look

    def add(self, column: str, reason: str = "") -> None:
        """Count one event (or one call) in `column`, under `reason`; from any thread, without a lock."""
        self.counter(column, reason)()

    def counter(self, column: str, reason: str = "") -> Callable[[], object]:
        """Return what counts one in `column`, under `reason`, each time that it is called; as `add`, but faster."""
        key = (column, reason)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies.setdefault(key, _Tally())
        return tally.add

    def report(self, key: object, message: str, *args: object) -> None:
        """Log `message` as a warning, the first time that `key` is reported; at most 200 keys.

        Args:
            key: what the message is about; any hashable value.
            message: a text with %-placeholders; no key of an account, no whole id.
            *args: what stands in their place.
        """
        if key in self._told or len(self._told) >= MOST_REPORTS:
            return
        mine = object()
        if self._told.setdefault(key, mine) is mine:  # of several threads at once, one tells
            self.tell(message, *args)

    def tell(self, message: str, *args: object) -> None:
        """Log `message` as a warning; for news of which there can be no storm. Never raises.

        In a context of its own: OpenTelemetry's handler lets nothing through that is logged while it handles a line,
        and this may be told in the middle of one. It cannot go round: what is told bears no tag.
        """
        try:
            Context().run(logger.warning, message, *args)
            if _unheard() and logging.lastResort is not None:
                logging.lastResort.handle(logger.makeRecord(logger.name, logging.WARNING, "", 0, message, args, None))
        except Exception as error:  # noqa: BLE001 - the application's own filters and handlers; counted
            self.add("failed_log", type(error).__name__)

    def turn_away(self, reason: str, waiting: int | None) -> None:
        """Count an event that was not accepted, and tell when that begins; of None, the end, nothing is told."""
        self.add("turned_away", reason)
        if waiting is None:
            return
        self._turned_away_at = time.monotonic()
        if not self.turning_away:
            self.turning_away = True
            self.tell("no event is accepted for now (%s); %d events wait", reason, waiting)

    def has_room(self) -> None:
        """Tell that events are accepted again, once that has lasted for a moment."""
        if time.monotonic() - self._turned_away_at > CALM:
            self.turning_away = False
            self.tell("events are accepted again; %d were turned away", self.snapshot().turned_away)

    def end(self, why: str, lost: int, waiting: int) -> None:
        """Book and tell what an end leaves behind: `lost` events are given up, or `waiting` ones stay on disk."""
        for _ in range(lost):
            self.add("dropped", "closed")
        if lost:
            self.tell("%s with %d events not delivered, and they are given up", why, lost)
        elif waiting > 0:
            text = "%s with %d events not delivered; they wait on disk for the next process, or `ocm-otel spool drain`"
            self.tell(text, why, waiting)

    def snapshot(self) -> Snapshot:
        """Return all counters as they are now; the columns balance at any moment."""
        with self._reading:
            # Ends are read before beginnings: what arrives in between is then seen as waiting.
            keys = sorted(self._tallies, key=lambda key: key[0] in ("accepted", "adopted"))
            read = {key: self._tallies[key].read() for key in keys}
        reasons: dict[str, dict[str, int]] = {}
        total: dict[str, int] = {}
        for (column, reason), value in read.items():
            total[column] = total.get(column, 0) + value
            if reason:
                reasons.setdefault(column, {})[reason] = value
        came = total.get("accepted", 0) + total.get("adopted", 0)
        gone = sum(total.get(column, 0) for column in ("delivered", "refused", "dropped"))
        return Snapshot(
            **{name: total.get(name, 0) for name in _COLUMNS},
            waiting=came - gone,
            reasons=reasons,
        )


def _unheard() -> bool:
    """True if only telemetry listens to our messages, as under `opentelemetry-instrument`: nobody reads them.

    Python prints a warning for which there is no handler at all; a handler that exports counts as one.
    """
    found: list[logging.Handler] = []
    at: logging.Logger | None = logger
    while at is not None:
        found += at.handlers
        at = at.parent if at.propagate else None
    return bool(found) and all(type(handler).__module__.split(".")[0] in _DEAF for handler in found)


def _ignore(_: float) -> None:
    """Do nothing with a number that nobody asked for."""


def _unknown() -> None:
    """Return None: there is no such place yet."""


_DEAF = ("opentelemetry", "ocm_otel")
_COLUMNS = ("accepted", "adopted", "delivered", "refused", "dropped", "turned_away", "ambiguous", "retried")
