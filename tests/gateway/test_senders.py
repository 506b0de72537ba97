"""Senders that come from other registries: `nox -s senders` fetches them and runs this."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .conftest import Running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocm_otel.emulator import Emulator

pytestmark = pytest.mark.senders

SEND, TAGGER = (Path(__file__).parent / name for name in ("send.cjs", "tagger.py"))


def node(kind: str, url: str, first: int, compression: str = "none") -> None:
    """Send 1,000 spans, 100 of them tagged, by OpenTelemetry's SDK for Node."""
    env = {**os.environ, "NODE_PATH": os.environ["OCM_TEST_NODE_MODULES"]}
    subprocess.run(["node", str(SEND), kind, url, str(first), compression], check=True, env=env, timeout=50)


def users(first: int) -> list[str]:
    """Return the users of the events that `node` sends."""
    return [f"node-{first + number}" for number in range(0, 1000, 10)]


def counted(emulator: Emulator) -> list[str]:
    """Return the users of the events that counted, sorted."""
    return sorted(str(event["user_id"]) for event in emulator.events())


@contextmanager
def program(log: Path, *words: str, **env: str) -> Iterator[None]:
    """Run a program, with more variables than ours; what it says goes to a file."""
    env = {**os.environ, **env}
    with log.open("wb") as said, subprocess.Popen(words, stdout=said, stderr=said, env=env) as running:
        try:
            yield
        finally:
            running.terminate()


@contextmanager
def collector(folder: Path, target: int) -> Iterator[int]:
    """Run the Rust collector, which tags paths below /save/, in front of a port; yields its own."""
    port = free_port()
    words = [os.environ["OCM_TEST_ROTEL"], "start", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
             "--otlp-http-endpoint", f"127.0.0.1:{port}", "--pid-file", str(folder / "pid"),
             "--exporter", "otlp", "--otlp-exporter-endpoint", f"http://127.0.0.1:{target}",
             "--otlp-exporter-protocol", "http", "--otlp-exporter-retry-initial-backoff", "200ms",
             "--otlp-exporter-retry-max-backoff", "1s", "--otlp-with-trace-processor", str(TAGGER)]  # fmt: skip
    with program(folder / "rotel.log", *words):
        assert until(lambda: answers(port)), (folder / "rotel.log").read_text(encoding="utf-8")
        yield port


@contextmanager
def traefik(folder: Path, name: str, route: str, path: str, status: int, *options: str) -> Iterator[int]:
    """Run Traefik, which is written in Go, with one route; yields its port when a path is answered with a status."""
    port, routes, log = free_port(), folder / f"{name}.yml", folder / f"{name}.log"
    routes.write_text(f"http: {{routers: {{all: {{rule: 'PathPrefix(`/`)', service: {route}", encoding="utf-8")
    words = ["traefik", f"--entrypoints.web.address=127.0.0.1:{port}", f"--providers.file.filename={routes}",
             "--global.checknewversion=false", "--global.sendanonymoususage=false", *options]  # fmt: skip
    # A request makes up to three spans, which its queue of 2,048 has no room for when they come faster than it sends.
    with program(log, *words, OTEL_BSP_MAX_QUEUE_SIZE="20000", OTEL_BLRP_MAX_QUEUE_SIZE="20000"):
        # Before it has read its routes it answers with 404, and makes no spans.
        assert until(lambda: answers(port) and visit(port, [path]) == {status}), log.read_text(encoding="utf-8")
        yield port


def site(folder: Path, target: int) -> contextlib.AbstractContextManager[int]:
    """Run a site with its traces and access logs sent to a port; yields its own."""
    options = ["--experimental.otlplogs=true", "--tracing.otlp.http=true", "--tracing.addinternals=true",
               f"--tracing.otlp.http.endpoint=http://127.0.0.1:{target}/v1/traces",
               "--accesslog=true", "--accesslog.addinternals=true",
               f"--accesslog.otlp.http.endpoint=http://127.0.0.1:{target}/v1/logs"]  # fmt: skip
    return traefik(folder, "site", "noop@internal}}}", "/", 418, *options)


def balancer(folder: Path, target: int) -> contextlib.AbstractContextManager[int]:
    """Run a load balancer in front of a port; it answers 502 for what was cut off, as OTLP has it. Yields its own."""
    servers = f"{{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{target}'}}]}}}}"
    return traefik(folder, "balancer", f"back}}}}, services: {{back: {servers}}}}}", "/healthz", 200)


def visit(port: int, paths: list[str]) -> set[int]:
    """Ask for paths over one connection; returns the statuses."""
    found = set()
    with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        for path in paths:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            found.add(answer.status)
    return found


def pages(first: int) -> list[str]:
    """Return the paths of 1,000 requests, of which 100 are tagged by the collector."""
    return [f"/save/go-{first + number}" if number % 10 == 0 else "/courses" for number in range(1000)]


def python(url: str) -> None:
    """Send 1,000 spans, 100 of them tagged, by OpenTelemetry's SDK for Python."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url), max_queue_size=2000))
    for number in range(1000):
        with provider.get_tracer("site").start_as_current_span("view") as one:
            if number % 10 == 0:
                one.set_attributes({"ocm.event_type": "course-save", "ocm.user_id": f"python-{number}"})
    provider.shutdown()


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_the_node_sdk(started: Running, emulator: Emulator) -> None:
    """Of 1,000 spans of the Node SDK, in JSON and in protobuf, in chunks, 100 are events, once each."""
    for first, kind, compression in ((0, "http", "none"), (1000, "http", "gzip"), (2000, "proto", "none")):
        node(kind, f"http://127.0.0.1:{started.port}/v1/traces", first, compression)
    assert emulator.wait_for(300)
    assert counted(emulator) == sorted(users(0) + users(1000) + users(2000))


def test_a_go_program(started: Running, emulator: Emulator, tmp_path: Path) -> None:
    """1,000 spans and 1,000 log records of a Go program, none of them tagged, are taken and make no event."""

    def taken() -> bool:
        told = started.ask("GET", "/metrics")[2].decode()
        found = dict(re.findall(r'ocm_gateway_records{door="(\w+)"} (\d+)', told))
        assert 'door="traces",status="4' not in told
        return min(int(found.get(door, 0)) for door in ("traces", "logs")) >= 1000

    with site(tmp_path, started.port) as port:
        assert visit(port, pages(0)) == {418}
        assert until(taken)
    assert emulator.count == 0


@pytest.mark.timeout(120)
def test_a_retrying_collector_while_the_gateway_is_killed(gateway: Running, emulator: Emulator, tmp_path: Path) -> None:
    """Through a collector that retries, and a gateway that is killed again and again, each event counts once,
    whether Python, Node or Go made its span.
    """
    # A load balancer stands between them: this collector drops what a reset connection had of it, and sends again
    # what is answered with 502.
    emulator.always(503)  # a call that a kill cuts off would be ambiguous; that is another promise
    gateway.start()
    with balancer(tmp_path, gateway.port) as front, collector(tmp_path, front) as port, site(tmp_path, port) as page:
        url = f"http://127.0.0.1:{port}/v1/traces"
        senders = (
            lambda: node("http", url, 0),
            lambda: node("proto", url, 1000),
            lambda: python(url),
            lambda: visit(page, pages(0)),
        )
        for send in senders:
            send()
            threading.Event().wait(random.uniform(0.1, 0.6))
            gateway.kill()
            gateway.start()
        emulator.normally()
        emulator.wait_for(400, 40)  # who is missing is told below
        gateway.kill(15)
    said = (tmp_path / "rotel.log").read_text(encoding="utf-8")
    assert "dropping" not in said, said
    others = [f"{name}-{number}" for name in ("python", "go") for number in range(0, 1000, 10)]
    assert counted(emulator) == sorted(users(0) + users(1000) + others)
