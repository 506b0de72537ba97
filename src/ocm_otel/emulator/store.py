"""What came in, in one SQLite table: every call, and whether it counted as an event.

The store keeps and finds; it does not judge a call and does not know how a report reads. An API key never
gets here, only its alias. One connection under one lock serves the server's thread and the test's.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any

SCHEMA_VERSION = 1
_FIELDS = ("type", "course_id", "user_id", "entity_id")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY,
    received_at REAL NOT NULL, monotonic REAL NOT NULL, client TEXT NOT NULL,
    method TEXT NOT NULL, path TEXT NOT NULL, query TEXT NOT NULL,
    status INTEGER NOT NULL, reason TEXT, counted INTEGER NOT NULL, key TEXT,
    type TEXT, course_id TEXT, user_id TEXT, entity_id TEXT,
    header_names TEXT NOT NULL, headers TEXT NOT NULL
);
CREATE VIEW IF NOT EXISTS events AS
    SELECT id, received_at, type, course_id, user_id, entity_id, key FROM calls WHERE counted;
CREATE VIEW IF NOT EXISTS refusals AS
    SELECT id, received_at, status, reason, method, path, type, course_id, user_id, entity_id
    FROM calls WHERE NOT counted;
CREATE TABLE IF NOT EXISTS durations (course_id TEXT PRIMARY KEY, minutes REAL NOT NULL) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO calls VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_AFTER = """
SELECT id, received_at, counted, type, course_id, user_id, entity_id FROM calls WHERE id > ? ORDER BY id LIMIT ?
"""
_COUNT = """
SELECT count(*) FROM events WHERE (:type IS NULL OR type = :type)
    AND (:course_id IS NULL OR course_id = :course_id)
    AND (:user_id IS NULL OR user_id = :user_id)
    AND (:entity_id IS NULL OR entity_id = :entity_id)
"""
_PAGE = """
SELECT * FROM events WHERE (:type IS NULL OR type = :type)
    AND (:course_id IS NULL OR course_id = :course_id)
    AND (:user_id IS NULL OR user_id = :user_id)
    AND (:entity_id IS NULL OR entity_id = :entity_id)
ORDER BY id LIMIT :limit OFFSET :offset
"""


@dataclass(frozen=True)
class Received:
    """One call with what became of it; ``key`` is an alias, ``monotonic`` a reading of that clock."""

    received_at: float
    monotonic: float
    client: str
    method: str
    path: str
    query: str
    status: int
    reason: str | None
    counted: bool
    key: str | None
    fields: Mapping[str, str] = field(default_factory=dict)
    header_names: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def row(self) -> tuple[Any, ...]:
        """Return the values in the order of the table's columns."""
        return (
            *(self.received_at, self.monotonic, self.client, self.method, self.path, self.query),
            *(self.status, self.reason, self.counted, self.key),
            *(self.fields.get(name) for name in _FIELDS),
            *(json.dumps(self.header_names), json.dumps(self.headers)),
        )


class Store:
    """Every call that came in; in memory, or in a file that outlives the emulator.

    Args:
        path: a SQLite file, made when it is not there; None keeps everything in memory.

    Raises:
        ValueError: the file is no SQLite file, or one of another version of the emulator.
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self._changed = threading.Condition(threading.RLock())
        shown = ":memory:" if path is None else fspath(path)
        try:
            self._connection = sqlite3.connect(shown, check_same_thread=False, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise OSError(f"cannot open the emulator's file {shown!r}: {error}") from error
        try:
            self._prepare(shown)
        except BaseException:
            self._connection.close()
            raise
        self._count = int(self.value("SELECT count(*) FROM events"))
        self._cleared = self._measured = 0
        self._last = int(self.value("SELECT coalesce(max(id), 0) FROM calls"))

    def _prepare(self, shown: str) -> None:
        try:
            version = int(self.value("PRAGMA user_version"))
            tables = int(self.value("SELECT count(*) FROM sqlite_master"))
            if version != SCHEMA_VERSION and (version or tables):
                raise ValueError(f"{shown!r} was not written by this emulator: name another file")
            # A test tool: what a power cut takes may go, what a killed process wrote may not.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=OFF")
            self._connection.executescript(_SCHEMA)
            self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{shown!r} cannot be used ({error}): name another file") from error

    @property
    def count(self) -> int:
        """How many events counted."""
        return self._count

    def add(self, received: Received) -> None:
        """Keep one call; whoever waits for its event wakes up."""
        row = received.row()
        with self._changed:
            self._last = self._connection.execute(_INSERT, row).lastrowid or 0
            if received.counted:
                self._count += 1
                self._changed.notify_all()

    def wait_for(self, count: int, timeout: float) -> bool:
        """Wait until at least so many events counted.

        Args:
            count: the number of events.
            timeout: seconds.

        Returns:
            Whether they came in time.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._count >= count, timeout)

    @property
    def state(self) -> tuple[int, int, int]:
        """What changes with the content: how often it was cleared and measured, and the last call's number."""
        with self._changed:
            return self._cleared, self._measured, self._last

    def after(self, call: int, limit: int) -> list[tuple[Any, ...]]:
        """Return the calls after one, in order of arrival: id, received_at, counted, then the four parameters."""
        with self._changed:
            return self._connection.execute(_AFTER, (call, limit)).fetchall()

    def durations(self) -> dict[str, float]:
        """Return the minutes of each course that they are known of."""
        with self._changed:
            return dict(self._connection.execute("SELECT course_id, minutes FROM durations").fetchall())

    def measure(self, durations: Mapping[str, float]) -> None:
        """Put these minutes of courses in the place of those that were known."""
        with self._changed:
            self._measured += 1
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM durations")
            self._connection.executemany("INSERT INTO durations VALUES (?, ?)", durations.items())
            self._connection.execute("COMMIT")

    def rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Return the rows of a query, each as a dictionary in the order of its columns."""
        with self._changed:
            cursor = self._connection.execute(statement, values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def value(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """Return the first column of the first row of a query."""
        with self._changed:
            return self._connection.execute(statement, values).fetchone()[0]

    def events(
        self, limit: int = -1, offset: int = 0, where: Mapping[str, str] | None = None
    ) -> tuple[int, list[dict[str, Any]]]:
        """Return how many events there are, and a page of them in order of arrival.

        Args:
            limit: the most to return; -1 for all.
            offset: how many to leave out at the start.
            where: wanted values of type, course_id, user_id, entity_id; other names are ignored.
        """
        wanted: dict[str, Any] = {name: (where or {}).get(name) for name in _FIELDS}
        with self._changed:
            total = int(self.value(_COUNT, wanted))
            return total, self.rows(_PAGE, {**wanted, "limit": limit, "offset": offset})

    def requests(self, limit: int = -1, offset: int = 0) -> tuple[int, list[dict[str, Any]]]:
        """Return how many calls there were, and a page of them in order of arrival."""
        with self._changed:
            total = int(self.value("SELECT count(*) FROM calls"))
            rows = self.rows("SELECT * FROM calls ORDER BY id LIMIT ? OFFSET ?", (limit, offset))
        for row in rows:
            row["counted"] = bool(row["counted"])
            row["header_names"] = json.loads(row["header_names"])
            row["headers"] = json.loads(row["headers"])
        return total, rows

    def clear(self) -> int:
        """Forget every call and event; return how many events there were."""
        with self._changed:
            gone, self._count = self._count, 0
            self._last, self._cleared = 0, self._cleared + 1
            self._connection.execute("DELETE FROM calls")
            return gone

    def close(self) -> None:
        """Close the file; the store cannot be read afterwards."""
        with self._changed:
            self._connection.close()
