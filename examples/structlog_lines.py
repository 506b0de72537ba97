"""structlog lines become events, in three spellings: `python examples/structlog_lines.py`.

The events API is emulated here, and nothing is left on the disk. In your application leave `outbox=` out,
and set OTEL_EXPORTER_OCM_API_KEY.
"""

from __future__ import annotations

import structlog

from ocm_otel import OCMProcessor, Outbox, Settings, tags
from ocm_otel.emulator import Emulator

with Emulator() as api:
    outbox = Outbox(Settings(endpoint=api.endpoint, api_key=api.key, durability="memory"))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            OCMProcessor(outbox=outbox),  # before the renderer
            structlog.processors.JSONRenderer(),
        ]
    )
    log = structlog.get_logger()

    log.info("saved", **tags("course-save", course_id=7, user_id="ann"))
    log.info("completed", ocm_event_type="course-complete", ocm_course_id=7, ocm_user_id="ann")
    log.info("suggested", ocm={"event_type": "course-suggest", "course_id": 7, "user_id": "ann"})

    # Who it is can be said once for a whole request.
    with structlog.contextvars.bound_contextvars(ocm_user_id="bob", ocm_entity_id="school-1"):
        log.info("signed out", ocm_event_type="logout")
        log.info("nothing to count here")

    outbox.close(5)  # waits until all is delivered; the end of a process does so as well
    for event in api.events():
        print(event["type"], event["course_id"], event["user_id"], event["entity_id"])
