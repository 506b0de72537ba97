"""The gateway as a program: what it answers to whom, and what arrives at the emulator."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import random
import signal
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from google.protobuf.json_format import Parse
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .conftest import JSON, PROTOBUF, Running, attribute, logs, span, tagged, traces, until
from .test_facts import in_protobuf

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from ocm_otel.emulator import Emulator

UNTAGGED = json.dumps(traces(span(0, [attribute("http.route", "/")]))).encode()


def users(emulator: Emulator) -> list[str]:
    """Return the users of the events that counted, sorted."""
    return sorted(str(event["user_id"]) for event in emulator.events())


# --- senders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_the_python_sdk_sends_spans(started: Running, emulator: Emulator, compression: Compression) -> None:
    """Of 1,000 spans of the SDK's own exporter, the 100 that are tagged are 100 events, once each."""
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{started.port}/v1/traces", compression=compression)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2000))
    tracer = provider.get_tracer("site")
    for number in range(1000):
        with tracer.start_as_current_span("view") as one:
            if number % 10 == 0:
                one.set_attributes({"ocm.event_type": "course-save", "ocm.course_id": 7, "ocm.user_id": number})
    provider.shutdown()
    assert emulator.wait_for(100)
    assert users(emulator) == sorted(str(number) for number in range(0, 1000, 10))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_python_sdk_sends_log_records(started: Running, emulator: Emulator) -> None:
    """Tagged records of the standard library's logging arrive through the SDK's log exporter."""
    from opentelemetry.sdk._logs import LoggingHandler

    provider = LoggerProvider()
    provider.add_log_record_processor(
        BatchLogRecordProcessor(OTLPLogExporter(f"http://127.0.0.1:{started.port}/v1/logs"))
    )
    logger = logging.getLogger("site")
    handler = LoggingHandler(logger_provider=provider)
    logger.addHandler(handler)
    for number in range(20):
        extra: dict[str, Any] = {"ocm.event_type": "menu-click", "ocm.user_id": number} if number % 2 else {}
        logger.warning("clicked", extra=extra)
    logger.removeHandler(handler)
    provider.shutdown()
    assert emulator.wait_for(10)
    assert users(emulator) == sorted(str(number) for number in range(1, 20, 2))


def test_curl_sends_chunks(started: Running, emulator: Emulator) -> None:
    """A body in chunks, without a length, is read as any other."""
    body = json.dumps(traces(span(0, tagged("ann"))))
    done = subprocess.run(
        ["curl", "-sS", "-w", "%{http_code}", "-H", "transfer-encoding: chunked", "-H", f"content-type: {JSON}",
         "--data-binary", "@-", f"http://127.0.0.1:{started.port}/v1/traces"],
        input=body, text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == "{}200"
    assert emulator.wait_for(1)


def test_a_call_of_the_api_with_another_host_name(started: Running, emulator: Emulator) -> None:
    """The guide's own call, unchanged but for its host, counts with the gateway's key; the client's goes nowhere."""
    done = subprocess.run(
        ["curl", "-sS", "-H", "x-api-key: client-key-one",
         f"http://127.0.0.1:{started.port}/v2.0/events?type=course-save&course_id=7&user_id=Jos%C3%A9+P"],
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == '{"status":"OK"}'
    assert emulator.wait_for(1)
    (event,) = emulator.events()
    assert (event["type"], event["course_id"], event["user_id"]) == ("course-save", "7", "José P")
    assert emulator.requests()[0]["status"] == 200  # the emulator knows no key but the gateway's


# --- answers ------------------------------------------------------------------------------------------------


def test_what_is_rejected_is_counted_and_named(started: Running, emulator: Emulator) -> None:
    """Records whose tags make no event are counted by record, with the reason; the others are events."""
    bad = span(1, tagged("x", 7), events=[{"name": "y", "attributes": tagged("y", " ")}])
    status, _, told = started.send(traces(span(0, tagged("ann")), bad, span(2, tagged("secret-user", False))))
    assert status == 200
    assert told["partialSuccess"]["rejectedSpans"] == "2"
    assert "ocm.event_type" in told["partialSuccess"]["errorMessage"]
    assert "secret-user" not in str(told)
    assert emulator.wait_for(1)
    assert users(emulator) == ["ann"]


OTLP: list[tuple[str, dict[str, str], bytes, int]] = [
    ("/v1/traces", {"content_type": JSON}, b"{", 400),
    ("/v1/traces", {"content_type": PROTOBUF}, b"\xff\xff\xff", 400),
    ("/v1/traces", {"content_type": JSON, "content_encoding": "gzip"}, b"{}", 400),
    ("/v1/traces", {"content_type": "text/plain"}, b"{}", 415),
    ("/v1/traces", {}, b"{}", 415),
    ("/v1/traces", {"content_type": JSON, "content_encoding": "br"}, b"{}", 415),
    ("/v1/traces", {"content_type": JSON, "content_encoding": "gzip"}, gzip.compress(bytes(20_000_000)), 413),
    ("/v1/traces", {"content_type": JSON, "content_length": "99999999"}, b"", 413),
    ("/v1/metrics", {"content_type": JSON}, b"{}", 404),
    ("/v1/logs", {"content_type": f"{JSON}; charset=utf-8"}, b"{}", 200),
    ("/v1/logs", {"content_type": PROTOBUF}, b"", 200),
    ("/v1/traces", {"content_type": JSON}, UNTAGGED, 200),
]


def test_statuses_of_otlp(started: Running) -> None:
    """Each fault has the status that the specification names for it, and afterwards all is well."""
    found = [started.ask("POST", path, body, **headers)[0] for path, headers, body, _ in OTLP]
    assert found == [status for *_, status in OTLP]
    assert started.ask("GET", "/readyz")[0] == 200


@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
def test_each_answer_is_in_the_encoding_of_its_request(gateway: Running, kind: str) -> None:
    """Success, partial success and every fault have the request's content type, and a fault is a Status that tells."""
    (gateway.folder / "tokens").write_text("first-token\n", encoding="utf-8")
    gateway.start("--tokens", str(gateway.folder / "tokens"), "--max-body", "5000", "--max-client-rate", "9")

    def read(body: bytes, message: Message) -> Any:
        return Parse(body, message) if kind == JSON else message.FromString(body)

    def sent(path: str, content: dict[str, Any], **more: str) -> tuple[int, dict[str, str], bytes]:
        body = json.dumps(content).encode() if kind == JSON else in_protobuf(content)
        return gateway.ask("POST", path, body, **{"content_type": kind, "authorization": "Bearer first-token"} | more)

    good, bad = traces(span(0, tagged("ann"))), traces(span(1, tagged("x", 7)), span(2, tagged("y")))
    for content, rejected in ((good, 0), (bad, 1)):
        status, headers, body = sent("/v1/traces", content)
        assert (status, headers["content-type"]) == (200, kind)
        partial = read(body, ExportTraceServiceResponse()).partial_success
        assert (partial.rejected_spans, "ocm.event_type" in partial.error_message) == (rejected, rejected > 0)
    faults = {
        400: sent("/v1/traces", good, content_encoding="gzip"),
        401: sent("/v1/traces", good, authorization="Bearer other-token"),
        404: sent("/v1/metrics", good),
        405: gateway.ask("GET", "/v1/traces", content_type=kind, authorization="Bearer first-token"),
        413: sent("/v1/traces", traces(span(3, tagged("z" * 6000)))),
        415: sent("/v1/traces", good, content_encoding="br"),
    }
    while (found := sent("/v1/traces", good))[0] == 200:
        pass
    for expected, (status, headers, body) in {**faults, 429: found}.items():
        assert (status, headers["content-type"]) == (expected, kind)
        assert len(read(body, Status()).message) > 10
    assert found[1]["retry-after"] == "1"


API: list[tuple[str, str, str, int, bytes]] = [
    ("GET", "/v2.0/events?type=x", "wrong-key-here", 403, b'{"message":"Forbidden"}'),
    ("GET", "/v2.0/events?type=x", "", 403, b'{"message":"Forbidden"}'),
    ("GET", "/v2.0/events?user_id=x", "client-key-one", 400, b"NO-TYPE-PARAMETER"),
    ("GET", "/v2.0/events?type=%20", "client-key-one", 400, b"NO-TYPE-PARAMETER"),
    ("POST", "/v2.0/events?type=x", "client-key-one", 403, b"Missing Authentication Token"),
    ("GET", "/v2.0/other?type=x", "client-key-one", 403, b"Missing Authentication Token"),
    ("GET", "/v2.0/events?type=x&user_id=" + "y" * 11_000, "client-key-one", 413, b"Request Too Long"),
    ("GET", "/v2.0/events?type=x&course_id=", "client-key-one", 200, b"OK"),
]


def test_statuses_of_the_api(started: Running) -> None:
    """The API's own call is answered as the API answers it."""
    for method, target, key, status, body in API:
        found, _, told = started.ask(method, target, x_api_key=key)
        assert (found, body in told) == (status, True), target[:80]


def test_the_door_of_the_api_is_closed_without_keys(gateway: Running) -> None:
    """Without a file of clients' keys nobody may call, the vendor's own key included."""
    gateway.start()
    assert gateway.ask("GET", "/v2.0/events?type=x", x_api_key="demo-key")[0] == 403


def test_a_full_journal_asks_to_wait(gateway: Running, emulator: Emulator) -> None:
    """When the spool is full the sender is told to come again, and when there is room, all is there, once each."""
    emulator.always(503)
    gateway.env["OTEL_EXPORTER_OCM_SPOOL_MAX_BYTES"] = str(1024 * 1024)
    gateway.start()
    batches = [
        traces(*[span(n, tagged(f"{n}-" + "x" * 900)) for n in range(at, at + 100)]) for at in range(0, 1200, 100)
    ]
    owed = []
    for batch in batches:
        status, headers, _ = gateway.send(batch)
        if status != 200:
            assert (status, headers["retry-after"]) == (503, "5")
            owed.append(batch)
    assert owed
    assert gateway.ask("GET", "/healthz")[0] == 200
    emulator.normally()
    for batch in owed:
        assert until(lambda batch=batch: gateway.send(batch)[0] == 200)
    assert emulator.wait_for(1200, 30)
    assert len(set(users(emulator))) == emulator.count == 1200


# --- sent again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_the_same_batch_again_is_no_event_more(gateway: Running, emulator: Emulator, death: signal.Signals) -> None:
    """A batch that was delivered is known after any end and a restart: its sender may not have had the answer."""
    batch = traces(*[span(number, tagged(number)) for number in range(10)])
    lines = logs(*[{"timeUnixNano": "5", "attributes": tagged("line")}] * 10)
    gateway.start()
    assert gateway.send(batch)[0] == gateway.send(lines)[0] == gateway.send(batch)[0] == 200
    delivered = b'ocm_gateway_outbox{became="delivered"} 20'  # a kill before the last answer would be ambiguous
    assert until(lambda: delivered in gateway.ask("GET", "/metrics")[2])
    gateway.kill(death)
    gateway.start()
    assert gateway.send(batch)[0] == gateway.send(lines)[0] == 200
    assert gateway.send(traces(span(99, tagged("the-last"))))[0] == 200
    assert until(lambda: "the-last" in users(emulator))
    assert emulator.count == 21


@pytest.mark.parametrize("workers", [1, 2])
def test_a_retrying_sender_while_the_gateway_is_killed(gateway: Running, emulator: Emulator, workers: int) -> None:
    """However often the gateway is killed under a sender that sends again, 100 events are 100, once each."""
    emulator.always(503)  # a call that a kill cuts off would be ambiguous; that is another promise
    gateway.start("--workers", str(workers))
    bodies = [
        json.dumps(traces(*[span(n, tagged(n)) for n in range(at, at + 5)])).encode() for at in range(0, 100, 5)
    ]  # fmt: skip

    def send(body: bytes) -> bool:
        with contextlib.suppress(OSError):
            return gateway.ask("POST", "/v1/traces", body, content_type=JSON)[0] == 200
        return False

    def insist(body: bytes) -> bool:
        return until(lambda: send(body), 60)

    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(insist, body) for body in bodies * 3]
        for _ in range(3):
            threading.Event().wait(random.uniform(0.05, 0.3))
            gateway.kill()
            assert until(lambda: not listening(gateway.port))
            gateway.start("--workers", str(workers))
        assert all(one.result() for one in sent)
    emulator.normally()
    assert emulator.wait_for(100, 30)
    gateway.kill(signal.SIGTERM)
    assert users(emulator) == sorted(str(number) for number in range(100))


def listening(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


# --- who may come in ----------------------------------------------------------------------------------------


def test_tokens(gateway: Running) -> None:
    """With a file of tokens OTLP and the metrics need one of them; health does not."""
    (gateway.folder / "tokens").write_text("first-token\nsecond-token\n", encoding="utf-8")
    gateway.start("--tokens", str(gateway.folder / "tokens"))
    for token, status in (("Bearer second-token", 200), ("bearer first-token", 200), ("Bearer first", 401), ("", 401)):
        assert gateway.ask("POST", "/v1/traces", UNTAGGED, content_type=JSON, authorization=token)[0] == status
    assert gateway.ask("GET", "/metrics")[0] == 401
    assert gateway.ask("GET", "/healthz")[0] == 200


def test_client_certificates(gateway: Running, tmp_path: Path, emulator: Emulator) -> None:
    """With a client CA only those who show a certificate of it are served, over TLS."""
    authority, stranger = trustme.CA(), trustme.CA()
    served, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("sender.example.org")
    served.private_key_and_cert_chain_pem.write_to_path(tmp_path / "served.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    gateway.start("--certificate", str(tmp_path / "served.pem"), "--client-ca", str(tmp_path / "ca.pem"))
    gateway.tls = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with pytest.raises(OSError):
        gateway.ask("GET", "/readyz")
    stranger.issue_cert("sender.example.org").configure_cert(gateway.tls)
    with pytest.raises(OSError):
        gateway.ask("GET", "/readyz")
    gateway.tls = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    client.configure_cert(gateway.tls)
    assert gateway.send(traces(span(0, tagged("ann"))))[0] == 200
    assert emulator.wait_for(1)


def test_pages_of_listed_origins_may_call(gateway: Running, emulator: Emulator) -> None:
    """A browser is told that pages of a listed origin may call with their key, and those of others may not."""
    (gateway.folder / "keys").write_text("client-key-one\n", encoding="utf-8")
    gateway.start("--client-keys", str(gateway.folder / "keys"), "--cors-origin", "https://shop.example.org")
    asked = {"access_control_request_method": "GET", "access_control_request_headers": "x-api-key"}
    ours, theirs = {"origin": "https://shop.example.org"}, {"origin": "https://evil.example.org"}
    status, headers, _ = gateway.ask("OPTIONS", "/v2.0/events?type=x", **asked, **ours)
    assert (status, headers["access-control-allow-origin"]) == (204, "https://shop.example.org")
    assert "x-api-key" in headers["access-control-allow-headers"]
    status, headers, _ = gateway.ask("GET", "/v2.0/events?type=x", x_api_key="client-key-one", **ours)
    assert (status, headers["access-control-allow-origin"]) == (200, "https://shop.example.org")
    assert headers["access-control-allow-credentials"] == "true"  # what sendBeacon asks for
    status, headers, _ = gateway.ask("OPTIONS", "/v2.0/events?type=x", **asked, **theirs)
    assert (status, headers.get("access-control-allow-origin")) == (403, None)
    assert emulator.wait_for(1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), "--tokens"),
        (("--client-ca", __file__), "--certificate"),
        (("--cors-origin", "*"), "origins"),
        (("--tokens", "/dev/null"), "no line"),
    ],
)
def test_what_would_be_open_does_not_start(gateway: Running, options: tuple[str, ...], said: str) -> None:
    """A gateway that would be open to all, or cannot work, does not start and says what to change."""
    with pytest.raises(AssertionError, match=said):
        gateway.start(*options)
    assert gateway.process is not None
    assert gateway.process.wait(10) == 2


# --- bounds -------------------------------------------------------------------------------------------------


def test_slow_senders_do_not_take_the_place_of_others(gateway: Running, emulator: Emulator) -> None:
    """Connections that never finish a request are ended in time, heads and bodies; others are served meanwhile.
    Whose body is late is to send it again: a batch that is answered with 408 would be thrown away by its sender.
    """
    gateway.start("--request-timeout", "0.5", "--max-connections", "20")
    heads = (b"", b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n")
    body = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
    slow = [socket.create_connection(("127.0.0.1", gateway.port), 20) for _ in range(12)]
    with contextlib.ExitStack() as ends:
        for number, one in enumerate(slow):
            ends.enter_context(one)
            one.sendall((*heads, body)[number % 3])
        assert gateway.send(traces(span(0, tagged("ann"))))[0] == 200
        said = [everything(one) for one in slow]
    assert all(text.startswith(b"HTTP/1.1 503") and b"retry-after: 5\r\n" in text for text in said[2::3])
    assert emulator.wait_for(1)


def everything(one: socket.socket) -> bytes:
    """Return all that comes until the connection ends."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := one.recv(65536):
            found += piece
    return found


def test_connections_of_one_client_are_bounded(gateway: Running) -> None:
    """A client with as many connections as it may have gets no further one, until one of them ends."""
    gateway.start("--max-client-connections", "3")
    with contextlib.ExitStack() as ends:
        for _ in range(3):
            ends.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 20))
        with pytest.raises(OSError):
            gateway.ask("GET", "/healthz")

    def served() -> bool:
        with contextlib.suppress(OSError):
            return gateway.ask("GET", "/healthz")[0] == 200
        return False

    assert until(served)


def test_requests_of_one_client_are_bounded(gateway: Running) -> None:
    """A client that asks too often is told to wait; its health checks are answered all the same."""
    gateway.start("--max-client-rate", "5")
    found = [gateway.send(traces())[0] for _ in range(20)]
    assert found[:5] == [200] * 5
    assert 429 in found
    assert gateway.ask("GET", "/healthz")[0] == 200


def test_random_requests_of_http(started: Running) -> None:
    """Whatever bytes come, there is an answer or the connection ends, and valid senders go on being served."""
    dice = random.Random(7)
    valid = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    for _ in range(150):
        one = bytearray(valid)
        for _ in range(dice.randint(1, 5)):
            at = dice.randrange(len(one))
            one[at : at + dice.randint(0, 4)] = dice.randbytes(dice.randint(0, 4))
        with socket.create_connection(("127.0.0.1", started.port), 20) as connection:
            connection.sendall(bytes(one))
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                answer = connection.recv(65536)
                assert answer[:9] in (b"", b"HTTP/1.1 ")
                assert answer[9:10] != b"5"
    assert started.send(traces())[0] == 200


# --- its end, and what it says ------------------------------------------------------------------------------


def test_sigterm_delivers_what_waits(gateway: Running, emulator: Emulator) -> None:
    """A gateway that is told to stop delivers what it took in, and ends with 0."""
    gateway.start()
    assert gateway.send(traces(*[span(number, tagged(number)) for number in range(50)]))[0] == 200
    assert gateway.kill(signal.SIGTERM) == 0
    assert emulator.count == 50


def children(gateway: Running) -> list[int]:
    """Return the processes that a gateway started."""
    assert gateway.process is not None
    pid = gateway.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def test_several_workers_are_one_gateway(gateway: Running, emulator: Emulator) -> None:
    """Several workers share the port, the ids and the figures; one that dies is replaced; SIGTERM ends them all."""
    gateway.start("--workers", "3", "--max-client-rate", "0")
    with ThreadPoolExecutor(6) as pool:
        batches = [traces(*[span(n, tagged(n)) for n in range(at, at + 5)]) for at in range(0, 100, 5)]
        assert set(pool.map(lambda batch: gateway.send(batch)[0], batches)) == {200}
        assert set(pool.map(lambda batch: gateway.send(batch)[0], batches)) == {200}
    assert emulator.wait_for(100)

    def counted() -> bool:
        told = gateway.ask("GET", "/metrics")[2].decode()
        return 'ocm_gateway_events{door="traces"} 200' in told and 'ocm_gateway_duplicates{door="traces"} 100' in told

    assert until(counted, 10)
    workers = children(gateway)
    os.kill(workers[0], signal.SIGKILL)
    assert until(lambda: len(set(children(gateway)) - {workers[0]}) == 3)
    assert [gateway.send(batch)[0] for batch in batches] == [200] * 20
    assert gateway.kill(signal.SIGTERM) == 0
    assert emulator.count == 100


def test_nothing_that_is_written_bears_ids_or_keys(started: Running, emulator: Emulator) -> None:
    """Neither the log nor the metrics have an id, a key, a query or an unknown path in them."""
    started.send(traces(span(0, tagged("user-4711"))))
    started.send(traces(span(1, tagged("user-4712", 5))))
    started.ask("GET", "/v2.0/events?type=x&user_id=user-4713", x_api_key="client-key-one")
    started.ask("GET", "/v2.0/user-4714", x_api_key="wrong-key-here")
    started.ask("GET", "/user-4715")
    assert emulator.wait_for(2)
    told = started.ask("GET", "/metrics")[2].decode()
    assert 'ocm_gateway_requests{door="traces",status="200"} 2' in told
    assert started.kill(signal.SIGTERM) == 0
    log = started.log.read_text(encoding="utf-8")
    assert " POST traces 200 " in log
    for secret in ("4711", "4712", "4713", "4714", "4715", "client-key", "wrong-key", emulator.key, f"{1:032x}"):
        assert secret not in log + told
