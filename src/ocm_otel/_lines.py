"""Which line a record is: the ids by which several doors know that they were told of the same one.

A line has no number of its own, and on its way it may become other objects: structlog's mapping becomes a record of
logging, and each of them one of OpenTelemetry's, in several copies. So the first door that sees a tagged line gives it
an ``ocm.event_id``, which the later ones find. A door that is given a copy looks for the line itself among the calls
that led to it, where handlers and processors have it as their argument. What OpenTelemetry's records are given stays
out of their content: it is a mark on the object that all processors and exporters of a provider share.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

from ocm_otel._tags import EVENT

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

#: How many calls lie between a door and the line at most, so far as is known: nine.
_DEEPEST = 24
#: Moments that are remembered; the SDK's batch processor holds back 2,048 records.
_MOST_MOMENTS = 4_096

_numbers = count(1)
_tokens: dict[int, str] = {}
_moments: dict[tuple[int, str], str] = {}
_order: deque[tuple[int, str]] = deque()


def fresh() -> str:
    """Return an id that no other line has, of this process or of any other."""
    process = os.getpid()  # a forked child counts on from the same number
    token = _tokens.get(process) or _tokens.setdefault(process, os.urandom(10).hex())
    return f"line-{token}-{next(_numbers):x}"


def stamped(line: MutableMapping[str, Any], *, stamp: bool) -> str | None:
    """Return the id of a line that several doors may see; None if it has none, and is to be given none."""
    own = line.get(EVENT)
    if isinstance(own, str):
        return own
    if not stamp:
        return None
    line[EVENT] = own = fresh()
    return own


def is_stamp(event_id: object) -> bool:
    """Return whether an id was given to a line by a door of this process, which has seen the line then."""
    token = _tokens.get(os.getpid())
    return token is not None and isinstance(event_id, str) and event_id.startswith(f"line-{token}-")


def without_cut_id(tags: Mapping[str, object], attributes: object) -> Mapping[str, object]:
    """Return the tags without an id that OpenTelemetry's limit of lengths may have cut: what begins alike is not one.

    Args:
        tags: the tags of a record.
        attributes: where they stood; OpenTelemetry's own attributes know their limit.
    """
    limit, own = getattr(attributes, "max_value_len", None), tags.get(EVENT)
    if limit is None or not isinstance(own, str) or len(own) < limit:
        return tags
    return {tag: value for tag, value in tags.items() if tag != EVENT}


def described(record: logging.LogRecord) -> str:
    """Return an id made of what all copies of a record of logging have in common: when it was made, and where."""
    return f"line-{record.process}-{record.thread}-{record.created!r}-{id(record.msg):x}"


def source() -> MutableMapping[str, Any] | None:
    """Return the line that the caller's record was made of, None if it is not being logged in this very moment."""
    frame = sys._getframe(1)  # noqa: SLF001 - as logging finds its caller; without it there is just no line to find
    found: MutableMapping[str, Any] | None = None
    for _ in range(_DEEPEST):
        if frame.f_back is None:
            break
        frame = frame.f_back
        names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        if "record" in names:
            record = frame.f_locals.get("record")
            if isinstance(record, logging.LogRecord):
                found = record.__dict__  # of copies, the one that is farthest up is the line
        elif found is not None:
            break
        elif "event_dict" in names:
            line = frame.f_locals.get("event_dict")
            if isinstance(line, dict) and "_record" not in line:
                return line
    return found


def note_moment(record: logging.LogRecord, event_id: str) -> None:
    """Remember when a line was logged, for records that were made of it before it had its id."""
    moment = (int(record.created * 1e9), record.name)  # as OpenTelemetry's handlers have it
    _moments[moment] = event_id
    _order.append(moment)
    if len(_order) > _MOST_MOMENTS:
        try:
            _moments.pop(_order.popleft(), None)
        except IndexError:  # other threads made room in between
            return


def of_moment(timestamp: int | None, name: str) -> str | None:
    """Return the id of the line of logging that was logged in that nanosecond by the logger of that name."""
    return None if timestamp is None else _moments.get((timestamp, name))
