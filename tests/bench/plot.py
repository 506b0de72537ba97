"""The plot of the page: panels side by side, as SVG written by hand; its colours can be read on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

WIDE, HIGH, LEFT, TOP, BOTTOM, GAP = 760, 250, 44, 34, 46, 22
GREY, BLUE, GREEN = "#808892", "#3b82d6", "#2f9e64"


@dataclass(frozen=True)
class Panel:
    """One picture: what grows, and (how much of it, what an event costs beside the first point)."""

    title: str
    points: list[tuple[float, float]]


def _text(x: float, y: float, text: str, anchor: str = "middle", size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _short(value: float) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"


def svg(panels: list[Panel]) -> str:
    """Return the panels as one picture; the band is ten percent around what the first point costs."""
    seen = [cost for panel in panels for _, cost in panel.points if not math.isnan(cost)]
    most = max(2.0, math.ceil(max(seen, default=1.0) * 2) / 2)
    width, height = (WIDE - LEFT) / len(panels) - GAP, HIGH - TOP - BOTTOM

    def across(cost: float) -> float:
        return TOP + height * (1 - cost / most)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-family="sans-serif" fill="{GREY}">',
        "<title>CPU to deliver an event, beside what it is at the first point</title>",
        _text(4, 14, "CPU to deliver an event, times that of the first point; the band is ±10 %", "start"),
    ]
    steps = [step / 2 for step in range(int(most * 2) + 1)]
    parts += [_text(LEFT - 8, across(step) + 4, f"{step:g}", "end") for step in steps]
    for number, panel in enumerate(panels):
        left = LEFT + number * (width + GAP)
        parts.append(_panel(panel, left, width, across))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _band(left: float, width: float, across: Callable[[float], float]) -> str:
    place = f'x="{left:.1f}" y="{across(1.1):.1f}" width="{width:.1f}" height="{across(0.9) - across(1.1):.1f}"'
    return f'<rect {place} fill="{GREEN}" fill-opacity="0.25"/>'


def _panel(panel: Panel, left: float, width: float, across: Callable[[float], float]) -> str:
    low, high = math.log10(panel.points[0][0]), math.log10(panel.points[-1][0])

    def along(value: float) -> float:
        return left + 24 + (width - 48) * ((math.log10(value) - low) / ((high - low) or 1))

    base, foot = across(0), HIGH - 10
    parts = [
        _band(left, width, across),
        f'<path d="M{left:.1f} {TOP} V{base:.1f} H{left + width:.1f}" fill="none" stroke="{GREY}"/>',
        _text(left + width / 2, foot, panel.title, size=12),
    ]
    points = [(along(value), across(cost), value, cost) for value, cost in panel.points if not math.isnan(cost)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="2"/>')
    for x, y, value, cost in points:
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{BLUE}"/>')
        parts += [_text(x, y - 9, f"{cost:.2f}", size=10), _text(x, base + 15, _short(value), size=10)]
    return "\n".join(parts)
