"""What disasters need: an events API with faults in it, and programs that can be killed.

The emulator answers whatever it is told; it cannot cut a connection, keep silent, or lose an answer. `Api` can,
on a bare socket, and keeps for each event how often it was called for and how often it counted. Events are told
apart by their user id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_NAME = re.compile(rb"[?&]user_id=([^& ]+)")
_KEY = re.compile(rb"\r\nx-api-key: *([^\r]*)", re.IGNORECASE)
_RST = struct.pack("ii", 1, 0)


def until(condition: Callable[[], object], timeout: float = 30.0) -> bool:
    """Wait until `condition` is true; False if it was not within `timeout` seconds."""
    end, tick = time.monotonic() + timeout, threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        tick.wait(0.01)
    return True


def lasting(seconds: float) -> None:
    """Let a state of affairs last; here time is what the test puts in, not how it waits for an outcome."""
    threading.Event().wait(seconds)


def best(attempt: Callable[[], float], limit: float, tries: int = 5) -> float:
    """Return the seconds that the first attempt below `limit` took, else those of the fastest; others may be busy.

    What is promised in seconds is promised of a machine that has them: a process that waits for its turn at a
    processor is late whatever it does. What an attempt asserts itself has to hold each time.
    """
    took: list[float] = []
    while len(took) < tries and min(took, default=limit) >= limit:
        took.append(attempt())
    return min(took)


@dataclass(frozen=True)
class Deed:
    """What the API does with one call.

    Attributes:
        how: `answer`, `cut` (close without a word), `reset` (likewise, with RST), `hold` (say nothing), `dribble`
            (begin an answer, and never come to its end).
        status: of the answer.
        counted: whether the event counts.
        headers: further lines of the answer's head, each with its line end.
    """

    how: str = "answer"
    status: int = 200
    counted: bool = False
    headers: str = ""

    @property
    def ambiguous(self) -> bool:
        """Whether a client cannot know if the event counted."""
        return self.how != "answer" or self.status == 504


OK = Deed(counted=True)
LOST = Deed("cut", counted=True)
LOST_BY_RESET = Deed("reset", counted=True)
CUT = Deed("cut")
RESET = Deed("reset")
SILENT = Deed("hold")
DRIBBLE = Deed("dribble")
SILENT_COUNTED = Deed("hold", counted=True)
LATE_504 = Deed(status=504, counted=True)


def status(number: int, headers: str = "") -> Deed:
    """Return the deed of answering with a status, without counting."""
    return Deed(status=number, headers=headers)


@dataclass
class Api:
    """An events API on a bare socket of 127.0.0.1, which does whatever its mood says.

    Args:
        mood: from the event's name and how manieth call for it this is (from 1) to what is done.
        port: the TCP port; 0 for one that is free.
    """

    mood: Callable[[str, int], Deed] = lambda name, nth: OK
    port: int = 0
    calls: list[tuple[float, str, Deed]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    keys: dict[str, set[str]] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)
    held: list[asyncio.Transport] = field(default_factory=list)
    reset_first: Callable[[], bool] = lambda: False
    resets_first: int = 0

    def start(self) -> Api:
        """Listen and serve, in a thread of its own."""
        self._changed = threading.Condition()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(2048)
        self.port = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.Transport] = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def stop(self) -> None:
        """Close the socket and all connections: who calls now is refused."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Api:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if not self._loop.is_closed():
            self.stop()

    @property
    def endpoint(self) -> str:
        """The address that events are sent to."""
        return f"http://127.0.0.1:{self.port}/v2.0/events"

    @property
    def ambiguous(self) -> int:
        """How many calls were made of which a client cannot know whether they counted."""
        return sum(deed.ambiguous for _, _, deed in self.calls)

    @property
    def repeats(self) -> int:
        """How often an event counted that had counted before."""
        return self.counted.total() - len(self.counted)

    def until(self, condition: Callable[[Api], object], timeout: float = 30.0) -> bool:
        """Wait until `condition` is true of the API; False if it was not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout)

    def wait_for(self, count: int, timeout: float = 30.0) -> bool:
        """Wait until so many different events counted."""
        return self.until(lambda api: len(api.counted) >= count, timeout)

    def forget(self) -> None:
        """Begin anew: no call was made yet."""
        for kept in (self.calls, self.seen, self.counted, self.keys, self.arrived, self.held):
            kept.clear()

    def drop_connections(self) -> None:
        """Close all connections that are open, as a server does with those that nobody uses."""
        done = threading.Event()

        def drop() -> None:
            for transport in list(self._open):
                transport.close()
            self._loop.call_soon(done.set)

        self._loop.call_soon_threadsafe(drop)
        assert done.wait(5)

    def _run(self, ready: threading.Event) -> None:
        async def begin() -> asyncio.Server:
            return await self._loop.create_server(lambda: _Connection(self), sock=self._listener)

        server = self._loop.run_until_complete(begin())
        self._loop.call_soon(ready.set)
        self._loop.run_forever()
        server.close()
        for transport in list(self._open):
            transport.abort()
        for _ in range(3):  # let the connections see their end
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()

    def take(self, head: bytes, transport: asyncio.Transport) -> None:
        """Keep one call, and do what the mood says."""
        found = _NAME.search(head)
        name = found[1].decode() if found else "?"
        key = _KEY.search(head)
        with self._changed:
            self.seen[name] += 1
            deed = self.mood(name, self.seen[name])
            now = time.monotonic()
            self.calls.append((now, name, deed))
            self.keys.setdefault(name, set()).add(key[1].decode() if key else "")
            if deed.counted:
                self.counted[name] += 1
                self.arrived.setdefault(name, now)
            if deed.how in ("hold", "dribble"):
                self.held.append(transport)
            self._changed.notify_all()
        if deed.how == "answer":
            _answer(transport, deed)
        elif deed.how == "cut":
            transport.close()
        elif deed.how == "reset":
            reset(transport)
        elif deed.how == "dribble":
            transport.write(b"HTTP/1.1 200 OK\r\n")
            self._dribble(transport)

    def _dribble(self, transport: asyncio.Transport) -> None:
        """Write a line of an answer's head, and another one a little later, as long as somebody listens."""
        if not transport.is_closing():
            transport.write(b"x-more: to come\r\n")
            self._loop.call_later(0.1, self._dribble, transport)


class _Connection(asyncio.Protocol):
    """One connection to the API."""

    def __init__(self, api: Api) -> None:
        self._api, self._buffer = api, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._api._open.add(self._transport)
        if self._api.reset_first():
            self._api.resets_first += 1
            reset(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0 and not self._transport.is_closing():
            head, self._buffer = self._buffer[: end + 2], self._buffer[end + 4 :]
            self._api.take(head, self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._api._open.discard(self._transport)


def _answer(transport: asyncio.Transport, deed: Deed) -> None:
    body = '{"message":"ok"}' if deed.status == 200 else '{"message":"no"}'
    head = f"HTTP/1.1 {deed.status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    transport.write(f"{head}{deed.headers}\r\n{body}".encode())


def reset(transport: asyncio.Transport) -> None:
    """Cut a connection so that the other side gets a reset."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    transport.abort()


# --- programs ---------------------------------------------------------------------------------------------

#: What each program begins with. `obey` makes it a puppet of the test; other programs write their own lines.
PRELUDE = """
import json, os, resource, signal, sys, threading, time
from dataclasses import asdict
from ocm_otel._event import Event
from ocm_otel._outbox import Outbox
from ocm_otel._settings import Settings

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and what nohup starts, that one

def say(*words):
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())

def event(name, length=1):
    return Event("course-click", course_id="7" * length, user_id=name)

def put(outbox, prefix, count, length=1):
    return sum(outbox.put(event(f"{prefix}-{number}", length)) for number in range(count))

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def obey(outbox):
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "put":
            say(put(outbox, rest[0], *map(int, rest[1:])))
        elif word == "flush":
            say(outbox.flush(float(rest[0])))
        elif word == "books":
            say(json.dumps(asdict(outbox.books.snapshot())))
        elif word == "memory":
            say(resident())
        elif word == "end":
            return
"""
#: Makes an outbox from the environment, says so, and does what it is told.
PUPPET = """
outbox = Outbox(Settings.from_env())
say("ready")
obey(outbox)
"""
_variables = {"key": "API_KEY"}


class Program:
    """A Python program in a process of its own; what it says can be read line by line.

    Args:
        body: its source.
        folder: where its source and its log go.
        environment: its variables.
    """

    def __init__(self, body: str, folder: Path, environment: dict[str, str]) -> None:
        self.log_path = folder / f"{time.monotonic_ns()}.log"
        source = self.log_path.with_suffix(".py")  # a file, for `spawn` has to import it
        source.write_text(body)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(source)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment,
            )  # fmt: skip
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)

    def line(self, timeout: float = 60.0) -> str:
        """Return the next line that it says."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            line = None
        assert line is not None, f"it said nothing more within {timeout} s:\n{self.log()}"
        return line

    def ask(self, *words: object, timeout: float = 60.0) -> str:
        """Tell a puppet to do something, and return what it answers."""
        self.tell(*words)
        return self.line(timeout)

    def tell(self, *words: object) -> None:
        """Tell a puppet to do something."""
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def books(self) -> dict:
        """Return a puppet's books, which balance."""
        books = json.loads(self.ask("books"))
        came = books["accepted"] + books["adopted"]
        assert came == books["delivered"] + books["refused"] + books["dropped"] + books["waiting"]
        return books

    def rest(self, timeout: float = 60.0) -> list[str]:
        """Return the lines that it said until its end, and has not been asked for yet."""
        self._reader.join(timeout)
        assert not self._reader.is_alive(), f"it goes on:\n{self.log()}"
        lines = []
        while (line := self._lines.get()) is not None:
            lines.append(line)
        return lines

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it by a signal, and wait for that."""
        self.process.send_signal(number)
        self.wait()

    def wait(self, timeout: float = 60.0) -> int:
        """Return its exit code, once it has ended."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.log()}") from None

    def end(self, timeout: float = 60.0) -> float:
        """Let a puppet's program come to its end; returns the seconds that this took."""
        started = time.monotonic()
        self.tell("end")
        assert self.wait(timeout) == 0, self.log()
        return time.monotonic() - started

    def log(self) -> str:
        """Return what it logged, or otherwise wrote to its standard error."""
        return self.log_path.read_text()

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Machine:
    """Where programs run: one spool, one place for logs, one environment.

    Args:
        folder: a fresh directory.
        given: settings of all programs, by field; `endpoint` above all.
    """

    def __init__(self, folder: Path, **given: object) -> None:
        self.folder = folder
        self.given = {"key": "demo-key", "spool_dir": folder / "spool", **given}
        self.programs: list[Program] = []

    def environment(self, **given: object) -> dict[str, str]:
        """Return the variables of a program with these further settings."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        settings = {**self.given, **given}
        ours = {f"OTEL_EXPORTER_OCM_{_variables.get(name, name.upper())}": str(v) for name, v in settings.items()}
        return {**clean, "HOME": str(self.folder), **ours}

    def run(self, body: str, *, before: str = "", extra: dict[str, str] | None = None, **given: object) -> Program:
        """Start a program.

        Args:
            body: what it does, after the prelude.
            before: what it does before that.
            extra: variables of its own.
            given: further settings.
        """
        environment = {**self.environment(**given), **(extra or {})}
        program = Program(before + PRELUDE + textwrap.dedent(body), self.folder, environment)
        self.programs.append(program)
        return program

    def puppet(self, **given: object) -> Program:
        """Start a program with an outbox that does what it is told; returns when the outbox is there."""
        program = self.run(PUPPET, **given)
        assert program.line() == "ready"
        return program

    def close(self) -> None:
        """End all programs."""
        for program in self.programs:
            program.close()

    def left(self) -> list[str]:
        """Return the ledgers that are in the spool."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.glob("spool/*/*/*.ledger"))


def names(prefix: str, count: int) -> set[str]:
    """Return the names of the events that `put(outbox, prefix, count)` puts in."""
    return {f"{prefix}-{number}" for number in range(count)}


def tally(events: Iterable[dict]) -> Counter[str]:
    """Return how often each event is among what the emulator counted."""
    return Counter(event["user_id"] for event in events)
