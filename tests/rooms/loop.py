"""The calls of one client in one thread, driven by who waits for them."""

from __future__ import annotations

import time
from collections import deque
from itertools import count

from ocm_otel._books import Books
from ocm_otel._journal import Entry
from ocm_otel._poller import Poller
from ocm_otel._wires import Wires


class Loop:
    """`Wires` with a driver; looks like a connection that makes one call at a time.

    Args:
        client: what the calls have in common.
        timeout: seconds that one call may take.
    """

    def __init__(self, client, timeout):
        self.poller = Poller()
        self.poller.open()
        self.books = Books()
        self.heard = {}
        self._posted, self._numbers = deque(), count(1)
        self.wires = Wires(
            client, self.poller, self.books, lambda call, verdict, _: self.heard.update({call[0].number: verdict}),
            self._post, timeout=timeout,
        )  # fmt: skip

    def _post(self, action):
        self._posted.append(action)
        self.poller.ring()

    def begin(self, query):
        """Begin a call; return it."""
        call = (Entry(next(self._numbers), query, 0.0), (0.0, 0, 0))
        self.wires.hand_out(call, time.monotonic() + 60, time.monotonic())
        return call

    def turn(self, seconds=0.05):
        """Wait a moment, and take in what came."""
        came = self.poller.wait(min(seconds, self.wires.earliest - time.monotonic()))
        self.wires.take_in(came, time.monotonic() + 60, time.monotonic())
        while self._posted:
            self._posted.popleft()()

    def until(self, condition, timeout=60):
        """Take in answers until something is so; return whether it is."""
        end = time.monotonic() + timeout
        while not condition() and time.monotonic() < end:
            self.turn()
        return condition()

    def send(self, query, timeout):
        """Make one call and return what it meant."""
        call = self.begin(query)
        assert self.until(lambda: call[0].number in self.heard, timeout + 60)
        return self.heard[call[0].number]

    def close(self):
        """Close all."""
        self.wires.close()
        self.poller.close()
