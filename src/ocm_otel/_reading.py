"""What a set of tags says: an event, or why not.

Pure: no outbox, no books. A door gives what it found on a span or a line, and gets back the event and
the faults that a person should hear of. An id that is none does not take its event down: the API takes
an event without it, so it is sent without it, and the fault is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ocm_otel._event import Event, InvalidEvent, clean_id, clean_type, event_of
from ocm_otel._tags import COURSE, ENTITY, EVENT, TYPE, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Reading(NamedTuple):
    """What a set of tags says.

    Attributes:
        event: the event, without the ids that are none; None when the type is not usable.
        faults: what was wrong, each with its key, the shown value and the rule.
    """

    event: Event | None
    faults: Sequence[InvalidEvent]


def read(tags: Mapping[str, object], *, event_id: str | None = None) -> Reading:
    """Return the event that the tags describe and what was wrong with them; None stands for no value.

    Args:
        tags: attributes under their flat names; other names are not looked at.
        event_id: the identity of the record, if it has one; an ``ocm.event_id`` on the record wins.
    """
    get = tags.get
    own = get(EVENT)
    try:
        event = event_of(get(TYPE), get(COURSE), get(USER), get(ENTITY), event_id if own is None else own)
    except Exception:  # noqa: BLE001 - a foreign value's own code may raise anything; told by _mend
        return _mend(tags, event_id)
    return Reading(event, ())


def _mend(tags: Mapping[str, object], event_id: str | None) -> Reading:
    """Return what is left of an event when the ids that are none are taken out, and each fault."""
    faults: list[InvalidEvent] = []
    kind = _judged(clean_type, TYPE, tags.get(TYPE), faults)
    if kind is None:
        return Reading(None, faults)
    course, user, entity, own = (
        None if (value := tags.get(tag)) is None else _judged(clean_id, tag, value, faults)
        for tag in (COURSE, USER, ENTITY, EVENT)
    )
    event = Event(kind, course_id=course, user_id=user, entity_id=entity, event_id=event_id if own is None else own)
    return Reading(event, faults)


def _judged(clean: Callable[[object, str], str], key: str, value: object, faults: list[InvalidEvent]) -> str | None:
    """Return the clean value, or None with its fault added to `faults`."""
    try:
        return clean(value, key)
    except InvalidEvent as fault:
        faults.append(fault)
    except Exception as error:  # noqa: BLE001 - a foreign value's own code; told as a fault of the value
        faults.append(InvalidEvent(key, value, f"it cannot be read ({type(error).__name__})"))
    return None
