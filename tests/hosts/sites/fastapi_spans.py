"""A course site on FastAPI that has OpenTelemetry, and of events knows four attributes."""

from __future__ import annotations

import os

from fastapi import FastAPI
from opentelemetry import trace

app = FastAPI()


@app.post("/courses/{course}/save")
async def save(course: int, user: str, group: str) -> dict[str, int]:
    trace.get_current_span().set_attributes(
        {
            "ocm.event_type": "course-save",
            "ocm.course_id": course,
            "ocm.user_id": user,
            "ocm.entity_id": group,
        }
    )
    return {"saved": course}


@app.post("/courses/{course}/complete")
def complete(course: int, user: str, group: str) -> dict[str, int]:
    trace.get_current_span().set_attributes(
        {
            "ocm.event_type": "course-complete",
            "ocm.course_id": course,
            "ocm.user_id": user,
            "ocm.entity_id": group,
        }
    )
    return {"completed": course}


@app.get("/worker")
async def worker() -> dict[str, int]:
    return {"worker": os.getpid()}
