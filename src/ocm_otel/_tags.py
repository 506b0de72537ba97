"""The tag names, and the forms in which a line may bear them.

It is all that a door needs for a span or a line without tags; what tags say is read in `_reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
