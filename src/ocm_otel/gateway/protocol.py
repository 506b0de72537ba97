"""One connection: how many there may be, and how long a sender may take to say what it wants.

Uvicorn parses HTTP. It waits for the head of a request as long as it takes, and has no measure for one client; both are
added here, so that slow senders and many of them cannot take the place of the others.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Gate:
    """How many connections there are, and may be.

    Args:
        most: of all clients together.
        most_each: of one address.
        patience: seconds that a connection may be open without a whole head of a request.
        refused: called for each connection that is closed at once.
    """

    def __init__(self, most: int, most_each: int, patience: float, refused: Callable[[], object]) -> None:
        self._most, self._most_each = most, most_each
        self._open: Counter[str] = Counter()
        self._all = 0
        self.patience = patience
        self._refused = refused

    def enter(self, client: str) -> bool:
        """Count a connection; False if it is one too many."""
        if self._all >= self._most or self._open[client] >= self._most_each:
            self._refused()
            return False
        self._all += 1
        self._open[client] += 1
        return True

    def leave(self, client: str) -> None:
        """Count a connection no more."""
        self._all -= 1
        self._open[client] -= 1
        if not self._open[client]:
            del self._open[client]


class Bounded(H11Protocol):
    """Uvicorn's protocol, within the bounds of `gate`."""

    gate: ClassVar[Gate]
    _entered: str | None = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Let a connection in, or end it at once."""
        super().connection_made(transport)
        client = self.client[0] if self.client else ""
        if not self.gate.enter(client):
            self.connections.discard(self)
            transport.abort()
            return
        self._entered = client
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that a connection ended."""
        if self._entered is not None:
            self.gate.leave(self._entered)
            self._entered = None
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        super().data_received(data)
        self._expect_head()

    def on_response_complete(self) -> None:
        """Note that an answer is complete."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:  # the next request has begun; else it is idle, and uvicorn sees to that
            self._expect_head()

    def _expect_head(self) -> None:
        """Wait for the whole head, but not for ever; while a request is being answered there is no hurry."""
        if self._answers():
            self._stop_waiting()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.gate.patience, self._lost_patience)

    def _answers(self) -> bool:
        cycle: Any = self.cycle  # uvicorn's types do not say that there may be none yet
        return cycle is not None and not cycle.response_complete

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lost_patience(self) -> None:
        self._timer = None
        if not self._answers() and not self.transport.is_closing():
            self.transport.abort()


def protocol(gate: Gate) -> type[H11Protocol]:
    """Return the class for uvicorn that keeps to `gate`."""
    return type("BoundedByGate", (Bounded,), {"gate": gate})
