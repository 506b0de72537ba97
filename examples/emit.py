"""Events told directly, where there is neither a span nor a log line: `python examples/emit.py`.

The events API is emulated here: the variables that lead to it are set below. In your application they are
set outside of it, and OTEL_EXPORTER_OCM_ENDPOINT is left out.
"""

from __future__ import annotations

import os
import threading

from ocm_otel import emit
from ocm_otel.emulator import Emulator

with Emulator() as api:
    os.environ["OTEL_EXPORTER_OCM_ENDPOINT"] = api.endpoint
    os.environ["OTEL_EXPORTER_OCM_API_KEY"] = api.key
    os.environ["OTEL_EXPORTER_OCM_DURABILITY"] = "memory"  # leaves nothing on this disk

    emit("course-complete", course_id=7, user_id="ann", entity_id="school-1")

    # The answer is True when the event is accepted, and comes at once; the log says why it was not.
    if not emit("logout", user_id="ann"):
        print("not accepted")

    # From any thread as well.
    thread = threading.Thread(target=emit, args=("course-complete",), kwargs={"course_id": 8, "user_id": "bob"})
    thread.start()
    thread.join()

    api.wait_for(3)  # a real application has nothing to wait for: what waits at its end is delivered then
    for event in api.events():
        print(event["type"], event["course_id"], event["user_id"])
