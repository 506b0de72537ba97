"""What happened: one event, its ids in the one form the API can take, and its query.

This room knows how a type and ids (`_clean`) are written into a request. It does not know where they come from
(`_tags`), nor what becomes of them (`_journal`, `_client`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from ocm_otel._clean import SHORT, clean_id, clean_type

if TYPE_CHECKING:
    from collections.abc import Callable

#: What goes into a query as it is (RFC 3986, section 2.3: unreserved).
PLAIN = re.compile(r"[A-Za-z0-9._~-]+").fullmatch


class _Sent:
    """What an event is sent as; no field of it, for it says nothing new."""

    __slots__ = ("_query",)
    _query: str


@dataclass(frozen=True, slots=True, init=False)
class Event(_Sent):
    """What happened, to be counted once by the events API.

    Args:
        type: the event's type, a text such as ``course-save``. The list of types is open.
        course_id: the course; course events (``course-…``) should have one (API guide, part 8).
        user_id: a session id or an internal id of the person.
        entity_id: a group, family or entity of persons.
        event_id: the event's own identity: two events with one id are one event. It never reaches
            the API, which has no place for it.

    Raises:
        InvalidEvent: a type or an id that the API could not take.
    """

    type: str
    course_id: str | None
    user_id: str | None
    entity_id: str | None
    event_id: str | None

    def __init__(
        self,
        type: str,
        *,
        course_id: object = None,
        user_id: object = None,
        entity_id: object = None,
        event_id: object = None,
    ) -> None:
        _fill(self, type, course_id, user_id, entity_id)
        _put_event(self, None if event_id is None else clean_id(event_id, "ocm.event_id"))

    def __reduce__(self) -> tuple[Callable[..., Event], tuple[str | None, ...]]:
        """Return what a copy is made of, in another process, say."""
        return event_of, (self.type, self.course_id, self.user_id, self.entity_id, self.event_id)

    @classmethod
    def from_query(cls, query: str, event_id: str | None = None) -> Event:
        """Return the event that `query` was made of, with an event id, which is not in a query.

        Raises:
            InvalidEvent: there is no usable type or id in it.
        """
        said = dict(parse_qsl(query))
        ids = {name: said.get(name) for name in ("course_id", "user_id", "entity_id")}
        return cls(said.get("type", ""), **ids, event_id=event_id)

    @property
    def lacks_course(self) -> bool:
        """True for a course event without a course id: the API takes it, a report cannot place it."""
        return self.course_id is None and self.type.startswith("course-")

    def veiled(self, key: str) -> Event:
        """Return the event with an HMAC-SHA256 of the user id, in hexadecimal, in its place; itself if it has none."""
        if self.user_id is None:
            return self
        user_id = veiled(self.user_id, key)
        return Event(
            self.type, course_id=self.course_id, user_id=user_id, entity_id=self.entity_id, event_id=self.event_id
        )

    def query(self) -> str:
        """Return the query of the API call, percent-encoded: ``type=course-save&course_id=7``."""
        return self._query


#: What gives a frozen event its values, once: its slots themselves, which cost half of `object.__setattr__`.
_put_type, _put_course, _put_user, _put_entity, _put_event = (
    vars(Event)[name].__set__ for name in ("type", "course_id", "user_id", "entity_id", "event_id")
)
_put_query = vars(_Sent)["_query"].__set__


def _fill(event: Event, kind: object, course_id: object, user_id: object, entity_id: object) -> None:
    text, sent = known_type(kind) if type(kind) is str else _sent(clean_type(kind))
    _put_type(event, text)
    query = "type=" + sent
    if course_id is not None:
        course_id, sent = _looked_up(known_course, course_id, "ocm.course_id")
        query += "&course_id=" + sent
    if user_id is not None:  # there are many: most come seldom, and need no quoting
        if type(user_id) is str and len(user_id) < SHORT and PLAIN(user_id):
            query += "&user_id=" + user_id
        else:
            user_id, sent = _sent(clean_id(user_id, "ocm.user_id"))
            query += "&user_id=" + sent
    if entity_id is not None:
        entity_id, sent = _looked_up(known_entity, entity_id, "ocm.entity_id")
        query += "&entity_id=" + sent
    _put_course(event, course_id)
    _put_user(event, user_id)
    _put_entity(event, entity_id)
    _put_query(event, query)


def event_of(kind: object, course_id: object, user_id: object, entity_id: object, event_id: str | None) -> Event:
    """Return an event as `Event` makes it, in half the time: a class that is called with keywords takes it.

    Args:
        kind: its type.
        course_id: as `Event` takes it, as are the next two.
        user_id: likewise.
        entity_id: likewise.
        event_id: its identity, a text as `clean_id` returns it.

    Raises:
        InvalidEvent: as `Event` does.
    """
    event = object.__new__(Event)
    _fill(event, kind, course_id, user_id, entity_id)
    _put_event(event, event_id)
    return event


def _looked_up(known: Callable[[str | int], tuple[str, str]], value: object, key: str) -> tuple[str, str]:
    """Return an id that is clean, and the same percent-encoded: remembered, if it is of a kind that is."""
    return known(value) if type(value) is str or type(value) is int else _sent(clean_id(value, key))


def _sent(text: str) -> tuple[str, str]:
    """Return a type or an id that is clean, and the same percent-encoded."""
    return text, quote(text, safe="")


# Of types, courses and entities there are few, and each is met often. They are asked with texts and whole numbers
# only: of those, none is equal to one of another meaning.


@lru_cache(maxsize=512)
def known_type(kind: str) -> tuple[str, str]:
    """Return a type as the API can take it, and the same percent-encoded; raises `InvalidEvent`."""
    return _sent(clean_type(kind))


@lru_cache(maxsize=1024)
def known_course(course_id: str | int) -> tuple[str, str]:
    """Return a course's id likewise."""
    return _sent(clean_id(course_id, "ocm.course_id"))


@lru_cache(maxsize=512)
def known_entity(entity_id: str | int) -> tuple[str, str]:
    """Return an entity's id likewise."""
    return _sent(clean_id(entity_id, "ocm.entity_id"))


def veiled(user_id: str, key: str) -> str:
    """Return the HMAC-SHA256 of a user's id, in hexadecimal."""
    import hmac  # only for those who asked for it

    return hmac.digest(key.encode("utf-8", "surrogatepass"), user_id.encode("utf-8", "surrogatepass"), "sha256").hex()
