"""One call against real sockets: whatever the other side does, a verdict in time, and the truth about what left."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import ssl
import sys
import threading
import time
import zlib

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ocm_otel import Event, Settings
from ocm_otel._answer import MOST_BODY
from ocm_otel._client import Client
from ocm_otel._link import Place
from ocm_otel._poller import drive
from ocm_otel._verdict import Fate
from ocm_otel._wire import Wire

from .loop import Loop

KEY = "very-Secret-Key-4711"
OK = b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"OK"}'
QUERY = "type=course-save&course_id=7"


@pytest.fixture(autouse=True)
def no_proxy_from_outside(monkeypatch):
    """The tests' own proxies only."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def call(endpoint, *, times=1, timeout=5.0, transport=None, **options):
    """Return the verdicts of some calls, one after the other: our own way, as the worker goes it, or through httpx."""
    client = Client(Settings(api_key=KEY, endpoint=endpoint, **options), KEY, transport)
    connection = Loop(client, timeout) if client.is_ordinary else client.connect()
    try:
        verdicts = [connection.send(QUERY, timeout) for _ in range(times)]
    finally:
        connection.close()
    return verdicts[0] if times == 1 else verdicts


def answer(status="200 OK", body=b"", **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


def after_request(data, then="close"):
    """Return a behaviour: read the request, say `data`, end."""

    def behave(peer):
        peer.request()
        peer.say(data)
        if then == "reset":
            peer.reset()
        if then == "wait":
            peer.until_closed()

    return behave


NO_ANSWER = {
    "closed": (after_request(b""), "no-answer"),
    "reset": (after_request(b"", "reset"), "no-answer"),
    "half a status": (after_request(b"HTTP/1.1 2"), "no-answer not-http"),
    "half headers": (after_request(b"HTTP/1.1 200 OK\r\ncontent-le"), "no-answer not-http"),
    "half headers, reset": (after_request(b"HTTP/1.1 200 OK\r\nx: ", "reset"), "no-answer"),
    "silence": (after_request(b"", "wait"), "silence"),
    "half headers, silence": (after_request(b"HTTP/1.1 200 OK\r\n", "wait"), "silence"),
    "only a 1xx": (after_request(b"HTTP/1.1 100 Continue\r\n\r\n", "wait"), "silence"),
    "no HTTP": (after_request(b"220 smtp.example.test ESMTP\r\n"), "not-http no-answer"),
    "no HTTP, binary": (after_request(b"\x00\x01\x02\xff" * 100), "not-http"),
    "status 999": (after_request(b"HTTP/1.1 999 ?\r\ncontent-length: 0\r\n\r\n"), "not-http"),
    "endless headers": (after_request(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000), "not-http no-answer"),
}


@pytest.mark.parametrize("way", ["own", "httpx"])
@pytest.mark.parametrize("case", NO_ANSWER)
def test_no_answer_after_the_request(wire, case, way):
    """The request left and no answer came: retried, and ambiguous; on our own way and through httpx."""
    behave, reasons = NO_ANSWER[case]
    server = wire(behave)
    timeout, started = 0.3 if reasons == "silence" else 10.0, time.monotonic()
    with contextlib.closing(httpx.HTTPTransport()) as transport:
        verdict = call(server.url, timeout=timeout, transport=transport if way == "httpx" else None)
    assert time.monotonic() - started < 5
    assert verdict.reason in reasons.split()
    assert (verdict.fate, verdict.ambiguous) == (Fate.RETRY, True)
    assert server.wait(lambda: len(server.requests) > 0)  # a busy machine may read it when the call is over
    assert len(server.requests) == 1


def test_nobody_there():
    """A refused connection is not ambiguous."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    verdict = call(f"http://127.0.0.1:{port}/")
    assert (verdict.reason, verdict.fate, verdict.ambiguous) == ("no-connection", Fate.RETRY, False)


def test_a_name_that_does_not_exist():
    """No address for the host: not ambiguous."""
    verdict = call("http://no-such-host.invalid/", timeout=2)
    assert (verdict.reason, verdict.ambiguous) == ("no-connection", False)


def test_reset_before_the_request(wire):
    """A connection that is reset at once ends as what it is for us: nothing that could have counted was read."""
    server = wire(lambda peer: peer.reset())
    verdict = call(server.url)
    assert verdict.fate is Fate.RETRY
    assert verdict.reason in ("no-connection", "cut-off", "no-answer")
    assert verdict.ambiguous is (verdict.reason == "no-answer")


def test_reset_in_the_middle_of_the_request(wire):
    """A request of which only a part could be written is cut off, and not ambiguous."""

    def behave(peer):
        peer.sock.recv(100)
        peer.reset()

    server = wire(behave)
    connection = Client(Settings(api_key=KEY, endpoint=server.url), KEY).connect()
    verdict = connection.send("type=" + "a" * 60_000, 5)
    connection.close()
    assert verdict.fate is Fate.RETRY
    assert verdict.reason in ("cut-off", "no-answer")
    assert verdict.ambiguous is (verdict.reason == "no-answer")


#: Timeouts for a call that is to end by its timeout, but after the status came: a busy machine may be late with that.
PATIENCE = (0.1, 1.0, 5.0)

BROKEN_BODIES = {
    "short, closed": b"HTTP/1.1 %s\r\ncontent-length: 500\r\n\r\n{",
    "chunk cut": b"HTTP/1.1 %s\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
    "chunk is none": b"HTTP/1.1 %s\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{",
}


@pytest.mark.parametrize("way", ["own", "httpx"])
@pytest.mark.parametrize("then", ["close", "reset", "wait"])
@pytest.mark.parametrize(
    ("status", "fate"), [(b"200 OK", Fate.DELIVERED), (b"503 No", Fate.RETRY), (b"403 No", Fate.LOCKED_OUT)]
)
@pytest.mark.parametrize("case", BROKEN_BODIES)
def test_a_body_that_breaks_off(wire, case, status, fate, then, way):
    """The status was said, so the answer is known, whatever becomes of the body."""
    server = wire(after_request(BROKEN_BODIES[case] % status, then))
    for timeout in PATIENCE if then == "wait" else (10.0,):
        with contextlib.closing(httpx.HTTPTransport()) as transport:
            verdict = call(server.url, timeout=timeout, transport=transport if way == "httpx" else None)
        if verdict.reason != "silence":
            break
    assert (verdict.fate, verdict.ambiguous) == (fate, False)


def test_a_huge_body_is_read_up_to_a_bound(wire):
    """Of a gigantic body only the beginning is read, and the connection is given up."""
    taken = []

    def behave(peer):
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer.request()
        taken.append(peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n" + b" " * 50_000_000))

    server = wire(behave)
    assert call(server.url).fate is Fate.DELIVERED
    server.close()
    assert taken[0] < 20_000_000


def test_an_endless_slow_body_takes_no_longer_than_the_timeout(wire):
    """A body that comes byte by byte does not hold a sender longer than two timeouts."""
    over = threading.Event()

    def behave(peer):
        peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not over.wait(0.02) and peer.say(b"1\r\n \r\n"):
            continue

    server = wire(behave)
    for timeout in (0.3, 0.5, 2.0):  # the longer ones for a busy machine
        started = time.monotonic()
        verdict = call(server.url, timeout=timeout)
        took = time.monotonic() - started
        if verdict.fate is Fate.DELIVERED and took < 2 * timeout + 0.4:
            break
    over.set()
    assert verdict.fate is Fate.DELIVERED
    assert timeout - 0.05 < took < 2 * timeout + 0.4


DRIBBLED = {
    "a head": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "hints": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
    "a status": (b"HTTP/1.1 200 ", b"O"),
}


@pytest.mark.parametrize("case", DRIBBLED)
def test_an_answer_that_never_begins_takes_no_longer_than_the_timeout(wire, case):
    """Heads that come line by line hold a sender for one timeout, and are no answer."""
    over = threading.Event()
    first, then = DRIBBLED[case]

    def behave(peer):
        peer.request()
        peer.say(first)
        while not over.wait(0.02) and peer.say(then):
            continue

    server = wire(behave)
    started = time.monotonic()
    verdict = call(server.url, timeout=0.3)
    over.set()
    assert (verdict.fate, verdict.reason, verdict.ambiguous) == (Fate.RETRY, "silence", True)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("secure", [False, True])
def test_an_answer_in_single_bytes(wire, tls, pem, secure):
    """An answer that comes in pieces of one byte is an answer, over TLS as well."""

    def behave(peer):
        while peer.request():
            for byte in OK:
                peer.say(bytes([byte]))

    server = wire(behave, tls=tls() if secure else None)
    assert {verdict.fate for verdict in call(server.url, times=3, certificate=pem)} == {Fate.DELIVERED}
    assert server.connections == 1


@pytest.mark.parametrize("case", ["surplus", "close", "HTTP/1.0", "no length", "unasked"])
def test_a_connection_that_cannot_be_kept(wire, case):
    """After an answer that leaves a connection in doubt the next call goes over a new one; each is answered once."""
    said = threading.Event()
    answers = {
        "surplus": OK + b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
        "close": answer(connection="close"),
        "HTTP/1.0": b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        "no length": b"HTTP/1.1 200 OK\r\n\r\n{}",
        "unasked": OK,
    }

    def behave(peer):
        peer.request()
        peer.say(answers[case])
        if case == "unasked":
            peer.say(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
            said.set()
            peer.until_closed()

    server = wire(behave)
    connection = Client(Settings(api_key=KEY, endpoint=server.url), KEY).connect()
    for _ in range(3):
        said.clear()
        assert connection.send(QUERY, 5).fate is Fate.DELIVERED
        assert case != "unasked" or said.wait(30)
    connection.close()
    assert (len(server.requests), server.connections) == (3, 3)


def test_an_answer_before_the_request_is_read(wire):
    """A server that refuses a request before it has read it is understood."""
    server = wire(lambda peer: (peer.say(answer("431 Too Large", connection="close")), peer.until_closed()))
    connection = Client(Settings(api_key=KEY, endpoint=server.url), KEY).connect()
    assert connection.send("type=" + "a" * 1000, 5).reason == "too-long"
    connection.close()


def test_another_address_of_the_host(wire):
    """A host of several addresses is called at the first that answers; a dead one leaves the others their time."""
    server = wire(OK)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        dead = gone.getsockname()
    full = socket.socket()  # a queue of one that is full: a connection to it hangs
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = [socket.socket() for _ in range(3)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(full.getsockname())
    addresses = [
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", at) for at in (dead, full.getsockname(), ("127.0.0.1", server.port))
    ]
    line = Wire(Place("several.test", 80, None), lambda *_, **__: addresses)
    request = b"GET /v2.0/events?type=a HTTP/1.1\r\nhost: several.test\r\n\r\n"
    got = drive(line, line.call(request, time.monotonic() + 2))
    line.close()
    for one in (full, *waiting):
        one.close()
    assert (got.status, len(server.requests)) == (200, 1)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_packed_answer_is_understood(wire, pack):
    """A refusal in a packed body is a refusal, not a success."""
    encoding = "gzip" if pack is gzip.compress else "deflate"
    server = wire(answer(body=pack(b'{"error":"NO-TYPE-PARAMETER"}'), content_encoding=encoding))
    assert call(server.url).reason == "no-type-parameter"


def test_a_packed_bomb_is_not_unpacked(wire):
    """Of a body that would be a gigabyte only the bound is unpacked."""
    bomb = gzip.compress(b"\0" * 50_000_000 + b"NO-TYPE-PARAMETER")
    assert len(bomb) < MOST_BODY
    server = wire(answer(body=bomb, content_encoding="gzip"))
    assert call(server.url).fate is Fate.DELIVERED


@pytest.mark.parametrize("encoding", ["gzip", "br", "nonsense"])
def test_a_body_that_is_not_packed_as_it_says(wire, encoding):
    """A wrong content-encoding does no harm."""
    server = wire(answer(body=b'{"error":"NO-TYPE-PARAMETER"}', content_encoding=encoding))
    assert call(server.url).reason == "no-type-parameter"


def test_a_chunked_answer_is_put_together(wire):
    """A code that is split between chunks is found."""
    chunks = b'c\r\n{"error":"NO\r\nf\r\n-TYPE-PARAMETER\r\n2\r\n"}\r\n0\r\n\r\n'
    server = wire(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks)
    assert call(server.url).reason == "no-type-parameter"


def test_a_1xx_is_no_answer_yet(wire):
    """Early hints are passed over, and the answer that follows counts."""
    server = wire(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer("503 No"))
    assert [verdict.reason for verdict in call(server.url, times=2)] == ["http-503"] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(wire, status):
    """The key never reaches the address that a redirect names."""
    other = wire(OK)
    server = wire(answer(f"{status} Moved", location=other.url))
    verdict = call(server.url)
    assert (verdict.fate, verdict.reason) == (Fate.LOCKED_OUT, "redirect")
    assert (other.connections, other.requests) == (0, [])


def test_retry_after_is_heard(wire):
    """What the header says is in the verdict."""
    server = wire(answer("429 Too Many Requests", b"{}", retry_after="7"))
    assert call(server.url).wait == 7


def test_one_connection_for_many_calls(wire):
    """Calls go over one kept connection."""
    server = wire(OK)
    assert {verdict.fate for verdict in call(server.url, times=20)} == {Fate.DELIVERED}
    assert (server.connections, len(server.requests)) == (1, 20)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_kept_connection_that_the_server_closed(wire, how):
    """The server closes an idle connection: the next call goes over a new one, once, and is not ambiguous."""
    gone = threading.Event()

    def behave(peer):
        peer.request()
        peer.say(OK)
        if how == "reset":
            peer.reset()
        peer.sock.close()
        gone.set()

    server = wire(behave)
    connection = Client(Settings(api_key=KEY, endpoint=server.url), KEY).connect()
    for _ in range(3):
        gone.clear()
        verdict = connection.send(QUERY, 5)
        assert (verdict.fate, verdict.ambiguous) == (Fate.DELIVERED, False)
        assert gone.wait(30)
    connection.close()
    assert len(server.requests) == server.connections == 3


# --- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(authority):
    def make(name="127.0.0.1", client_ca=None):
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(trust)
        if client_ca is not None:
            client_ca.configure_trust(trust)
            trust.verify_mode = ssl.CERT_REQUIRED
        return trust

    return make


@pytest.fixture
def pem(authority, tmp_path):
    """The authority's certificate as a file."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def test_tls_that_is_trusted(wire, tls, pem):
    """A server whose authority is in CERTIFICATE is trusted."""
    server = wire(OK, tls=tls())
    assert call(server.url, certificate=pem).fate is Fate.DELIVERED


@pytest.mark.parametrize("case", ["unknown authority", "other name"])
def test_tls_that_is_not_trusted(wire, tls, pem, case):
    """An unknown authority or another name: nothing is sent, nothing is lost, and it is no outage."""
    known = case == "other name"
    server = wire(OK, tls=tls("other.example.test" if known else "127.0.0.1"))
    verdict = call(server.url, certificate=pem if known else None)
    assert (verdict.fate, verdict.reason, verdict.ambiguous) == (Fate.LOCKED_OUT, "untrusted-server", False)
    assert server.requests == []


def test_a_plain_server_behind_https(wire):
    """No TLS at the other end: not ambiguous."""

    def behave(peer):
        peer.sock.recv(65536)
        peer.say(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    server = wire(behave)
    verdict = call(server.url.replace("http:", "https:"), timeout=10)
    assert (verdict.reason, verdict.ambiguous) == ("no-tls", False)


def test_silence_in_the_handshake(wire):
    """A server that never shakes hands never saw the request."""
    server = wire(lambda peer: peer.until_closed())
    verdict = call(server.url.replace("http:", "https:"), timeout=0.3)
    assert (verdict.fate, verdict.ambiguous) == (Fate.RETRY, False)


@pytest.mark.parametrize("form", ["one file", "two files", "none"])
def test_a_client_certificate(wire, tls, pem, authority, tmp_path, form):
    """A server that asks for a certificate gets it, from one file or two."""
    server = wire(OK, tls=tls(client_ca=authority))
    mine = authority.issue_cert("client.example.test")
    mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    shown = {
        "one file": {"client_certificate": str(tmp_path / "both.pem")},
        "two files": {"client_certificate": str(tmp_path / "cert.pem"), "client_key": str(tmp_path / "key.pem")},
        "none": {},
    }[form]
    verdict = call(server.url, certificate=pem, timeout=2, **shown)
    assert (verdict.fate is Fate.DELIVERED) is (form != "none")
    assert len(server.requests) == (form != "none")


@pytest.mark.parametrize("field", ["certificate", "client_certificate"])
@pytest.mark.parametrize("content", [None, b"no certificate", b""])
def test_a_certificate_file_that_is_none(wire, tls, tmp_path, field, content):
    """A missing or senseless file is a wrong configuration, told in words, and nothing is sent."""
    path = tmp_path / "x.pem"
    if content is not None:
        path.write_bytes(content)
    server = wire(OK, tls=tls())
    verdict = call(server.url, **{field: str(path)})
    assert (verdict.fate, verdict.reason, verdict.ambiguous) == (Fate.LOCKED_OUT, "misconfigured", False)
    assert server.connections == 0


# --- addresses and proxies --------------------------------------------------------------------------------


def test_ipv6(wire):
    """An address in brackets works."""
    server = wire(OK, host="::1")
    assert call(server.url).fate is Fate.DELIVERED
    assert f"Host: [::1]:{server.port}".lower().encode() in server.requests[0].lower()


@pytest.mark.parametrize("given_query", ["", "?", "?stage=test", "?stage=test&"])
def test_an_endpoint_with_a_query_of_its_own(wire, given_query):
    """What the address already says stays, and ours is added to it."""
    server = wire(OK)
    assert call(server.url + given_query).fate is Fate.DELIVERED
    target = server.requests[0].split(b" ")[1].decode()
    kept = given_query.strip("?&")
    assert target == f"/v2.0/events?{kept + '&' if kept else ''}{QUERY}"


@pytest.mark.parametrize("endpoint", ["http://a..b/", "http://-/", "http://" + "a" * 300 + "/", "http://x.test:1/%"])
def test_an_address_that_is_odd(endpoint):
    """An address that passes as one and is none costs nothing but a verdict."""
    assert call(endpoint, timeout=2).ambiguous is False


def forwarding(answer_to_connect=None):
    """Return the behaviour of a small proxy: CONNECT is piped through (or refused), the rest answered itself."""

    def behave(peer):
        head = peer.request()
        if not head.startswith(b"CONNECT "):
            peer.say(OK)
            return
        if answer_to_connect:
            peer.say(answer_to_connect)
            return
        port = int(head.split(b" ")[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as onward:
            peer.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pipe, args=(onward, peer.sock), daemon=True)
            back.start()
            pipe(peer.sock, onward)

    return behave


def pipe(one, other):
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def test_a_proxy_from_the_environment(wire, monkeypatch):
    """A plain address is asked of the proxy, with the key for the address and not for the proxy's own ears only."""
    proxy = wire(forwarding())
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
    monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
    assert call("http://api.example.test/v2.0/events").fate is Fate.DELIVERED
    assert proxy.requests[0].startswith(b"GET http://api.example.test/v2.0/events?type=course-save")
    assert b"proxy-authorization: basic" in proxy.requests[0].lower()


def test_through_a_tunnel(wire, monkeypatch, tls, pem):
    """An https address goes through CONNECT; the proxy sees neither the key nor the ids."""
    server = wire(OK, tls=tls("api.example.test"))
    proxy = wire(forwarding())
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    endpoint = f"https://api.example.test:{server.port}/v2.0/events"
    assert {verdict.fate for verdict in call(endpoint, times=3, certificate=pem)} == {Fate.DELIVERED}
    assert (len(proxy.requests), len(server.requests)) == (1, 3)
    assert KEY.encode() not in b"".join(proxy.requests)
    assert KEY.encode() in server.requests[0]


def test_no_answer_through_a_tunnel_is_ambiguous(wire, monkeypatch, tls, pem):
    """The CONNECT is not our request: only what left through the tunnel can have counted."""
    server = wire(after_request(b""), tls=tls("api.example.test"))
    proxy = wire(forwarding())
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    verdict = call(f"https://api.example.test:{server.port}/", certificate=pem)
    assert (verdict.reason, verdict.ambiguous) == ("no-answer", True)


@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 407 Login\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\nno", b"SSH-2.0-x\r\n", b"",
    ],
)  # fmt: skip
def test_a_proxy_that_refuses(wire, monkeypatch, says):
    """A tunnel that did not come about is not ambiguous, whatever the proxy says."""
    proxy = wire(forwarding(says) if says else after_request(b""))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    verdict = call("https://api.example.test/", timeout=2)
    assert verdict.ambiguous is False
    assert verdict.fate in (Fate.RETRY, Fate.LOCKED_OUT)
    assert KEY.encode() not in b"".join(proxy.requests)


def test_a_silent_proxy(wire, monkeypatch):
    """A proxy that never answers the CONNECT never saw the request."""
    proxy = wire(after_request(b"", "wait"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    verdict = call("https://api.example.test/", timeout=0.3)
    assert (verdict.fate, verdict.ambiguous) == (Fate.RETRY, False)


@pytest.mark.parametrize("exempt", ["127.0.0.1", "localhost", "[::1]"])
def test_the_own_machine_needs_no_proxy(wire, monkeypatch, exempt):
    """What is on this machine is called directly."""
    proxy, server = wire(forwarding()), wire(OK, host="::1" if ":" in exempt else "127.0.0.1")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    assert call(f"http://{exempt}:{server.port}/").fate is Fate.DELIVERED
    assert proxy.connections == 0


def test_no_proxy_is_heeded(wire, monkeypatch):
    """A host in NO_PROXY is called directly."""
    proxy = wire(forwarding())
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "other.test,.invalid")
    assert call("http://no-such-host.invalid/", timeout=2).reason == "no-connection"
    assert proxy.connections == 0


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://x:1", "http://[::1"])
def test_a_bad_proxy_is_a_wrong_configuration(monkeypatch, proxy):
    """A proxy that cannot be used is told in words; the address in it, perhaps with a password, is not."""
    monkeypatch.setenv("HTTP_PROXY", proxy.replace("//", f"//u:{KEY}@"))
    verdict = call("http://api.example.test/", timeout=1)
    assert (verdict.fate, verdict.reason, verdict.ambiguous) == (Fate.LOCKED_OUT, "misconfigured", False)
    assert KEY not in verdict.words


# --- what is sent -----------------------------------------------------------------------------------------


def test_the_request_is_what_the_guide_says(wire):
    """GET, the key in its header, further headers; a further header cannot take the key's place."""
    server = wire(OK)
    call(server.url, headers={"X-Team": "a b", "X-Api-Key": "other", "User-Agent": "mine", "Host": "evil.test"})
    first, *lines = server.requests[0].decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert first == f"GET /v2.0/events?{QUERY} HTTP/1.1"
    assert headers.pop("host") == f"127.0.0.1:{server.port}"
    expected = {"x-api-key": KEY, "user-agent": "mine", "accept": "application/json", "x-team": "a b"}
    assert {name: headers.get(name) for name in expected} == expected
    assert not {"cookie", "traceparent", "baggage", "content-length"} & set(headers)


def test_cookies_are_not_kept(wire):
    """What one answer sets the next call does not send."""
    server = wire(answer(body=b"{}", set_cookie="a=b"))
    call(server.url, times=2)
    assert b"cookie" not in b"".join(server.requests).lower()


nasty = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40) | st.sampled_from(
    ["a&type=evil", "a+b", "a b", "%41", "%", "#", "?", "/", "\\", "..", "'\"<>`{}|^~[]@!$*(),;:", "日本", "😀"]
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(st.tuples(nasty, nasty, nasty, nasty), min_size=5, max_size=5))
def test_every_character_arrives_as_it_is(emulator, events):
    """Ids and types of any characters are at the emulator exactly what they were."""
    emulator.clear()
    connection = Client(Settings(api_key=emulator.key, endpoint=emulator.endpoint), emulator.key).connect()
    wanted = []
    for row in events:
        if all(text.strip() for text in row):
            event = Event(row[0], course_id=row[1], user_id=row[2], entity_id=row[3])
            assert connection.send(event.query(), 5).fate is Fate.DELIVERED
            wanted.append(tuple(text.strip() for text in row))
    connection.close()
    assert wanted == [(e["type"], e["course_id"], e["user_id"], e["entity_id"]) for e in emulator.events()]


# --- our own traffic --------------------------------------------------------------------------------------


@pytest.fixture
def spans():
    """All spans that are made while everything that can be instrumented is."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = [HTTPXClientInstrumentor(), ThreadingInstrumentor()]
    for one in made:
        one.instrument(tracer_provider=provider)
    exporter.tracer = provider.get_tracer("test")
    yield exporter
    for one in made:
        one.uninstrument()
    provider.shutdown()


def test_our_own_calls_leave_no_trace(wire, make_outbox, spans, caplog):
    """No span, no log line, no traceparent, no baggage: from a thread with a span, with all instrumented at DEBUG."""
    caplog.set_level(logging.DEBUG)
    server = wire(OK)
    outbox = make_outbox(server.url, api_key=KEY)
    token = context.attach(baggage.set_baggage("user", "ann"))
    with spans.tracer.start_as_current_span("request") as span:
        assert outbox.put(Event("course-save", user_id="unmistakable-user"))
        assert outbox.flush(30)
        assert trace.get_current_span() is span
    context.detach(token)
    assert [span.name for span in spans.get_finished_spans()] == ["request"]
    assert len(server.requests) == 1
    assert not [word for word in (b"traceparent", b"baggage", b"tracestate") if word in server.requests[0].lower()]
    names = ("httpx", "httpcore", "ocm_otel")
    said = [record.getMessage() for record in caplog.records if record.name.split(".")[0] in names]
    assert said == []


def test_other_calls_keep_theirs(wire, make_outbox, spans, caplog):
    """The application's own httpx calls have their spans and lines as before."""
    caplog.set_level(logging.DEBUG)
    server = wire(OK)
    outbox = make_outbox(server.url)
    outbox.put(Event("a"))
    assert outbox.flush(30)
    with httpx.Client() as client:
        client.get(server.url)
    assert len(spans.get_finished_spans()) == 1
    assert b"traceparent" in server.requests[-1]
    assert {"httpx", "httpcore.connection"} <= {record.name for record in caplog.records}


TROUBLE = {
    "refused": after_request(answer("403 Forbidden", b'{"message":"Forbidden"}')),
    "closed": after_request(b""),
    "no HTTP": after_request(b"nonsense"),
    "reset": after_request(b"", "reset"),
}


@pytest.mark.parametrize("case", TROUBLE)
def test_the_key_is_in_no_output(wire, make_outbox, caplog, case):
    """Whatever goes wrong, neither key nor ids are in a log line or a repr."""
    caplog.set_level(logging.DEBUG)
    server = wire(TROUBLE[case])
    outbox = make_outbox(server.url, api_key=KEY, headers={"authorization": KEY})
    outbox.put(Event("course-save", user_id="unmistakable-user"))
    assert outbox.flush(0.5) is False
    assert server.wait(lambda: len(server.requests) >= 1)
    outbox.close(0)
    said = "\n".join(f"{record.getMessage()} {record.exc_info}" for record in caplog.records)
    assert caplog.records
    for secret in (KEY, "unmistakable-user"):
        assert secret not in said + repr(outbox) + repr(outbox.settings) + str(outbox.books.snapshot())


def test_after_prepare_a_call_imports_nothing(wire, tls, pem):
    """All that a call needs is imported beforehand, so that a fork never meets an import in a sender."""
    server = wire(OK, tls=tls())
    client = Client(Settings(api_key=KEY, endpoint=server.url, certificate=pem), KEY)
    client.prepare()
    before = set(sys.modules)
    connection = client.connect()
    assert connection.send(QUERY, 5).fate is Fate.DELIVERED
    connection.close()
    assert set(sys.modules) - before == set()


def test_a_client_of_the_users(wire):
    """An httpx client makes the calls: its hooks and headers hold, each answer counts, and no redirect is followed."""
    answers = [answer(body=b"{}"), answer("503 No"), answer("302 Found", location="http://127.0.0.1:9/elsewhere")]

    def behave(peer):
        while peer.request():
            peer.say(answers[len(server.requests) - 1])

    server, hooked = wire(behave), []
    hooks = {"request": [lambda request: hooked.append(request.headers["x-api-key"])]}
    with httpx.Client(event_hooks=hooks, follow_redirects=True, auth=("ann", "secret")) as client:
        verdicts = call(server.url, times=3, transport=client)
    assert [verdict.reason for verdict in verdicts] == ["delivered", "http-503", "redirect"]
    assert hooked == [KEY] * 3
    assert all(b"authorization: basic" in head.lower() for head in server.requests)
