"""The rows of delivery: what an event costs at each latency, with and without TLS, beside others who make the calls."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from core import Plan, Shape, Taken, in_turns, say
from rows import Goal, Row, against, figure, micro
from server import Server, folder
from texts import DELIVERY, PEERS

NAMES = {
    "bare_loop": "bare socket loop",
    "http_client": "`http.client` threads",
    "httpx_client": "one `httpx.Client`",
    "httpx_async": "`httpx.AsyncClient`",
    "aiohttp": "`aiohttp`",
}
#: How many times less than these ours has to cost; at 16 connections, without TLS.
LESS = {
    "http_client": Goal(most=0.3),
    "httpx_client": Goal(most=1 / 10, words="a tenth at most"),
    "httpx_async": Goal(most=1 / 30, words="a thirtieth at most"),
}
#: What share of the events is enough for shapes that cost much each.
SHARE = {"httpx_client": 0.08, "httpx_async": 0.04, "aiohttp": 0.3}


def _cell(plan: Plan, shapes: list[str], delay: int, tls: bool, connections: int) -> dict[str, Taken]:
    """Measure some shapes in turns, at one latency and with so many connections."""
    say(f"delivery, API {delay} ms{', TLS' if tls else ''}, {connections} connections")
    seconds = {0: 0, 20: 0.6, 100: 1.8 if connections > 16 else 0.9}[delay] * max(plan.scale, 0.5)
    events = int(connections / delay * 1000 * seconds) if delay else plan.many(8000, 1600)
    warm = min(events, connections * (8 if delay else 20))
    with Server(delay / 1000, tls=tls) as server:
        given = {**server.at, "connections": connections}
        made = {}
        for shape in shapes:
            many = events if delay else max(100, int(events * SHARE.get(shape, 1)))
            made[shape] = Shape("delivery:calls", {**given, "shape": shape, "events": many, "warm": min(warm, many)})
        return in_turns(made, plan, longest=45)


def _rows(taken: dict[str, Taken], delay: int, tls: bool, connections: int) -> list[Row]:
    where = f"API {delay} ms{', TLS' if tls else ''}, {connections} connection{'s' if connections > 1 else ''}"
    key = f"{delay}ms-{'tls-' if tls else ''}{connections}"
    ours, bare = taken["ours"], taken["bare_loop"]
    rows = []
    for shape, other in taken.items():
        if shape == "ours":
            continue
        goal = None if tls or connections != 16 else LESS.get(shape)
        if shape == "bare_loop" and connections == 16:
            goal = Goal(most=3 if tls else 4)
        rows.append(against(DELIVERY, f"cpu-{key}-{shape.replace('_', '-')}", f"CPU an event, {where}",
                            micro(ours["cpu"]), f"{NAMES[shape]}: {micro(other['cpu'])}",
                            ours.per(other, "cpu"), goal))  # fmt: skip
    rate = f"{figure(ours['rate'])}/s"
    if delay == 0 and connections == 16 and not tls:
        least = Goal(least=20_000, unit="events/s")
        rows.append(Row(DELIVERY, f"rate-{key}", f"events a second, {where}", rate,
                        f"bare socket loop: {figure(bare['rate'])}/s", None, str(least),
                        least.reached(ours["rate"])))  # fmt: skip
    elif delay:
        ideal, words = connections * 1000 / delay, "connections / latency"
        if connections == 256:
            ideal, words = bare["rate"], "bare socket loop"
        goal = Goal(least=0.95) if delay == 100 and connections in (32, 256) and not tls else None
        rows.append(against(DELIVERY, f"rate-{key}", f"events a second, {where}", rate,
                            f"{words}: {figure(ideal)}/s", ours["rate"] / ideal, goal))  # fmt: skip
    return rows


def delivery(plan: Plan) -> list[Row]:
    """Return the rows of 16 connections, where all are compared, and of 32 and 256."""
    two, few, every = ["bare_loop", "ours"], ["bare_loop", "http_client", "ours"], [*NAMES, "ours"]
    rows = []
    cells = [(every, 0, False, 16), (every, 0, True, 16), (every, 20, False, 16), (every, 100, False, 16),
             (few, 20, True, 16), (few, 100, True, 16), (two, 100, False, 32), (two, 100, False, 256)]  # fmt: skip
    for shapes, *cell in cells[:3] if plan.quick else cells:
        rows += _rows(_cell(plan, shapes, *cell), *cell)
    return rows


def connections(plan: Plan) -> list[Row]:
    """Return the rows of other numbers of connections, beside the bare loop alone; those that there is time for."""
    cells = [(delay, False, many) for many in (1, 8, 32) for delay in (0, 20, 100) if (delay, many) != (100, 32)]
    cells += [(0, True, many) for many in (1, 8, 32)]
    rows = []
    for cell in cells[:1] if plan.quick else cells:
        if plan.over:
            say("  no time for all of them")
            break
        rows += _rows(_cell(plan, ["bare_loop", "ours"], *cell), *cell)
    return sorted(rows, key=lambda row: row.what)


def peers(plan: Plan) -> list[Row]:
    """Return what the same number of events costs with libraries that send many in a request."""
    say("posthog, segment, sentry")
    events, where = plan.many(8_000, 1_000), Path(folder())
    with ExitStack() as stack:
        shapes = {}
        for peer in ("ours", "posthog", "segment", "sentry"):
            keep = str(where / f"{peer}.bodies")
            server = stack.enter_context(Server(keep=keep))
            shapes[peer] = Shape("peers:burst", {"peer": peer, "port": server.port, "keep": keep, "events": events})
        taken = in_turns(shapes, plan)
    ours, rows = taken.pop("ours"), []
    for peer, other in taken.items():
        lost = f", {figure(other['lost'])} % lost" if other["lost"] else ""
        rows.append(against(PEERS, f"peer-{peer}", f"CPU an event, all-in; {events:,} at once", micro(ours["each"]),
                            f"{peer}: {micro(other['each'])}{lost}", ours.per(other, "each"),
                            Goal(most=1, words="less than theirs")))  # fmt: skip
        rows.append(against(PEERS, f"peer-{peer}-put", "of it in the application's thread", micro(ours["put"]),
                            f"{peer}: {micro(other['put'])}", ours.per(other, "put")))  # fmt: skip
    return rows
