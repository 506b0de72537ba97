"""What the delivery of an event costs, beside the same calls made otherwise: `python tests/bench/delivery.py`.

Each shape makes its calls in a process of its own, against a small server in a third one; the shapes take turns, and
each figure is the median of the rounds. CPU is that of the whole client process, user and system time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import queue
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"status":"OK"}'
PATH = "/v2.0/events?type=course-save&course_id=7&user_id=ann-"


def received(peer: socket.socket) -> bytes:
    """Return what came, nothing where the connection is over, however it ended."""
    try:
        return peer.recv(65536)
    except ConnectionResetError:
        return b""


def serve(delay: float) -> None:
    """Answer every request after `delay` seconds; print the port, then serve until killed."""
    waiting = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    waiting.register(listener, selectors.EVENT_READ)
    later: list[tuple[float, socket.socket]] = []
    while True:
        wait = max(0.0, later[0][0] - time.monotonic()) if later else None
        for key, _ in waiting.select(wait):
            if key.fileobj is listener:
                peer, _ = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                waiting.register(peer, selectors.EVENT_READ)
            elif not (got := received(key.fileobj)):
                waiting.unregister(key.fileobj)
                key.fileobj.close()
            elif delay:
                later.append((time.monotonic() + delay, key.fileobj))
            else:
                key.fileobj.sendall(ANSWER * got.count(b"\r\n\r\n"))
        now = time.monotonic()
        while later and later[0][0] <= now:
            later.pop(0)[1].sendall(ANSWER)


def bare_loop(port: int, events: int, connections: int) -> None:
    """The floor: one thread, sockets that do not block, no look at the answer but for its end."""
    waiting = selectors.DefaultSelector()
    left = events
    done = 0
    request = f"GET {PATH}1 HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: demo-key\r\n\r\n".encode()
    for _ in range(min(connections, events)):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        waiting.register(sock, selectors.EVENT_READ)
        sock.send(request)
        left -= 1
    while done < events:
        for key, _ in waiting.select():
            if key.fileobj.recv(65536).startswith(b"HTTP/1.1 200"):
                done += 1
                if left:
                    left -= 1
                    key.fileobj.send(request)


def in_threads(work, events: int, connections: int) -> None:
    """Let `connections` threads make all calls."""
    numbers: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    for number in [*range(events), *[None] * connections]:
        numbers.put(number)
    threads = [threading.Thread(target=work, args=(numbers,)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def stdlib(port: int, events: int, connections: int) -> None:
    """`http.client`, a connection for each thread."""

    def work(numbers) -> None:
        line = http.client.HTTPConnection("127.0.0.1", port)
        while (number := numbers.get()) is not None:
            line.request("GET", f"{PATH}{number}", headers={"x-api-key": "demo-key"})
            assert line.getresponse().read() == b'{"status":"OK"}'

    in_threads(work, events, connections)


def httpx_pool(port: int, events: int, connections: int) -> None:
    """One `httpx.Client` for all threads."""
    import httpx

    client = httpx.Client(limits=httpx.Limits(max_connections=connections))

    def work(numbers) -> None:
        while (number := numbers.get()) is not None:
            url = f"http://127.0.0.1:{port}{PATH}{number}"
            assert client.get(url, headers={"x-api-key": "demo-key"}).status_code == 200

    in_threads(work, events, connections)


def ours(port: int, events: int, connections: int) -> None:
    """All of it: `put` into the journal on disk, delivery, verdict, books."""
    from ocm_otel import Event, Outbox, Settings

    with tempfile.TemporaryDirectory() as place:
        outbox = Outbox(
            Settings(
                api_key="demo-key",
                endpoint=f"http://127.0.0.1:{port}/v2.0/events",
                spool_dir=place,
                max_concurrency=connections,
            )
        )
        for number in range(events):
            outbox.put(Event("course-save", course_id=7, user_id=f"ann-{number}"))
        assert outbox.flush(120)
        assert outbox.books.snapshot().delivered == events
        outbox.close()


SHAPES = {one.__name__: one for one in (bare_loop, stdlib, httpx_pool, ours)}


def run(shape: str, port: int, events: int, connections: int) -> None:
    """Make the calls of one shape, and print what they took."""
    SHAPES[shape](port, 20, 2)  # imports, connections, first lines: not what is measured
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    SHAPES[shape](port, events, connections)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu / events * 1e6, "rate": events / (time.perf_counter() - started)}))


def measure(shape: str, port: int, events: int, connections: int) -> dict[str, float]:
    """Return what one run of a shape took."""
    command = [sys.executable, __file__, "--run", shape, str(port), str(events), str(connections)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure all shapes in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delays", type=float, nargs="*", default=[0, 20, 100], help="milliseconds")
    parser.add_argument("--connections", type=int, nargs="*", default=[16])
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    given = parser.parse_args()
    print(f"{'API ms':>6} {'conns':>5} {'shape':<12} {'CPU us/event':>12} {'x bare loop':>11} {'events/s':>9}")
    for delay in given.delays:
        server = subprocess.Popen([sys.executable, __file__, "--serve", str(delay / 1000)], stdout=subprocess.PIPE)
        port = int(server.stdout.readline())
        for connections in given.connections:
            events = given.events if not delay else min(given.events, int(connections / delay * 1000 * 3))
            found: dict[str, list[dict[str, float]]] = {shape: [] for shape in given.shapes}
            for _ in range(given.rounds):
                for shape, rows in found.items():
                    rows.append(measure(shape, port, events, connections))
            floor = statistics.median(row["cpu"] for row in next(iter(found.values())))
            for shape, rows in found.items():
                cpu, rate = (statistics.median(row[what] for row in rows) for what in ("cpu", "rate"))
                print(f"{delay:6.0f} {connections:5} {shape:<12} {cpu:12.1f} {cpu / floor:11.1f} {rate:9.0f}")
        server.kill()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(float(sys.argv[2]))
    elif sys.argv[1:2] == ["--run"]:
        run(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()
