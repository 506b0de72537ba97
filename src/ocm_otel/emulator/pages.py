"""The emulator's own pages, to look at what came in: the report for people, JSON for programs.

They read the store and change it in one way only, by DELETE. What the API answers is no business of theirs.
"""

from __future__ import annotations

from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .figures import figures
from .report import html, text
from .store import Store

MAX_PAGE = 10_000
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
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


def _listing(store: Store, request: Request, what: str) -> Response:
    try:
        limit = _number(request, "limit", 100, MAX_PAGE)
        offset = _number(request, "offset", 0, 10**15)
    except ValueError as error:
        return JSONResponse({"error": str(error)}, 400)
    where = dict(request.query_params)
    total, rows = store.events(limit, offset, where) if what == "events" else store.requests(limit, offset)
    return JSONResponse({"total": total, "limit": limit, "offset": offset, what: rows})


def _pages(store: Store) -> Starlette:
    """Return the pages to look at what came in; they read the store and change it only by DELETE."""

    async def events(request: Request) -> Response:
        if request.method == "DELETE":
            return JSONResponse({"cleared": store.clear()})
        return _listing(store, request, "events")

    async def requests(request: Request) -> Response:
        return _listing(store, request, "requests")

    async def summary(request: Request) -> Response:
        return JSONResponse(asdict(figures(store)))

    async def page(request: Request) -> Response:
        return HTMLResponse(html(figures(store)), headers=_PAGE_HEADERS)

    async def report(request: Request) -> Response:
        return PlainTextResponse(text(figures(store)), headers=_PAGE_HEADERS)

    return Starlette(
        routes=[
            Route("/", page, methods=["GET"]),
            Route("/emulator/events", events, methods=["GET", "DELETE"]),
            Route("/emulator/requests", requests, methods=["GET"]),
            Route("/emulator/summary", summary, methods=["GET"]),
            Route("/emulator/report.txt", report, methods=["GET"]),
        ]
    )


def create_app(store: Store, api: ASGIApp) -> ASGIApp:
    """Return the whole emulator as an ASGI application.

    Args:
        store: what the pages show.
        api: what answers everything that is not one of the emulator's own pages, unknown paths included.
    """
    pages = _pages(store)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        own = scope["path"] == "/" or scope["path"].startswith("/emulator/")
        chosen = pages if own else api
        await chosen(scope, receive, send)

    return application
