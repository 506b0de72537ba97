"""Several workers on one socket and one spool directory: started, replaced when one dies, and ended together.

The parent serves nothing and reads nothing of what comes in. A worker that dies takes nothing with it: its siblings
deliver what it left, and know what it took.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ocm_otel.gateway.figures import Board

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ocm_otel.gateway.config import Config

#: Seconds before a worker is started in the place of one that died young.
_PAUSE = 1.0
_TICK = 0.1
_BAD_START = 2  # the exit code of a worker that cannot be started like this


class Fleet:
    """The workers.

    Args:
        config: how they are to run.
        listener: the listening socket that they share.
        ready: called when the first worker answers requests.
    """

    def __init__(self, config: Config, listener: socket.socket, ready: Callable[[], object]) -> None:
        self._config, self._listener, self._ready = config, listener, ready
        self._board = Board.make(config.workers)
        self._workers: list[subprocess.Popen[str] | None] = [None] * config.workers
        self._started = [0.0] * config.workers
        self._stopping = threading.Event()
        self._told = threading.Lock()

    def run(self) -> int:
        """Keep the workers running until SIGTERM or SIGINT; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        try:
            while not self._stopping.is_set():
                for place, worker in enumerate(self._workers):
                    if worker is not None and worker.poll() == _BAD_START:
                        return _BAD_START  # it has said why
                    if worker is None or worker.poll() is not None:
                        self._start(place)
                self._stopping.wait(_TICK)
        finally:
            self._end()
        return 0

    def _start(self, place: int) -> None:
        """Start a worker, unless the one before it was started just now."""
        if time.monotonic() - self._started[place] < _PAUSE:
            return
        self._started[place] = time.monotonic()
        handle = self._listener.fileno()
        worker = subprocess.Popen(
            [sys.executable, "-m", "ocm_otel.gateway.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=(handle, self._board),
            start_new_session=True,
        )  # fmt: skip
        order = {"config": self._config.to_json(), "listener": handle, "board": self._board, "place": place}
        assert worker.stdin is not None  # noqa: S101 - it is a pipe, for we asked for one
        with suppress(OSError):  # it died at once: seen at the next look
            worker.stdin.write(json.dumps(order) + "\n")
            worker.stdin.flush()
        self._workers[place] = worker
        threading.Thread(target=self._hear, args=(worker,), name="ocm-gateway-worker", daemon=True).start()

    def _hear(self, worker: subprocess.Popen[str]) -> None:
        """Wait until a worker is ready; the first one to be is told of."""
        if worker.stdout is not None and worker.stdout.readline() and self._told.acquire(blocking=False):
            self._ready()

    def _end(self) -> None:
        """End the workers, and wait for them as long as they may take."""
        self._listener.close()
        living = [worker for worker in self._workers if worker is not None]
        for worker in living:
            with suppress(OSError):
                if worker.stdin is not None:
                    worker.stdin.close()
        end = time.monotonic() + self._config.stop_timeout + 2
        for worker in living:
            try:
                worker.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        os.close(self._board)
