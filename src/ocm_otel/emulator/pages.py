"""The emulator's own pages, to look at what came in: the report for people, JSON and CSV for programs.

They read the store; what they change is what a person asks for by PUT and DELETE: the events forgotten, the
durations of the courses, the faults. What the API answers is no business of theirs.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from . import durations, faultspec
from .api import EventsApi
from .faults import FaultPlan
from .figures import Choice, figures, names
from .latest import every, latest
from .mirror import Mirror
from .report import text
from .sheets import COLUMNS, rows_of, sheet
from .store import Store

MAX_PAGE = 10_000
_STATIC = Path(__file__).parent / "static"
#: The one key that the page may show, for everybody knows it.
_DEMO_KEY = "demo-key"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def _number(request: Request, name: str, default: int, most: int) -> int:
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 16 and int(given) <= most):
        raise ValueError(f"{name}={given[:40]!r} is not a whole number from 0 to {most}")
    return int(given)


def _moment(request: Request, name: str) -> float | None:
    given = request.query_params.get(name)
    if not given:
        return None
    try:
        value = float(given) if given.isascii() and len(given) < 40 else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name}={given[:40]!r} is no moment: write seconds since 1970")
    return value


def _choice(request: Request) -> Choice:
    asked = request.query_params
    return Choice(
        asked.get("type") or None, asked.get("entity_id") or None, _moment(request, "since"), _moment(request, "until")
    )


class Pages:
    """The pages of one emulator.

    Args:
        store: what came in.
        mirror: the report's copy of it.
        plan: the faults.
        example: whether the page's examples may name the demo's key.
    """

    def __init__(self, store: Store, mirror: Mirror, plan: FaultPlan, *, example: bool) -> None:
        self._store = store
        self._mirror = mirror
        self._plan = plan
        self._key = _DEMO_KEY if example else None
        self._run = secrets.token_hex(4)

    def page(self, request: Request) -> Response:
        """The report page, and the files that it is made of."""
        name = request.path_params.get("name", "index.html")
        # Looked for in the list of what is there: the name is a stranger's.
        found = {path.name: path for path in _STATIC.iterdir() if path.suffix in _TYPES}.get(name)
        if found is None:
            raise HTTPException(404)
        return Response(found.read_bytes(), headers=_PAGE_HEADERS, media_type=_TYPES[found.suffix])

    def report(self, request: Request) -> Response:
        """All that the report page shows; 304 when nothing has changed."""
        faults = faultspec.describe(self._plan)
        version = f'"{self._run}-{self._store.state}-{hash(str(faults)):x}"'
        if request.headers.get("if-none-match") == version:
            return Response(status_code=304, headers={"etag": version})
        choice = _choice(request)
        data = {
            "figures": asdict(figures(self._mirror, choice)),
            "calls": latest(self._mirror, self._store, choice, refused=request.query_params.get("calls") == "refused"),
            "names": names(self._mirror),
            "faults": faults,
            "key": self._key,
        }
        return JSONResponse(data, headers={"etag": version, "cache-control": "no-store"})

    def table(self, request: Request) -> Response:
        """One table of the report, whole, as CSV."""
        name = request.path_params["name"]
        if name not in COLUMNS:
            raise HTTPException(404)
        choice = _choice(request)
        if name == "calls":
            rows = every(self._mirror, self._store, choice, refused=request.query_params.get("calls") == "refused")
            content = sheet(name, rows)
        elif name == "durations":
            pairs = self._store.durations().items()
            content = sheet(name, ({"course_id": course, "minutes": minutes} for course, minutes in pairs))
        else:
            content = sheet(name, rows_of(name, figures(self._mirror, choice, whole=True)))
        named = {"content-disposition": f'attachment; filename="{name}.csv"', "cache-control": "no-store"}
        return StreamingResponse(content, headers=named, media_type="text/csv")

    def text(self, request: Request) -> Response:
        """The report as text."""
        refusals = latest(self._mirror, self._store, refused=True, most=20)
        return PlainTextResponse(text(figures(self._mirror), refusals), headers=_PAGE_HEADERS)

    def summary(self, request: Request) -> Response:
        """The figures as JSON."""
        refusals = latest(self._mirror, self._store, refused=True, most=20)
        return JSONResponse({**asdict(figures(self._mirror, _choice(request))), "refusals": refusals})

    def events(self, request: Request) -> Response:
        """The events that counted; DELETE forgets every call."""
        if request.method == "DELETE":
            return JSONResponse({"cleared": self._store.clear()})
        return self._listing(request, "events", lambda limit, offset: self._store.events(
            limit, offset, dict(request.query_params)))  # fmt: skip

    def requests(self, request: Request) -> Response:
        """Every call."""
        return self._listing(request, "requests", self._store.requests)

    def _listing(self, request: Request, what: str, ask: Callable[[int, int], tuple[int, Any]]) -> Response:
        limit = _number(request, "limit", 100, MAX_PAGE)
        offset = _number(request, "offset", 0, 10**15)
        total, rows = ask(limit, offset)
        return JSONResponse({"total": total, "limit": limit, "offset": offset, what: rows})

    async def durations(self, request: Request) -> Response:
        """How long the courses take: PUT a table in CSV, DELETE what is known."""
        body = await _body(request, durations.MAX_BYTES) if request.method == "PUT" else b""
        found = await asyncio.to_thread(durations.read, body) if request.method == "PUT" else {}
        self._store.measure(found)
        return JSONResponse({"courses": len(found)})

    async def faults(self, request: Request) -> Response:
        """The plan of faults: GET it, PUT another, DELETE it."""
        if request.method == "PUT":
            faultspec.apply(self._plan, await _body(request, 100_000))
        elif request.method == "DELETE":
            self._plan.replace(())
        return JSONResponse(faultspec.describe(self._plan))


async def _body(request: Request, most: int) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > most:
            raise ValueError(f"this is longer than {most} bytes: send less")
    return bytes(content)


async def _wrong(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def create_app(store: Store, mirror: Mirror, plan: FaultPlan, api: EventsApi) -> ASGIApp:
    """Return the whole emulator as an ASGI application.

    Args:
        store: what the pages show.
        mirror: the copy that they ask.
        plan: the faults that they show and change.
        api: what answers everything that is not one of the emulator's own pages, unknown paths included.
    """
    own = Pages(store, mirror, plan, example=api.accepts(_DEMO_KEY))
    routes = [
        Route("/", own.page, methods=["GET"]),
        Route("/emulator/static/{name}", own.page, methods=["GET"]),
        Route("/emulator/report", own.report, methods=["GET"]),
        Route("/emulator/report.txt", own.text, methods=["GET"]),
        Route("/emulator/tables/{name}.csv", own.table, methods=["GET"]),
        Route("/emulator/summary", own.summary, methods=["GET"]),
        Route("/emulator/events", own.events, methods=["GET", "DELETE"]),
        Route("/emulator/requests", own.requests, methods=["GET"]),
        Route("/emulator/durations", own.durations, methods=["PUT", "DELETE"]),
        Route("/emulator/faults", own.faults, methods=["GET", "PUT", "DELETE"]),
    ]
    pages = Starlette(routes=routes, exception_handlers={ValueError: _wrong})

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        mine = scope["path"] == "/" or scope["path"].startswith("/emulator/")
        chosen = pages if mine else api
        await chosen(scope, receive, send)

    return application
