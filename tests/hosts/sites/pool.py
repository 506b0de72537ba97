"""A script with a pool of `multiprocessing`; its first argument says how the pool starts its processes."""

from __future__ import annotations

import multiprocessing
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel import OCMSpanProcessor

provider = TracerProvider()
provider.add_span_processor(OCMSpanProcessor())
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("pool")


def save(number: int) -> None:
    with tracer.start_as_current_span("save") as span:
        span.set_attributes({"ocm.event_type": "course-save", "ocm.course_id": number, "ocm.user_id": f"user-{number}"})


if __name__ == "__main__":
    save(0)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        pool.map(save, range(1, 40))
        if sys.argv[2] == "join":
            pool.close()
            pool.join()
    save(40)
