"""The rows of the table: what was measured, what beside it, what was aimed at, and whether that was reached."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core import Ratio


@dataclass
class Row:
    """One line of the table.

    Attributes:
        section: under which heading it stands.
        key: its anchor on the page, for links.
        what: what was measured.
        ours: our figure, with its unit.
        beside: what it is compared with, and that figure; empty if with nothing.
        times: how many times the other's figure ours is, a `Ratio` if rounds were compared; None if that says nothing.
        goal: what was aimed at, in words; empty if nothing was.
        reached: whether that is so; None without a goal.
    """

    section: str
    key: str
    what: str
    ours: str
    beside: str = ""
    times: float | None = None
    goal: str = ""
    reached: bool | None = None

    @property
    def cells(self) -> tuple[str, str, str, str, str, str]:
        """The row as text: what, ours, beside, times, goal, reached."""
        times = "" if self.times is None else figure(self.times)
        if isinstance(self.times, Ratio) and not math.isnan(self.times.low):
            times += f" ({figure(self.times.low)} to {figure(self.times.high)})"
        return self.what, self.ours, self.beside, times, self.goal, {True: "yes", False: "no", None: ""}[self.reached]


@dataclass(frozen=True)
class Goal:
    """A bound for a number: at most `most`, or at least `least`; `words` say it where the number would not."""

    most: float = math.inf
    least: float = -math.inf
    unit: str = "times"
    words: str = ""

    def __str__(self) -> str:
        if self.words:
            return self.words
        bound, value = ("at most", self.most) if self.most < math.inf else ("at least", self.least)
        return f"{bound} {value:,g} {self.unit}"

    def reached(self, value: float) -> bool:
        """Return whether a number keeps to it; one that could not be measured does not."""
        return self.least <= value <= self.most


def figure(value: float) -> str:
    """Return a number with as many digits as mean something."""
    if math.isnan(value):
        return "not measured"
    size = abs(value)
    digits = 0 if size >= 100 or not size else 1 if size >= 10 else 2 if size >= 0.2 else 3
    return f"{value:,.{digits}f}"


def micro(value: float, sign: str = "") -> str:
    """Return microseconds, with a sign if it is a difference."""
    return figure(value) if math.isnan(value) else f"{sign if value >= 0 else ''}{figure(value)} µs"


def against(
    section: str, key: str, what: str, ours: str, beside: str, times: float | None, goal: Goal | None = None
) -> Row:
    """Return a row whose goal is about the ratio."""
    return Row(section, key, what, ours, beside, times, str(goal or ""), goal.reached(times) if goal else None)


def alone(section: str, key: str, what: str, value: float, unit: str, goal: Goal | None = None, **more: str) -> Row:
    """Return a row whose goal is about the figure itself."""
    text = figure(value) if math.isnan(value) else f"{figure(value)} {unit}".strip()
    return Row(
        section, key, what, text, more.get("beside", ""), None, str(goal or ""), goal.reached(value) if goal else None
    )


def table(rows: list[Row], links: bool = False) -> str:
    """Return rows as a table of Markdown; with `links`, each row bears an anchor."""
    lines = ["| what | ours | beside it | times | goal | reached |", "| --- | ---: | ---: | ---: | --- | --- |"]
    for row in rows:
        what, *rest = row.cells
        first = f"[{what}]{{#{row.key}}}" if links else what
        lines.append(f"| {' | '.join([first, *rest])} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(lines)
