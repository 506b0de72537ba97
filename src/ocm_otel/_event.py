"""What happened: one event, its ids in the one form the API can take, and its query.

This room knows what an id and a type are, and how they are written into a request. It does not know
where they come from (`_tags`), nor what becomes of them (`_journal`, `_client`).
"""

from __future__ import annotations

import math
import operator
import re
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from ocm_otel._shown import is_decimal, show

if TYPE_CHECKING:
    from decimal import Decimal

#: The events API sits behind a gateway that takes 10,240 bytes of request line and headers together
#: (AWS API Gateway quotas). Four values of 2,000 bytes leave room for the address and the headers.
MAX_ENCODED_BYTES = 2_000

#: What goes into a query as it is (RFC 3986, section 2.3: unreserved).
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+").fullmatch
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_EXACT_FLOAT = 2**53
_SHORT_INT_BITS, _LONG_INT_BITS = 64, 4_096
_SHORT = MAX_ENCODED_BYTES // 3


class InvalidEvent(ValueError):
    """A type or an id that the events API could not take; says which key, which value and which rule.

    Attributes:
        key: the tag's name, for instance ``ocm.user_id``.
        shown: the value, shortened so that no whole id reaches a log.
        rule: what the value would have to be.
    """

    def __init__(self, key: str, value: object, rule: str) -> None:
        self.key = key
        self.shown = show(value)
        self.rule = rule
        super().__init__(f"{key} = {self.shown}: {rule}")


def clean_type(value: object, key: str = "ocm.event_type") -> str:
    """Return an event type as the API can take it.

    Args:
        value: what stood in the tag; only a text can be a type.
        key: the name to put into the message.

    Raises:
        InvalidEvent: no text, blank, with control characters, not encodable, or too long.
    """
    if type(value) is str and value.isascii() and value.isprintable() and " " not in value and 0 < len(value) < _SHORT:
        return value  # most are like that; what is short stays so when it is encoded
    if not isinstance(value, str):
        raise InvalidEvent(key, value, "an event type is a text such as 'course-save'")
    return _clean_text(value, key)


def clean_id(value: object, key: str) -> str:
    """Return an id as the API can take it: ``7``, ``"7"`` and ``7.0`` are one id.

    Args:
        value: a whole number, a text, a UUID or anything that is an index (a NumPy integer, say).
        key: the name to put into the message.

    Raises:
        InvalidEvent: anything else: a boolean, a list, blank, not finite, a fraction, control
            characters, a lone surrogate, too long.
    """
    if type(value) is str and value.isascii() and value.isprintable() and " " not in value and 0 < len(value) < _SHORT:
        return value  # as of a type
    if type(value) is int and value.bit_length() < _SHORT_INT_BITS:
        return str(value)
    if isinstance(value, str):
        return _clean_text(value, key)
    if isinstance(value, bool):
        raise InvalidEvent(key, value, "a boolean is no id; an id is a whole number or a text")
    if isinstance(value, float) or is_decimal(value):
        return _whole(value, key)
    if isinstance(value, uuid.UUID):
        return str(value)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidEvent(key, value, "an id is a whole number or a text") from None
    if number.bit_length() > _LONG_INT_BITS:
        raise InvalidEvent(key, value, f"too long: an id has at most {MAX_ENCODED_BYTES} bytes")
    return str(int(number))


def _whole(value: float | Decimal, key: str) -> str:
    """Return a float or a Decimal that is a whole number as that number."""
    finite = math.isfinite(value) if isinstance(value, float) else value.is_finite()
    if not finite or abs(float(value)) > _EXACT_FLOAT or value != int(value):
        raise InvalidEvent(key, value, "a number that is an id is finite and whole")
    return str(int(value))


def _clean_text(value: str, key: str) -> str:
    """Return a text without the white space around it, if it can be sent at all."""
    text = str.strip(value)  # of a str subclass (an Enum, say) the plain text
    if not text:
        raise InvalidEvent(key, value, "it is blank; leave the tag out instead")
    if len(text) > MAX_ENCODED_BYTES:
        raise InvalidEvent(key, value, f"too long: at most {MAX_ENCODED_BYTES} bytes once encoded")
    if text.isascii() and text.isprintable() and len(text) * 3 <= MAX_ENCODED_BYTES:
        return text
    if _CONTROL.search(text):
        raise InvalidEvent(key, value, "it has control characters")
    try:
        encoded = quote(text, safe="")
    except UnicodeEncodeError:
        raise InvalidEvent(key, value, "it has a lone surrogate and cannot be encoded") from None
    if len(encoded) > MAX_ENCODED_BYTES:
        raise InvalidEvent(key, value, f"too long: at most {MAX_ENCODED_BYTES} bytes once encoded")
    return text


@dataclass(frozen=True, slots=True, init=False)
class Event:
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
        _fill(self, type, course_id, user_id, entity_id, event_id)

    @classmethod
    def from_query(cls, query: str) -> Event:
        """Return the event that `query` was made of, without its event id, which is not in a query.

        Raises:
            InvalidEvent: there is no usable type or id in it.
        """
        said = dict(parse_qsl(query))
        ids = {name: said.get(name) for name in ("course_id", "user_id", "entity_id")}
        return cls(said.get("type", ""), **ids)

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
        text, user = "type=" + _quoted(self.type), self.user_id
        if self.course_id is not None:
            text += "&course_id=" + _quoted(self.course_id)
        if user is not None:  # there are many: most come seldom, and need no quoting
            text += "&user_id=" + (user if _PLAIN(user) else quote(user, safe=""))
        if self.entity_id is not None:
            text += "&entity_id=" + _quoted(self.entity_id)
        return text


#: What gives a frozen event its values, once: its slots themselves, which cost half of `object.__setattr__`.
_put_type, _put_course, _put_user, _put_entity, _put_event = (
    vars(Event)[name].__set__ for name in ("type", "course_id", "user_id", "entity_id", "event_id")
)


def _fill(event: Event, kind: object, course_id: object, user_id: object, entity_id: object, event_id: object) -> None:
    _put_type(event, clean_type(kind))
    _put_course(event, None if course_id is None else clean_id(course_id, "ocm.course_id"))
    _put_user(event, None if user_id is None else clean_id(user_id, "ocm.user_id"))
    _put_entity(event, None if entity_id is None else clean_id(entity_id, "ocm.entity_id"))
    _put_event(event, None if event_id is None else clean_id(event_id, "ocm.event_id"))


def event_of(kind: object, course_id: object, user_id: object, entity_id: object, event_id: object) -> Event:
    """Return an event as `Event` makes it, in half the time: a class that is called with keywords takes it.

    Raises:
        InvalidEvent: as `Event` does.
    """
    event = object.__new__(Event)
    _fill(event, kind, course_id, user_id, entity_id, event_id)
    return event


def veiled(user_id: str, key: str) -> str:
    """Return the HMAC-SHA256 of a user's id, in hexadecimal."""
    import hmac  # only for those who asked for it

    return hmac.digest(key.encode("utf-8", "surrogatepass"), user_id.encode("utf-8", "surrogatepass"), "sha256").hex()


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    """Return a type or an id percent-encoded, of which there are few, and each is met often."""
    return quote(text, safe="")
