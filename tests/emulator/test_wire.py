"""What a client meets on the wire under each fault, and what the emulator kept of it."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import closing

import pytest

from ocm_otel.emulator import Answer, Emulator

REQUEST = b"GET /v2.0/events?type=a HTTP/1.1\r\nHost: x\r\nx-api-key: demo-key\r\n\r\n"


def connected(emulator):
    return closing(socket.create_connection(("127.0.0.1", emulator.port), timeout=10))


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def pieces(connection):
    """Return what comes until the answer is whole, a piece for each read."""
    found = []
    while not b"".join(found).endswith((b"}", b"\r\n0\r\n\r\n")):
        found.append(connection.recv(65536))
        if not found[-1]:
            break
    return found


@pytest.mark.parametrize(("fault", "count"), [("reset-before for=1", 0), ("reset-after for=1", 1)])
def test_a_reset_is_a_reset_before_or_after_the_count(emulator, fault, count):
    """The client reads a reset, not an end; the event counted, or did not, and the next call is answered."""
    emulator.set_faults(fault)
    with connected(emulator) as connection:
        connection.sendall(REQUEST)
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    assert emulator.count == count
    (request,) = emulator.requests()
    assert (request["status"], request["counted"]) == (0, bool(count))
    assert request["reason"] == f"answered as planned: {fault.split()[0]}"
    with connected(emulator) as connection:
        connection.sendall(REQUEST)
        assert b"200 OK" in connection.recv(100)


def test_one_answer_may_be_late_while_others_are_not(emulator):
    """A late call counted when it came; the next is answered at once, and the end of the emulator hurries the first."""
    emulator.set_faults("200 latency=1m for=1")
    with connected(emulator) as late, connected(emulator) as other:
        late.sendall(REQUEST)
        assert emulator.wait_for(1)
        other.sendall(REQUEST)
        assert b"200 OK" in other.recv(100)
        late.settimeout(0.1)
        with pytest.raises(TimeoutError):
            late.recv(100)
        late.settimeout(30)
        emulator.stop()
        assert b"200 OK" in late.recv(100)


def test_a_black_hole_says_nothing_until_the_client_leaves(emulator):
    """Nothing is answered, others are; and an end of the emulator does not wait for it."""
    emulator.set_faults("black-hole for=1")
    with connected(emulator) as silent, connected(emulator) as other:
        silent.sendall(REQUEST)
        other.settimeout(10)
        until(emulator.requests)
        other.sendall(REQUEST)
        assert b"200 OK" in other.recv(1000)
        silent.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.recv(1)
        silent.settimeout(10)
        start = time.monotonic()
        emulator.stop()
        with pytest.raises(ConnectionResetError):
            silent.recv(1)
        assert time.monotonic() - start < 5


def test_a_slow_body_comes_byte_by_byte(emulator):
    """The body takes the time it was given, and is whole in the end."""
    emulator.set_faults("slow-body over=300ms")
    with connected(emulator) as connection:
        start = time.monotonic()
        connection.sendall(REQUEST)
        found = pieces(connection)
    assert b"".join(found).endswith(b'\r\n\r\n{"status":"OK"}')
    assert time.monotonic() - start >= 0.25
    assert len(found) > 3


def test_a_split_body_comes_in_two_segments(emulator):
    """The first byte of the body stands alone."""
    emulator.set_faults("split-body")
    with connected(emulator) as connection:
        connection.sendall(REQUEST)
        found = pieces(connection)
    assert found[-1] == b'"status":"OK"}'


def test_faults_keep_the_connection_where_they_can(emulator):
    """Statuses, redirects and wrong JSON are answers like others: the next call uses the same connection."""
    faults = (
        "503 for=1",
        "429 retry-after=2s for=1",
        "redirect to=/x for=1",
        "wrong-json for=1",
        "address-refused for=1",
    )
    emulator.set_faults(*(f"{fault} after={number}" for number, fault in enumerate(faults)))
    found = []
    with closing(http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=10)) as connection:
        for _ in range(6):
            connection.request("GET", "/v2.0/events?type=a", headers={"x-api-key": "demo-key"})
            with connection.getresponse() as answer:
                answer.read()
                found.append(answer.status)
    assert len({request["client"] for request in emulator.requests()}) == 1
    assert found == [503, 429, 302, 200, 403, 200]
    assert emulator.count == 2


def test_a_scripted_answer_may_have_any_manner(emulator):
    """A test can plan one reset after the count and one before it, without a rate or a window."""
    emulator.script(Answer(200, manner="reset"), Answer(503, manner="reset"))
    for _ in range(2):
        with connected(emulator) as connection:
            connection.sendall(REQUEST)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
    assert [request["counted"] for request in emulator.requests()] == [True, False]
    with pytest.raises(ValueError, match="none of whole"):
        Answer(200, manner="sideways")


def test_the_faults_go_with_normally(emulator):
    """normally() ends script, answer for all and faults; the emulator starts with those it was made with."""
    with Emulator(faults=["500 for=2"], seed=3) as unwell:
        for expected in (b" 500 ", b" 500 ", b" 200 "):
            with connected(unwell) as connection:
                connection.sendall(REQUEST)
                assert expected in connection.recv(100)
    emulator.set_faults("500")
    emulator.normally()
    with connected(emulator) as connection:
        connection.sendall(REQUEST)
        assert b" 200 " in connection.recv(100)
    with pytest.raises(ValueError, match="no fault"):
        Emulator(faults=["oops"])
