"""What to say when the events of a test are not those that it expected: what came, and where it differs.

Pure: it compares and words. It knows no door, and shows whole ids, for a test's are made up.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ocm_otel._tags import COURSE, ENTITY, EVENT, KEYWORD_TYPE, NESTED, TYPE, USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ocm_otel._event import Event

FIELDS = ("type", "course_id", "user_id", "entity_id", "event_id")
#: Lines of each kind that a message has at most.
_MOST = 12
_LONGEST = 80
_TAGS = (TYPE, COURSE, USER, ENTITY, EVENT)
_FORMS = {form: tag for tag in _TAGS for form in (tag, tag.replace(".", "_"))}
_INNER = {tag.removeprefix("ocm."): tag for tag in _TAGS}


@dataclass(frozen=True)
class NearMiss:
    """An attribute that could have been meant as a tag.

    Attributes:
        record: where it was, for a person.
        name: its name; one inside ``ocm={…}`` as ``ocm[name]``.
        value: what it holds, for a person.
        meant: the tag that it resembles; its own name if it is one, on a record without a type.
    """

    record: str
    name: str
    value: str
    meant: str


def near_misses(record: str, fields: Mapping[str, object]) -> Iterator[NearMiss]:
    """Yield what in a record looks like a tag and is none, or is one without effect."""
    inner = fields.get(NESTED)
    nested = {str(name): value for name, value in inner.items()} if hasattr(inner, "items") else {}
    tagged = TYPE in fields or KEYWORD_TYPE in fields or "event_type" in nested
    flat = {str(name): value for name, value in fields.items() if name != NESTED}
    for shown, values, known in (("{}", flat, _FORMS), ("ocm[{!r}]", nested, _INNER)):
        for name, value in values.items():
            meant = known.get(name) if name in known else _resembled(name, known, nested=known is _INNER)
            if meant is not None and not (tagged and name in known):
                yield NearMiss(brief(record), brief(shown.format(name)), brief(repr(value)), meant)


def _resembled(name: str, known: Mapping[str, str], *, nested: bool) -> str | None:
    """Return the tag that a name that is none resembles, None if it resembles none."""
    folded = name.casefold().replace("-", "_")
    found = get_close_matches(folded, known, n=1, cutoff=0.8)
    if not found and not nested and folded.startswith("ocm"):
        found = get_close_matches(folded, known, n=1, cutoff=0.0)
    return known[found[0]] if found else None


def brief(text: str) -> str:
    """Return a text of bearable length in which nothing steers a terminal."""
    plain = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"


def shown(event: Event) -> str:
    """Return an event in one line: its type, then the ids that it has, but for its own identity."""
    return worded({name: value for name in FIELDS[:-1] if (value := getattr(event, name)) is not None})


def worded(fields: Mapping[str, str | None]) -> str:
    """Return what is said, or wanted, of an event in one line."""
    ids = [f"{name}={brief(repr(fields[name]))}" for name in FIELDS[1:] if name in fields]
    return " ".join([brief(fields.get("type") or "event"), *ids])


def differing(event: Event, wanted: Mapping[str, str | None]) -> list[str]:
    """Return in which of the wanted fields an event differs, the type first."""
    return [name for name in FIELDS if name in wanted and getattr(event, name) != wanted[name]]


def explain(
    expected: str,
    wanted: Mapping[str, str | None],
    events: Sequence[Event],
    misses: Iterable[NearMiss],
    faults: Iterable[str],
    *,
    passed: int,
) -> str:
    """Return the message of a failed expectation.

    Args:
        expected: the sentence that it begins with.
        wanted: the fields that were looked at, None for one that is to be absent.
        events: what was captured.
        misses: what resembles a tag.
        faults: what was wrong with tags.
        passed: how many records passed the doors.
    """
    lines = [expected]
    ranked = sorted(enumerate(events, 1), key=lambda pair: len(differing(pair[1], wanted)))
    if events:
        lines.append(f"captured ({len(events)}), the nearest first:")
        lines += [f"  {number}. {shown(event)}{_why(event, wanted)}" for number, event in ranked[:_MOST]]
        lines += [f"  and {len(ranked) - _MOST} more"] * (len(ranked) > _MOST)
    elif passed:
        lines.append(f"no event was captured; {passed} spans or lines passed the doors, none with a usable {TYPE}")
    else:
        lines.append("no event was captured, and no span or line passed a door of ocm-otel: is OCMSpanProcessor in the "
                     "tracer provider, OCMProcessor in structlog's processors, before this runs?")  # fmt: skip
    said = [f"  {one.record}: {one.name} = {one.value}, {_meaning(one)}" for one in misses]
    if said:
        lines += ["attributes that are no tags, or have no effect:", *said[:_MOST]]
    told = list(dict.fromkeys(faults))
    if told:
        lines += ["values that could not be used:", *(f"  {text}" for text in told[:_MOST])]
    return "\n".join(lines)


def _why(event: Event, wanted: Mapping[str, str | None]) -> str:
    """Return how an event differs, an empty text if it does not."""
    fields = differing(event, wanted)
    texts = [f"{name} is {brief(repr(getattr(event, name)))}, not {brief(repr(wanted[name]))}" for name in fields]
    return f"  <- {', '.join(texts)}" if texts else ""


def _meaning(miss: NearMiss) -> str:
    """Return what to do about a near miss."""
    if _FORMS.get(miss.name) == miss.meant or miss.name == f"ocm[{miss.meant.removeprefix('ocm.')!r}]":
        return f"but the record has no {TYPE}"
    return f"is {miss.meant} meant?"
