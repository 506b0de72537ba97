"""What the gateway costs its machine: `python tests/bench/gateway.py`.

A sender of its own process posts gzip'd protobuf over one kept connection; the figures are spans (or events) for each
second of CPU that the gateway's process takes, HTTP, decompression and journal included, delivery not: the API is dead.
With `--rotel BIN` the same bodies go through the Rust collector (rotel, from PyPI) into a receiver that takes them.
With `--through MS …` events go all the way, to an API that takes so many milliseconds for each call: the figures are
how many are taken in and delivered, for different numbers of workers and of calls that each may have under way.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import http.server
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from server import Server

TICK = os.sysconf("SC_CLK_TCK")


def body(spans: int, tagged: int) -> bytes:
    """Return an export request of `spans` spans, of which `tagged` are events."""
    message = ExportTraceServiceRequest()
    found = message.resource_spans.add().scope_spans.add().spans
    for number in range(spans):
        now = time.time_ns()
        span = found.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="GET /courses",
                         start_time_unix_nano=now, end_time_unix_nano=now)  # fmt: skip
        pairs = {"http.request.method": "GET", "url.path": "/courses/17", "server.address": "example.org", "user": "-"}
        if number < tagged:
            pairs |= {"ocm.event_type": "course-save", "ocm.course_id": "7", "ocm.user_id": f"user-{number}"}
        span.attributes.extend(KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in pairs.items())
    return gzip.compress(message.SerializeToString())


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def megabytes(pid: int) -> float:
    """Return how much memory a process has, in MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))[1]) / 1024


def measure(name: str, pid: int, port: int, bodies: list[bytes], each: int) -> None:
    """Post bodies and print how many of their spans a second of CPU pays for."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    spent, began = cpu(pid), time.monotonic()
    for one in bodies:
        headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
        connection.request("POST", "/v1/traces", one, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
    many = each * len(bodies)
    took, spent = time.monotonic() - began, max(cpu(pid) - spent, 1 / TICK)
    print(f"{name:<42} {many / spent:>10,.0f} a second of CPU  {many / took:>10,.0f} a second  {megabytes(pid):.0f} MB")


def all_of(name: str, pid: int, port: int, rounds: int) -> None:
    """Measure one receiver with each kind of body."""
    measure(f"{name}: untagged spans", pid, port, [body(1000, 0)] * rounds * 4, 1000)
    measure(f"{name}: spans, one in ten tagged", pid, port, [body(1000, 100) for _ in range(rounds)], 1000)
    measure(f"{name}: tagged spans", pid, port, [body(500, 500) for _ in range(rounds)], 500)


class Taker(http.server.BaseHTTPRequestHandler):
    """Says yes to whatever comes."""

    def do_POST(self) -> None:
        """Take it."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running(folder: str, endpoint: str, *options: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a gateway; yields its process and its port."""
    env = {**os.environ, "OTEL_EXPORTER_OCM_API_KEY": "demo-key", "OTEL_EXPORTER_OCM_SPOOL_DIR": folder,
           "OTEL_EXPORTER_OCM_ENDPOINT": endpoint, **more}  # fmt: skip
    command = [sys.executable, "-m", "ocm_otel.cli", "gateway", "--port", "0", "--max-client-rate", "0", *options]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as gateway:
        told = "".join(next(gateway.stdout) for _ in range(5))
        yield gateway, int(re.search(r":(\d+)/v1/traces", told)[1])
        gateway.terminate()


def delivered(port: int) -> int:
    """Return how many events the gateway delivered, by its own figures."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    found = re.search(rb'became="delivered"} (\d+)', connection.getresponse().read())
    return int(found[1]) if found else 0


def family_cpu(pid: int) -> float:
    """Return the seconds of CPU that a process and its children took so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return sum(map(cpu, [pid, *map(int, children)]))


def through(milliseconds: float, seconds: float) -> None:
    """Print how many events a second are delivered to an API that takes so long, in how much CPU."""
    for workers, concurrency in ((1, 16), (1, 64), (2, 64), (1, 256)):
        with tempfile.TemporaryDirectory() as folder, Server(milliseconds / 1000) as api:
            endpoint = f"http://127.0.0.1:{api.port}/v2.0/events"
            more = {"OTEL_EXPORTER_OCM_MAX_CONCURRENCY": str(concurrency)}
            with running(folder, endpoint, "--workers", str(workers), **more) as (gateway, port):
                many = min(80, round(workers * concurrency / (milliseconds / 1000) * seconds / 500) + 1)
                bodies, spent, began = [body(500, 500) for _ in range(many)], family_cpu(gateway.pid), time.monotonic()
                for one in bodies:
                    connection = http.client.HTTPConnection("127.0.0.1", port)  # another one: another worker, perhaps
                    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
                    connection.request("POST", "/v1/traces", one, headers)
                    assert connection.getresponse().status == 200
                while (done := delivered(port)) < many * 500 and time.monotonic() < began + 20 * seconds:
                    threading.Event().wait(0.2)
                took, spent = time.monotonic() - began, family_cpu(gateway.pid) - spent
        shown = f"API {milliseconds:g} ms, {workers} workers, {concurrency} calls each"
        print(
            f"{shown:<42} {done / took:>10,.0f} events a second  {done / max(spent, 1 / TICK):>8,.0f} a second of CPU"
        )


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def main() -> None:
    """Measure the gateway, and rotel if it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rotel", help="rotel-agent, from `pip install --pre rotel`")
    parser.add_argument("--through", type=float, nargs="*", default=[], metavar="MS", help="what a call takes")
    given = parser.parse_args()
    for milliseconds in given.through:
        through(milliseconds, 5)
    if given.through:
        return
    with tempfile.TemporaryDirectory() as folder:
        with running(folder, "http://127.0.0.1:9/") as (gateway, port):
            all_of("gateway", gateway.pid, port, given.rounds)
        if given.rotel:
            taker = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
            threading.Thread(target=taker.serve_forever, daemon=True).start()
            port = free_port()
            agent = [given.rotel, "start", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--otlp-http-endpoint",
                     f"127.0.0.1:{port}", "--pid-file", f"{folder}/pid", "--exporter", "otlp",
                     "--otlp-exporter-endpoint", f"http://127.0.0.1:{taker.server_port}",
                     "--otlp-exporter-protocol", "http"]  # fmt: skip
            with subprocess.Popen(agent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as rotel:
                while socket.socket().connect_ex(("127.0.0.1", port)):
                    threading.Event().wait(0.05)
                all_of("rotel", rotel.pid, port, given.rounds)
                rotel.terminate()


if __name__ == "__main__":
    main()
