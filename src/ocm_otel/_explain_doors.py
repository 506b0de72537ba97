"""What is put around the doors of a process that explains itself: each decision is told where it is made.

The doors stay as they are. What became of a tag is read off the books, before and after: what is told is what was
counted. A record that no door made an event of is looked at once more, for what is nearly a tag. In other processes
this room is not loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ocm_otel import _explain
from ocm_otel._explain import named, place, safely, tell
from ocm_otel._explain_lost import watch
from ocm_otel._near import near_misses
from ocm_otel._reading import read
from ocm_otel._shown import show
from ocm_otel._tags import ALL, COURSE, ENTITY, TYPE, USER, find

if TYPE_CHECKING:
    from ocm_otel._outbox import Outbox

#: What other threads write into the books meanwhile, and so says nothing about this record.
_OTHERS = ("accepted", "adopted", "delivered", "refused", "dropped", "ambiguous", "retried", "failed", "lost")
_SPELLED = 200

#: What a record is called, and what it bears.
Look = tuple[str, Mapping[str, object]]

_one_at_a_time = threading.RLock()


def explain(owner: type, name: str, look: Callable[..., Look], *, line: bool = True) -> None:
    """Have a door tell what it makes of each record; nothing happens in a process that does not explain itself.

    Args:
        owner: the door's class.
        name: the method that takes a record.
        look: given what the method is given, without the door, returns what to call the record, and its fields.
        line: False for spans, which take tags in one form only.
    """

    def around(original: Callable[..., Any], door: Any, *args: Any, **kwargs: Any) -> Any:
        before = place.where, place.judged
        fields: Mapping[str, object] = {}
        place.where, place.judged = "a record", False
        try:
            place.where, fields = look(*args)
        except Exception as error:  # noqa: BLE001 - a foreign record; the door itself tells what is wrong
            place.where = f"a record that cannot be read ({type(error).__name__})"
        try:
            return original(door, *args, **kwargs)
        finally:
            if not place.judged:
                safely(_tell_passed, fields, line)
            place.where, place.judged = before

    _explain.put_around(owner, name, around)


def explain_outcomes(doors: object, door: type) -> None:
    """Have what all doors share tell what it decides.

    Args:
        doors: the module with `admit`.
        door: the class with `lost`.
    """

    def admit(original: Callable[..., bool], outbox: Outbox, tags: Mapping[str, object], *args: Any) -> bool:
        with _one_at_a_time:
            before = _notes(outbox)
            taken = original(outbox, tags, *args)
            place.judged = True
            safely(_tell_judged, tags, _new(before, _notes(outbox)), taken)
        return taken

    def lost(original: Callable[..., None], self: object, reason: str, message: str, *args: object) -> None:
        original(self, reason, message, *args)
        place.judged = place.judged or reason != "cut"
        tell("lost", None, place.where, message % args)

    _explain.put_around(doors, "admit", admit)
    _explain.put_around(door, "lost", lost)


def _notes(outbox: Outbox) -> dict[tuple[str, str], int]:
    """Return what the books have of tags, by column and reason."""
    reasons = outbox.books.snapshot().reasons
    return {
        (column, reason): count
        for column, counts in reasons.items()
        if not column.startswith(_OTHERS)
        for reason, count in counts.items()
    }


def _new(before: Mapping[tuple[str, str], int], after: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    return [note for note, count in after.items() if count > before.get(note, 0)]


def _tell_judged(tags: Mapping[str, object], notes: list[tuple[str, str]], taken: bool) -> None:  # noqa: FBT001 - `admit`'s own answer
    """Tell what became of a record that bears a type."""
    kind, faults = tags.get(TYPE), read(tags).faults
    wrong = "; ".join(str(fault) for fault in faults)[:_SPELLED]
    columns = dict(notes)
    if taken and "duplicate" in columns:
        tell(
            "duplicate", kind, place.where, "an event with this ocm.event_id was accepted already: one fact, one event"
        )
    elif taken and faults:
        tell("mended", kind, place.where, f"accepted, without {', '.join(fault.key for fault in faults)}", wrong)
    elif taken:
        lacks = ", without a course" if "incomplete" in columns else ""
        ids = [f"{tag} {show(tags[tag])}" for tag in (COURSE, USER, ENTITY) if tags.get(tag) is not None]
        tell("event", kind, place.where, f"accepted{lacks}", ", ".join(ids)[:_SPELLED])
    elif "invalid" in columns:
        tell("refused", kind, place.where, "no event is made of it", wrong)
    elif "turned_away" in columns:
        tell("turned-away", kind, place.where, f"the outbox did not accept it ({columns['turned_away']})")
    else:
        why = ", ".join(f"{column} ({reason})" for column, reason in notes)
        tell("not-taken", kind, place.where, why or "this door, or the outbox behind it, is closed")


def _tell_passed(fields: Mapping[str, object], line: bool) -> None:  # noqa: FBT001 - one of two kinds of records
    """Tell what is nearly a tag on a record that no event was made of."""
    if (find(fields) if line else fields.get(TYPE)) is not None:
        tell("skipped", fields.get(TYPE), place.where, "the span ended with an error status, and on_span_error is skip")
        return
    for said in near_misses(fields, line=line)[:3]:
        tell("near-miss", None, place.where, said)


# --- how records are called, and what they bear ---------------------------------------------------------------


def of_span(span: Any) -> Look:
    """Return a span's name and attributes, those of its events among them."""
    fields = {key: value for event in span.events for key, value in dict(event.attributes or {}).items() if key != TYPE}
    own = dict(span.attributes or {})
    _suspect(named("span", span.name), own, getattr(span, "dropped_attributes", 0))
    return named("span", span.name), {**fields, **own}


def of_log_record(record: Any) -> Look:
    """Return a log record's body and attributes."""
    body = record.log_record.body
    fields = dict(record.log_record.attributes or {})
    if isinstance(body, Mapping) and find(body) is not None and find(fields) is None:
        tell("near-miss", None, named("log record", body), "tags in the body of a log record are not searched for")
    _suspect(named("log record", body), fields, getattr(record, "dropped_attributes", 0))
    return named("log record", body), fields


def _suspect(where: str, fields: Mapping[str, object], dropped: int) -> None:
    """Tell of a record that lost attributes and has no tag: nobody can know any more whether it had one."""
    if dropped and not any(tag in fields for tag in ALL):
        tell("near-miss", None, where, "attributes were dropped at the limit, and a tag may have been among them")


def of_line(logger: object, method: str, line: Any) -> Look:
    """Return a structlog line's event and fields; a rendered line has none."""
    return (named("line", line.get("event")), line) if isinstance(line, Mapping) else (named("line", line), {})


def of_record(record: Any) -> Look:
    """Return a logging line's message and fields."""
    inner = record.msg if isinstance(record.msg, Mapping) else {}
    return named("line", inner.get("event", record.msg)), {**inner, **record.__dict__}


if _explain.ON:
    watch()
