"""The gateway as an ASGI application: which door a request wants, whether it may, and what it is answered.

What a request says is bounded and judged here; what it brings is read and kept elsewhere. What goes wrong in here is
answered with "come again", counted and told once: a sender must not take our fault for its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ocm_otel._doors import last_resort
from ocm_otel.gateway import events_api
from ocm_otel.gateway.answers import API_LATER, API_OK, API_TOO_OFTEN, TEXT, Reply, failure, wait
from ocm_otel.gateway.bodies import Body, Budget, TooLarge
from ocm_otel.gateway.guard import Rates, Secrets
from ocm_otel.gateway.otlp import Head, answer, content_type

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from ocm_otel._outbox import Outbox
    from ocm_otel.gateway.config import Config
    from ocm_otel.gateway.figures import Figures
    from ocm_otel.gateway.intake import Intake

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

access = logging.getLogger("ocm_otel.gateway.access")

#: Bodies of so many of the largest size may be in memory at once.
_BODIES = 4
#: How much is read, and for how many seconds, of a body that nobody wants.
_DRAINED, _DRAIN_TIME = 1024 * 1024, 1.0
_METHODS = ("GET", "POST", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH")
_DOORS = {
    "/v1/traces": "traces",
    "/v1/logs": "logs",
    events_api.PATH: "api",
    "/healthz": "health",
    "/readyz": "ready",
    "/metrics": "metrics",
}
_ALLOWED_HEADERS = "authorization, content-encoding, content-type, x-api-key"


class Gone(Exception):
    """The sender went away before its request was whole."""


class Full(Exception):
    """There is no room for a body now."""


class Incoming:
    """What comes in of one request.

    Args:
        receive: ASGI's.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._over = False

    async def collect(self, body: Body) -> None:
        """Read the body to its end.

        Raises:
            Gone: the sender went away.
        """
        while not self._over:
            message = await self._receive()
            if message["type"] != "http.request":
                self._over = True
                raise Gone
            self._over = not message.get("more_body", False)
            body.add(message.get("body", b""))

    async def drain(self) -> None:
        """Read on for a moment: who is still sending does not see an answer before which the connection ends."""
        with suppress(asyncio.TimeoutError, Gone, TooLarge, Full):
            await asyncio.wait_for(self.collect(Body(_DRAINED, Budget(_DRAINED), Full)), _DRAIN_TIME)


class Gateway:
    """The application.

    Args:
        config: how it is to run.
        outbox: where events go.
        intake: how they get there.
        figures: where requests are counted.

    Attributes:
        stopping: True once it is to end: it says so to whoever asks if it is ready.
    """

    def __init__(self, config: Config, outbox: Outbox, intake: Intake, figures: Figures) -> None:
        self._config, self._outbox, self._intake, self._figures = config, outbox, intake, figures
        self._tokens = Secrets.from_file(config.tokens) if config.tokens else None
        self._keys = Secrets.from_file(config.client_keys) if config.client_keys else None
        self._origins = frozenset(origin.encode() for origin in config.cors_origins)
        self._rates = Rates(config.max_client_rate)
        self._budget = Budget(_BODIES * config.max_body)
        # One thread, for one core; where each event waits for the medium several may wait for it together.
        self._pool = ThreadPoolExecutor(8 if outbox.settings.durability == "fsync" else 1, "ocm-gateway")
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.monotonic()
        headers = dict(scope["headers"])
        path = scope["path"]
        door = _DOORS.get(path, "api" if path.startswith("/v2.0/") else "other")
        incoming = Incoming(receive)
        try:
            reply = await self._reply(door, scope, headers, incoming)
        except Gone:
            self._figures.add("requests", door=door, status="gone")
            return
        except Exception as error:  # noqa: BLE001 - the border to the network; counted and told
            last_resort.add("failed_door", type(error).__name__)
            self._outbox.books.add("failed_door", type(error).__name__)
            self._outbox.books.report(("gateway", type(error)), "the gateway failed (%s)", type(error).__name__)
            reply = wait(503, "the gateway failed: send it again", content_type(headers), close=True)
        self._figures.add("requests", door=door, status=reply.status)
        if reply.close:
            await incoming.drain()
        await send({"type": "http.response.start", "status": reply.status, "headers": self._heads(reply, headers)})
        await send({"type": "http.response.body", "body": reply.body})
        if self._config.access_log:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            access.info("%s %s %d %.1f ms", method, door, reply.status, (time.monotonic() - began) * 1000)

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown()

    def _heads(self, reply: Reply, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """Return the headers of an answer."""
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
        pairs += [(b"content-length", b"%d" % len(reply.body)), (b"x-content-type-options", b"nosniff")]
        if reply.body or reply.status == 200:
            pairs.append((b"content-type", reply.kind.encode("latin-1")))
        if reply.close:
            pairs.append((b"connection", b"close"))
        if self._origins:
            pairs.append((b"vary", b"origin"))
            if (origin := headers.get(b"origin", b"")) in self._origins:
                exposed = (b"access-control-expose-headers", b"retry-after")
                # There are no cookies here; but `navigator.sendBeacon` always asks with them, and needs to be told.
                credentials = (b"access-control-allow-credentials", b"true")
                pairs += [(b"access-control-allow-origin", origin), exposed, credentials]
        return pairs

    async def _reply(self, door: str, scope: Scope, headers: Mapping[bytes, bytes], incoming: Incoming) -> Reply:
        """Return the answer to a request."""
        method, kind = scope["method"], content_type(headers)
        if door in ("health", "ready"):
            return self._health(door)
        client = (scope.get("client") or ("",))[0]
        if not self._rates.allows(client, time.monotonic()):
            return API_TOO_OFTEN if door == "api" else wait(429, "too many requests of one client", kind, 1, close=True)
        if method == "OPTIONS" and b"access-control-request-method" in headers:
            return self._preflight(headers)
        if door == "api":
            return await self._call(scope)
        if self._tokens is not None and not self._tokens.has(_bearer(headers)):
            told = "a bearer token is needed, and this is none: see --tokens of the gateway"
            return failure(401, told, kind, (("www-authenticate", "Bearer"),), close=True)
        if door == "metrics":
            self._figures.show(self._outbox.books.snapshot())
            return Reply(200, self._figures.text(), "text/plain; version=0.0.4; charset=utf-8")
        if door == "other":
            return failure(404, "there are /v1/traces, /v1/logs and /v2.0/events here", kind, close=True)
        if method != "POST":
            return failure(405, "OTLP is sent with POST", kind, (("allow", "POST"),), close=True)
        head = Head.of(door, headers)
        return head if isinstance(head, Reply) else await self._take(head, headers, incoming)

    def _health(self, door: str) -> Reply:
        """Return whether it lives, or whether it takes in events now."""
        if door == "health":
            return Reply(200, b"alive\n", TEXT)
        if self.stopping or not self._intake.has_room:
            return Reply(503, b"stopping\n" if self.stopping else b"the journal has no room\n", TEXT)
        return Reply(200, b"ready\n", TEXT)

    def _preflight(self, headers: Mapping[bytes, bytes]) -> Reply:
        """Return what a browser asks before it lets a page call (Fetch standard, CORS protocol)."""
        if headers.get(b"origin", b"") not in self._origins:
            return failure(403, "calls from pages of this origin are not allowed: see --cors-origin of the gateway")
        told = (
            ("access-control-allow-methods", "GET, POST"),
            ("access-control-allow-headers", _ALLOWED_HEADERS),
            ("access-control-max-age", "600"),
        )
        return Reply(204, headers=told)

    async def _call(self, scope: Scope) -> Reply:
        """Answer the API's own call."""
        found = events_api.called_for(
            self._outbox, self._keys, scope["method"], scope["path"], scope["query_string"], scope["headers"]
        )
        if isinstance(found, Reply):
            return found
        taken = await asyncio.get_running_loop().run_in_executor(self._pool, self._intake.put, found)
        if taken:
            self._figures.add("events", door="api")
        return API_OK if taken else API_LATER

    async def _take(self, head: Head, headers: Mapping[bytes, bytes], incoming: Incoming) -> Reply:
        """Read the body of an export request and take it in."""
        most = self._config.max_body
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > most:
            return failure(413, f"the body has more than {most} bytes", head.kind, close=True)
        body = Body(most, self._budget, Full)
        try:
            await asyncio.wait_for(incoming.collect(body), self._config.request_timeout)
            data = body.whole()
            self._figures.add("received_bytes", len(data), door=head.signal)
            work = partial(answer, head, data, most, self._intake, self._figures)
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except asyncio.TimeoutError:  # not 408: what OTLP's table of retryable answers does not name is thrown away
            return wait(503, "the request did not come in within its time: send it again", head.kind, close=True)
        except TooLarge as error:
            return failure(413, str(error), head.kind, close=True)
        except Full:
            return wait(503, "too much is under way: send it again", head.kind, 1, close=True)
        finally:
            body.close()


def _bearer(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the bearer token of a request (RFC 6750, section 2.1)."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""
