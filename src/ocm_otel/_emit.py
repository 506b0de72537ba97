"""`emit`: an event told directly, for places that have neither a span nor a log line.

It goes the same way as a tagged record: the same rules for ids, the same books, the shared outbox.
It cannot be sampled away and knows no log level. Its door is made at the first event, and all that is
behind it is loaded then: modules that only might tell an event do not pay for it.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from ocm_otel._process import importing
from ocm_otel._tags import tags
from ocm_otel._variables import explaining

if TYPE_CHECKING:
    from ocm_otel._doors import Door

_door: Door | None = None


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
    return _told(tags(type, course_id=course_id, user_id=user_id, entity_id=entity_id, event_id=event_id))


def _told(given: dict[str, Any]) -> bool:
    try:
        if _door is None and importing.mine:  # a signal handler, say, in the middle of that import
            importing.afterwards(partial(_told, given))
            return True
        return (_door or _made()).admit(given)
    except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
        _failed(error)
        return False


def _made() -> Door:
    """Return the door; the first time it is made, and what is behind it loaded."""
    global _door
    with importing:
        from ocm_otel._doors import Door
    _door = _door or Door("emit", late=True)
    return _door


def _failed(error: Exception) -> None:
    if _door is not None:
        _door.failed(error)
    else:  # the interpreter ends, and imports nothing any more
        text = "emit could not load what delivers (%s): it makes no event"
        logging.getLogger("ocm_otel").warning(text, type(error).__name__)


if explaining():
    _made()
