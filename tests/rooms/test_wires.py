"""Many calls in one thread: none waits for another, and each has its own outcome."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from ocm_otel import Settings
from ocm_otel._client import Client
from ocm_otel._poller import READ, Poller
from ocm_otel._resolver import Resolver
from ocm_otel._verdict import Fate

from .conftest import OK, answering
from .loop import Loop

KEY = "very-Secret-Key-4711"


@pytest.fixture
def loop():
    made = []

    def make(endpoint, timeout=60.0):
        made.append(Loop(Client(Settings(api_key=KEY, endpoint=endpoint), KEY), timeout))
        return made[-1]

    yield make
    for one in made:
        one.close()


def query(number):
    return f"type=a&user_id={number}"


def asked(head):
    return head.split(b"user_id=")[1].split()[0].decode()


def test_each_call_has_its_own_outcome(wire, loop):
    """Of 24 calls at once each third is answered, refused or cut off: each hears what is its own, in one thread."""
    answers = {
        "0": OK,
        "1": b"HTTP/1.1 400 No\r\ncontent-length: 29\r\n\r\n" + b'{"error":"NO-TYPE-PARAMETER"}',
        "2": b"",
    }

    def behave(peer):
        while head := peer.request():
            answer = answers[str(int(asked(head)) % 3)]
            if not answer:
                return
            peer.say(answer)

    one, before = loop(wire(behave).url), set(threading.enumerate())
    calls = [one.begin(query(number)) for number in range(24)]
    assert one.until(lambda: len(one.heard) == 24)
    assert [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("ocm-otel")] == []
    fates = {call[0].query: one.heard[call[0].number].reason for call in calls}
    wanted = {"0": "delivered", "1": "no-type-parameter", "2": "no-answer"}
    assert fates == {query(number): wanted[str(number % 3)] for number in range(24)}


def test_a_slow_answer_holds_up_nobody(wire, loop):
    """While one answer drips in, a hundred calls are answered; then it is, too."""
    go_on = threading.Event()

    def behave(peer):
        while head := peer.request():
            if asked(head) == "slow":
                for byte in OK[:20]:
                    peer.say(bytes([byte]))
                go_on.wait(60)
                peer.say(OK[20:])
            else:
                peer.say(OK)

    one = loop(wire(behave).url)
    slow = one.begin(query("slow"))
    for number in range(100):
        assert one.send(query(number), 60).fate is Fate.DELIVERED
    assert slow[0].number not in one.heard
    go_on.set()
    assert one.until(lambda: slow[0].number in one.heard)
    assert one.heard[slow[0].number].fate is Fate.DELIVERED


def test_connections_are_kept(wire, loop):
    """A thousand calls, eight at once, take eight connections."""
    server = wire(answering(OK))
    one = loop(server.url)
    for _ in range(125):
        for number in range(8):
            one.begin(query(number))
        many = len(one.heard) + 8
        assert one.until(lambda many=many: len(one.heard) == many)
    assert server.connections == 8
    assert {verdict.fate for verdict in one.heard.values()} == {Fate.DELIVERED}


def test_a_request_that_does_not_leave_at_once(wire, loop):
    """What does not fit into the system's buffer follows piece by piece, over the kept connection, in one request."""
    server, long = wire(answering(OK)), "x" * 8_000_000
    one = loop(server.url)
    assert one.send(query("short"), 60).fate is Fate.DELIVERED
    assert one.send(query(long), 60).fate is Fate.DELIVERED
    assert one.send(query("short"), 60).fate is Fate.DELIVERED
    assert [asked(head) for head in server.requests] == ["short", long, "short"]
    assert server.connections == 1


def test_a_request_that_does_not_leave_in_time(wire, loop):
    """A server that reads no further has not got it: nothing was counted, and the call says so."""
    held = threading.Event()

    def behave(peer):
        peer.request()
        peer.say(OK)
        held.wait(60)

    one = loop(wire(behave).url, timeout=0.3)
    assert one.send(query("short"), 60).fate is Fate.DELIVERED
    verdict = one.send(query("x" * 20_000_000), 60)
    assert (verdict.reason, verdict.ambiguous) == ("cut-off", False)
    held.set()


def test_a_server_that_closes_behind_its_answer(wire, loop):
    """Closed without a word after each answer: the next call goes over a new connection and is not ambiguous."""

    def behave(peer):
        peer.request()
        peer.say(OK)

    server = wire(behave)
    one = loop(server.url)
    for number in range(50):
        assert one.send(query(number), 60).fate is Fate.DELIVERED
        assert server.wait(lambda number=number: len(server.requests) == number + 1)
        one.turn(0.02)  # the server's end of the connection comes, and no call waits for it
    assert Counter(asked(head) for head in server.requests) == Counter(str(number) for number in range(50))


def test_time_is_up_for_one_and_not_for_all(wire, loop):
    """A call that is not answered ends when its time is over; one that was begun later has its own time."""

    def behave(peer):
        while head := peer.request():
            if asked(head) == "late":
                peer.say(OK)

    one = loop(wire(behave).url, timeout=0.5)
    silent = one.begin(query("silent"))
    assert one.until(lambda: silent[0].number in one.heard)
    assert one.heard[silent[0].number].reason == "silence"
    assert one.send(query("late"), 60).fate is Fate.DELIVERED


def test_what_came_in_time_counts_however_late_it_is_looked_at(wire, loop):
    """A driver that was held up past a call's time takes in the answer that has been there for long."""
    server = wire(answering(OK))
    one = loop(server.url, timeout=0.3)
    assert one.send(query("first"), 60).fate is Fate.DELIVERED  # the connection is there
    call = one.begin(query("held up"))
    assert server.wait(lambda: len(server.requests) == 2)
    assert one.poller.wait(60)  # the answer is there, and nobody takes it in
    threading.Event().wait(0.5)
    one.turn(0)
    assert one.heard[call[0].number].fate is Fate.DELIVERED


def test_a_call_that_is_cut_is_not_heard(wire, loop):
    """What was given up brings no verdict, and its connection is used no more."""
    server = wire(lambda peer: (peer.request(), peer.until_closed()))
    one = loop(server.url)
    call = one.begin(query("given up"))
    assert one.until(lambda: server.requests, 60)
    one.wires.cut(call)
    one.turn(0)
    assert one.heard == {}
    one.begin(query("next"))
    assert one.until(lambda: server.connections == 2)


def test_a_slow_name_server_holds_up_nobody(wire, loop):
    """While a name is looked up, calls under way are answered; then the call that waited for it is made."""
    server = wire(answering(OK))
    found, addresses = threading.Event(), socket.getaddrinfo("127.0.0.1", server.port, type=socket.SOCK_STREAM)

    def look_up(host, port, type=0, flags=0):
        if flags:
            raise socket.gaierror
        found.wait(60)
        return addresses

    one = loop(server.url)
    assert one.send(query("before"), 60).fate is Fate.DELIVERED
    resolver = Resolver(lambda: one._post(one.wires._go_on), look_up)
    one.wires._find = resolver.find
    first, second = one.begin(query("over the old one")), one.begin(query("waits for the name"))
    assert one.until(lambda: first[0].number in one.heard)
    one.turn(0.05)
    assert second[0].number not in one.heard
    found.set()
    assert one.until(lambda: second[0].number in one.heard)
    assert {one.heard[call[0].number].fate for call in (first, second)} == {Fate.DELIVERED}
    third = one.begin(query("the name is known"))
    assert one.until(lambda: third[0].number in one.heard)


def test_a_name_that_leads_nowhere(loop):
    """No address: not ambiguous, for all calls that waited for it."""
    one = loop("http://no-such-host.invalid/")
    calls = [one.begin(query(number)) for number in range(5)]
    assert one.until(lambda: len(one.heard) == 5)
    told = {(one.heard[call[0].number].reason, one.heard[call[0].number].ambiguous) for call in calls}
    assert told == {("no-connection", False)}


def test_a_child_leaves_the_connections_to_its_parent(wire, loop):
    """A forked child gives back the descriptors: the parent's calls go on over the same connections."""
    server = wire(answering(OK))
    one = loop(server.url)
    assert one.send(query("before"), 60).fate is Fate.DELIVERED
    descriptors = set(one.wires._lines)
    child = os.fork()
    if child == 0:
        one.wires.leave()
        one.poller.close()
        left = [number for number in descriptors if Path(f"/proc/self/fd/{number}").exists()]
        os._exit(len(left))
    assert os.waitpid(child, 0)[1] == 0
    assert one.send(query("after"), 60).fate is Fate.DELIVERED
    assert server.connections == 1


def test_the_bell(wire):
    """Rung before or during a wait, by any thread and however often, it ends one wait, and is no descriptor of ours."""
    poller = Poller()
    poller.ring()  # not open yet: nobody waits
    poller.open()
    for _ in range(10_000):  # more than its buffer holds
        poller.ring()
    assert poller.wait(60) == []
    assert poller.wait(0) == []
    ringer = threading.Timer(0.05, poller.ring)
    ringer.start()
    began = time.monotonic()
    assert poller.wait(60) == []
    assert time.monotonic() - began < 30
    ringer.join()
    poller.close()


def test_descriptors_that_come_and_go():
    """A number that was closed and given out again is waited for anew."""
    poller = Poller()
    poller.open()
    for _ in range(3):
        here, there = socket.socketpair()
        poller.watch(here.fileno(), READ)
        there.send(b"x")
        assert [number for number, _ in poller.wait(60)] == [here.fileno()]
        poller.forget(here.fileno())
        assert poller.wait(0) == []
        here.close()
        there.close()
    poller.close()
