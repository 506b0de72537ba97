"""Senders that come from other registries: `nox -s senders` fetches them and runs this."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import Running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocm_otel.emulator import Emulator

pytestmark = pytest.mark.senders

SEND = Path(__file__).parent / "send.cjs"


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
def collector(folder: Path, target: int) -> Iterator[int]:
    """Run the Rust collector in front of a port; yields its own."""
    ports = [free_port(), free_port()]
    command = [os.environ["OCM_TEST_ROTEL"], "start", "--otlp-grpc-endpoint", f"127.0.0.1:{ports[0]}",
               "--otlp-http-endpoint", f"127.0.0.1:{ports[1]}", "--pid-file", str(folder / "pid"),
               "--exporter", "otlp", "--otlp-exporter-endpoint", f"http://127.0.0.1:{target}",
               "--otlp-exporter-protocol", "http", "--otlp-exporter-retry-initial-backoff", "200ms",
               "--otlp-exporter-retry-max-backoff", "1s"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            assert until(lambda: answers(ports[1]))
            yield ports[1]
        finally:
            running.terminate()


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(("kind", "compression"), [("http", "none"), ("http", "gzip"), ("proto", "none")])
def test_the_node_sdk(started: Running, emulator: Emulator, kind: str, compression: str) -> None:
    """Of 1,000 spans of the Node SDK, in JSON or protobuf and in chunks, 100 are events, once each."""
    node(kind, f"http://127.0.0.1:{started.port}/v1/traces", 0, compression)
    assert emulator.wait_for(100)
    assert counted(emulator) == sorted(users(0))


def test_a_retrying_collector_while_the_gateway_is_killed(gateway: Running, emulator: Emulator, tmp_path: Path) -> None:
    """Through a collector that retries, and a gateway that is killed every half second, each event counts once."""
    emulator.always(503)  # a call that a kill cuts off would be ambiguous; that is another promise
    gateway.start()
    with collector(tmp_path, gateway.port) as port:
        for first in (0, 1000, 2000):
            node("proto", f"http://127.0.0.1:{port}/v1/traces", first)
            for _ in range(3):
                threading.Event().wait(0.5)
                gateway.kill()
                gateway.start()
        emulator.normally()
        assert emulator.wait_for(300, 40)
        gateway.kill(15)
    assert counted(emulator) == sorted(users(0) + users(1000) + users(2000))
