"""What a set of tags says: an event, or why not.

Pure: no outbox, no books. A door gives what it found on a span or a line, and gets back the event and
the faults that a person should hear of. An id that is none does not take its event down: the API takes
an event without it, so it is sent without it, and the fault is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ocm_otel._clean import SHORT, InvalidEvent, clean_id, clean_type
from ocm_otel._event import PLAIN, Event, event_of, known_course, known_entity, known_type
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


def usual_query(tags: Mapping[str, object]) -> str:
    """Return the query of the event that the tags describe, if they are as most are; an empty text if not.

    It says what `Event.query` says of what `read` returns, and costs a third of that. As most are: texts and whole
    numbers, a user's id a text that goes into a query as it is, a course event with a course, no id of the event's own.
    """
    get = tags.get
    kind, course_id, user_id, entity_id = get(TYPE), get(COURSE), get(USER), get(ENTITY)
    if type(kind) is not str or get(EVENT) is not None:
        return ""
    try:
        kind, sent = known_type(kind)
        query = "type=" + sent
        if course_id is not None:
            if type(course_id) is not str and type(course_id) is not int:
                return ""
            query += "&course_id=" + known_course(course_id)[1]
        elif kind.startswith("course-"):
            return ""
        if user_id is not None:
            if type(user_id) is not str or len(user_id) >= SHORT or not PLAIN(user_id):
                return ""
            query += "&user_id=" + user_id
        if entity_id is not None:
            if type(entity_id) is not str and type(entity_id) is not int:
                return ""
            query += "&entity_id=" + known_entity(entity_id)[1]
    except InvalidEvent:
        return ""
    return query


def read(tags: Mapping[str, object], *, event_id: str | None = None) -> Reading:
    """Return the event that the tags describe and what was wrong with them; None stands for no value.

    Args:
        tags: attributes under their flat names; other names are not looked at.
        event_id: the identity of the record, if it has one; an ``ocm.event_id`` on the record wins.
    """
    get = tags.get
    own = get(EVENT)
    try:
        own = event_id if own is None else clean_id(own, EVENT)
        event = event_of(get(TYPE), get(COURSE), get(USER), get(ENTITY), own)
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
