"""Many calls under way, each over a connection of our own, all in one thread.

A thread for each call would have the interpreter handed around at every answer; here an answer costs a turn of a loop.
Whoever drives the worker drives this, one thread at a time.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from ocm_otel._poller import GONE
from ocm_otel._resolver import Resolver
from ocm_otel._values import SettingsError
from ocm_otel._verdict import Failure, misconfigured
from ocm_otel._wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel._answer import Answer
    from ocm_otel._books import Books
    from ocm_otel._client import Client
    from ocm_otel._courier import Call
    from ocm_otel._poller import Poller
    from ocm_otel._verdict import Verdict
    from ocm_otel._wire import Calling


class _UnderWay:
    """A call, its connection, how far it is, and what it waits for."""

    __slots__ = ("call", "calling", "descriptor", "until", "wire")

    def __init__(self, call: Call, wire: Wire, calling: Calling) -> None:
        self.call = call
        self.wire = wire
        self.calling = calling
        self.descriptor = -1
        self.until = math.inf


class Wires:
    """Makes calls, as many at once as it is given, over as many connections, which it keeps.

    Args:
        client: what the calls have in common.
        poller: waits for the connections, and for whatever else its owner waits for.
        books: where a failure of our own is counted.
        answered: told what each call meant.
        post: has the driver do something, from any thread.
        timeout: seconds that one call may take.
    """

    def __init__(
        self,
        client: Client,
        poller: Poller,
        books: Books,
        answered: Callable[[Call, Verdict], object],
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
        self._idle: list[Wire] = []
        self._under_way: dict[int, _UnderWay] = {}  # by the call's identity
        self._waiting: dict[int, _UnderWay] = {}  # by descriptor
        self._earliest = math.inf  # no call's time is over before

    def hand_out(self, call: Call, end: float) -> None:
        """Begin a call; what comes of it is heard later, or at once if it cannot be made."""
        try:
            wire = self._idle.pop() if self._idle else self._new()
        except SettingsError as error:
            self._answered(call, misconfigured(str(error)))
            return
        calling = wire.call(self._client.request(call.entry.query), time.monotonic() + self._timeout)
        mine = self._under_way[id(call)] = _UnderWay(call, wire, calling)
        self._advance(mine, came=None)

    def wait(self, seconds: float, most: int) -> None:
        """Take in what has come and what it means; waits `seconds` at most until something does.

        Args:
            seconds: 0 for not at all.
            most: answers to take in.
        """
        came = self._poller.wait(min(seconds, self._earliest - time.monotonic()), most)
        for descriptor, what in came:
            if (mine := self._waiting.get(descriptor)) is not None:
                self._advance(mine, came=True, gone=what & GONE)
            else:
                self._lose(descriptor)
        if len(came) < most and time.monotonic() >= self._earliest:
            self._expire()

    def cut(self, call: Call) -> None:
        """End a call that hangs, and its connection; what comes of it is not heard."""
        if (mine := self._under_way.get(id(call))) is not None:
            self._forget(mine)
            mine.calling.close()
            mine.wire.close()

    def stop(self) -> None:
        """Nothing is to be done: calls under way are waited for as long as their driver waits."""

    def close(self) -> None:
        """Close all connections, those of calls under way too."""
        for mine in tuple(self._under_way.values()):
            self.cut(mine.call)
        while self._idle:
            self._idle.pop().close()

    def leave(self) -> None:
        """Give back, in a forked child, the descriptors: the connections are the parent's."""
        for wire in [*self._idle, *(mine.wire for mine in self._under_way.values())]:
            wire.leave()

    def _go_on(self) -> None:
        """Go on with the calls that waited for an address."""
        for mine in [mine for mine in self._under_way.values() if mine.descriptor < 0]:
            self._advance(mine, came=True)

    def _new(self) -> Wire:
        """Return a connection that opens itself at its first call."""
        return Wire(self._client.place(), self._find, self._poller.forget)

    def _advance(self, mine: _UnderWay, *, came: bool | None, gone: int = 0) -> None:
        """Go on with a call until it waits again, or has ended."""
        try:
            wanted, mine.until = mine.calling.send(came)  # type: ignore[arg-type] # None begins it
            self._earliest = min(self._earliest, mine.until)
            self._await(mine, wanted)
            return
        except StopIteration as ended:
            outcome: Answer | Failure = ended.value
        except Exception as error:  # noqa: BLE001 - the border: a call always has an outcome
            self._books.add("failed_call", type(error).__name__)
            mine.wire.close()
            outcome = Failure.BROKEN
        self._forget(mine)
        if gone:
            mine.wire.close()
        elif mine.wire.fileno() >= 0:
            self._idle.append(mine.wire)
        self._answered(mine.call, self._client.verdict(outcome))

    def _await(self, mine: _UnderWay, wanted: int) -> None:
        """Wait for what a call waits for."""
        descriptor = mine.wire.fileno()
        if descriptor != mine.descriptor:
            self._waiting.pop(mine.descriptor, None)
            mine.descriptor = descriptor
        if descriptor >= 0:
            self._waiting[descriptor] = mine
            self._poller.watch(descriptor, wanted)

    def _forget(self, mine: _UnderWay) -> None:
        """Take a call off the lists."""
        del self._under_way[id(mine.call)]
        self._waiting.pop(mine.descriptor, None)

    def _lose(self, descriptor: int) -> None:
        """The server ended a connection that no call is on, or said something that nobody asked for."""
        self._poller.forget(descriptor)
        for wire in self._idle:
            if wire.fileno() == descriptor:
                wire.close()
        self._idle = [wire for wire in self._idle if wire.fileno() >= 0]

    def _expire(self) -> None:
        """End the calls whose time is over."""
        now = time.monotonic()
        for mine in [mine for mine in self._under_way.values() if mine.until <= now]:
            self._advance(mine, came=False)
        self._earliest = min((mine.until for mine in self._under_way.values()), default=math.inf)
