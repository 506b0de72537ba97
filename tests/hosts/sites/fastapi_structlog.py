"""A course site on FastAPI with structlog's JSON lines; a middleware binds the user of each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from fastapi import FastAPI, Request, Response
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars
from structlog.processors import JSONRenderer

from ocm_otel.structlog import OCMProcessor

structlog.configure(processors=[merge_contextvars, OCMProcessor(), JSONRenderer()])
log = structlog.get_logger()
app = FastAPI()


@app.middleware("http")
async def who(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    clear_contextvars()
    bind_contextvars(**{"ocm.user_id": request.query_params["user"]})
    return await go_on(request)


@app.post("/courses/{course}/save")
async def save(course: int, group: str) -> dict[str, int]:
    log.info("opened", page=course)
    log.info("done", **{"ocm.event_type": "course-save", "ocm.course_id": course, "ocm.entity_id": group})
    return {"saved": course}


@app.post("/courses/{course}/complete")
def complete(course: int, group: str) -> dict[str, int]:
    log.info("opened", page=course)
    log.info("done", **{"ocm.event_type": "course-complete", "ocm.course_id": course, "ocm.entity_id": group})
    return {"completed": course}
