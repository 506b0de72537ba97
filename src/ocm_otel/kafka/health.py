"""Health and metrics over HTTP, in a thread of their own: the gateway's paths, and its bounds for who asks.

`/healthz` says that the member goes round, `/readyz` that it is in its group; `/metrics` is Prometheus' text.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn

from ocm_otel.gateway.answers import TEXT, Reply, failure
from ocm_otel.gateway.guard import Secrets
from ocm_otel.gateway.protocol import Gate, protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from ocm_otel.gateway.figures import Figures
    from ocm_otel.kafka.member import Member

#: Seconds after which a member that has not gone round is not well: longer than any answer of a broker is waited for.
STUCK = 120.0
_PATIENCE, _CONNECTIONS, _CLIENT_CONNECTIONS = 5.0, 64, 16


def state(path: str, member: Member, now: float) -> Reply | None:
    """Return what is said of the member's health at `now` on the monotonic clock; None for another path."""
    if path == "/healthz":
        if now - member.turned_at > STUCK:
            return Reply(503, b"it does not go round any more\n", TEXT)
        return Reply(200, b"alive\n", TEXT)
    if path == "/readyz":
        if member.stopping or not member.joined:
            return Reply(503, b"stopping\n" if member.stopping else b"not in the group\n", TEXT)
        return Reply(200, b"ready, and paused: there is no room\n" if member.held else b"ready\n", TEXT)
    return None


class Pages:
    """The pages, as an ASGI application.

    Args:
        member: whose health it is.
        figures: what is shown as metrics.
        tokens: who may see the metrics; None for everybody.
    """

    def __init__(self, member: Member, figures: Figures, tokens: Secrets | None) -> None:
        self._member, self._figures, self._tokens = member, figures, tokens

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        """Answer one request."""
        reply = self._reply(scope["method"], scope["path"], dict(scope["headers"]))
        heads = [(b"content-type", reply.kind.encode()), (b"content-length", b"%d" % len(reply.body))]
        heads += [(name.encode(), value.encode()) for name, value in reply.headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": heads})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})

    def _reply(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> Reply:
        if method not in ("GET", "HEAD"):
            return failure(405, "there is only something to read here", headers=(("allow", "GET, HEAD"),))
        found = state(path, self._member, time.monotonic())
        if found is not None:
            return found
        if path != "/metrics":
            return failure(404, "there are /healthz, /readyz and /metrics here")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if self._tokens is not None and not (scheme.lower() == b"bearer" and self._tokens.has(token.strip())):
            told = "a bearer token is needed, and this is none: see --tokens"
            return failure(401, told, headers=(("www-authenticate", "Bearer"),))
        return Reply(200, self._figures.text(), "text/plain; version=0.0.4; charset=utf-8")


class Server:
    """Serves the pages until it is closed.

    Args:
        pages: what is served.
        listener: a listening socket; it is closed in the end.
    """

    def __init__(self, pages: Pages, listener: socket.socket) -> None:
        gate = Gate(_CONNECTIONS, _CLIENT_CONNECTIONS, _PATIENCE, lambda: None)
        served = uvicorn.Config(
            pages, http=protocol(gate), lifespan="off", ws="none", log_config=None, access_log=False,
            server_header=False, date_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._listener, self._server = listener, uvicorn.Server(served)
        self._thread = threading.Thread(target=self._run, name="ocm-kafka-health", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    def close(self) -> None:
        """End it."""
        self._server.should_exit = True
        self._thread.join(3)
        self._listener.close()
