"""A collector that nobody here wrote, between an SDK and Kafka: rotel, in Rust."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .conftest import answers, free_port, until, users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocm_otel.emulator import Emulator

    from .conftest import Running


@contextmanager
def collector(running: Running, form: str) -> Iterator[int]:
    """Run the collector in front of the brokers; yields the port of its OTLP over HTTP."""
    rotel = pytest.importorskip("rotel")
    ports = [free_port(), free_port()]
    command = [str(Path(rotel.__file__).parent / "rotel-agent"), "start",
               "--otlp-grpc-endpoint", f"127.0.0.1:{ports[0]}", "--otlp-http-endpoint", f"127.0.0.1:{ports[1]}",
               "--pid-file", str(running.folder / "pid"), "--exporter", "kafka",
               "--kafka-exporter-brokers", running.kafka.servers, "--kafka-exporter-traces-topic", running.topic,
               "--kafka-exporter-format", form]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert until(lambda: answers(ports[1]))
            yield ports[1]
        finally:
            process.terminate()


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_a_collector_writes_to_kafka(running: Running, emulator: Emulator, form: str) -> None:
    """Of 1,000 spans of the SDK through the collector and Kafka, the 100 that are tagged are 100 events, once each."""
    with collector(running, form) as port:
        provider = TracerProvider()
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{port}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2000))
        tracer = provider.get_tracer("site")
        for number in range(1000):
            with tracer.start_as_current_span("view") as one:
                if number % 10 == 0:
                    one.set_attributes({"ocm.event_type": "course-save", "ocm.course_id": 7, "ocm.user_id": number})
        provider.shutdown()
        first, second = running.start_two()
        assert emulator.wait_for(100, 40), running.log
        assert until(
            lambda: first.figures()['records{door="traces"}'] + second.figures()['records{door="traces"}'] == 1000
        ), running.log
    assert users(emulator) == {str(number): 1 for number in range(0, 1000, 10)}
