"""Our own traffic, kept out of the application's telemetry: no span, no log line, no header of it.

The calls to the events API bear ids in their address. An instrumentation of httpx would put that address
into a span, httpx and httpcore would log it, and `traceparent` and `baggage` would go to the API. This room
prevents all of that for our own calls, and for nobody else's.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context

if TYPE_CHECKING:
    from collections.abc import Iterator

#: httpx and what it is built on; and the other make of them, which can take the name of httpx in a process.
_LOGGERS = tuple(
    name + make + part
    for make in ("", "2")
    for name, parts in (("httpx", ("",)), ("httpcore", (".connection", ".http11", ".http2", ".proxy", ".socks")))
    for part in parts
)


class _OurCall(threading.local):
    """True in a thread while it makes one of our calls."""

    now = False


_our_call = _OurCall()


class _Discreet(logging.Filter):
    """Keeps lines about our own calls out of the log: they would show addresses with ids."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _our_call.now


_discreet = _Discreet()


def hush() -> None:
    """See to it that httpx and httpcore log nothing of our calls; calling it again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_discreet)


@contextmanager
def quietly() -> Iterator[None]:
    """Make a call that no instrumentation sees and no context goes along with."""
    token = otel_context.attach(_CONTEXT)
    _our_call.now = True
    try:
        yield
    finally:
        _our_call.now = False
        otel_context.detach(token)


def _quiet_context() -> otel_context.Context:
    """Return a context without span and baggage in which instrumentations make no span.

    The plain key is the one that OpenTelemetry's instrumentations have in common; the two others are
    what the SDK sets itself, and are used where they exist.
    """
    context = otel_context.set_value("suppress_instrumentation", True, otel_context.Context())
    for name in ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY"):
        key = getattr(otel_context, name, None)
        if isinstance(key, str):
            context = otel_context.set_value(key, True, context)
    return context


_CONTEXT = _quiet_context()
