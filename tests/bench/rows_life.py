"""The rows of what happens seldom: bursts, a million waiting, starts, recoveries; and that nothing of it grows."""

from __future__ import annotations

import sys
from pathlib import Path

import startup
from core import Plan, Shape, Taken, in_turns, say
from plot import Panel
from rows import Goal, Row, against, alone, figure, micro
from texts import GROWTH, START, WAITING

NONE = Goal(most=0, words="none")


def burst(plan: Plan) -> list[Row]:
    """Return what becomes of 50,000 spans in a tight loop while the server is dead."""
    events = plan.many(50_000, 5_000)
    say(f"a burst of {events:,} spans into a dead server")
    taken = in_turns({"it": Shape("growth:burst", {"events": events})}, plan)["it"]
    name = f"{events:,} spans into a dead server"
    return [
        alone(WAITING, "burst-lost", f"{name}: lost", taken["lost"], "events", NONE),
        alone(WAITING, "burst-memory", f"{name}: resident memory above idle", taken["memory"], "MB"),
        alone(WAITING, "waiting-event", f"{name}: memory for each waiting event", taken["each"], "bytes",
              beside="mapped files of the journal included"),
        alone(WAITING, "burst-back", f"{name}: all delivered after the server is back", taken["seconds"], "s"),
    ]  # fmt: skip


def growth(plan: Plan) -> tuple[list[Row], list[Panel]]:
    """Return what an event costs with more and more waiting, more doors, longer outages; and the plot's panels."""
    backlogs = [10_000] if plan.quick else [10_000, 100_000, 1_000_000]
    events = plan.many(4_000, 500)
    shapes = {f"{n}": Shape("growth:few", {"backlog": n, "events": max(events, 2 * n)}) for n in (100, 1_000)}
    shapes |= {f"{n}": Shape("growth:waiting", {"backlog": n, "events": events}) for n in backlogs}
    many = {"backlog": events * 2, "events": events}
    doors = {f"{n} door{'s' * (n > 1)}": Shape("growth:waiting", {**many, "doors": n}) for n in (1, 8, 64)}
    outages = {
        f"{m} min": Shape("growth:outage", {**many, "minutes": m}) for m in ((1, 10) if plan.quick else (1, 10, 60))
    }
    say("a cost that does not grow: doors, outages")
    taken = in_turns({**doors, **outages}, plan)
    say(f"a cost that does not grow: 100 to {backlogs[-1]:,} waiting")
    taken |= in_turns(shapes, plan, longest=180)
    rows = _most(backlogs, taken)
    for names, start in ((doors, "delivery of an event that came by "), (outages, "delivery of an event after ")):
        one, *more = names
        for other in more:
            what = start + (f"{other} of outage" if names is outages else f"one of {other}")
            rows.append(against(GROWTH, f"growth-{other.replace(' ', '-')}", what, micro(taken[other]["cpu"]),
                                f"{one}: {micro(taken[one]['cpu'])}", taken[other].per(taken[one], "cpu"),
                                Goal(most=1.1)))  # fmt: skip
    return rows, [
        _panel("events waiting", list(shapes), taken),
        _panel("doors", list(doors), taken),
        _panel("minutes of outage", list(outages), taken),
    ]


def _most(backlogs: list[int], taken: dict[str, Taken]) -> list[Row]:
    """Return the rows of the longest backlog."""
    last, first, name = taken[f"{backlogs[-1]}"], taken[f"{backlogs[0]}"], f"{backlogs[-1]:,} waiting"
    rows = [
        alone(WAITING, "million-memory", f"{name}: resident memory above idle", last["memory"], "MB",
              Goal(most=64, unit="MB"), beside=f"of it not mapped files: {figure(last['anonymous'])} MB"),
    ]  # fmt: skip
    for few in ("100", "1000"):
        base = taken[few]
        rows.append(against(WAITING, f"million-cost-{few}", f"{name}: delivery of an event", micro(last["cpu"]),
                            f"{int(few):,} waiting: {micro(base['cpu'])}", last.per(base, "cpu"),
                            Goal(most=1.1)))  # fmt: skip
    rows.append(against(WAITING, "million-put", f"{name}: `put`, on the average", micro(last["put"]),
                        f"{backlogs[0]:,} waiting: {micro(first['put'])}", last.per(first, "put")))  # fmt: skip
    return rows


def _panel(title: str, names: list[str], taken: dict[str, Taken]) -> Panel:
    first = taken[names[0]]
    return Panel(title, [(float(name.partition(" ")[0]), taken[name].per(first, "cpu")) for name in names])


def start(plan: Plan) -> list[Row]:
    """Return what imports, the command and a recovery cost."""
    say("imports and the command")
    taken = in_turns({name: Shape("startup:imports", {"what": name}) for name in startup.IMPORTS}, plan,
                     plan.many(11))  # fmt: skip
    rows = []
    for what, base, words in IMPORTED:
        above = taken[what].above(taken[base], "cpu")
        goal = Goal(most=15, unit="ms") if what != "all" else None
        rows.append(alone(START, f"import-{what}", f"import of {words}", above, "ms of CPU", goal,
                          beside=f"{BASES[base]}: {figure(taken[base]['cpu'])} ms"))  # fmt: skip
    heavy = [
        f"`{name}` by {what}"
        for what, one in taken.items()
        for name in ("httpx", "asyncio")
        if any(run[name] for run in one.runs) and not any(run[name] for run in taken[_base(what)].runs)
    ]
    rows.append(Row(START, "import-heavy", "httpx and asyncio among the modules", ", ".join(heavy) or "neither", "",
                    None, "neither", not heavy))  # fmt: skip
    program = [str(Path(sys.executable).with_name("ocm-otel"))]
    commands = {"pass": ["-c", "pass"], "--version": [*program, "--version"], "--help": [*program, "--help"]}
    took = in_turns({name: Shape("startup:command", {"words": words}) for name, words in commands.items()}, plan)
    none = took.pop("pass")
    for name, one in took.items():
        rows.append(against(START, f"command{name}", f"`ocm-otel {name}`", f"{figure(one['wall'])} ms",
                            f"`python -c pass`: {figure(none['wall'])} ms", one.per(none, "wall")))  # fmt: skip
    return rows + _recovery(plan)


IMPORTED = (
    ("package", "nothing", "`ocm_otel`"),
    ("spans", "sdk", "`OCMSpanProcessor`"),
    ("logs", "sdk", "`OCMLogRecordProcessor`"),
    ("line", "structlog", "`OCMProcessor`"),
    ("handler", "logging", "`OCMHandler`"),
    ("all", "both", "all names"),
)
BASES = {
    "nothing": "an empty program",
    "sdk": "the OpenTelemetry SDK alone",
    "structlog": "structlog alone",
    "logging": "`logging` alone",
    "both": "the SDK and structlog alone",
}


def _base(what: str) -> str:
    return next((base for name, base, _ in IMPORTED if name == what), "both" if what == "outbox" else what)


def _recovery(plan: Plan) -> list[Row]:
    events = plan.many(100_000, 5_000) if not plan.quick else 5_000
    say(f"recovery with {events:,} waiting")
    taken = in_turns({"it": Shape("startup:recovery", {"events": events})}, plan)["it"]
    name = f"a start with {events:,} left behind"
    return [
        alone(START, "recovery-first", f"{name}: the first is delivered after", taken["first"], "ms"),
        alone(START, "recovery-all", f"{name}: all are delivered after", taken["seconds"], "s"),
        alone(START, "recovery-cpu", f"{name}: CPU an event, all-in", taken["cpu"], "µs"),
        alone(START, "recovery-memory", f"{name}: memory above that at the start", taken["memory"], "MB"),
        alone(START, "recovery-lost", f"{name}: lost", taken["lost"], "events", NONE),
    ]
