"""The core of the benchmarks: shapes run in processes of their own, in turns, and medians of what they took.

A shape is a function of one of the modules beside this one; it takes plain values and returns numbers by name. All
shapes of a comparison take turns, round for round, so that each sees the same machine; a shape that fails or hangs is a
note beside its row, never the end of the suite.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import server

HERE = Path(__file__).parent
#: What could not be measured, and why, for the page to say.
failures: set[str] = set()
#: How many rounds each shape had so far, for the page to say.
rounds_made: list[int] = []
#: Seconds after which a single run is ended by force.
LONGEST = 90


@dataclass(frozen=True)
class Shape:
    """One thing to measure: `module:function` and its arguments, which go to another process as JSON."""

    call: str
    given: Mapping[str, Any] = field(default_factory=dict)


class Ratio(float):
    """A median of rounds; half of them lie between `low` and `high`."""

    low = high = float("nan")

    @classmethod
    def of(cls, ratios: list[float]) -> Ratio:
        """Return the median of what was seen, not-a-number if there is nothing."""
        found = cls(statistics.median(ratios) if ratios else "nan")
        if len(ratios) > 2:
            found.low, _, found.high = statistics.quantiles(ratios, n=4, method="inclusive")
        return found


@dataclass
class Taken:
    """What the runs of one shape came to: numbers by name, one for each run, and what went wrong."""

    runs: list[dict[str, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> float:
        """Return the median of one number; not-a-number if there is none."""
        seen = [run[name] for run in self.runs if name in run]
        return statistics.median(seen) if seen else float("nan")

    @property
    def rounds(self) -> int:
        """How many times it was measured; a run may have rounds of its own."""
        return int(sum(run.get("rounds", 1) for run in self.runs))

    def per(self, other: Taken, name: str) -> Ratio:
        """Return the median, over the rounds, of how many times the other's number ours is."""
        pairs = zip(self.runs, other.runs, strict=False)
        ratios = [mine[name] / theirs[name] for mine, theirs in pairs if theirs.get(name)]
        return Ratio.of(ratios)

    def above(self, other: Taken, name: str) -> float:
        """Return the median, over the rounds, of how much more our number is than the other's."""
        more = [mine[name] - theirs[name] for mine, theirs in zip(self.runs, other.runs, strict=False)]
        return statistics.median(more) if more else float("nan")


@dataclass
class Plan:
    """How thorough: how many rounds, what part of the work of a full run, and until when.

    Attributes:
        rounds: of each comparison.
        scale: what part of the work of a full run is done in each.
        ends: when no second round begins any more.
        last: when nothing begins any more.
        quick: whether some comparisons are left out.
    """

    rounds: int = 5
    scale: float = 1.0
    ends: float = float("inf")
    last: float = float("inf")
    quick: bool = False

    def many(self, full: int, least: int = 1) -> int:
        """Return how many of something there are to be, of so many in a full run."""
        return max(least, int(full * self.scale))

    def part(self, seconds: float) -> Plan:
        """Return the plan of a part of the run that may take so long."""
        return replace(self, ends=min(self.ends, time.monotonic() + seconds))

    @property
    def over(self) -> bool:
        """True if the time is up."""
        return time.monotonic() > self.ends


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def once(shape: Shape, taken: Taken, longest: float = LONGEST) -> None:
    """Run a shape in a new process and add what it says."""
    command = [sys.executable, "-W", "ignore", str(HERE), "--one", shape.call, json.dumps(dict(shape.given))]
    env = {name: value for name, value in os.environ.items() if not name.upper().startswith(("OTEL_", "HTTP", "ALL_P"))}
    env["TMPDIR"] = str(server.folder())  # whoever is killed leaves things there
    env["OCM_BENCH_SERVER"] = server.built() or ""  # built once
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=env
    ) as process:
        try:
            out, err = process.communicate(timeout=longest)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            _failed(shape, taken, f"took more than {longest:.0f} s")
            return
    try:
        taken.runs.append(json.loads(out.strip().splitlines()[-1]))
    except (IndexError, ValueError):
        _failed(shape, taken, (err.strip().splitlines()[-1:] or [f"exit {process.returncode}"])[0])


def _failed(shape: Shape, taken: Taken, why: str) -> None:
    taken.wrong.append(why)
    kind = next((str(value) for value in shape.given.values() if isinstance(value, str) and value), "")
    failures.add(f"{shape.call} {kind}: {why[:160]}")
    say(f"    {shape.call} {kind} {json.dumps(dict(shape.given))}: {why[:300]}")


def in_turns(
    shapes: Mapping[str, Shape], plan: Plan, rounds: int | None = None, longest: float = LONGEST
) -> dict[str, Taken]:
    """Run all shapes, in turns and in an order that changes, and return what they took by name.

    Args:
        shapes: what to run.
        plan: how thorough; when its time is up no further round begins.
        rounds: how many, if not as many as the plan has.
        longest: seconds that a single run may take.
    """
    taken = {name: Taken() for name in shapes}
    for number in range(rounds or plan.rounds):
        if number and plan.over:
            break
        for name in random.sample(list(shapes), len(shapes)):
            if len(taken[name].wrong) < 2 and time.monotonic() < plan.last:
                once(shapes[name], taken[name], longest)
    rounds_made.extend(one.rounds for one in taken.values() if one.runs)
    return taken


def answer(call: str, given: str) -> None:
    """Run a shape in this process and print what it took, for `once`."""
    module, _, function = call.partition(":")
    found = getattr(importlib.import_module(module), function)(**json.loads(given))
    print(f"\n{json.dumps(found)}", flush=True)
    os._exit(0)  # what is beside the measured thing ends as it likes


def cpu() -> float:
    """Return the seconds of CPU, user and system, that this process has taken, all threads together."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory(kind: str = "VmRSS") -> float:
    """Return how much memory this process has, in MB: `VmRSS`, `RssAnon`, or `VmHWM` for the most that it had."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def wait_for(condition: Any, seconds: float, every: float = 0.005) -> bool:
    """Wait until something is so, at most so long; returns whether it is."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(every)
    return bool(found)


def percentile(values: Iterable[float], hundredth: float) -> float:
    """Return the value that so many hundredths of all are below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * hundredth / 100))] if ordered else float("nan")
