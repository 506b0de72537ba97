"""The small readable report as text, for a terminal: pure functions of the figures.

Types and ids are what a stranger sent. They are shown, never obeyed: characters that would steer a terminal or
turn the direction of the text appear as their code points. What the figures mean is the business of ``figures``;
the page in a browser is in ``static``.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timezone
from typing import Any

from .figures import Figures

SHOWN_CHARACTERS = 60
_TEXT_ROWS = 20
# Controls, invisible format characters (bidi marks among them), surrogates, line and paragraph separators.
_STEERING = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def plain(value: object, limit: int = SHOWN_CHARACTERS) -> str:
    """Return a value as one harmless piece of text.

    Args:
        value: anything that was sent; None becomes a dash.
        limit: the most characters of the value to show.
    """
    if value is None:
        return "-"
    whole = str(value)
    cut = whole[:limit]
    shown = "".join(f"<U+{ord(c):04X}>" if unicodedata.category(c) in _STEERING else c for c in cut)
    return shown if len(whole) <= limit else f"{shown}… ({len(whole)} characters)"


def moment(seconds: float | None) -> str:
    """Return a time as UTC to the second, a dash for None."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def headline(data: Figures) -> list[tuple[str, str]]:
    """Return the leading figures, each with its name."""
    ratio = data.completions_per_hundred_searches
    without = data.completions_without_user
    note = f" ({without} without a user)" if without else ""
    return [
        ("Events", str(data.events)),
        ("Calls refused", str(data.refused)),
        ("People seen", str(data.people)),
        ("People with at least one completed course", str(data.people_with_completion)),
        ("Completions", f"{data.completions}{note}"),
        ("Searches", str(data.searches)),
        ("Completions per hundred searches", "no search yet" if ratio is None else f"{ratio:.1f}"),
        ("Hours of training supplied", _hours(data)),
    ]


def _hours(data: Figures) -> str:
    if not data.durations:
        return "no durations loaded"
    unknown = data.completions_without_duration
    return f"{data.hours:.1f}" + (f" ({unknown} completions without a duration)" if unknown else "")


Table = tuple[str, tuple[str, ...], list[tuple[object, ...]]]


def tables(data: Figures, refusals: list[dict[str, Any]]) -> list[Table]:
    """Return the report's tables: title, column names, rows."""
    by_type = [(row["type"], row["events"]) for row in data.by_type]
    courses = [(c["course_id"], c["saves"], c["completions"], c["events"]) for c in data.courses]
    refused = [(moment(r["received_at"]), r["status"] or None, r["type"], r["reason"]) for r in refusals]
    title = f"Events by type ({data.types} types)" if data.types > len(by_type) else "Events by type"
    return [
        (title, ("type", "events"), list(by_type)),
        ("Courses by saves and completions", ("course", "saves", "completions", "events"), list(courses)),
        ("Latest refusals", ("time (UTC)", "status", "type", "reason"), list(refused)),
    ]


def _text_table(table: Table) -> list[str]:
    title, columns, rows = table
    if not rows:
        return ["", title, "  none"]
    cells = [columns, *(tuple(plain(value) for value in row) for row in rows[:_TEXT_ROWS])]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    # A column of numbers stands to the right; the first row tells which columns these are.
    right = [isinstance(value, int) for value in rows[0]]
    lines = ["", title]
    for line in cells:
        parts = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
        lines.append(("  " + "  ".join(parts)).rstrip())
    if len(rows) > _TEXT_ROWS:
        lines.append(f"  … and {len(rows) - _TEXT_ROWS} more")
    return lines


def text(data: Figures, refusals: list[dict[str, Any]]) -> str:
    """Return the report for a terminal, ending with a line break.

    Args:
        data: the figures.
        refusals: the latest calls that did not count, newest first.
    """
    lines = [f"What the events API received, {moment(data.first_at)} to {moment(data.last_at)} (UTC)", ""]
    names = headline(data)
    width = max(len(name) for name, _ in names)
    lines.extend(f"  {name.ljust(width)}  {value}" for name, value in names)
    for table in tables(data, refusals):
        lines.extend(_text_table(table))
    return "\n".join(lines) + "\n"
