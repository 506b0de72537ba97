"""Lines of the standard library's logging become events: `python examples/stdlib_logging.py`.

The events API is emulated here, and nothing is left on the disk. In your application leave `outbox=` out,
and set OTEL_EXPORTER_OCM_API_KEY.
"""

from __future__ import annotations

import logging

from ocm_otel import OCMHandler, Outbox, Settings, tags
from ocm_otel.emulator import Emulator

with Emulator() as api:
    outbox = Outbox(Settings(endpoint=api.endpoint, api_key=api.key, durability="memory"))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger().addHandler(OCMHandler(outbox=outbox))  # beside those that write lines
    log = logging.getLogger("shop")

    log.info("saved", extra=tags("course-save", course_id=7, user_id="ann"))
    log.info("signed out", extra={"ocm.event_type": "logout", "ocm.user_id": "ann"})
    log.info("nothing to count here")

    outbox.close(5)  # waits until all is delivered; the end of a process does so as well
    for event in api.events():
        print(event["type"], event["course_id"], event["user_id"])
