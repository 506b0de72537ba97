"""The senders: threads that make one call after the other, each over a connection that it keeps.

They are for calls that httpx makes, for such a call keeps its thread until it is over. One driver hands out the calls,
and hears from any thread what came of each. A call that hangs can be cut; its sender is then free again.
"""

from __future__ import annotations

import math
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ocm_otel._threads import start_thread
from ocm_otel._verdict import Failure, judge_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocm_otel._books import Books
    from ocm_otel._client import Client, Connection
    from ocm_otel._courier import Call
    from ocm_otel._verdict import Verdict


class Senders:
    """Threads that make calls, as many as there are calls at once.

    Args:
        client: what the calls have in common.
        books: where a failure of our own is counted.
        answered: told in the driver's thread what each call meant.
        post: has the driver do something, from any thread.
        timeout: seconds that one call may take.

    Attributes:
        earliest: never: each sender minds the time of its own call.
    """

    def __init__(
        self,
        client: Client,
        books: Books,
        answered: Callable[[Call, Verdict, float], object],
        post: Callable[[Callable[[], object]], object],
        *,
        timeout: float,
    ) -> None:
        self.earliest = math.inf
        self._client = client
        self._books = books
        self._answered = answered
        self._post = post
        self._timeout = timeout
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._threads = 0
        self._busy: dict[int, Connection | None] = {}  # by the call's identity; None before it has a sender

    # --- the driver's thread ------------------------------------------------------------------------------

    def hand_out(self, call: Call, end: float, now: float) -> None:
        """Give a call to a sender, a new one if all have a call; make it here, until `end`, if there can be none."""
        self._busy[id(call)] = None
        if len(self._busy) > self._threads:
            try:
                start_thread(f"ocm-otel-sender-{self._threads + 1}", self._send_all)
                self._threads += 1
            except RuntimeError as error:
                self._books.add("failed_thread", type(error).__name__)
        if self._threads:
            self._calls.put(call)
        else:
            connection = self._client.connect()
            self._send(connection, call, min(self._timeout, max(0.001, end - now)))
            connection.close()

    def take_in(self, came: Sequence[tuple[int, int]], end: float, now: float) -> None:
        """Nothing is to be done: what came of a call is posted."""

    def cut(self, call: Call) -> None:
        """Cut the connection of a call that hangs; one that has no sender yet is not made any more."""
        connection = self._busy.get(id(call))
        if connection is not None:
            connection.cut()
        else:
            self._busy.pop(id(call), None)

    def stop(self) -> None:
        """Let all end once they have made the calls that they have."""
        for _ in range(self._threads):
            self._calls.put(None)

    def close(self) -> None:
        """Nothing is to be done: each sender closes its own connection."""

    def leave(self) -> None:
        """Nothing is to be done: the senders' threads are not in the child."""

    def _heard(self, call: Call, verdict: Verdict) -> None:
        """Take in what a call meant; its sender is free again."""
        self._busy.pop(id(call), None)
        self._answered(call, verdict, time.monotonic())

    # --- the senders' threads -----------------------------------------------------------------------------

    def _send_all(self) -> None:
        """Make call after call over one kept connection: a sender's whole life."""
        connection = self._client.connect()
        while (call := self._calls.get()) is not None:
            if id(call) in self._busy:  # else it was given up before it had a sender
                self._busy[id(call)] = connection
                self._send(connection, call, self._timeout)
        connection.close()

    def _send(self, connection: Connection, call: Call, timeout: float) -> None:
        """Make one call, and say what it meant, whatever happens."""
        verdict = judge_failure(Failure.BROKEN)
        try:
            verdict = connection.send(call[0].query, timeout)
        except Exception as error:  # noqa: BLE001 - the border: a call always has an outcome
            self._books.add("failed_call", type(error).__name__)
        if self._busy.get(id(call)) is not None:
            self._busy[id(call)] = None  # the connection is not to be cut any more: another call may have it
        self._post(partial(self._heard, call, verdict))
