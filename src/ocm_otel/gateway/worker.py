"""One worker: an outbox, what it shares with its siblings, and the server in front of it.

It is the command's own process where one is enough. Where there are several, a parent (`fleet`) has the socket, starts
them, and tells them by a pipe when to end; the end of the pipe is the parent's death.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import uvicorn

from ocm_otel._settings import Settings
from ocm_otel._values import SettingsError
from ocm_otel.gateway.app import Gateway
from ocm_otel.gateway.config import BadConfig, Config
from ocm_otel.gateway.figures import Board, Figures
from ocm_otel.gateway.guard import Secrets
from ocm_otel.gateway.intake import Intake
from ocm_otel.gateway.protocol import Gate, protocol
from ocm_otel.gateway.shared_spool import open_known, open_outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel.gateway.known import Known

#: Longer than senders keep an idle connection, so that it is never the server that closes first.
_KEEP_ALIVE = 95
_HEAD_BYTES = 64 * 1024
_FIGURES_EVERY = 1.0


def prepare(settings: Settings, config: Config) -> Known:
    """Return the ids that are known; when it returns, what became of the claims of dead workers is known as well.

    Raises:
        BadConfig: events cannot be kept on disk.
        NoSecrets: a file of secrets cannot be used.
        SettingsError: there is no key.
        OSError: the spool cannot be used.
    """
    for path in (config.tokens, config.client_keys):
        if path:
            Secrets.from_file(path)
    return open_known(settings, config.known_ids)


class _Server(uvicorn.Server):
    """Uvicorn's server, which says when it is ready and shows its figures."""

    def __init__(
        self, config: uvicorn.Config, gateway: Gateway, ready: Callable[[], object], show: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._gateway, self._ready, self._show = gateway, ready, show

    async def main_loop(self) -> None:
        """Serve until told to leave."""
        showing = asyncio.ensure_future(self._keep_showing())
        self._ready()
        try:
            await super().main_loop()
        finally:
            self._gateway.stopping = True
            showing.cancel()

    async def _keep_showing(self) -> None:
        while True:
            self._show()
            await asyncio.sleep(_FIGURES_EVERY)


def run(
    config: Config, settings: Settings, listener: socket.socket, ready: Callable[[], object], board: Board | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then end what is under way.

    Args:
        config: how to run.
        settings: those of the outbox.
        listener: a listening socket; it is closed in the end.
        ready: called when requests are answered.
        board: where the figures are shown.

    Raises:
        BadConfig, SettingsError, NoSecrets, OSError: it cannot be started like this; the message says why.
    """
    known = prepare(settings, config)
    outbox = open_outbox(settings, known)
    figures = Figures(board or Board())
    gateway = Gateway(config, outbox, Intake(outbox, known), figures)
    gate = Gate(config.max_connections, config.max_client_connections, config.request_timeout,
                lambda: figures.add("connections_refused"))  # fmt: skip
    if config.access_log:
        _log_requests()
    served = uvicorn.Config(
        gateway, http=protocol(gate), lifespan="off", ws="none", log_config=None, access_log=False,
        server_header=False, date_header=False, proxy_headers=False, timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(config.stop_timeout / 2)), h11_max_incomplete_event_size=_HEAD_BYTES,
        **config.tls(),
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = _Server(served, gateway, ready, lambda: figures.show(outbox.books.snapshot()))
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again in the end, and we are not done then
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    try:
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        listener.close()
        gateway.close()
        outbox.close(config.stop_timeout / 2)


def _log_requests() -> None:
    """Write a line for each request to the error output, and nowhere else."""
    logger = logging.getLogger("ocm_otel.gateway.access")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """Run as a worker of a fleet: a line of JSON on the standard input says how."""
    said = sys.stdin.readline()
    order = json.loads(said)
    config = Config.from_json(order["config"])
    listener = socket.socket(fileno=order["listener"])
    board = Board(order["board"], order["place"], config.workers)

    def watch() -> None:
        sys.stdin.read()  # until the parent closes it, or dies
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="ocm-gateway-parent", daemon=True).start()
    try:
        run(config, Settings.from_env(), listener, lambda: _say("ready"), board)
    except (BadConfig, SettingsError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
