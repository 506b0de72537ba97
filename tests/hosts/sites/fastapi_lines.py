"""A course site on FastAPI that writes plain log lines; its tags stand in `extra`."""

from __future__ import annotations

import logging

from fastapi import FastAPI

logging.basicConfig(level=logging.INFO, format="shop: %(message)s")
log = logging.getLogger("shop")
app = FastAPI()


@app.post("/courses/{course}/{action}")
async def act(course: int, action: str, user: str, group: str) -> dict[str, int]:
    log.info("opened", extra={"page": course})
    log.info(
        "done",
        extra={
            "ocm.event_type": f"course-{action}",
            "ocm.course_id": course,
            "ocm.user_id": user,
            "ocm.entity_id": group,
        },
    )
    return {"done": course}
