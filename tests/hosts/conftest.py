"""What the tests of the hosts share: real sites, their visitors, and a collector of spans.

A site is a program of its own in `sites/`, started as its operator would start it: with an exporter by name
under `opentelemetry-instrument`, or with structlog and nothing else; under a server of several processes, by the
command line that docs/hosts.md gives for it. Its port is one that the
test holds bound, but does not listen on, so that no other process can be given it in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ocm_otel.emulator import Emulator

SITES = Path(__file__).with_name("sites")
BIN = Path(sys.executable).parent
#: Until 0.61 OpenTelemetry's handler on the root logger had to be asked for; since then asking is deprecated.
BEFORE_0_61 = version("opentelemetry-instrumentation") < "0.61"
#: What of a span is the visitor's or the process's, and so another in each run.
PASSING = {"net.peer.port", "client.port", "service.instance.id"}
WIDTH = 8


class Site:
    """A web application in a process of its own.

    Args:
        command: what serves it.
        port: where it is to listen.
        folder: where its output is kept.
        environment: all of its variables.
    """

    def __init__(self, command: list[str], port: int, folder: Path, environment: dict[str, str]) -> None:
        self.port = port
        self._out, self._err = folder / f"out-{port}", folder / f"err-{port}"
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                cwd=SITES, env=environment, text=True, start_new_session=True,
            )  # fmt: skip

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def wait_until_up(self, timeout: float = 100) -> None:
        """Return when it takes connections; whatever came in the way is raised with what it said."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port), timeout).close()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
                break
        raise AssertionError(f"no server came up: {self._process.poll()}\n{self.stderr}")

    def wait_for_workers(self, count: int, timeout: float = 100) -> set[int]:
        """Return the ids of its processes once so many have answered; one that did not yet cannot be told to end."""
        deadline = time.monotonic() + timeout
        found: set[int] = set()
        while time.monotonic() < deadline and len(found) < count:
            with contextlib.suppress(OSError, HTTPException), self._connection(timeout) as connection:
                connection.request("GET", "/worker")
                found.add(json.loads(connection.getresponse().read())["worker"])
        assert len(found) >= count, f"{len(found)} of {count} workers answered\n{self.stderr}"
        return found

    def visit(self, paths: Iterable[str]) -> Counter[int]:
        """Post to each path, several visitors at a time, each over connections of its own; return the statuses."""
        paths = list(paths)
        with ThreadPoolExecutor(WIDTH) as visitors:
            done = list(visitors.map(self._visit, [paths[first::WIDTH] for first in range(WIDTH)]))
        return sum(done, Counter())

    def _connection(self, timeout: float = 100) -> contextlib.closing[HTTPConnection]:
        return contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=timeout))

    def _visit(self, paths: list[str]) -> Counter[int]:
        statuses: Counter[int] = Counter()
        with self._connection() as connection:
            for path in paths:
                connection.request("POST", path)
                response = connection.getresponse()
                response.read()
                statuses[response.status] += 1
        return statuses

    def try_each(self, paths: Iterable[str], answered: Callable[[str], object]) -> None:
        """Post to each path over a connection of its own, several at a time; some may get no answer."""

        def go(path: str) -> None:
            with contextlib.suppress(OSError, HTTPException), self._connection() as connection:
                connection.request("POST", path)
                response = connection.getresponse()
                if response.status == 200 and response.read():
                    answered(path)

        with ThreadPoolExecutor(WIDTH) as visitors:
            list(visitors.map(go, paths))

    def end(self) -> int:
        """Send SIGTERM and return the exit code; a site that does not end in a minute is a failure."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(120)

    def interrupt(self) -> None:
        """Send SIGINT, as a person does with ^C, and return when the interpreter has ended in its own way."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(120)

    def kill(self) -> None:
        """End it, whatever it is doing, and its workers with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, and keeps every span."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Collects)
        self._came = threading.Condition()
        self._spans: list[tuple[Span, dict[str, str]]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, body: bytes) -> None:
        with self._came:
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = {pair.key: str(pair.value) for pair in group.resource.attributes}
                self._spans += [(span, resource) for scope in group.scope_spans for span in scope.spans]
            self._came.notify_all()

    def wait_for_requests(self, count: int, timeout: float = 100) -> bool:
        """Wait for the spans of so many requests; a request's span ends, and so comes, after those inside it."""
        served = Span.SpanKind.SPAN_KIND_SERVER
        with self._came:
            return self._came.wait_for(lambda: sum(s.kind == served for s, _ in self._spans) >= count, timeout)

    def spans(self) -> Counter[tuple[str, int, str, bool]]:
        """Return what came in, without what differs from run to run."""
        with self._came:
            found: Counter[tuple[str, int, str, bool]] = Counter()
            for span, resource in self._spans:
                attributes = resource | {pair.key: str(pair.value) for pair in span.attributes}
                kept = sorted((name, value) for name, value in attributes.items() if name not in PASSING)
                found[span.name, span.kind, repr(kept), bool(span.parent_span_id)] += 1
            return found


class _Collects(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            self.server.take(body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        return


@pytest.fixture
def make_collector() -> Iterator[Callable[[], Collector]]:
    """Makes OTLP collectors that listen until the test ends."""
    with contextlib.ExitStack() as ends:

        def make() -> Collector:
            made = ends.enter_context(Collector())
            thread = threading.Thread(target=made.serve_forever, args=(0.01,))
            thread.start()
            ends.callback(thread.join)
            ends.callback(made.shutdown)
            return made

        yield make


@pytest.fixture
def environment(emulator: Emulator, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Returns the variables of a program whose events go to the emulator; one given as None is left out."""

    def make(**variables: str | None) -> dict[str, str]:
        ours = {
            "HOME": str(tmp_path),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            # Of several distributions that are installed, the first one found would configure.
            "OTEL_PYTHON_DISTRO": "distro",
            "OTEL_PYTHON_CONFIGURATOR": "configurator",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_OCM_ENDPOINT": emulator.endpoint,
            "OTEL_EXPORTER_OCM_API_KEY": emulator.key,
            "OTEL_EXPORTER_OCM_SPOOL_DIR": str(tmp_path / "spool"),
            **({"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"} if BEFORE_0_61 else {}),
            **variables,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        return kept | {name: value for name, value in ours.items() if value is not None}

    return make


@pytest.fixture
def drain(environment: Callable[..., dict[str, str]]) -> Callable[..., None]:
    """Does what the next process would: deliver what those before it left behind."""

    def run(**variables: str | None) -> None:
        command = ["ocm-otel", "spool", "drain", "--timeout", "60"]
        done = subprocess.run(
            command, env=environment(**variables), capture_output=True, text=True, timeout=150, check=False
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"

    return run


@pytest.fixture
def site(
    environment: Callable[..., dict[str, str]], unneeded: Callable[..., str], tmp_path: Path
) -> Iterator[Callable[..., Site]]:
    """Starts a site of `sites/`, on the same port each time, and returns it when it takes connections."""
    with contextlib.ExitStack() as ends:
        held = ends.enter_context(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]

        def start(name: str, serve: str = "", *, by_name: bool = True, **variables: str | None) -> Site:
            serve = (
                serve
                or {
                    "fastapi": f"uvicorn {name}:app --port {{port}} --no-access-log",
                    "flask": f"flask --app {name} run --port {{port}}",
                }[name.partition("_")[0]]
            )
            framework = name.partition("-")[0].partition("_")[0]
            variables = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": unneeded(framework), **variables}
            words = shlex.split(serve.format(port=port))
            command = ["opentelemetry-instrument"] * by_name + words
            made = Site(command, port, tmp_path, environment(**variables))
            ends.callback(made.kill)
            made.wait_until_up()
            return made

        yield start
