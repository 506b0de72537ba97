"""What a type and an id are: the one form in which the API can take them, or the rule that a value breaks."""

from __future__ import annotations

import math
import operator
import re
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

from ocm_otel._shown import is_decimal, show

if TYPE_CHECKING:
    from decimal import Decimal

#: The events API sits behind a gateway that takes 10,240 bytes of request line and headers together
#: (AWS API Gateway quotas). Four values of 2,000 bytes leave room for the address and the headers.
MAX_ENCODED_BYTES = 2_000
#: A value that is shorter stays within that however it is encoded, if it is ASCII.
SHORT = MAX_ENCODED_BYTES // 3

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_EXACT_FLOAT = 2**53
_SHORT_INT_BITS, _LONG_INT_BITS = 64, 4_096


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
    if type(value) is str and value.isascii() and value.isprintable() and " " not in value and 0 < len(value) < SHORT:
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
    if type(value) is str and value.isascii() and value.isprintable() and " " not in value and 0 < len(value) < SHORT:
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
