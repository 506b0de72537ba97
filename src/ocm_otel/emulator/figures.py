"""The figures of the report, computed from the store: the guide's own questions, answered by SQL.

The guide asks: how many people completed at least one course; out of 100 searches, how many courses get
completed. How a figure is shown is not decided here.

The guide leaves the list of types open and names no type for a completion or a search. A type is
recognised by these names, whatever its case and with ``_`` for ``-`` (the choice is ours).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .store import Store

COMPLETIONS = ("course-complete", "course-completed", "course-completion")
SEARCHES = ("search", "course-search", "courses-search")
SAVES = ("course-save", "course-saved")
MOST_TYPES = 200
MOST_COURSES = 50
MOST_REFUSALS = 20


@dataclass(frozen=True)
class Figures:
    """What the report shows; times are seconds since 1970, None where nothing came."""

    events: int
    refused: int
    types: int
    by_type: list[dict[str, Any]]
    """The most frequent types: type, events."""
    people: int
    searches: int
    completions: int
    completions_without_user: int
    people_with_completion: int
    completions_per_hundred_searches: float | None
    courses: list[dict[str, Any]]
    """The courses with the most saves and completions: course_id, saves, completions, events."""
    refusals: list[dict[str, Any]]
    """The latest calls that did not count, newest first."""
    first_at: float | None
    last_at: float | None


# One pass with the questions answered per row: the tables may hold some hundred thousand events.
_TOTALS = """
WITH marked AS (
    SELECT type, user_id, received_at,
        replace(lower(type), '_', '-') IN (SELECT value FROM json_each(:searches)) AS search,
        replace(lower(type), '_', '-') IN (SELECT value FROM json_each(:completions)) AS completion,
        trim(coalesce(user_id, '')) <> '' AS somebody
    FROM events
)
SELECT count(*) AS events, count(DISTINCT type) AS types,
    count(DISTINCT CASE WHEN somebody THEN user_id END) AS people,
    coalesce(sum(search), 0) AS searches,
    coalesce(sum(completion), 0) AS completions,
    coalesce(sum(completion AND NOT somebody), 0) AS completions_without_user,
    count(DISTINCT CASE WHEN completion AND somebody THEN user_id END) AS people_with_completion,
    min(received_at) AS first_at, max(received_at) AS last_at
FROM marked
"""

_COURSES = """
SELECT course_id,
    sum(replace(lower(type), '_', '-') IN (SELECT value FROM json_each(:saves))) AS saves,
    sum(replace(lower(type), '_', '-') IN (SELECT value FROM json_each(:completions))) AS completions,
    count(*) AS events
FROM events WHERE trim(coalesce(course_id, '')) <> ''
GROUP BY course_id ORDER BY saves + completions DESC, completions DESC, events DESC, course_id LIMIT :most
"""

_BY_TYPE = """
SELECT type, count(*) AS events FROM events GROUP BY type ORDER BY events DESC, type LIMIT :most
"""
_REFUSALS = "SELECT * FROM refusals ORDER BY id DESC LIMIT :most"


def figures(store: Store) -> Figures:
    """Return the figures of everything the store holds."""
    names = {
        "searches": json.dumps(SEARCHES),
        "completions": json.dumps(COMPLETIONS),
        "saves": json.dumps(SAVES),
    }
    totals = store.rows(_TOTALS, names)[0]
    searches = totals["searches"]
    return Figures(
        **totals,
        refused=int(store.value("SELECT count(*) FROM refusals")),
        completions_per_hundred_searches=100 * totals["completions"] / searches if searches else None,
        by_type=store.rows(_BY_TYPE, {"most": MOST_TYPES}),
        courses=store.rows(_COURSES, {**names, "most": MOST_COURSES}),
        refusals=store.rows(_REFUSALS, {"most": MOST_REFUSALS}),
    )
