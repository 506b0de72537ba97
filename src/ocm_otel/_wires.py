"""Many calls under way, each over a connection of our own, all in one thread.

A thread for each call would have the interpreter handed around at every answer; here an answer costs a turn of a loop.
Whoever drives the worker drives this, one thread at a time.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING

from ocm_otel._answer import Answer
from ocm_otel._poller import GONE, READ
from ocm_otel._resolver import Resolver
from ocm_otel._values import SettingsError
from ocm_otel._verdict import Failure, misconfigured
from ocm_otel._wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocm_otel._books import Books
    from ocm_otel._client import Client
    from ocm_otel._courier import Call
    from ocm_otel._poller import Poller
    from ocm_otel._verdict import Verdict
    from ocm_otel._wire import Calling


class _Line:
    """A connection, and the call that is on it: how far it is, and until when it waits.

    A call whose request left at once has an `answer` that comes in; any other, one that opens the connection, say, is a
    generator, `calling`.
    """

    __slots__ = ("answer", "call", "calling", "until", "wanted", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.call: Call | None = None
        self.calling: Calling | None = None
        self.answer = Answer()
        self.until = math.inf
        self.wanted = 0


class Wires:
    """Makes calls, as many at once as it is given, over as many connections, which it keeps.

    Args:
        client: what the calls have in common.
        poller: waits for the connections, and for whatever else its owner waits for.
        books: where a failure of our own is counted.
        answered: told what each call meant, and the time, by `time.monotonic`.
        post: has the driver do something, from any thread.
        timeout: seconds that one call may take.

    Attributes:
        earliest: when the time of a call is over, at the earliest.
    """

    def __init__(
        self,
        client: Client,
        poller: Poller,
        books: Books,
        answered: Callable[[Call, Verdict, float], object],
        post: Callable[[Callable[[], object]], object],
        *,
        timeout: float,
    ) -> None:
        self._client = client
        self._poller = poller
        self._books = books
        self._answered = answered
        self._timeout = timeout
        self._find = Resolver(lambda: post(self._go_on)).find
        self._idle: deque[_Line] = deque()  # those that are open at the right
        self._lines: dict[int, _Line] = {}  # those that are open, by descriptor
        self._unplaced: set[_Line] = set()  # those that wait for an address
        self.earliest = math.inf  # no call's time is over before

    def hand_out(self, call: Call, end: float, now: float) -> None:
        """Begin a call; what comes of it is heard later, or at once if it cannot be made."""
        try:
            line = self._idle.pop() if self._idle else _Line(Wire(self._client.place(), self._find, self._closing))
        except SettingsError as error:
            self._answered(call, misconfigured(str(error)), now)
            return
        line.call = call
        request = self._client.request(call[0].query)
        until = now + self._timeout
        try:
            sent = line.wire.start(request, now)
        except Exception as error:  # noqa: BLE001 - the border: a call always has an outcome
            self._ended(line, self._broken(line, error), now, 0)
            return
        if sent < len(request):
            line.calling = line.wire.call(request, until, sent)
            self._advance(line, now, came=None)
            return
        line.answer = Answer()
        line.until = until
        if until < self.earliest:  # noqa: PLR1730 - `min` costs ten times as much, for each event
            self.earliest = until
        if line.wanted != READ:
            self._await(line, READ)

    def take_in(self, came: Sequence[tuple[int, int]], end: float, now: float) -> None:
        """Take in what has come and what it means, as much of it as there is time for.

        Args:
            came: what the poller has seen; it sees again what is left.
            end: when to stop, by `time.monotonic`.
            now: the time.
        """
        for descriptor, what in came:
            line = self._lines.get(descriptor)
            if line is not None:
                if line.call is None:  # the server ended it, or said something that nobody asked for
                    line.wire.close()
                elif line.calling is None:
                    self._hear(line, now, what & GONE)
                else:
                    self._advance(line, now, came=True, gone=what & GONE)
            now = time.monotonic()
            if now > end:
                return  # what has not been looked at is in time, whatever the clock says
        if now >= self.earliest:
            self._expire(now)

    def cut(self, call: Call) -> None:
        """End a call that hangs, and its connection; what comes of it is not heard."""
        for line in [line for line in self._busy() if line.call is call]:
            self._unplaced.discard(line)
            line.call = None
            if line.calling is not None:
                line.calling.close()
                line.calling = None
            line.wire.close()
            self._idle.appendleft(line)

    def stop(self) -> None:
        """Nothing is to be done: calls under way are waited for as long as their driver waits."""

    def close(self) -> None:
        """Close all connections, those of calls under way too."""
        for line in tuple(self._lines.values()):
            line.wire.close()

    def leave(self) -> None:
        """Give back, in a forked child, the descriptors: the connections are the parent's."""
        for line in self._lines.values():
            line.wire.leave()

    def _busy(self) -> list[_Line]:
        """Return the lines that have a call."""
        return [line for line in (*self._lines.values(), *self._unplaced) if line.call is not None]

    def _hear(self, line: _Line, now: float, gone: int) -> None:
        """Take in what is there of the answer to a call that waits for nothing else."""
        try:
            outcome = line.wire.hear(line.answer, line.until, now)
        except Exception as error:  # noqa: BLE001 - the border: a call always has an outcome
            outcome = self._broken(line, error)
        if outcome.__class__ is not int:
            self._ended(line, outcome, now, gone)  # type: ignore[arg-type]
        elif outcome != line.wanted:
            self._await(line, outcome)

    def _advance(self, line: _Line, now: float, *, came: bool | None, gone: int = 0) -> None:
        """Go on with a call that takes more than to send and to hear, until it waits again, or has ended."""
        try:
            wanted, line.until = line.calling.send(came)  # type: ignore[union-attr, arg-type] # None begins it
        except StopIteration as ended:
            outcome: Answer | Failure = ended.value
        except Exception as error:  # noqa: BLE001 - the border: a call always has an outcome
            outcome = self._broken(line, error)
        else:
            self.earliest = min(self.earliest, line.until)
            if wanted != line.wanted or not wanted:  # as of a connection that was just closed, or is not there yet
                self._await(line, wanted)
            return
        line.calling = None
        self._ended(line, outcome, now, gone)

    def _broken(self, line: _Line, error: Exception) -> Failure:
        """Count that a call failed in a way that it should not."""
        self._books.add("failed_call", type(error).__name__)
        line.wire.close()
        return Failure.BROKEN

    def _ended(self, line: _Line, outcome: Answer | Failure, now: float, gone: int) -> None:
        """Say what came of a call; its connection is free again."""
        call, line.call = line.call, None
        if gone:
            line.wire.close()
        self._idle.append(line) if line.wire.descriptor >= 0 else self._idle.appendleft(line)
        self._answered(call, self._client.verdict(outcome), now)  # type: ignore[arg-type]

    def _await(self, line: _Line, wanted: int) -> None:
        """Wait for what a call waits for: its connection, or an address to connect to."""
        line.wanted = wanted
        if (descriptor := line.wire.descriptor) >= 0:
            self._lines[descriptor] = line
            self._poller.watch(descriptor, wanted)
        else:
            self._unplaced.add(line)

    def _closing(self, descriptor: int) -> None:
        """A connection is about to be closed."""
        if (line := self._lines.pop(descriptor, None)) is not None:
            line.wanted = 0
        self._poller.forget(descriptor)

    def _go_on(self) -> None:
        """Go on with the calls that waited for an address."""
        lines, self._unplaced = self._unplaced, set()
        for line in lines:
            self._advance(line, time.monotonic(), came=True)

    def _expire(self, now: float) -> None:
        """End the calls whose time is over."""
        for line in [line for line in self._busy() if line.until <= now]:
            self._unplaced.discard(line)
            if line.calling is None:
                self._ended(line, line.wire.give_up(line.answer), now, 0)
            else:
                self._advance(line, now, came=False)
        self.earliest = min((line.until for line in self._busy()), default=math.inf)
