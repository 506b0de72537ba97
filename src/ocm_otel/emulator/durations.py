"""How long each course takes, read from a table that a person loads: the hours of training need it.

The API knows no durations, so neither does any event. The table is CSV: a line of names, then a course a line.
"""

from __future__ import annotations

import csv
import io
from typing import Any

MAX_BYTES = 5_000_000
MAX_COURSES = 100_000
_MAX_HOURS = 10_000.0
_UNITS = {"hours": 60.0, "minutes": 1.0}
_EXAMPLE = "write course_id,hours (or minutes) in the first line, then 7,1.5"


def read(content: bytes) -> dict[str, float]:
    """Return the minutes of each course.

    Args:
        content: CSV in UTF-8, with commas or semicolons; the first line names the columns ``course_id`` and
            ``hours`` or ``minutes``, others are left alone. A decimal comma is understood.

    Raises:
        ValueError: it is no such table; with the line, what is wrong in it and what to write.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"the table has {len(content)} bytes: {MAX_BYTES} at most")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the table is not in UTF-8 (byte {error.start + 1}): save it as CSV in UTF-8") from None
    first = text.partition("\n")[0]
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in first else ",")
    try:
        return _minutes(lines)
    except csv.Error as error:
        raise ValueError(f"line {lines.line_num} is no CSV ({error}): {_EXAMPLE}") from None


def _minutes(lines: Any) -> dict[str, float]:
    names = [name.strip().lower() for name in next(lines, [])]
    unit = next((name for name in _UNITS if name in names), None)
    if "course_id" not in names or unit is None:
        shown = ", ".join(names)[:60]
        raise ValueError(f"line 1 names the columns {shown!r}: {_EXAMPLE}")
    at, length = names.index("course_id"), names.index(unit)
    found: dict[str, float] = {}
    for row in lines:
        if not any(cell.strip() for cell in row):
            continue
        where = f"line {lines.line_num}"
        if len(row) <= max(at, length) or not row[at].strip():
            raise ValueError(f"{where} has no course or no {unit}: {_EXAMPLE}")
        course = row[at].strip()
        if course in found:
            raise ValueError(f"{where} has course {course[:40]!r} again: keep one line for each course")
        if len(found) == MAX_COURSES:
            raise ValueError(f"{where} is one course too many: {MAX_COURSES} at most")
        found[course] = _length(row[length], unit, where) * _UNITS[unit]
    if not found:
        raise ValueError(f"the table has no course: {_EXAMPLE}")
    return found


def _length(cell: str, unit: str, where: str) -> float:
    text = cell.strip().replace(",", ".")
    try:
        value = float(text) if text.isascii() else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value * _UNITS[unit] <= _MAX_HOURS * 60:
        raise ValueError(f"{where} has {unit} {cell.strip()[:40]!r}: write a number such as 1.5")
    return value
