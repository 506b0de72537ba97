"""An ASGI application served by uvicorn in a background thread, ready when started and gone when stopped.

This room owns the socket, the thread and the loop, and does not know what is served. It keeps silent: its
ordinary log lines would be mixed with those of the application under test.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .wire import TRANSPORT

# Longer than a client keeps an idle connection, so that it is never the server that closes first.
_KEEP_ALIVE_SECONDS = 75
# Room for a request line far over the gateway's limit: it is to be answered, not cut off.
_BUFFER_BYTES = 1 << 20
_START_SECONDS = 30.0


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: an address of this machine.
        port: the TCP port; 0 for one that is free.

    Raises:
        OSError: the address cannot be had, for instance because the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio looks at it before it turns Nagle's algorithm off; without
    # that, each answer on a kept connection takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        told = f"cannot listen on {host}:{port} ({error.strerror}): try another port"
        raise OSError(error.errno, told) from error
    return listener


class _Quiet(logging.Filter):
    """Drops what the thread that made it logs, errors excepted; other threads are not concerned."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record may pass."""
        return record.thread != self._thread or record.levelno >= logging.ERROR


@contextmanager
def _silence() -> Iterator[None]:
    quiet = _Quiet()
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio")]
    for logger in loggers:
        logger.addFilter(quiet)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(quiet)


class _Protocol(H11Protocol):
    """Uvicorn's HTTP protocol; each request finds the transport of its connection in its ASGI state.

    Always this parser: the faster one answers malformed and huge requests in another way, and what a client
    sees must not depend on what else is installed.
    """

    def connection_made(self, transport: Any) -> None:
        """Note the transport."""
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """Uvicorn's server, ready as soon as it listens and leaving as soon as it is told to."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self._left = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def main_loop(self) -> None:
        """Serve until told to leave; once a second the Date header moves on."""
        leaving = asyncio.ensure_future(self._left.wait())
        await self.on_tick(0)
        self._ready.set()
        while not leaving.done():
            await asyncio.wait({leaving}, timeout=1.0)
            await self.on_tick(0)

    def leave(self, before: Callable[[], None]) -> None:
        """End the service, from any thread; ``before`` runs in the server's own thread first."""

        def end() -> None:
            before()
            self._left.set()

        self._loop.call_soon_threadsafe(end)


class Service:
    """One application on one socket, in one daemon thread.

    Args:
        app: what to serve.
        listener: a listening socket; it is closed with the service.
        before_end: runs in the server's thread when the service is to end, before it waits for answers
            that are still out.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, before_end: Callable[[], None]) -> None:
        self._app = app
        self._listener = listener
        self._before_end = before_end
        self._ready = threading.Event()
        self._server: _Server | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ocm-emulator", daemon=True)

    def start(self) -> None:
        """Serve, and return when calls are answered.

        Raises:
            RuntimeError: the server did not come up.
        """
        self._thread.start()
        if not self._ready.wait(_START_SECONDS) or self._failure is not None:
            raise RuntimeError(f"the emulator's server did not come up: {self._failure!r}")

    def stop(self) -> None:
        """End the service and its thread; connections and the socket are closed then."""
        if self._server is not None and self._thread.is_alive():
            self._server.leave(self._before_end)
        self._thread.join()

    def _run(self) -> None:
        try:
            with _silence():
                asyncio.run(self._serve())
        except BaseException as failure:  # noqa: BLE001 - told by start(); a thread has nobody else to tell
            self._failure = failure
        finally:
            self._listener.close()
            self._ready.set()

    async def _serve(self) -> None:
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=_BUFFER_BYTES,
        )
        self._server = _Server(config, self._ready)
        await self._server.serve(sockets=[self._listener])
