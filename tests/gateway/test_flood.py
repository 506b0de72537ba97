"""Bodies that nobody sensible sends, thousands of them, and sensible senders beside them."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import re
import signal
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .conftest import JSON, PROTOBUF, Running, attribute, logs, span, tagged, traces
from .test_facts import in_protobuf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocm_otel.emulator import Emulator

REQUESTS = {"traces": ExportTraceServiceRequest, "logs": ExportLogsServiceRequest}
PACK = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress}
MOST = 100_000


def sound(dice: random.Random) -> tuple[str, str, bytes]:
    """Return a request as it should be: its signal, its content type and its body."""
    more = [attribute("a" * dice.randrange(40), dice.choice([1, 0.5, True, "x" * dice.randrange(200)]))]
    numbers = [dice.randrange(2**60) for _ in range(dice.randrange(4))]
    named = [tagged(f"mutant-{number}", "menu-click") + more for number in numbers]
    if dice.random() < 0.5:
        events = [{"name": "e", "attributes": more}]
        content = traces(*[span(n, one, events=events) for n, one in zip(numbers, named, strict=True)])
    else:
        content = logs(*[{"timeUnixNano": str(dice.randrange(2**63)), "attributes": one} for one in named])
    name = "logs" if "resourceLogs" in content else "traces"
    if dice.random() < 0.5:
        return name, JSON, json.dumps(content).encode()
    return name, PROTOBUF, in_protobuf(content)


def damaged(dice: random.Random, body: bytes) -> bytes:
    """Return a body with some of its bytes changed, put in, left out or repeated; or any bytes at all."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.randrange(300))
    one = bytearray(body)
    for _ in range(dice.randrange(4)):
        at = dice.randrange(len(one) + 1)
        one[at : at + dice.choice((0, 1, 4, 50))] = dice.choice(
            (b"", dice.randbytes(dice.randrange(5)), bytes(one[:at][-20:]), b"\xff" * 9, b"[" * 2000)
        )
    return bytes(one)


def inflated(data: bytes) -> bytes:
    """Return what was deflated, with or without zlib's header; nothing may follow it."""
    for form in (15, -15):
        stream = zlib.decompressobj(form)
        with contextlib.suppress(zlib.error):
            found = stream.decompress(data)
            if stream.eof and not stream.unused_data:
                return found
    raise zlib.error


UNPACK = {"": bytes, "gzip": gzip.decompress, "deflate": inflated}


def rightly(name: str, kind: str, encoding: str, body: bytes) -> set[int]:
    """Return the statuses that are right for a body, found out without any of our code."""
    if kind not in (JSON, PROTOBUF) or encoding not in PACK:
        return {415}
    if encoding == "zstd":  # whether damage was to one of its skippable frames is its own science
        return {200, 400, 413}
    try:
        plain = UNPACK[encoding](body)
    except (OSError, EOFError, zlib.error):
        return {400, 413}  # too large, or damaged, or both
    if len(plain) > MOST:
        return {413}
    try:
        if kind == PROTOBUF:
            REQUESTS[name].FromString(plain)
            return {200}
        found = json.loads(plain.decode())
    except (ValueError, RecursionError, DecodeError):
        return {400}
    return {200, 400} if isinstance(found, dict) else {400}  # a field of the wrong shape is not looked for everywhere


def bodies(many: int) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield signal, content type, content encoding and body of so many requests, the same ones each time."""
    dice = random.Random(4711)
    for _ in range(many):
        name, kind, body = sound(dice)
        encoding = dice.choice(list(PACK))
        body = PACK[encoding](damaged(dice, body)) if dice.random() < 0.5 else damaged(dice, PACK[encoding](body))
        match dice.randrange(30):
            case 0:
                kind = dice.choice(["text/plain", "", "application/grpc", "application/json+x"])
            case 1:
                encoding = dice.choice(["br", "gzip, gzip", "identity;q=0", "snappy"])
            case 2:
                encoding, body = "gzip", gzip.compress(bytes(dice.choice([MOST, MOST + 1, 30 * MOST])))
            case 3:
                kind = JSON if kind == PROTOBUF else PROTOBUF
        yield name, kind, encoding, body


def memory(gateway: Running) -> float:
    """Return how much memory the gateway has, in MB."""
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def valid(gateway: Running, over: threading.Event, taken: list[str]) -> None:
    """Send one event after the other until it is over; what was answered with success is noted."""
    number = 0
    while not over.is_set():
        user = f"valid-{number}"
        if gateway.send(traces(span(2**100 + number, tagged(user))))[0] == 200:
            taken.append(user)
        number += 1
        over.wait(0.02)


@pytest.mark.parametrize("many", [400, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_random_and_mutated_bodies(gateway: Running, emulator: Emulator, many: int) -> None:
    """Each has the status that is right for it; nothing crashes or grows; valid senders are served, once each."""
    gateway.start("--max-client-rate", "0", "--max-body", str(MOST))
    over, taken, wrong, first = threading.Event(), [], [], 0.0
    beside = threading.Thread(target=valid, args=(gateway, over, taken))
    beside.start()
    with contextlib.closing(gateway.connect()) as connection:
        for number, (name, kind, encoding, body) in enumerate(bodies(many)):
            headers = {"content-type": kind, **({"content-encoding": encoding} if encoding else {})}
            connection.request("POST", f"/v1/{name}", body, headers)
            answer = connection.getresponse()
            told = answer.read()
            if answer.status not in rightly(name, kind, encoding, body):
                wrong.append((number, kind, encoding, answer.status, told, body[:200]))
            first = memory(gateway) if number == many // 10 else first
    over.set()
    beside.join(30)
    assert wrong == []
    assert memory(gateway) - first < 20, "it grows"
    assert b'status="5' not in gateway.ask("GET", "/metrics")[2]
    assert gateway.kill(signal.SIGTERM) == 0
    assert "failed" not in gateway.log.read_text(encoding="utf-8")
    arrived = [str(event["user_id"]) for event in emulator.events() if str(event["user_id"]).startswith("valid-")]
    assert len(taken) > 5
    assert sorted(arrived) == sorted(taken)
