"""The page of the docs: what was measured, where and when, in one table a subject; and what falls short."""

from __future__ import annotations

import os
import platform
import re
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import server
from growth import FASTER
from rows import Row, figure, table
from texts import ABOUT, GROWTH, HEAD, WHY

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/performance.md"
PACKAGES = ("opentelemetry-sdk", "structlog", "httpx", "aiohttp", "posthog", "segment-analytics-python", "sentry-sdk")
#: How busy the machine was before we were.
LOAD = os.getloadavg()[0]


def where() -> str:
    """Return the line that says on what, when and with what it was measured."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not there")
    return (
        f"Measured on {datetime.now(timezone.utc).date()}: ocm-otel {version('ocm-otel')}, CPython "
        f"{platform.python_version()}, Linux {platform.release().partition('-')[0]}, {os.cpu_count()} cores "
        f"({processor[1] if processor else platform.machine()}), load {LOAD:.1f} when it began; {', '.join(found)}."
    )


def short(rows: list[Row]) -> str:
    """Return the section of what was aimed at and not reached, and how much was."""
    aimed = [row for row in rows if row.reached is not None]
    missed = [row for row in aimed if not row.reached]
    lines = ["## Out of reach", "", f"Of {len(aimed)} rows with a goal, {len(aimed) - len(missed)} reach it."]
    if missed:
        lines += ["These do not:", ""]
        for row in missed:
            times = "" if row.times is None else f", {figure(row.times)} times"
            beside = f" ({row.beside})" if row.beside else ""
            lines.append(f"- [{row.what}](#{row.key}): {row.ours}{beside}{times}; the goal is {row.goal}.")
    why = [text for key, text in WHY.items() if any(row.key.startswith(key) for row in missed)]
    return "\n".join([*lines, "", *(f"{text}\n" for text in why)])


def counted(rounds: int) -> str:
    """Return how many rounds there were, and what to think of it."""
    return f"{rounds} rounds" if rounds >= 5 else f"{rounds} round{'s' * (rounds > 1)} (few: the figures are rough)"


def text(rows: list[Row], notes: list[str], rounds: int, plotted: bool) -> str:
    """Return the page."""
    rows = [row for section in ABOUT for row in rows if row.section == section]
    parts = [HEAD.format(server=server.kind(), where=where(), rounds=counted(rounds))]
    for section, about in ABOUT.items():
        mine = [row for row in rows if row.section == section]
        if mine:
            picture = (
                "![CPU to deliver an event, beside what it is at the first point](performance.svg)\n\n"
                if section == GROWTH and plotted
                else ""
            )
            parts.append(f"## {section}\n\n{about.format(faster=FASTER)}\n\n{picture}{table(mine, links=True)}\n")
    parts.append(short(rows))
    if notes:
        parts.append("\n".join(["Not measured this time:", "", *(f"- {note}" for note in notes), ""]))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"
