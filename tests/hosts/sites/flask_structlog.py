"""A course site on Flask with structlog's JSON lines; the user of each request is bound before its view."""

from __future__ import annotations

import structlog
from flask import Flask, request
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars
from structlog.processors import JSONRenderer

from ocm_otel.structlog import OCMProcessor

structlog.configure(processors=[merge_contextvars, OCMProcessor(), JSONRenderer()])
log = structlog.get_logger()
app = Flask(__name__)


@app.before_request
def who() -> None:
    clear_contextvars()
    bind_contextvars(**{"ocm.user_id": request.args["user"]})


@app.post("/courses/<int:course>/<action>")
def act(course: int, action: str) -> dict[str, int]:
    log.info("opened", page=course)
    tags = {"ocm.event_type": f"course-{action}", "ocm.course_id": course, "ocm.entity_id": request.args["group"]}
    log.info("done", **tags)
    return {"done": course}
