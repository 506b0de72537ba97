"""The small readable report, as text and as one HTML page: pure functions of the figures.

Types and ids are what a stranger sent. They are shown, never obeyed: HTML is escaped, and characters that
would steer a terminal or turn the direction of the text appear as their code points. No script, no
resource from elsewhere. What the figures mean is the business of ``figures``.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timezone
from html import escape

from .figures import Figures

SHOWN_CHARACTERS = 60
_TEXT_ROWS = 20
# Controls, invisible format characters (bidi marks among them), surrogates, line and paragraph separators.
_STEERING = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --dim: #58626c; --page: #fbfbfa; --line: #d9dcdf }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --dim: #a0a8b0; --page: #16191c; --line: #353b41 }
}
body { margin: 0 auto; padding: 1.5rem; max-width: 60rem; color: var(--ink); background: var(--page);
  font: 1rem/1.5 system-ui, sans-serif }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; margin: 0 }
dl div { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem }
dt, caption, footer { color: var(--dim) } dd { margin: 0; font-size: 1.75rem }
section { overflow-x: auto; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } caption { text-align: left }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line) }
td { overflow-wrap: anywhere } .number { text-align: right; font-variant-numeric: tabular-nums }
a { color: inherit } footer { margin-top: 2rem }
"""


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
    ]


Table = tuple[str, tuple[str, ...], list[tuple[object, ...]]]


def tables(data: Figures) -> list[Table]:
    """Return the report's tables: title, column names, rows."""
    by_type = [(row["type"], row["events"]) for row in data.by_type]
    courses = [(c["course_id"], c["saves"], c["completions"], c["events"]) for c in data.courses]
    refusals = [(moment(r["received_at"]), r["status"], r["type"], r["reason"]) for r in data.refusals]
    title = f"Events by type ({data.types} types)" if data.types > len(by_type) else "Events by type"
    return [
        (title, ("type", "events"), list(by_type)),
        ("Courses by saves and completions", ("course", "saves", "completions", "events"), list(courses)),
        ("Latest refusals", ("time (UTC)", "status", "type", "reason"), list(refusals)),
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


def text(data: Figures) -> str:
    """Return the report for a terminal, ending with a line break."""
    lines = [f"What the events API received, {moment(data.first_at)} to {moment(data.last_at)} (UTC)", ""]
    names = headline(data)
    width = max(len(name) for name, _ in names)
    lines.extend(f"  {name.ljust(width)}  {value}" for name, value in names)
    for table in tables(data):
        lines.extend(_text_table(table))
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    number = ' class="number"' if isinstance(value, int) else ""
    return f"<td{number}>{_safe(value)}</td>"


def _safe(value: object) -> str:
    return f"<bdi>{escape(plain(value, 200))}</bdi>"


def _html_table(table: Table) -> str:
    title, columns, rows = table
    # The first row tells which columns hold numbers.
    numbers = [isinstance(value, int) for value in (rows[0] if rows else columns)]
    heads = "".join(
        f'<th scope="col"{" class=number" if number else ""}>{escape(name)}</th>'
        for name, number in zip(columns, numbers, strict=True)
    )
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    if not rows:
        body = f'<tr><td colspan="{len(columns)}">none</td></tr>'
    return (
        f"<section><table><caption>{escape(title)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></section>"
    )


def html(data: Figures) -> str:
    """Return the report as one HTML page that needs nothing else."""
    cards = "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in headline(data))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"><title>Events received</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>Events received</h1><dl>{cards}</dl>"
        f"{''.join(_html_table(table) for table in tables(data))}</main>"
        f"<footer>{moment(data.first_at)} to {moment(data.last_at)} (UTC). "
        'Also as <a href="/emulator/report.txt">text</a>, and as JSON: '
        '<a href="/emulator/summary">summary</a>, <a href="/emulator/events">events</a>, '
        '<a href="/emulator/requests">requests</a>.</footer></body></html>'
    )
