"""The latest calls, and in plain words what was wrong with those that did not count.

Which call counts was decided by ``rules`` and ``faults`` when it came; this room only reads it again and
says what to do about it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .figures import Choice
from .mirror import Mirror
from .store import Store

MOST_CALLS = 50
_PORTION = 2_000

# What a reason begins with, and what to do then.
_REMEDIES = {
    "type is": "send type=…, a text of 1 to 256 characters without control characters",
    "type has": "send type=…, a text of 1 to 256 characters without control characters",
    "no key": "send a key in the header x-api-key",
    "wrong key": "send one of the keys that this emulator was started with",
    "unknown path": "send GET /v2.0/events",
    "request line": "make the ids shorter",
    "answered as planned": "nothing was wrong with the call: a fault was planned",
}

_CALLS = """
SELECT id FROM calls WHERE (NOT counted OR NOT :refused) AND id < :before AND {chosen}
ORDER BY id DESC LIMIT :most
"""
_BY_ID = """
SELECT id, received_at, counted, status, type, course_id, user_id, entity_id, key, reason
FROM calls WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC
"""


def remedy(reason: str | None) -> str | None:
    """Return what to do about a reason, None where there is nothing to do."""
    last = (reason or "").rpartition("; ")[2]  # what was planned stands before what was wrong
    return next((told for start, told in _REMEDIES.items() if last.startswith(start)), None)


def latest(
    mirror: Mirror,
    store: Store,
    choice: Choice | None = None,
    *,
    refused: bool = False,
    most: int = MOST_CALLS,
    before: int = 2**62,
) -> list[dict[str, Any]]:
    """Return the latest calls, newest first.

    Args:
        mirror: finds them.
        store: tells all about them.
        choice: which calls are meant; None for all.
        refused: whether only those that did not count are meant.
        most: how many at most.
        before: only calls that came before the one of this number.
    """
    chosen = choice or Choice()
    statement = _CALLS.format(chosen=chosen.condition())
    with mirror.current():
        values = {**chosen.values(mirror), "refused": refused, "before": before, "most": most}
        ids = [row["id"] for row in mirror.rows(statement, values)]
    rows = store.rows(_BY_ID, (json.dumps(ids),))
    return [{**row, "counted": bool(row["counted"]), "remedy": remedy(row["reason"])} for row in rows]


def every(
    mirror: Mirror, store: Store, choice: Choice | None = None, *, refused: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield all of these calls, newest first, a portion at a time."""
    before = 2**62
    while rows := latest(mirror, store, choice, refused=refused, most=_PORTION, before=before):
        yield from rows
        before = rows[-1]["id"]
