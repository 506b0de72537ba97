"""A plain script: spans, log lines, and an end; `asyncio` as its argument lets forty tasks do the same."""

from __future__ import annotations

import asyncio
import logging
import sys

from opentelemetry import trace

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("shop")
tracer = trace.get_tracer("script")


def act(number: int) -> None:
    tags = {"ocm.event_type": "course-save", "ocm.course_id": number, "ocm.user_id": f"user-{number}"}
    if number % 2:
        log.info("saved", extra=tags)
    else:
        trace.get_current_span().set_attributes(tags)


async def visitor(number: int) -> None:
    with tracer.start_as_current_span("visit"):
        await asyncio.to_thread(str, number)
        act(number)


async def visitors() -> None:
    await asyncio.gather(*map(visitor, range(40)))


if sys.argv[1] == "asyncio":
    asyncio.run(visitors())
else:
    for number in range(40):
        with tracer.start_as_current_span("visit"):
            act(number)
