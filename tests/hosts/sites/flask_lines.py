"""A course site on Flask that writes plain log lines; its tags stand in `extra`."""

from __future__ import annotations

import logging

from flask import Flask, request

logging.basicConfig(level=logging.INFO, format="shop: %(message)s")
log = logging.getLogger("shop")
app = Flask(__name__)


@app.post("/courses/<int:course>/<action>")
def act(course: int, action: str) -> dict[str, int]:
    log.info("opened", extra={"page": course})
    log.info(
        "done",
        extra={
            "ocm.event_type": f"course-{action}",
            "ocm.course_id": course,
            "ocm.user_id": request.args["user"],
            "ocm.entity_id": request.args["group"],
        },
    )
    return {"done": course}
