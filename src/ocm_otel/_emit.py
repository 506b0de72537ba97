"""`emit`: an event told directly, for places that have neither a span nor a log line.

It goes the same way as a tagged record: the same rules for ids, the same books, the shared outbox.
It cannot be sampled away and knows no log level.
"""

from __future__ import annotations

from ocm_otel._doors import Door
from ocm_otel._tags import tags

_door = Door("emit", late=True)


def emit(
    type: str,
    *,
    course_id: object = None,
    user_id: object = None,
    entity_id: object = None,
    event_id: object = None,
) -> bool:
    """Hand one event to the process's shared outbox; returns at once and never raises.

    Args:
        type: the event's type, a text such as ``course-save``.
        course_id: the course; course events (``course-…``) should have one.
        user_id: a session id or an internal id of the person.
        entity_id: a group, family or entity of persons.
        event_id: the event's own identity: two events with one id are one event.

    Returns:
        True when the outbox took the event; False when nothing could be accepted: no usable type, no
        key, a full queue. The reason is counted in the books and logged once.
    """
    given = tags(type, course_id=course_id, user_id=user_id, entity_id=entity_id, event_id=event_id)
    try:
        return _door.admit(given)
    except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
        _door.failed(error)
        return False
