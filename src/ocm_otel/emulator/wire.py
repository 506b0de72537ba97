"""How an answer goes out: in one piece, in two, byte by byte, not at all, or by a reset connection.

The only room that touches a connection below HTTP. What the answer is, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from .answers import Answer

#: The name under which the server leaves a connection's transport in the ASGI state of its requests.
TRANSPORT = "ocm.transport"
_GAP_SECONDS = 0.02

Pause = Callable[[float], Awaitable[None]]


async def reply(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Give an answer in one piece."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def give(answer: Answer, scope: Scope, receive: Receive, send: Send, pause: Pause) -> None:
    """Give a planned answer in its manner.

    Args:
        answer: the answer.
        scope: of the request; its state holds the transport.
        receive: tells when the client has gone.
        send: takes what goes out.
        pause: waits some seconds, or less when the emulator ends.
    """
    if answer.manner == "silence":
        await _until_gone(receive, pause)
        _reset(scope)
        return
    if answer.manner == "reset":
        _reset(scope)
        await _until_gone(receive, pause)
        return
    body = answer.content
    lines = answer.lines(time.time())
    if answer.status not in (204, 304):
        lines.setdefault("content-length", str(len(body)))
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
    if answer.manner == "whole" or len(body) < 2:
        await reply(send, answer.status, headers, body)
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    pieces = [body[:1], body[1:]] if answer.manner == "split" else [body[n : n + 1] for n in range(len(body))]
    gap = _GAP_SECONDS if answer.manner == "split" else answer.over / len(pieces)
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await pause(gap)
    await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive, pause: Pause) -> None:
    """Wait until the client has hung up, or the emulator ends."""

    async def hung_up() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    waits = {asyncio.ensure_future(hung_up()), asyncio.ensure_future(_endless(pause))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _endless(pause: Pause) -> None:
    await pause(10.0**9)


def _reset(scope: Scope) -> None:
    """End the connection so that the client reads a reset, not an end; what was to be sent is not."""
    transport: Any = scope["state"][TRANSPORT]
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
