"""The tag names, and what a set of attributes says: an event, or why not.

Pure: no outbox, no books. A door gives what it found on a span or a line, and gets back the event and
the faults that a person should hear of. An id that is none does not take its event down: the API takes
an event without it, so it is sent without it, and the fault is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ocm_otel._event import Event, InvalidEvent, clean_id, clean_type, event_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TYPE = "ocm.event_type"
COURSE = "ocm.course_id"
USER = "ocm.user_id"
ENTITY = "ocm.entity_id"
EVENT = "ocm.event_id"
ALL = (TYPE, COURSE, USER, ENTITY, EVENT)

#: The one key of the nested form: ``ocm={"event_type": "course-save", "course_id": 7}``.
NESTED = "ocm"
#: The type in the form of a Python keyword: ``log.info("saved", ocm_event_type="course-save")``.
KEYWORD_TYPE = "ocm_event_type"

#: Each tag with its name in the keyword form and in the nested form.
_FORMS = tuple((tag, tag.replace(".", "_"), tag.removeprefix("ocm.")) for tag in ALL)


class Reading(NamedTuple):
    """What a set of tags says.

    Attributes:
        event: the event, without the ids that are none; None when the type is not usable.
        faults: what was wrong, each with its key, the shown value and the rule.
    """

    event: Event | None
    faults: Sequence[InvalidEvent]


def tags(
    type: object,
    *,
    course_id: object = None,
    user_id: object = None,
    entity_id: object = None,
    event_id: object = None,
) -> dict[str, Any]:
    """Return the attributes that make a span or a log line an event; never raises.

    For `span.set_attributes(tags("course-save", course_id=7))` and
    `log.info("saved", **tags("course-save", course_id=7))`.

    Args:
        type: the event's type, a text such as ``course-save``.
        course_id: the course; course events (``course-…``) should have one.
        user_id: a session id or an internal id of the person.
        entity_id: a group, family or entity of persons.
        event_id: the event's own identity, for a fact that may be told twice: one id, one event.

    Returns:
        The attributes with their values as given; what is None is left out. Whether a value can be an
        id is judged where the record is read, and reported there.
    """
    given = ((TYPE, type), (COURSE, course_id), (USER, user_id), (ENTITY, entity_id), (EVENT, event_id))
    return {tag: value for tag, value in given if value is not None}


def find(fields: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return the tags of a log line under their flat names, or None for a line that has no type.

    A line may bear them flat (``"ocm.event_type"``), as keywords (``ocm_event_type``) or nested
    (``ocm={"event_type": …}``); each tag is taken from the first of these forms that has it. A line
    without any of them costs three look-ups.
    """
    if TYPE not in fields and KEYWORD_TYPE not in fields and NESTED not in fields:
        return None
    nested = fields.get(NESTED)
    if not isinstance(nested, Mapping):
        nested = {}
    found = {}
    for tag, keyword, inner in _FORMS:
        for value in (fields.get(tag), fields.get(keyword), nested.get(inner)):
            if value is not None:
                found[tag] = value
                break
    return found if TYPE in found else None


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
