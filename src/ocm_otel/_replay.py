"""Replaying: the events of kept logs are sent. It writes nothing to the terminal.

Sent means handed over to the journal, a few at a time, as fast as the rate allows, and never more than are settled
soon; from there any process of the account delivers them, this one included.
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from ocm_otel._books import Books, Snapshot, logger
from ocm_otel._drain import Said
from ocm_otel._outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ocm_otel._account import Account
    from ocm_otel._replayed import Replayed
    from ocm_otel._settings import Settings

#: Events that are handed over in one step at most, and steps that may be under way.
_MOST_AT_ONCE = 1_000
_MOST_UNDER_WAY = 8
_TICK = 0.05


class Stalled(Exception):
    """Nothing was settled for longer than somebody wants to wait."""


class Sending:
    """Hands events over to the journal at a rate, and delivers them.

    Args:
        settings: of the account.
        account: its directory.
        replayed: what was replayed before.
        rate: events a second at most, over more than a moment.
        patience: seconds without anything settled after which it is given up.
        tick: called now and then while it waits.
        left: ledgers that dead processes left behind, which are delivered, too.

    Attributes:
        handed: how many events were handed over.
        books: the outbox's, at the end.
        heard: what the outbox says, to be told.
    """

    def __init__(
        self, settings: Settings, account: Account, replayed: Replayed, rate: float, patience: float,
        tick: Callable[[], object], left: Sequence[Path] = (),
    ) -> None:  # fmt: skip
        durability = "fsync" if settings.durability == "fsync" else "disk"
        self._settings = replace(settings, durability=durability, max_rate=min(rate, 1e6), schedule_delay=0)
        self._account, self._replayed = account, replayed
        self._rate, self._patience, self._tick = rate, patience, tick
        self._size = max(1, min(_MOST_AT_ONCE, math.floor(rate / 2)))
        self._batch: list[tuple[int, str]] = []
        self._left = tuple(left)
        self._under_way: list[Path] = []
        self._not_before = self._settled_at = time.monotonic()
        self._stack = ExitStack()
        self._outbox: Outbox | None = None
        self.handed = 0
        self.heard = Said()
        self.books: Snapshot = Books().snapshot()

    def __enter__(self) -> Sending:
        """Return itself."""
        self._stack.callback(logger.removeFilter, self.heard)
        logger.addFilter(self.heard)
        if left := self._left:  # by a replay that was killed, say
            self._under_way += left
            self._deliver()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the outbox; what is not delivered waits on disk."""
        self._stack.close()
        if self._outbox is not None:
            self.books = self._outbox.books.snapshot()

    def add(self, identity: int, query: str) -> None:
        """Take an event.

        Raises:
            Stalled: the journal is not emptied.
            OSError: the disk does not take it.
        """
        self._batch.append((identity, query))
        if len(self._batch) >= self._size:
            self._hand_over()

    def finish(self) -> None:
        """Hand over the rest, and wait until all is settled.

        Raises:
            Stalled: the journal is not emptied.
            OSError: the disk does not take it.
        """
        if self._batch:
            self._hand_over()
        while self._look():
            self._wait()

    def _hand_over(self) -> None:
        room = 16 * 1024 + sum(len(query) + 64 for _, query in self._batch)
        while (
            len(self._look()) >= _MOST_UNDER_WAY
            or time.monotonic() < self._not_before
            or (self._under_way and self._account.bytes_used() + room > self._settings.spool_max_bytes)
        ):
            self._wait()
        now = time.monotonic()
        self._not_before = max(self._not_before, now - 1.0) + len(self._batch) / self._rate
        if not self._under_way:
            self._settled_at = now
        self._under_way.append(self._replayed.hand_over(self._batch))
        self.handed += len(self._batch)
        self._batch = []
        self._deliver()

    def _deliver(self) -> None:
        """Have an outbox, made when there is something for it, for it looks at once for what is left behind."""
        if self._outbox is None:
            self._outbox = Outbox(self._settings)
            self._stack.callback(self._outbox.close)

    def _look(self) -> list[Path]:
        """Return the ledgers of ours that still owe something."""
        still = [path for path in self._under_way if path.exists()]
        if len(still) < len(self._under_way):
            self._settled_at = time.monotonic()
        self._under_way = still
        return still

    def _wait(self) -> None:
        """Wait for a moment.

        Raises:
            Stalled: that was in vain for too long.
        """
        if self._under_way and time.monotonic() - self._settled_at > self._patience:
            raise Stalled
        self._tick()
        time.sleep(_TICK)
