"""A learning site, as a team may have it: a web application with OpenTelemetry, structlog and `logging`.

It does not import ocm_otel. What makes events of its actions are the tags ``ocm.event_type``,
``ocm.course_id``, ``ocm.user_id`` and ``ocm.entity_id``, each view in one of the four ways that there are:
on the current span, on a span event, on a structlog line, on a line of the standard library's `logging`.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import structlog
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

COURSES = {
    101: "Python for everyone",
    102: "Speaking in public",
    103: "Reading a balance sheet",
    104: "First aid at work",
    105: "Data in plain words",
    106: "Leading a small team",
}

log = structlog.get_logger()
classic_log = logging.getLogger("learning_site")


class Person(NamedTuple):
    """Who sends a request: an internal id, and the entity that the person belongs to."""

    id: str
    entity: str


def person(request: Request) -> Person:
    """Return who is signed in; a real site would look the session up."""
    return Person(request.cookies.get("person", "guest"), request.cookies.get("entity", "public"))


def course(request: Request) -> int:
    """Return the course that the address names."""
    return int(request.path_params["course"])


async def home(request: Request) -> Response:
    """The front page. Nothing is tagged here, so its spans are no events."""
    return JSONResponse({"courses": len(COURSES)})


async def search(request: Request) -> Response:
    """A tagged span: the one that the instrumentation made for this request."""
    who = person(request)
    words = request.query_params.get("q", "").lower()
    found = {number: title for number, title in COURSES.items() if words in title.lower()}
    trace.get_current_span().set_attributes(
        {"ocm.event_type": "search", "ocm.user_id": who.id, "ocm.entity_id": who.entity}
    )
    return JSONResponse(found)


async def click(request: Request) -> Response:
    """A tagged span that names a course. Numbers and texts will do as ids."""
    who = person(request)
    span = trace.get_current_span()
    span.set_attribute("ocm.event_type", "course-click")
    span.set_attribute("ocm.course_id", course(request))
    span.set_attribute("ocm.user_id", who.id)
    span.set_attribute("ocm.entity_id", who.entity)
    return JSONResponse({"title": COURSES[course(request)]})


async def save(request: Request) -> Response:
    """A tagged structlog line: keywords, with an underscore for the dot."""
    who = person(request)
    log.info(
        "course saved",
        ocm_event_type="course-save",
        ocm_course_id=course(request),
        ocm_user_id=who.id,
        ocm_entity_id=who.entity,
    )
    return JSONResponse({"saved": True})


async def complete(request: Request) -> Response:
    """A tagged structlog line in the nested form, beside what the line says anyway."""
    who = person(request)
    facts: dict[str, Any] = {"event_type": "course-complete", "course_id": course(request)}
    log.info("course completed", minutes=45, ocm={**facts, "user_id": who.id, "entity_id": who.entity})
    return JSONResponse({"completed": True})


async def suggest(request: Request) -> Response:
    """A tagged line of the standard library's logging, by `extra`."""
    who = person(request)
    classic_log.info(
        "a course was suggested to a colleague",
        extra={
            "ocm.event_type": "course-suggest",
            "ocm.course_id": course(request),
            "ocm.user_id": who.id,
            "ocm.entity_id": who.entity,
        },
    )
    return JSONResponse({"suggested": True})


async def logout(request: Request) -> Response:
    """A tagged span event: one fact among others within a span."""
    who = person(request)
    trace.get_current_span().add_event(
        "session closed", {"ocm.event_type": "logout", "ocm.user_id": who.id, "ocm.entity_id": who.entity}
    )
    return JSONResponse({"signed_in": False})


async def compulsory(request: Request) -> Response:
    """A mistake that happens: a course event without its course."""
    trace.get_current_span().set_attributes({"ocm.event_type": "course-click", "ocm.user_id": person(request).id})
    return JSONResponse({"title": COURSES[104]})


async def profile(request: Request) -> Response:
    """Another one: a type that is blank, for instance because a variable was not set."""
    trace.get_current_span().set_attributes({"ocm.event_type": " ", "ocm.user_id": person(request).id})
    return JSONResponse({"profile": person(request).id})


def create_site() -> Starlette:
    """Return the application."""
    return Starlette(
        routes=[
            Route("/", home),
            Route("/search", search),
            Route("/courses/{course:int}", click),
            Route("/courses/{course:int}/save", save, methods=["POST"]),
            Route("/courses/{course:int}/complete", complete, methods=["POST"]),
            Route("/courses/{course:int}/suggest", suggest, methods=["POST"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/compulsory", compulsory),
            Route("/profile", profile),
        ]
    )
