"""The report's own copy of what came in: narrow, in numbers, and apart, so that no question ever holds up the API.

The store has one connection, and a question over a hundred thousand events would keep it for long. So the report
fetches what is new in small portions and asks its own connection, which lets go of the interpreter while it
computes. Each text is kept once; a row is numbers. What is asked is the business of ``figures``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .store import Store

_PORTION = 2_000

# The kinds of event that the guide's questions are about. The guide leaves the list of types open and names no
# type for a completion or a search: a type is recognised by these names, whatever its case and with ``_`` for
# ``-`` (the choice is ours).
KINDS = {
    "search": ("search", "course-search", "courses-search"),
    "click": ("course-click", "course-clicked"),
    "save": ("course-save", "course-saved"),
    "suggestion": ("course-suggest", "course-suggested", "course-suggestion"),
    "completion": ("course-complete", "course-completed", "course-completion"),
}
_KIND_OF = {name: number for number, names in enumerate(KINDS.values(), 1) for name in names}

_SCHEMA = """
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -65536;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, at REAL, counted INTEGER, kind INTEGER, type INTEGER, course INTEGER, person INTEGER,
    entity INTEGER
);
CREATE INDEX by_type ON calls (type, counted, person, at);
CREATE INDEX by_course ON calls (course, counted, kind);
CREATE INDEX by_entity ON calls (entity, counted, person, kind, course);
CREATE TABLE durations (course INTEGER PRIMARY KEY, minutes REAL);
"""


def kind_of(type: str) -> int:
    """Return the number of a type's kind, counted from 1 in the order of ``KINDS``; 0 for all others."""
    return _KIND_OF.get(type.lower().replace("_", "-"), 0)


class Mirror:
    """A copy of the store to ask questions of, brought up to date before each.

    Args:
        store: what is copied.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._connection.executescript(_SCHEMA)
        self._texts: list[str] = [""]
        self._numbers: dict[str, int] = {}
        self._state = (0, -1, 0)  # -1: the durations were never fetched

    @contextmanager
    def current(self) -> Iterator[Mirror]:
        """Bring the copy up to date, and keep it as it is inside of the block: one asker at a time."""
        with self._lock:
            self._catch_up()
            yield self

    @property
    def state(self) -> tuple[int, int, int]:
        """The store's state of which this is the copy."""
        return self._state

    def _catch_up(self) -> None:
        cleared, measured, last = self._store.state
        if cleared != self._state[0]:
            self._connection.execute("DELETE FROM calls")
            self._texts, self._numbers = [""], {}
            self._state = (cleared, -1, 0)
        done = self._state[2]
        while done < last and (rows := self._store.after(done, _PORTION)):
            # Cleared meanwhile: what was fetched may be of both times. The next question starts anew.
            if self._store.state[0] != cleared:
                break
            self._connection.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(self._row, rows))
            done = rows[-1][0]
        if measured != self._state[1]:
            minutes = self._store.durations().items()
            self._connection.execute("DELETE FROM durations")
            lengths = [(self._number(course), length) for course, length in minutes]
            self._connection.executemany("INSERT INTO durations VALUES (?, ?)", lengths)
        self._state = (cleared, measured, done)

    def _row(self, row: Sequence[Any]) -> tuple[Any, ...]:
        call, at, counted, type, *ids = row
        return (call, at, counted, kind_of(type or ""), self._number(type), *(self._number(one) for one in ids))

    def _number(self, text: str | None) -> int | None:
        """Return the number of a text; None for none and for a blank one, which names nobody."""
        if text is None or not text.strip():
            return None
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return number

    def known(self, text: str) -> int:
        """Return the number of a text; -1, which no row has, for one that never came."""
        return self._numbers.get(text, -1)

    def text(self, number: int | None) -> str | None:
        """Return the text of a number."""
        return None if number is None else self._texts[number]

    def rows(self, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of a query, each as a dictionary; type, course and entity become texts again."""
        cursor = self._connection.execute(statement, values)
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for name, shown in (("type", "type"), ("course", "course_id"), ("entity", "entity_id")):
            if name in names:
                for row in found:
                    row[shown] = self.text(row.pop(name))
        return found

    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._connection.close()
