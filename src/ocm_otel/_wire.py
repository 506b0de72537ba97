"""A call over a link to the events API, one at a time, and the truth about what left.

As a rule a call is two steps: the request leaves at once over the kept connection (`start`), and later its answer is
there (`hear`). Any other is a generator (`call`): it yields what it waits for and until when, and ends with what came
of it. So it says in one piece what happens one after the other, and whoever drives it decides how to wait: one thread
for many connections (`_wires`), or the thread that calls. The room knows nothing of events; it follows no redirect,
keeps no cookie, logs nothing, and goes through no proxy.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Generator

from ocm_otel._answer import Answer
from ocm_otel._head import NotHTTP
from ocm_otel._link import Failed, Link
from ocm_otel._poller import READ, WRITE
from ocm_otel._verdict import Failure

#: Seconds that a connection is kept without a call; shorter than the 60 s of usual load balancers.
KEPT = 50.0
_SPACE = 16384

#: Yields what it waits for (0: for nothing of the connection's) and until when (`time.monotonic`), is sent whether that
#: came, returns the outcome.
Calling = Generator[tuple[int, float], bool, "Answer | Failure"]


class Wire(Link):
    """A link that is kept between calls. Its arguments are those of `Link`."""

    _rested = 0.0  # since when it is kept without a call

    def start(self, request: bytes, now: float) -> int:
        """Send a request over the kept connection; returns how many of its bytes left at once.

        The others are left to `call`. A connection that the server has ended is closed, and then none has left.

        Args:
            request: a whole head of a request, without a body.
            now: `time.monotonic`.
        """
        sock = self._socket
        if sock is None:
            return 0
        if now - self._rested > KEPT or (self._stir.poll(0) and self._was_closed()):
            self.close()
            return 0
        try:
            return sock.send(request)
        except (OSError, ValueError):  # it would have to wait, or is broken: no whole request is there to be counted
            return 0

    def call(self, request: bytes, end: float, sent: int | None = None) -> Calling:
        """Make one call: send `request`, and return the answer, or why there is none; never raises.

        Args:
            request: a whole head of a request, without a body.
            end: when to give up, by `time.monotonic`; an answer whose status was said by then counts.
            sent: what `start` returned, for who has called it.
        """
        answer = Answer()
        try:
            left = request[self.start(request, time.monotonic()) if sent is None else sent :]
            if self._socket is None:
                yield from self._open(end)
            while left:
                wanted, left = _send(self._opened(), left)
                if left and not (yield wanted, end):
                    raise Failed(Failure.CUT_OFF)
        except Failed as failed:
            self.close()
            return failed.args[0]  # type: ignore[no-any-return]
        outcome: int | Answer | Failure = READ
        while isinstance(outcome, int):
            outcome = self.hear(answer, end, time.monotonic()) if (yield outcome, end) else self.give_up(answer)
        return outcome

    def hear(self, answer: Answer, end: float, now: float) -> int | Answer | Failure:
        """Take in what is there of the answer; returns what to wait for, or what came of the call.

        Args:
            answer: takes in what comes.
            end: as `call` takes it.
            now: `time.monotonic`.
        """
        try:
            while not answer.feed(data := self._socket.recv(_SPACE)):  # type: ignore[union-attr] # a call has one
                if not data:
                    answer.end()
                    return self._failed(answer, Failure.NO_ANSWER)
                if time.monotonic() > end:
                    return self.give_up(answer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return READ
        except ssl.SSLWantWriteError:
            return WRITE
        except (OSError, ValueError):
            return self._failed(answer, Failure.NO_ANSWER)
        except NotHTTP:
            return self._failed(answer, Failure.NOT_HTTP)
        self._rested = now
        if not answer.reusable:
            self.close()
        return answer

    def give_up(self, answer: Answer) -> Answer | Failure:
        """End the call, for its time is over; returns what came of it."""
        return self._failed(answer, Failure.SILENCE)

    def _failed(self, answer: Answer, why: Failure) -> Answer | Failure:
        """Close the connection; returns the answer if its status was said, for then it counts."""
        self.close()
        return answer if answer.status else why


def _send(sock: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Return what to wait for and what is left to send; if it fails, no whole request is there to be counted."""
    try:
        return WRITE, request[sock.send(request) :]
    except (BlockingIOError, ssl.SSLWantWriteError):
        return WRITE, request
    except ssl.SSLWantReadError:
        return READ, request
    except (OSError, ValueError):
        raise Failed(Failure.CUT_OFF) from None
