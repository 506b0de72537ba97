"""The pace of several processes that act in concert: what one of them hears, all of them heed.

They leave word for each other on a board. This room knows when to look at it and when to write; what the board
is made of, it does not know. Nothing here waits for another process, and without a board each goes its own way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from ocm_otel._head import LONGEST_WAIT
from ocm_otel._outlook import WAITS, Outlook, State, backoff
from ocm_otel._pace import Pace

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ocm_otel._outlook import Start
    from ocm_otel._verdict import Verdict

#: Seconds between two looks while the API is away: so soon the others notice that it is back.
LOOK_EVERY = 0.25
#: Seconds between two looks while it is not.
_GLANCE = 0.005


class Board(Protocol):
    """Where processes leave word for each other."""

    def read(self) -> Outlook | None:
        """Return what was written last, by whomever; None if there is nothing that can be read."""

    def write(self, outlook: Outlook) -> None:
        """Write, in the place of what is there."""

    def alone(self) -> AbstractContextManager[object]:
        """Keep the others from writing, as long as that lasts; it does not last long."""


class SharedPace(Pace):
    """A pace whose outlook is that of all processes with the same board.

    Args:
        board: where they meet.
        max_concurrency: as of `Pace`; each process has its own.
        max_rate: calls started in a second by all of them, at most; None for no limit.
        options: further ones of `Pace`.
    """

    def __init__(self, board: Board, max_concurrency: int, max_rate: float | None = None, **options: Any) -> None:
        super().__init__(max_concurrency, max_rate, **options)
        self._board = board
        self._seen: Outlook | None = None
        self._look_at = -math.inf

    def _start_in(self, now: float) -> float:
        """Return the seconds until one more call may start, or until it is time to look what others have heard."""
        wait = super()._start_in(now)
        return wait if wait == 0 or self.state is State.OPEN else min(wait, LOOK_EVERY)

    def _take_turn(self, now: float) -> int | None:
        """Let the next call start later; None if another process was faster, and this one may not start after all."""
        with self._board.alone():
            self._look(now)
            if super()._start_in(now) > 0:
                return None
            probe = super()._take_turn(now)
            self._write()
            return probe

    def _heard(self, verdict: Verdict, now: float, start: Start, strikes: int) -> float:
        """Take in what a call meant, and let the others know if it changes anything for them."""
        with self._board.alone():
            self._look(now)
            before = self.outlook
            wait = super()._heard(verdict, now, start, strikes)
            if self.outlook != before:
                self._write()
            return wait

    def _look(self, now: float) -> None:
        """Heed what another process has written since the last look."""
        self._look_at = now + _GLANCE
        said = self._board.read()
        if said is None or said == self._seen:
            return
        first, self._seen = self._seen is None, said
        until = min(said.until, now + max(WAITS[State.LOCKED_OUT][1], self._timeout + 2.0))
        if first and said.state is State.LOCKED_OUT:
            # Who mends a configuration starts the process anew, and is not to wait for a minute.
            until = min(until, now + backoff(0, *self._waits[State.LOCKED_OUT], self._random))
        told, due = min(said.told, now + 1.1 * LONGEST_WAIT), min(said.next, now + self._gap)
        self._move(said._replace(until=until, told=told, next=due), now)

    def _write(self) -> None:
        self._seen = self.outlook
        self._board.write(self.outlook)
