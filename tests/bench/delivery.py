"""What a delivered event costs, beside the same calls made otherwise.

Each maker returns a function that makes so many calls and comes back when all are answered, so that imports, threads
and first connections are no part of what is measured. `ours` is all of it: `put` into the journal on disk, the call,
the verdict, the books. The others make the calls and nothing else.
"""

from __future__ import annotations

import asyncio
import http.client
import queue
import selectors
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from core import cpu, memory

PATH = "/v2.0/events?type=course-save&course_id=7&user_id=ann-"
KEY = {"x-api-key": "demo-key"}
Send = Callable[[int], None]


def _trust(authority: str) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=authority) if authority else None


def _address(port: int, authority: str) -> str:
    return f"http{'s' if authority else ''}://127.0.0.1:{port}"


@contextmanager
def bare_loop(port: int, authority: str, connections: int) -> Iterator[Send]:
    """The floor: one thread, sockets that do not block, no look at the answer but for its status."""
    waiting, trust = selectors.DefaultSelector(), _trust(authority)
    request = f"GET {PATH}1 HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: demo-key\r\n\r\n".encode()
    socks = []
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = trust.wrap_socket(sock, server_hostname="127.0.0.1") if trust else sock
        sock.setblocking(False)
        waiting.register(sock, selectors.EVENT_READ)
        socks.append(sock)

    def send(events: int) -> None:
        left = events - len(socks[:events])
        for sock in socks[:events]:
            sock.send(request)
        done = 0
        while done < events:
            for key, _ in waiting.select():
                with suppress(ssl.SSLWantReadError):
                    if key.fileobj.recv(65536).startswith(b"HTTP/1.1 200"):
                        done += 1
                        if left:
                            left -= 1
                            key.fileobj.send(request)

    yield send


@contextmanager
def _threads(connections: int, line: Callable[[], Callable[[int], None]]) -> Iterator[Send]:
    """Let so many threads make all calls; `line` returns what a thread calls with each number."""
    numbers: queue.SimpleQueue = queue.SimpleQueue()
    answered = threading.Semaphore(0)

    def work() -> None:
        call = line()
        while (number := numbers.get()) is not None:
            call(number)
            answered.release()

    for _ in range(connections):
        threading.Thread(target=work, daemon=True).start()

    def send(events: int) -> None:
        for number in range(events):
            numbers.put(number)
        for _ in range(events):
            answered.acquire()

    yield send


def http_client(port: int, authority: str, connections: int):
    """`http.client`, a connection for each thread."""

    def line():
        trust = _trust(authority)
        kind = (lambda: http.client.HTTPSConnection("127.0.0.1", port, context=trust)) if trust else None
        kept = kind() if kind else http.client.HTTPConnection("127.0.0.1", port)

        def call(number: int) -> None:
            kept.request("GET", f"{PATH}{number}", headers=KEY)
            assert kept.getresponse().read() == b'{"status":"OK"}'

        return call

    return _threads(connections, line)


def httpx_client(port: int, authority: str, connections: int):
    """One `httpx.Client` for all threads."""
    import httpx

    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    client = httpx.Client(limits=limits, headers=KEY, verify=_trust(authority) or True, timeout=30)
    start = _address(port, authority) + PATH

    def call(number: int) -> None:
        assert client.get(f"{start}{number}").status_code == 200

    return _threads(connections, lambda: call)


@contextmanager
def _tasks(connections: int, get: Callable) -> Iterator[Send]:
    """Let so many tasks of one event loop make all calls."""
    loop = asyncio.new_event_loop()

    async def every(events: int) -> None:
        numbers = iter(range(events))

        async def work() -> None:
            for number in numbers:
                await get(number)

        await asyncio.gather(*(work() for _ in range(connections)))

    yield lambda events: loop.run_until_complete(every(events))


def httpx_async(port: int, authority: str, connections: int):
    """One `httpx.AsyncClient` for all tasks."""
    import httpx

    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    client = httpx.AsyncClient(limits=limits, headers=KEY, verify=_trust(authority) or True, timeout=30)
    start = _address(port, authority) + PATH

    async def get(number: int) -> None:
        assert (await client.get(f"{start}{number}")).status_code == 200

    return _tasks(connections, get)


def aiohttp(port: int, authority: str, connections: int):
    """One `aiohttp.ClientSession` for all tasks."""
    import aiohttp as library

    start, made = _address(port, authority) + PATH, []

    async def get(number: int) -> None:
        if not made:
            connector = library.TCPConnector(limit=connections, ssl=_trust(authority) or True)
            made.append(library.ClientSession(connector=connector, headers=KEY))
        async with made[0].get(f"{start}{number}") as answer:
            await answer.read()
            assert answer.status == 200

    return _tasks(connections, get)


@contextmanager
def ours(port: int, authority: str, connections: int) -> Iterator[Send]:
    """All of it: `put` into the journal on disk, delivery, verdict, books."""
    from ocm_otel import Event, Outbox, Settings

    with tempfile.TemporaryDirectory() as place:
        where = _address(port, authority) + "/v2.0/events"
        given = {"certificate": authority} if authority else {}
        outbox = Outbox(
            Settings(api_key="demo-key", endpoint=where, spool_dir=place, max_concurrency=connections, **given)
        )

        def send(events: int) -> None:
            before = outbox.books.snapshot().delivered
            for number in range(events):
                outbox.put(Event("course-save", course_id=7, user_id=f"ann-{number}"))
            assert outbox.flush(80)
            assert outbox.books.snapshot().delivered - before == events

        yield send
        outbox.close(0)


MAKERS = {one.__name__: one for one in (bare_loop, http_client, httpx_client, httpx_async, aiohttp, ours)}


def calls(shape: str, port: int, authority: str, connections: int, events: int, warm: int) -> dict[str, float]:
    """Return the CPU of the whole process for each event, in microseconds, and how many were made in a second."""
    with MAKERS[shape](port, authority, connections) as send:
        send(warm)
        spent, began = cpu(), time.perf_counter()
        send(events)
        spent, took = cpu() - spent, time.perf_counter() - began
    return {"cpu": spent / events * 1e6, "rate": events / took, "memory": memory("VmHWM")}
