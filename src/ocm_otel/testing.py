"""For the tests of an application: look at its events instead of delivering them, or lead them to an emulator.

Nothing is patched: events are diverted where every door puts them. It works in any test framework; what only
pytest has stands in its plugin.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

from ocm_otel._clean import clean_id, clean_type
from ocm_otel._differences import NearMiss, differing, explain, near_misses, shown, worded
from ocm_otel._diversion import divert
from ocm_otel._event import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ocm_otel._clean import InvalidEvent
    from ocm_otel._outbox import Outbox
    from ocm_otel.emulator import Emulator

__all__ = ["CapturedEvents", "capture_events", "run_emulator"]

_MOST_NOTES = 200


class CapturedEvents(Sequence[Event]):
    """The events of a block, in the order in which they were put; it goes on growing until the block ends.

    It is a sequence of `Event`, and has assertions that say what came and where it differs. An id that an assertion
    is not given is not looked at; one that is given as None has to be absent; ``7`` and ``"7"`` are one id.
    """

    def __init__(self, outbox: Outbox | None = None) -> None:
        self._outbox = outbox
        self._events: list[Event] = []
        self._ids: set[str | None] = set()
        self._misses: dict[NearMiss, None] = {}
        self._faults: list[str] = []
        self._passed = 0
        self._news = threading.Condition()

    def matching(self, type: str | None = None, *, course_id: object = ..., user_id: object = ...,
                 entity_id: object = ..., event_id: object = ...) -> list[Event]:  # fmt: skip
        """Return the events of a type and with the ids that are given."""
        return self._matching(_wanted(type, course_id, user_id, entity_id, event_id))

    def assert_one(self, type: str, *, course_id: object = ..., user_id: object = ..., entity_id: object = ...,
                   event_id: object = ..., within: float = 0.0) -> Event:  # fmt: skip
        """Return the only event of this type with these ids.

        Args:
            type: the event's type.
            course_id: the course; left out: not looked at; None: there has to be none. So are the further ids.
            user_id: the person.
            entity_id: the group of persons.
            event_id: the event's own identity; doors make one of a span's ids.
            within: seconds to wait for it, where another thread makes it.

        Raises:
            AssertionError: there is none, or more than one; with what came, and near misses.
            InvalidEvent: no event could have this type or these ids.
        """
        __tracebackhide__ = True
        wanted = _wanted(type, course_id, user_id, entity_id, event_id)
        return self._expect(1, wanted, within)[0]

    def assert_count(self, count: int, type: str | None = None, *, course_id: object = ..., user_id: object = ...,
                     entity_id: object = ..., event_id: object = ..., within: float = 0.0) -> list[Event]:  # fmt: skip
        """Return the events of this type with these ids if there are exactly `count`; see `assert_one`.

        Raises:
            AssertionError: there are more or fewer.
            InvalidEvent: no event could have this type or these ids.
        """
        __tracebackhide__ = True
        return self._expect(count, _wanted(type, course_id, user_id, entity_id, event_id), within)

    def assert_none(self, type: str | None = None, *, course_id: object = ..., user_id: object = ...,
                    entity_id: object = ..., event_id: object = ...) -> None:  # fmt: skip
        """Return if there is no event of this type with these ids; without arguments, none at all.

        Raises:
            AssertionError: there is one.
            InvalidEvent: no event could have this type or these ids.
        """
        __tracebackhide__ = True
        self._expect(0, _wanted(type, course_id, user_id, entity_id, event_id), 0.0)

    def clear(self) -> None:
        """Forget what came so far."""
        with self._news:
            self._events.clear()
            self._ids.clear()
            self._misses.clear()
            self._faults.clear()
            self._passed = 0

    def __len__(self) -> int:
        """Return how many events came so far."""
        return len(self._events)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        """Return an event by its place, or several."""
        return self._events[index]

    def __repr__(self) -> str:
        """Return the events, one a line."""
        return "\n".join([f"<{len(self)} captured events>", *(f"  {shown(event)}" for event in tuple(self._events))])

    def wants(self, outbox: object) -> bool:
        """Return whether it takes the events of an outbox: of all, unless it is for one."""
        return self._outbox is None or self._outbox is outbox

    def take(self, event: Event) -> bool:
        """Keep an event.

        Raises:
            TypeError: it is none.
        """
        if not isinstance(event, Event):
            raise TypeError(f"Outbox.put takes an Event, not a value of type {event.__class__.__name__}")
        with self._news:
            if event.event_id is None or event.event_id not in self._ids:  # else told by another door already
                self._ids.add(event.event_id)
                self._events.append(event)
                self._news.notify_all()
        return True

    def flush(self, timeout: float | None) -> bool:
        """Return True: what is captured waits for nothing."""
        return True

    def saw(self, record: str, fields: Mapping[str, object]) -> None:
        """Note a record that passed a door."""
        with self._news:
            self._passed += 1
            for miss in near_misses(record, fields):
                if len(self._misses) < _MOST_NOTES:
                    self._misses[miss] = None

    def fault(self, fault: InvalidEvent) -> None:
        """Note what was wrong with a tag."""
        with self._news:
            if len(self._faults) < _MOST_NOTES:
                self._faults.append(str(fault))

    def _matching(self, wanted: Mapping[str, str | None]) -> list[Event]:
        return [event for event in tuple(self._events) if not differing(event, wanted)]

    def _expect(self, count: int, wanted: Mapping[str, str | None], within: float) -> list[Event]:
        """Return the events that match if they are `count`, as soon as they are; raise AssertionError if not."""
        __tracebackhide__ = True
        end = time.monotonic() + within
        with self._news:
            while len(found := self._matching(wanted)) < count and (left := end - time.monotonic()) > 0:
                self._news.wait(left)
            if len(found) == count:
                return found
            text = f"expected {_number(count)} {worded(wanted)}, and there {_number(len(found), verb=True)}"
            raise AssertionError(
                explain(text, wanted, tuple(self._events), tuple(self._misses), self._faults, passed=self._passed)
            )


def _number(count: int, *, verb: bool = False) -> str:
    """Return a number in words where there is one."""
    word = {0: "no", 1: "one"}.get(count, str(count)) if not verb else {0: "is none", 1: "is one"}.get(count)
    return word or f"are {count}"


def _wanted(type: str | None, course: object, user: object, entity: object, event: object) -> dict[str, str | None]:
    """Return the fields that are looked at, in the form that an event has them."""
    given: dict[str, Any] = {"course_id": course, "user_id": user, "entity_id": entity, "event_id": event}
    ids = {
        name: None if value is None else clean_id(value, f"ocm.{name}")
        for name, value in given.items()
        if value is not ...
    }
    return ids if type is None else {"type": clean_type(type), **ids}


@contextmanager
def capture_events(outbox: Outbox | None = None) -> Iterator[CapturedEvents]:
    """Capture the events of a block instead of delivering them.

    ``with capture_events() as events: …; events.assert_one("course-save", course_id=7)``. Every door's events are
    captured, also those of a door with an outbox of its own, and of other threads; each of two tasks that capture at
    once has its own. Nothing is kept on disk, and nothing is sent. Child processes are not looked into.

    Args:
        outbox: capture only what would be put into this outbox.
    """
    events = CapturedEvents(outbox)
    with divert(events):
        yield events


class _ToEmulator:
    """Takes events to an emulator."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def wants(self, outbox: Any) -> bool:
        """Return whether an outbox leads elsewhere."""
        return bool(outbox.settings.endpoint != self._outbox.settings.endpoint)

    def take(self, event: Event) -> bool:
        return self._outbox.put(event)

    def flush(self, timeout: float | None) -> bool:
        return self._outbox.flush(timeout)

    def saw(self, record: str, fields: Mapping[str, object]) -> None:
        """Do nothing: who looks at the emulator sees what arrived."""

    def fault(self, fault: InvalidEvent) -> None:
        """Do nothing, likewise."""


@contextmanager
def run_emulator() -> Iterator[Emulator]:
    """Run an emulator of the events API, and lead the events of all outboxes of this process to it.

    The proof is then what arrived: ``emulator.wait_for(1)``, ``emulator.events()``. Its answers can be planned, with
    ``emulator.script(503)``, say. Events wait in memory and end with the block.

    Raises:
        ImportError: the extra is missing: ``pip install 'ocm-otel[emulator]'``.
    """
    from ocm_otel._outbox import Outbox
    from ocm_otel._settings import Settings
    from ocm_otel.emulator import Emulator

    with Emulator() as emulator:
        settings = Settings(api_key=emulator.key, endpoint=emulator.endpoint, durability="memory")
        with Outbox(settings) as outbox, divert(_ToEmulator(outbox)):
            yield emulator
