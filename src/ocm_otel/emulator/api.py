"""The events API itself: one call in, one answer out, and everything kept.

A bare ASGI callable, since it has to take thousands of calls a second and must not change when somebody
instruments Starlette in the same process. It decides nothing: ``rules`` and ``faults`` say what to answer,
``store`` keeps what came.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Collection
from functools import lru_cache

from starlette.types import Receive, Scope, Send

from .answers import Answer
from .faults import FaultPlan
from .rules import Call, Ruling, is_api, judge
from .store import Received, Store
from .wire import give, reply

# Header values that say nothing about a person and hold no secret; of all others only the name is kept.
SHOWN_HEADERS = frozenset(
    {"accept", "accept-encoding", "baggage", "connection", "host", "traceparent", "tracestate", "user-agent"}
)
_KEPT_QUERY = 20_000
_JSON = (b"content-type", b"application/json")


@lru_cache(maxsize=1000)
def alias(key: str | None) -> str | None:
    """Return a short name for an API key from which the key cannot be read, None for no key."""
    return f"key-{hashlib.sha256(key.encode('utf-8')).hexdigest()[:8]}" if key else None


def _call(scope: Scope) -> Call:
    target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    line = len(scope["method"]) + len("  HTTP/1.1\r\n") + target + bool(scope["query_string"])
    size = line + sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    key = next((value for name, value in scope["headers"] if name == b"x-api-key"), None)
    shown = None if key is None else key.decode("latin-1")
    return Call(scope["method"], scope["path"], scope["query_string"], shown, size)


class EventsApi:
    """The ASGI callable that answers calls as the events API would.

    An event counts when its call arrives, before the latency and before the answer: a client that gives
    up waiting has an event that counted, as with the real API.

    Args:
        store: where each call is kept.
        plan: latency and planned answers.
        keys: the accepted API keys; None accepts any key that is not empty.
        refusal_status: the HTTP status of ``NO-TYPE-PARAMETER``.
    """

    def __init__(self, store: Store, plan: FaultPlan, keys: Collection[str] | None, refusal_status: int) -> None:
        self._store = store
        self._plan = plan
        self._keys = None if keys is None else frozenset(keys)
        self._refusal_status = refusal_status
        self._waiting: set[asyncio.Future[None]] = set()
        self._hurried = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        call = _call(scope)
        ruling = judge(call, self._keys, self._refusal_status)
        answer = self._plan.next() if is_api(call.method, call.path) else None
        self._keep(scope, call, ruling, answer)
        latency = self._plan.wait() if answer is None or answer.latency is None else answer.latency
        if latency > 0:
            await self._wait(latency)
        if answer is not None:
            await give(answer, scope, receive, send, self._wait)
            return
        headers = [_JSON, (b"content-length", str(len(ruling.body)).encode())]
        await reply(send, ruling.status, headers, ruling.body)

    def _keep(self, scope: Scope, call: Call, ruling: Ruling, answer: Answer | None) -> None:
        counted = ruling.accepted and (answer is None or answer.counts)
        reason = ruling.reason
        if answer is not None and (answer.label or not counted):
            planned = f"answered as planned: {answer.label}" if answer.label else "answered as planned"
            reason = planned if reason is None else f"{planned}; {reason}"
        pairs = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]]
        client = scope.get("client")
        received = Received(
            received_at=time.time(),
            monotonic=time.monotonic(),
            client="" if client is None else f"{client[0]}:{client[1]}",
            method=call.method,
            path=call.path,
            query=call.query[:_KEPT_QUERY].decode("latin-1"),
            status=ruling.status if answer is None else answer.told,
            reason=reason,
            counted=counted,
            key=alias(call.key),
            fields=call.fields,
            header_names=[name for name, _ in pairs],
            headers={name: value for name, value in pairs if name in SHOWN_HEADERS},
        )
        self._store.add(received)

    def accepts(self, key: str) -> bool:
        """Return whether calls with this key are let in."""
        return self._keys is None or key in self._keys

    async def _wait(self, seconds: float) -> None:
        if self._hurried:
            return
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _finish, over)
        self._waiting.add(over)
        try:
            await over
        finally:
            timer.cancel()
            self._waiting.discard(over)

    def hurry(self) -> None:
        """Answer all calls that wait for their latency now, and later ones at once: the end is near."""
        self._hurried = True
        for over in self._waiting:
            _finish(over)


def _finish(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
