"""What the head of an HTTP answer says, as far as a caller needs it: bytes become values.

Pure: the clock comes in as an argument.
"""

from __future__ import annotations

import math
import re
from datetime import timezone
from functools import lru_cache
from typing import NamedTuple

#: The longest Retry-After that is honoured to the letter, in seconds; past it we ask once an hour.
LONGEST_WAIT = 3_600.0
#: Answers that have no body, whatever their heads say (101: what follows is not HTTP any more).
BODILESS = (101, 204, 304)
#: What the names of the fields begin with that matter to a caller.
_FIRST = frozenset((b"c", b"C", b"t", b"T", b"r", b"R"))
_new = tuple.__new__  # a named tuple that is called costs twice as much
_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?:[ \t]|\r?$)")


class NotHTTP(Exception):
    """What came is no answer in HTTP/1.1."""


class Head(NamedTuple):
    """What a head says: `length` is None if it has none or an unusable one, `measured` is True if it has any.

    `plain` says that it is the answer's own, not a 1xx, and that nothing but its length says where the body ends.
    """

    status: int
    keeps: bool
    length: int | None
    measured: bool
    coding: bytes
    retry_after: str | None
    encoding: str
    plain: bool


@lru_cache(maxsize=16)  # one differs from the one before by its date, once a second
def read_head(head: bytes) -> Head:
    """Return what a head says.

    Raises:
        NotHTTP: it is none.
    """
    lines = head.split(b"\n")
    said = _STATUS.match(lines[0])
    if said is None:
        raise NotHTTP
    length: bytes | None = None
    connection = coding = b""
    retry_after, encoding = None, ""
    for line in lines[1:]:
        if line[:1] not in _FIRST:
            continue  # a gateway sends a dozen others with each answer, and some of them differ each time
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"content-length":
            value = value.strip()
            # Two that differ are no length at all (RFC 9112, section 6.3).
            length = value if length is None or length == value else b"?"
        elif name == b"transfer-encoding":
            coding += value.strip().lower()
        elif name == b"connection":
            connection += value.lower()
        elif name == b"retry-after" and retry_after is None:
            retry_after = value.strip().decode("latin-1")
        elif name == b"content-encoding":
            encoding = value.strip().decode("latin-1").lower()
    usable = length is not None and length.isdigit() and len(length) < 16
    keeps = said[1] != b"0" and b"close" not in connection
    measure = int(length) if usable and length is not None else None
    status = int(said[2])
    plain = status >= 200 and status not in BODILESS and not coding
    return _new(Head, (status, keeps, measure, length is not None, coding, retry_after, encoding, plain))


def retry_seconds(retry_after: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After asks for: a number or a date (RFC 9110, section 10.2.3).

    What cannot be read is as if it were not there; the past is now; the absurd is an hour.
    """
    if retry_after is None or len(retry_after) > 64:
        return None
    text = retry_after.strip()
    try:
        seconds = float(text)
    except ValueError:
        from email.utils import parsedate_to_datetime  # loaded before the first call, by `Client.prepare`

        try:
            when = parsedate_to_datetime(text)
            # Without a zone (RFC 9110's asctime form) GMT is meant, not the zone of this machine.
            seconds = (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    else:
        if not math.isfinite(seconds) or seconds < 0:
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT)
