"""What the gateway's tests share: a gateway to start, kill and ask, and bodies of OTLP that nobody's SDK wrote."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ocm_otel.emulator import Emulator

PROTOBUF, JSON = "application/x-protobuf", "application/json"


def until(condition: Callable[[], object], timeout: float = 30.0) -> bool:
    """Wait until `condition` is true; False if it was not within `timeout` seconds."""
    end, tick = time.monotonic() + timeout, threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        tick.wait(0.01)
    return True


def attribute(name: str, value: object) -> dict[str, Any]:
    """Return an attribute in OTLP's JSON."""
    kind = {str: "stringValue", int: "intValue", bool: "boolValue", float: "doubleValue"}[type(value)]
    return {"key": name, "value": {kind: str(value) if kind == "intValue" else value}}


def tagged(user: object, kind: object = "course-save", **more: object) -> list[dict[str, Any]]:
    """Return the attributes of an event of one user."""
    own = {"ocm.event_type": kind, "ocm.course_id": 7, "ocm.user_id": user, **more}
    return [attribute(name, value) for name, value in own.items()]


def span(number: int, attributes: list[dict[str, Any]], **more: object) -> dict[str, Any]:
    """Return a span in OTLP's JSON."""
    ids = {"traceId": f"{number + 1:032X}", "spanId": f"{number + 1:016X}"}
    return {**ids, "name": "a", "startTimeUnixNano": "1795459368000000000", "attributes": attributes, **more}


def traces(*spans: dict[str, Any], resource: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return an export request of spans."""
    scopes = [{"scope": {"name": "tests"}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": {"attributes": resource or []}, "scopeSpans": scopes}]}


def logs(*lines: dict[str, Any]) -> dict[str, Any]:
    """Return an export request of log records."""
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": list(lines)}]}]}


class Running:
    """A gateway in a process of its own.

    Args:
        folder: where its spool and its files are.
        endpoint: where it forwards to.
        key: the vendor's key.
    """

    def __init__(self, folder: Path, endpoint: str, key: str) -> None:
        self.folder = folder
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_EXPORTER_OCM_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OCM_API_KEY": key,
            "OTEL_EXPORTER_OCM_SPOOL_DIR": str(folder / "spool"),
            "PYTHONWARNINGS": "error",
        }
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self.process: subprocess.Popen[str] | None = None
        self.log = folder / "log"

    def start(self, *options: str) -> Running:
        """Start it, on the port that it had before; returns when it answers."""
        command = [sys.executable, "-c", "from ocm_otel.cli import main; main(prog_name='ocm-otel')", "gateway"]
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *options],
                env=self.env, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        told = ""
        for line in self.process.stdout or ():
            told += line
            if "forwards to" in line:
                break
        found = re.search(r":(\d+)/v1/traces", told)
        assert found, told + self.log.read_text(encoding="utf-8")
        self.port = int(found[1])
        return self

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End it by a signal; returns its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection."""
        if self.tls is not None:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Make one request; returns status, headers and body."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body or None, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def send(self, content: object, signal: str = "", **headers: str) -> tuple[int, dict[str, str], Any]:
        """Send an export request in JSON; returns status, headers and what was answered."""
        signal = signal or ("logs" if "resourceLogs" in str(content) else "traces")
        headers = {"content_type": JSON, **headers}
        status, told, body = self.ask("POST", f"/v1/{signal}", json.dumps(content).encode(), **headers)
        return status, told, json.loads(body or b"null")


@pytest.fixture
def gateway(tmp_path: Path, emulator: Emulator) -> Iterator[Running]:
    """A gateway that forwards to the emulator; not started yet."""
    running = Running(tmp_path, emulator.endpoint, emulator.key)
    yield running
    running.kill()


@pytest.fixture
def started(gateway: Running) -> Running:
    """A gateway with its defaults, and a key for clients."""
    (gateway.folder / "keys").write_text("# ours\nclient-key-one\n", encoding="utf-8")
    return gateway.start("--client-keys", str(gateway.folder / "keys"), "--access-log")
