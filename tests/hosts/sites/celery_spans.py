"""Tasks of a course site; they have OpenTelemetry, and of events know four attributes and a log line."""

from __future__ import annotations

import logging
import os

from celery import Celery
from opentelemetry import trace

where = os.environ["SHOP_QUEUE"]
app = Celery("celery_spans", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": where,
        "data_folder_out": where,
        "control_folder": f"{where}-control",
        "polling_interval": 0.05,
    },
    broker_connection_retry_on_startup=True,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
)
log = logging.getLogger("shop")  # lines of get_task_logger() end at the handlers of Celery itself
log.setLevel(logging.INFO)


@app.task(ignore_result=True)
def act(action: str, course: int, user: str, group: str) -> None:
    """Saving is told by the span of the task, completing by a line of the log."""
    tags = {"ocm.event_type": f"course-{action}", "ocm.course_id": course, "ocm.user_id": user, "ocm.entity_id": group}
    if action == "save":
        trace.get_current_span().set_attributes(tags)
    else:
        log.info("done", extra=tags)
