"""The report's tables as CSV, for a spreadsheet, where what a stranger sent is never a formula.

A text that a spreadsheet would take for a formula begins with an apostrophe (OWASP, "CSV Injection"); numbers
are numbers, moments are UTC in ISO 8601.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

from .figures import Figures

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_MOMENTS = {"received_at", "first_at", "last_at", "start"}
_LINES = 500

#: The tables of the report: what each is called, and its columns.
COLUMNS = {
    "figures": ("figure", "value"),
    "funnel": ("step", "events", "people"),
    "types": ("type", "events", "people", "last_at"),
    "courses": ("course_id", "clicks", "saves", "suggestions", "completions", "hours", "events"),
    "entities": ("entity_id", "events", "people", "completions", "hours"),
    "time": ("start", "events", "refused", "people", "entities", "completions"),
    "calls": ("id", "received_at", "counted", "status", "type", "course_id", "user_id", "entity_id", "key", "reason"),
    "durations": ("course_id", "minutes"),
}


def rows_of(name: str, data: Figures) -> list[dict[str, Any]]:
    """Return the rows of a table that is made of figures."""
    if name == "figures":
        single = {key: value for key, value in vars(data).items() if not isinstance(value, list)}
        return [{"figure": key, "value": _moment(value) if key in _MOMENTS else value} for key, value in single.items()]
    tables = {
        "funnel": data.funnel, "types": data.by_type, "courses": data.courses, "entities": data.by_entity,
        "time": data.over_time,
    }  # fmt: skip
    return tables[name]


def _moment(value: float | None) -> str:
    return "" if value is None else datetime.fromtimestamp(value, timezone.utc).isoformat(timespec="milliseconds")


def cell(value: object) -> object:
    """Return what stands in a cell for a value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return "" if value is None else value
    # NUL ends a cell for some readers; half a surrogate pair cannot be written at all.
    text = value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def sheet(name: str, rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield a table as CSV in UTF-8, some hundred lines at a time.

    Args:
        name: one of ``COLUMNS``.
        rows: its rows by column.
    """
    columns = COLUMNS[name]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for number, row in enumerate(rows, 1):
        values = (_moment(row[column]) if column in _MOMENTS else row[column] for column in columns)
        writer.writerow([cell(value) for value in values])
        if number % _LINES == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()
