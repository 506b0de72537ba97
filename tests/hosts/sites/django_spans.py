"""A course site on Django; it has OpenTelemetry, and of events knows four attributes and a log line."""

from __future__ import annotations

import logging
import os

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from opentelemetry import trace

log = logging.getLogger("shop")


def act(request: HttpRequest, course: int, action: str) -> JsonResponse:
    """Saving is told by the span of the request, completing by a line of the log."""
    tags = {
        "ocm.event_type": f"course-{action}",
        "ocm.course_id": course,
        "ocm.user_id": request.GET["user"],
        "ocm.entity_id": request.GET["group"],
    }
    if action == "save":
        trace.get_current_span().set_attributes(tags)
    else:
        log.info("done", extra=tags)
    return JsonResponse({"done": course})


def worker(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"worker": os.getpid()})


urlpatterns = [path("courses/<int:course>/<action>", act), path("worker", worker)]
application = get_wsgi_application()
