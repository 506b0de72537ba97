"""A course site on Flask that has OpenTelemetry, and of events knows four attributes."""

from __future__ import annotations

import os

from flask import Flask, request
from opentelemetry import trace

app = Flask(__name__)


@app.post("/courses/<int:course>/<action>")
def act(course: int, action: str) -> dict[str, int]:
    trace.get_current_span().set_attributes(
        {
            "ocm.event_type": f"course-{action}",
            "ocm.course_id": course,
            "ocm.user_id": request.args["user"],
            "ocm.entity_id": request.args["group"],
        }
    )
    return {"done": course}


@app.get("/worker")
def worker() -> dict[str, int]:
    return {"worker": os.getpid()}
