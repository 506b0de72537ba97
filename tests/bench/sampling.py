"""What a span costs in each mode of the sampler: `python tests/bench/sampling.py`.

Each shape starts and ends spans inside of a local parent that is not sampled, and sets attributes where the span is
recorded, as instrumentations do. The shapes take turns, and each figure is the median of the rounds, in microseconds
of CPU time, beside its ratio to the same application without us, whose spans are dropped.
"""

from __future__ import annotations

import platform
import statistics
import time
from datetime import datetime, timezone
from importlib.metadata import version

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, Tracer

from ocm_otel import OCMSampler, OCMSpanProcessor, Outbox, Settings

ROUNDS, SPANS, ATTRIBUTES = 9, 4_000, (0, 5, 15)
OUTBOX = Outbox(Settings(durability="memory", api_key="not-used"))


class Nowhere(InMemorySpanExporter):
    """An exporter that keeps nothing, so that only the SDK's own work is measured."""

    def export(self, spans):
        return super().export(())


def tracer(sampler: Sampler, *, ours: bool = True, exports: bool = False) -> Tracer:
    """Return a tracer with this sampler, our processor, and a batch processor where spans are sampled."""
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    if ours:
        provider.add_span_processor(OCMSpanProcessor(outbox=OUTBOX))
    if exports:
        provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=2**17))
    return provider.get_tracer("bench")


OFF = ALWAYS_OFF
SHAPES = {
    "without us, dropped": (tracer(OFF, ours=False), SpanKind.INTERNAL),
    "`off`": (tracer(OCMSampler(OFF, mode="off")), SpanKind.INTERNAL),
    "`tagged`, an untagged span": (tracer(OCMSampler(OFF, mode="tagged")), SpanKind.INTERNAL),
    "`entry`, a span inside": (tracer(OCMSampler(OFF, mode="entry")), SpanKind.INTERNAL),
    "`entry`, the entry itself": (tracer(OCMSampler(OFF, mode="entry")), SpanKind.SERVER),
    "`all`": (tracer(OCMSampler(OFF, mode="all")), SpanKind.INTERNAL),
    "without us, sampled and exported": (tracer(ALWAYS_ON, ours=False, exports=True), SpanKind.INTERNAL),
}


def spans(made_by: Tracer, kind: SpanKind, attributes: int) -> float:
    """Return the CPU microseconds that one span takes."""
    names = [f"http.attribute_{number}" for number in range(attributes)]
    with made_by.start_as_current_span("parent"):
        began = time.process_time()
        for _ in range(SPANS):
            with made_by.start_as_current_span("span", kind=kind) as span:
                if span.is_recording():
                    for name in names:
                        span.set_attribute(name, "value")
        return (time.process_time() - began) / SPANS * 1e6


def main() -> None:
    """Measure, and print the table."""
    took: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for attributes in ATTRIBUTES:
            for name, (made_by, kind) in SHAPES.items():
                took.setdefault((name, attributes), []).append(spans(made_by, kind, attributes))
    first = next(iter(SHAPES))
    middle = {key: statistics.median(values) for key, values in took.items()}
    print(f"| µs a span (times the first line) | {' | '.join(f'{n} attributes' for n in ATTRIBUTES)} |")
    print("| --- |" + " ---: |" * len(ATTRIBUTES))
    for name in SHAPES:
        cells = [f"{middle[name, n]:.1f} ({middle[name, n] / middle[first, n]:.1f})" for n in ATTRIBUTES]
        print(f"| {name} | {' | '.join(cells)} |")
    sdk, python, day = version("opentelemetry-sdk"), platform.python_version(), datetime.now(timezone.utc).date()
    print(f"\n{day}, CPython {python}, OpenTelemetry {sdk}, {platform.machine()}; median of {ROUNDS} rounds.")


if __name__ == "__main__":
    main()
