"""What a user pays, beside something else in the same run: `python tests/bench`, or `nox -s bench`.

Prints one table, and writes docs/performance.md (not with --quick, nor with --only, unless a page is named). It takes
about half an hour, a minute with --quick, and stops by itself whatever hangs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import core

#: Seconds of a run; in half an hour each comparison has its five rounds, on two cores.
FULL, QUICK = 30 * 60, 75


def sections() -> dict:
    """Return what is measured, by name: the function, and its share of a run's time; what matters most is first."""
    import rows_delivery
    import rows_hot
    import rows_life

    return {
        "hot": (rows_hot.hot_path, 0.13),
        "request": (rows_hot.request, 0.08),
        "wire": (rows_hot.wire, 0.05),
        "delivery": (rows_delivery.delivery, 0.4),
        "start": (rows_life.start, 0.1),
        "burst": (rows_life.burst, 0.05),
        "peers": (rows_delivery.peers, 0.07),
        "growth": (rows_life.growth, 0.22),
        "connections": (rows_delivery.connections, 0.27),
    }


def given() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute, rough figures, no page")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=list(sections()), help=", ".join(sections()))
    parser.add_argument("--rounds", type=int, help="of each comparison; 5, and 1 with --quick")
    parser.add_argument("--minutes", type=float, help="when the last round has begun; 30, and about 1 with --quick")
    parser.add_argument("--page", type=Path, help="where the page goes; docs/performance.md for a full run")
    parser.add_argument(
        "--real-time", action="store_true", help="run before all else on this machine, if it is not quiet (needs root)"
    )
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--one"]:
        core.answer(sys.argv[2], sys.argv[3])
    asked = given()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it started ends with it
    if asked.real_time:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    seconds = asked.minutes * 60 if asked.minutes else QUICK if asked.quick else FULL
    plan = core.Plan(
        rounds=asked.rounds or (1 if asked.quick else 5),
        scale=0.15 if asked.quick else 1.0,
        ends=time.monotonic() + seconds,
        last=time.monotonic() + seconds * 1.25,
        quick=asked.quick,
    )
    import page  # first, for it looks how busy the machine is
    import plot
    from rows import table

    rows, notes, panels = measured(plan, asked.only or list(sections()), seconds)
    print(table(rows))
    for note in notes:
        print(f"not measured: {note}")
    where = asked.page or (None if asked.quick or asked.only else page.PAGE)
    if where:
        if panels:
            where.with_suffix(".svg").write_text(plot.svg(panels), encoding="utf-8")
        where.write_text(page.text(rows, notes, min(core.rounds_made, default=0), bool(panels)), encoding="utf-8")
        core.say(f"wrote {where}")
    return 0


def measured(plan: core.Plan, wanted: list[str], seconds: float) -> tuple[list, list[str], list]:
    """Return the rows of each part, what could not be measured, and the panels of the plot."""
    rows, notes, panels = [], [], []
    for name, (part, share) in sections().items():
        if name not in wanted:
            continue
        if time.monotonic() > plan.last:
            notes.append(f"{name}: the time was up")
            continue
        began = time.monotonic()
        try:
            found = part(plan.part(share * max(seconds, 750)))
        except Exception as error:  # noqa: BLE001 - one part that fails is no reason to lose the others
            notes.append(f"{name}: {type(error).__name__}: {error}")
            core.say(notes[-1])
            continue
        more, drawn = found if isinstance(found, tuple) else (found, [])
        rows += more
        panels += drawn
        core.say(f"  {name}: {time.monotonic() - began:.0f} s")
    return rows, [*notes, *sorted(core.failures)], panels


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
