"""The figures of the report: the guide's own questions and those that follow from them, answered by SQL.

The guide asks: how many people completed at least one course; out of 100 searches, how many courses get
completed; how many hours of training were actually supplied. How a figure is shown is not decided here, and
where it is computed is the business of ``mirror``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .mirror import KINDS, Mirror

_MOST = {"types": 200, "courses": 50, "entities": 50}
MOST_BUCKETS = 60
ALL = -1
# Widths of time that a person can name, in seconds.
_WIDTHS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_592_000)


@dataclass(frozen=True)
class Choice:
    """Which calls the figures are about: those of one type, of one entity, of a period.

    Args:
        type: the type, to the letter; None for all.
        entity_id: the entity, to the letter; None for all and for none.
        since: the first moment, seconds since 1970; None for the first call.
        until: the moment that is no longer in the period; None for no end.
    """

    type: str | None = None
    entity_id: str | None = None
    since: float | None = None
    until: float | None = None

    def values(self, mirror: Mirror) -> dict[str, Any]:
        """Return the values for ``condition``."""
        return {
            "type": mirror.known(self.type or ""),
            "entity": mirror.known(self.entity_id or ""),
            "since": self.since,
            "until": self.until,
        }

    def condition(self) -> str:
        """Return what a call has to fulfil, in SQL; only what was chosen costs time."""
        parts = [
            text
            for text, value in (
                ("type = :type", self.type),
                ("entity = :entity", self.entity_id),
                ("at >= :since", self.since),
                ("at < :until", self.until),
            )
            if value is not None
        ]
        return " AND ".join(parts) or "1"


@dataclass(frozen=True)
class Figures:
    """What the report shows; times are seconds since 1970, None where nothing came."""

    events: int
    refused: int
    types: int
    people: int
    entities: int
    searches: int
    completions: int
    completions_without_user: int
    people_with_completion: int
    completions_per_hundred_searches: float | None
    hours: float
    """Hours of training supplied: the durations of all completed courses of which one is known."""
    completions_without_duration: int
    durations: int
    """Of how many courses the duration is known."""
    first_at: float | None
    last_at: float | None
    funnel: list[dict[str, Any]]
    """Search, click, save, completion: step, events, people."""
    by_type: list[dict[str, Any]]
    """The most frequent types: type, events, people, last_at."""
    courses: list[dict[str, Any]]
    """The courses with the most saves and completions: course_id, clicks, saves, suggestions, completions, hours,
    events."""
    by_entity: list[dict[str, Any]]
    """The entities with the most events: entity_id, events, people, completions, hours."""
    over_time: list[dict[str, Any]]
    """Pieces of time without gaps: start, events, refused, people, entities, completions."""
    width: int
    """Seconds of one piece of time."""


_SEARCH, _CLICK, _SAVE, _SUGGESTION, _COMPLETION = range(1, len(KINDS) + 1)
_TOTALS = f"""
SELECT count(*) AS events, count(DISTINCT type) AS types, count(DISTINCT person) AS people,
    count(DISTINCT entity) AS entities, min(at) AS first_at, max(at) AS last_at,
    coalesce(sum(kind = {_COMPLETION} AND person IS NULL), 0) AS completions_without_user
FROM calls WHERE counted AND {{chosen}}
"""
_REFUSED = "SELECT count(*) AS refused FROM calls WHERE NOT counted AND {chosen}"
_KINDS = """
SELECT kind, count(*) AS events, count(DISTINCT person) AS people
FROM calls WHERE counted AND kind AND {chosen} GROUP BY kind
"""
_HOURS = f"""
SELECT coalesce(sum(minutes), 0) / 60 AS hours, count(*) - count(minutes) AS completions_without_duration
FROM calls LEFT JOIN durations USING (course) WHERE counted AND kind = {_COMPLETION} AND {{chosen}}
"""
_BY_TYPE = """
SELECT type, count(*) AS events, count(DISTINCT person) AS people, max(at) AS last_at
FROM calls WHERE counted AND {chosen} GROUP BY type ORDER BY events DESC, type LIMIT :most
"""
_COURSES = f"""
SELECT course, sum(kind = {_CLICK}) AS clicks, sum(kind = {_SAVE}) AS saves,
    sum(kind = {_SUGGESTION}) AS suggestions, sum(kind = {_COMPLETION}) AS completions,
    sum(kind = {_COMPLETION}) * minutes / 60 AS hours, count(*) AS events
FROM calls LEFT JOIN durations USING (course) WHERE counted AND course IS NOT NULL AND {{chosen}}
GROUP BY course ORDER BY saves + completions DESC, completions DESC, events DESC, course LIMIT :most
"""
_BY_ENTITY = f"""
SELECT entity, count(*) AS events, count(DISTINCT person) AS people, sum(kind = {_COMPLETION}) AS completions,
    coalesce(sum(CASE WHEN kind = {_COMPLETION} THEN minutes END), 0) / 60 AS hours
FROM calls LEFT JOIN durations USING (course) WHERE counted AND entity IS NOT NULL AND {{chosen}}
GROUP BY entity ORDER BY events DESC, entity LIMIT :most
"""
_SPAN = "SELECT min(at) AS first, max(at) AS last FROM calls WHERE {chosen}"
_OVER_TIME = f"""
SELECT CAST(at / :width AS INTEGER) AS piece, sum(counted) AS events, sum(NOT counted) AS refused,
    count(DISTINCT CASE WHEN counted THEN person END) AS people,
    count(DISTINCT CASE WHEN counted THEN entity END) AS entities,
    sum(counted AND kind = {_COMPLETION}) AS completions
FROM calls WHERE {{chosen}} GROUP BY piece
"""


Ask = Callable[..., list[dict[str, Any]]]


def _over_time(ask: Ask) -> tuple[int, list[dict[str, Any]]]:
    span = ask(_SPAN)[0]
    if span["first"] is None:
        return _WIDTHS[0], []
    length = span["last"] - span["first"]
    width = next((width for width in _WIDTHS if length / width < MOST_BUCKETS - 1), 0)
    width = width or math.ceil(length / (MOST_BUCKETS - 1) / _WIDTHS[-1]) * _WIDTHS[-1]
    found = {row.pop("piece"): row for row in ask(_OVER_TIME, width=width)}
    nothing = dict.fromkeys(("events", "refused", "people", "entities", "completions"), 0)
    return width, [{"start": piece * width, **found.get(piece, nothing)} for piece in range(min(found), max(found) + 1)]


def names(mirror: Mirror) -> dict[str, list[str]]:
    """Return the most frequent types and entities of all calls, to choose from."""
    found = {}
    with mirror.current():
        for name in ("type", "entity"):
            statement = (
                f"SELECT {name} FROM calls WHERE {name} IS NOT NULL GROUP BY {name} ORDER BY count(*) DESC LIMIT 200"
            )
            found[name] = [next(iter(row.values())) for row in mirror.rows(statement, {})]
    return found


def figures(mirror: Mirror, choice: Choice | None = None, *, whole: bool = False) -> Figures:
    """Return the figures of what came in.

    Args:
        mirror: what to ask.
        choice: which calls they are about; None for all.
        whole: whether the tables have every row, instead of the first ones.
    """
    chosen = choice or Choice()
    most = {name: ALL if whole else number for name, number in _MOST.items()}
    with mirror.current():
        values = chosen.values(mirror)

        def ask(statement: str, **more: Any) -> list[dict[str, Any]]:
            return mirror.rows(statement.format(chosen=chosen.condition()), {**values, **more})

        kinds = {row["kind"]: row for row in ask(_KINDS)}
        count, people = (
            {kind: kinds.get(kind, {}).get(name, 0) for kind in range(1, len(KINDS) + 1)}
            for name in ("events", "people")
        )
        steps = {"search": _SEARCH, "click": _CLICK, "save": _SAVE, "completion": _COMPLETION}
        width, over_time = _over_time(ask)
        return Figures(
            **ask(_TOTALS)[0],
            **ask(_REFUSED)[0],
            **ask(_HOURS)[0],
            durations=ask("SELECT count(*) AS known FROM durations")[0]["known"],
            searches=count[_SEARCH],
            completions=count[_COMPLETION],
            people_with_completion=people[_COMPLETION],
            completions_per_hundred_searches=100 * count[_COMPLETION] / count[_SEARCH] if count[_SEARCH] else None,
            funnel=[{"step": name, "events": count[kind], "people": people[kind]} for name, kind in steps.items()],
            by_type=ask(_BY_TYPE, most=most["types"]),
            courses=ask(_COURSES, most=most["courses"]),
            by_entity=ask(_BY_ENTITY, most=most["entities"]),
            over_time=over_time,
            width=width,
        )
