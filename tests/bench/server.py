"""The server of the benchmarks, in a process of its own: server.c where a C compiler is, else the one below.

`with Server(delay=0.02, tls=True) as server:` has it built, started, and ended.
"""

from __future__ import annotations

import asyncio
import atexit
import http.client
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"status":"OK"}'


@cache
def folder() -> Path:
    """Return a folder for what is built, which ends with the process."""
    made = tempfile.mkdtemp(prefix="ocm-bench-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


@cache
def built() -> str | None:
    """Return where the C server is, built now; None where it cannot be built."""
    if ready := os.environ.get("OCM_BENCH_SERVER"):
        return ready
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    where = str(folder() / "server")
    command = [compiler, "-O2", "-o", where, str(HERE / "server.c"), "-lssl", "-lcrypto"]
    return where if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


@cache
def certificates() -> tuple[str, str]:
    """Return the files of an authority, and of the server's certificate with its key."""
    import trustme

    authority, own = folder() / "authority.pem", folder() / "server.pem"
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(authority))
    ca.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(str(own))
    return str(authority), str(own)


class Server:
    """A server on the loopback address that answers after `delay` seconds.

    Args:
        delay: seconds.
        tls: whether it speaks TLS, with a certificate of its own authority.
        keep: a file for the bodies that come, if any.
        port: where to listen; a free one if left out.
    """

    def __init__(self, delay: float = 0.0, *, tls: bool = False, keep: str | None = None, port: int = 0) -> None:
        program = [at] if (at := built()) else [sys.executable, __file__]
        self.authority, own = certificates() if tls else ("", "-")
        command = [*program, str(int(delay * 1e6)), str(port), keep or "-", own]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    @property
    def at(self) -> dict[str, object]:
        """What a shape has to know of it."""
        return {"port": self.port, "authority": self.authority}


def ask(port: int, what: str) -> str:
    """Return what a server (without TLS) tells of itself: its `count`, or the `times` since it was last asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", f"/-/{what}")
    told = connection.getresponse().read().decode()
    connection.close()
    return told


class Peer(asyncio.Protocol):
    """One connection of the server that is used where no C compiler is."""

    delay, keep, count, times = 0.0, None, 0, []

    def connection_made(self, transport) -> None:
        self._transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._held) < end + 4 + length:
                return
            body, self._held = self._held[end + 4 : end + 4 + length], self._held[end + 4 + length :]
            self._request(head, body)

    def _request(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /-/"):
            told = str(Peer.count) if b"/-/count" in head else "".join(f"{at}\n" for at in Peer.times)
            if b"/-/times" in head:
                Peer.times.clear()
            self._say(f"HTTP/1.1 200 OK\r\ncontent-length: {len(told)}\r\n\r\n{told}".encode())
            return
        Peer.count += 1
        Peer.times.append(time.monotonic_ns())
        if Peer.keep and body:
            Peer.keep.write(b"%d\n" % len(body) + body)
            Peer.keep.flush()
        if Peer.delay:
            asyncio.get_running_loop().call_later(Peer.delay, self._say, ANSWER)
        else:
            self._say(ANSWER)

    def _say(self, text: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(text)


async def serve(delay: float, port: int, keep: str, own: str) -> None:
    """Serve until killed, as server.c does."""
    Peer.delay, Peer.keep = delay, None if keep == "-" else open(keep, "ab")  # noqa: ASYNC230, PTH123, SIM115
    trust = None
    if own != "-":
        trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trust.load_cert_chain(own)
    listening = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", port, ssl=trust, backlog=1024)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def bodies(path: str) -> list[bytes]:
    """Return the bodies that a server kept."""
    data, found = Path(path).read_bytes(), []
    while data:
        length, _, rest = data.partition(b"\n")
        found.append(rest[: int(length)])
        data = rest[int(length) :]
    return found


def kind() -> str:
    """Return which server it is, for the page."""
    return "a C server of one thread (server.c)" if built() else "a Python server (no C compiler here)"


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) / 1e6, int(sys.argv[2]), sys.argv[3], sys.argv[4]))
