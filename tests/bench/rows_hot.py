"""The rows of the application's own threads: spans, records, lines; and what a request handler feels."""

from __future__ import annotations

from core import Plan, Ratio, Shape, Taken, in_turns, say
from rows import Goal, Row, against, alone, figure, micro
from server import Server
from texts import FEEL, HOT

KINDS = {"span": "span", "log record": "log", "structlog line": "line"}
GOALS = {
    ("span", False): Goal(most=0.25, unit="µs"),
    ("structlog line", False): Goal(most=0.15, unit="µs"),
}
#: The same as a share of the machine's own speed: a span took 11.9 µs, and a line 6.9, where those goals were set.
SHARES = {"span": Goal(most=2.1, unit="%"), "structlog line": Goal(most=2.2, unit="%")}
#: How many processes look for tenths of a microsecond, for each of a comparison's rounds: how a process's memory
#: happens to lie moves such a figure by as much.
FINE_PROCESSES = 3
NAMES = {"none": "no processor", "stock": "the stock batch processor"}


def hot_path(plan: Plan) -> list[Row]:
    """Return what tagged and untagged ones cost above a processor that does nothing."""
    seconds, found = 3 * plan.scale, []
    for tagged in (False, True):
        shapes = {kind: Shape("hot_path:held", {"kind": kind, "tagged": tagged, "seconds": seconds}) for kind in KINDS}
        say(f"hot path, {'tagged' if tagged else 'untagged'}, delivery held")
        taken = in_turns(shapes, plan, 1)
        exact = _fine(plan) if not tagged else {}
        for kind in KINDS:
            found += _kind(kind, tagged, taken[kind], exact.get(kind))
    return found + _threads(plan) + _running(plan)


def _fine(plan: Plan) -> dict[str, Taken]:
    """Return what an untagged span and an untagged line cost, in slices so short that tenths of a microsecond show."""
    given = {"seconds": 2 * plan.scale}
    shapes = {kind: Shape("hot_path:fine", {**given, "kind": kind}) for kind in ("span", "structlog line")}
    return in_turns(shapes, plan, FINE_PROCESSES * plan.rounds)


def _share(kind: str, key: str, name: str, exact: Taken) -> Row:
    """Return a row of how much more an untagged one costs, as a share of one with a processor that does nothing."""
    more = Ratio.of([100 * run["disk+"] / run["idle"] for run in exact.runs])
    return alone(HOT, f"{key}-share", f"{name}, as a share of one with a processor that does nothing", more, "% more",
                 SHARES[kind], beside=f"{exact.rounds:,} rounds; half of {len(exact.runs)} processes "
                 f"{figure(more.low)} to {figure(more.high)}")  # fmt: skip


def _kind(kind: str, tagged: bool, taken: Taken, exact: Taken | None) -> list[Row]:
    name, key = f"{'tagged' if tagged else 'untagged'} {kind}", f"{'tagged' if tagged else 'untagged'}-{KINDS[kind]}"
    above, idle = (exact or taken)["disk+"], (exact or taken)["idle"]
    goal = GOALS.get((kind, tagged))
    base = f"a processor that does nothing: {micro(idle)}; none: {micro(taken['none'])}"
    if exact is not None:
        looks = "the name" if kind == "span" else "the three names"
        base = f"a processor that does nothing: {micro(idle)}; one that looks for {looks}: {micro(exact['look+'], '+')}"
    rows = [
        Row(HOT, key, f"{name}, above a processor that does nothing", micro(above, "+"), base, None, str(goal or ""),
            goal.reached(above) if goal else None),
    ]  # fmt: skip
    if exact is not None:
        rows.append(_share(kind, key, name, exact))
    if tagged:
        rows.append(Row(HOT, f"{key}-memory", f"{name}, without the journal", micro(taken["ours+"], "+"), base))
    if kind != "structlog line":
        stock = taken["stock+"]
        times = above / stock if stock > 0 else None
        rows.append(against(HOT, f"{key}-stock", f"{name}, against {NAMES['stock']}", micro(above, "+"),
                            f"{NAMES['stock']}: {micro(stock, '+')}", times))  # fmt: skip
    return rows


def _threads(plan: Plan) -> list[Row]:
    """Return what four threads pay that make the same at the same time."""
    seconds, found = 0.5 * plan.scale, []
    for tagged in (False, True):
        say(f"hot path, four threads, {'tagged' if tagged else 'untagged'}")
        for kind in ("span",) if plan.quick else KINDS:
            given = {"kind": kind, "tagged": tagged, "seconds": seconds, "only": ["idle", "disk"]}
            shapes = {str(many): Shape("hot_path:held", {**given, "threads": many}) for many in (1, 4)}
            one, four = in_turns(shapes, plan, min(3, plan.rounds)).values()
            name = f"{'tagged' if tagged else 'untagged'} {kind}"
            key = f"{'tagged' if tagged else 'untagged'}-{KINDS[kind]}-4-threads"
            row = Row(HOT, key, f"{name} in 4 threads, each", micro(four["disk+"], "+"),
                      f"one thread: {micro(one['disk+'], '+')}")  # fmt: skip
            if tagged:  # nobody can tell a ratio of two tenths of a microsecond
                goal = Goal(most=1.3)
                row.times, row.goal = four.per(one, "disk+"), str(goal)
                row.reached = goal.reached(row.times)
            found.append(row)
    return found


def _running(plan: Plan) -> list[Row]:
    """Return what a tagged span costs while delivery runs in the same process."""
    found, seconds = [], 0.8 * plan.scale
    with Server() as fast, Server(0.02) as slow:
        for server, key, words in ((fast, "0", "0 ms"), (slow, "20", "20 ms")):
            say(f"hot path, while delivery runs, API {words}")
            given = {**server.at, "seconds": seconds}
            shapes = {str(many): Shape("hot_path:running", {**given, "threads": many}) for many in (1, 4)}
            taken = in_turns(shapes, plan)
            one, four = taken["1"], taken["4"]
            name = f"tagged span while delivery runs, API {words}"
            goal = Goal(most=5, unit="µs")
            beside = f"idle processor: {micro(one['idle'])}; {figure(one['delivered'])} events/s go out"
            found.append(alone(HOT, f"running-{key}", name, one["disk+"], "µs more", goal, beside=beside))
            found.append(alone(HOT, f"running-{key}-wall", f"{name}, by the wall's clock", one["disk+wall"], "µs more"))
            found.append(against(HOT, f"running-{key}-4-threads", f"{name}, 4 threads, each", micro(four["disk+"], "+"),
                                 f"one thread: {micro(one['disk+'], '+')}", four.per(one, "disk+"),
                                 Goal(most=1.3)))  # fmt: skip
    return found


def request(plan: Plan) -> list[Row]:
    """Return how a request handler's percentiles change while 500 events a second go out."""
    say("a request handler, 500 events a second")
    with Server(0.02) as server:
        shape = Shape("handler:requests", {**server.at, "seconds": max(1.0, 2.0 * plan.scale)})
        taken = in_turns({"it": shape}, plan)["it"]
    found = []
    for hundredth in (50, 90, 99):
        idle, busy, again = (taken[f"{name}{hundredth}"] for name in ("idle", "busy", "again"))
        goal = Goal(most=1.15) if hundredth == 99 else None
        found.append(against(FEEL, f"p{hundredth}", f"request, {hundredth} % within", micro(busy),
                             f"nothing goes out: {micro(idle)} (once more: {micro(again)})",
                             2 * busy / (idle + again), goal))  # fmt: skip
    found.append(alone(FEEL, "p99-rate", "events a second that went out meanwhile", taken["rate"], ""))
    return [*found, *_drained(plan)]


def _drained(plan: Plan) -> list[Row]:
    """Return what a request feels while a backlog goes out to an API that answers at once."""
    say("a request handler, while a backlog is drained")
    with Server() as server:
        given = {"seconds": max(0.8, 1.5 * plan.scale), "backlog": plan.many(60_000)}
        taken = in_turns({"it": Shape("handler:drained", {**server.at, **given})}, plan)["it"]
    idle, busy = taken["idle99"], taken["busy99"]
    beside = f"nothing goes out: {micro(idle)}; {figure(taken['rate'])} events/s go out"
    name = "request, 99 % within, while a backlog is drained"
    return [against(FEEL, "p99-drained", name, micro(busy), beside, busy / idle, Goal(most=1.15))]


def wire(plan: Plan) -> list[Row]:
    """Return how long an event takes from `put` in an idle process to the server."""
    say("idle to wire")
    with Server() as server:
        given = {**server.at, "events": plan.many(40, 15), "longest": 0.15}
        taken = in_turns({name: Shape(f"wire:{name}", given) for name in ("outbox", "call")}, plan)
    ours, call = taken["outbox"], taken["call"]
    beside = "the thread calls itself, over a kept connection: {} ms"
    return [
        alone(FEEL, "wire-median", "idle to wire, median", ours["median"], "ms", Goal(most=5, unit="ms"),
              beside=beside.format(figure(call["median"]))),
        alone(FEEL, "wire-p99", "idle to wire, 99 % within", ours["p99"], "ms", Goal(most=50, unit="ms"),
              beside=beside.format(figure(call["p99"]))),
        alone(FEEL, "wire-first", "the first event of a process", ours["first"], "ms"),
    ]  # fmt: skip
