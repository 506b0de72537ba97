"""What the tests of the rooms share: a server that says exactly the bytes it is told, certificates, outboxes."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
import trustme

from ocm_otel import Outbox, Settings

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n" + b'{"status":"OK"}'


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, server: Wire, sock: socket.socket) -> None:
        self.sock = sock
        self._server = server
        self._rest = b""

    def request(self) -> bytes:
        """Return the head of the next request, empty at the end of the connection."""
        while b"\r\n\r\n" not in self._rest:
            more = self.sock.recv(65536)
            if not more:
                return b""
            self._rest += more
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        with self._server.changed:
            self._server.requests.append(head)
            self._server.changed.notify_all()
        return head

    def say(self, data: bytes) -> int:
        """Send; returns how much was taken before the other side went away."""
        done = 0
        with contextlib.suppress(OSError):
            for start in range(0, len(data), 65536):
                self.sock.sendall(data[start : start + 65536])
                done += len(data[start : start + 65536])
        return done

    def reset(self) -> None:
        """End the connection with a reset instead of a proper end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def until_closed(self) -> None:
        """Wait until the other side goes away, or the server ends."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                continue


class Wire:
    """A server on loopback whose every byte is decided by `behave`, called once for each connection."""

    def __init__(self, behave: Callable[[Peer], object], host: str = "127.0.0.1", tls: ssl.SSLContext | None = None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}/v2.0/events"
        self.requests: list[bytes] = []
        self.connections = 0
        self.changed = threading.Condition()
        self._behave, self._tls = behave, tls
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections += 1
                self._open.add(sock)
                self.changed.notify_all()
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._tls:
                inner = self._tls.wrap_socket(sock, server_side=True)
                with self.changed:
                    self._open.add(inner)
                sock = inner
            self._behave(Peer(self, sock))
        with contextlib.suppress(OSError):
            sock.close()

    def wait(self, condition: Callable[[], bool], timeout: float = 60.0) -> bool:
        """Wait until `condition` holds."""
        with self.changed:
            return self.changed.wait_for(condition, timeout)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                sock.close()
        for thread in self._threads:
            thread.join(30)


def answering(answer: bytes) -> Callable[[Peer], None]:
    """Return a behaviour that gives one answer to each request of a connection."""

    def behave(peer: Peer) -> None:
        while peer.request():
            peer.say(answer)

    return behave


def lowest_free() -> int:
    """Return the number that the next file would get: with it as the limit there are too many open files."""
    gc.collect()  # what is garbage may have numbers that would be free a moment later
    number = os.dup(0)
    os.close(number)
    return number


def silent(peer: Peer) -> None:
    """Read, and never say a word."""
    peer.request()
    peer.until_closed()


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    made: list[Wire] = []

    def make(behave: Callable[[Peer], object] | bytes = OK, **options) -> Wire:
        made.append(Wire(answering(behave) if isinstance(behave, bytes) else behave, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def make_outbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outbox]]:
    """Makes outboxes in memory that are closed at the end."""
    made: list[Outbox] = []

    def make(endpoint: str, **options) -> Outbox:
        own = {name: options.pop(name) for name in ("journal", "transport", "pace") if name in options}
        defaults = {"api_key": "demo-key", "durability": "memory"}
        made.append(Outbox(Settings(endpoint=endpoint, **{**defaults, **options}), **own))
        return made[-1]

    yield make
    for outbox in made:
        outbox.close(0)
