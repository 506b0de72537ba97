"""A connection to the events API: one socket, one call at a time, and the truth about what left.

A call is a generator: it yields what it waits for and until when, and ends with what came of it. So it says in
one piece what happens one after the other, and whoever drives it decides how to wait: one thread for many
connections (`_wires`), or the thread that calls. The room knows sockets and TLS and nothing of events; it follows
no redirect, keeps no cookie, logs nothing, and goes through no proxy.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from ocm_otel._answer import Answer
from ocm_otel._head import NotHTTP
from ocm_otel._poller import READ, WRITE
from ocm_otel._verdict import Failure

#: Seconds that a connection is kept without a call; shorter than the 60 s of usual load balancers.
KEPT = 50.0
_SPACE = 16384

#: Yields what it waits for (0: for nothing of the connection's) and until when (`time.monotonic`), is sent whether that
#: came, returns the outcome.
Calling = Generator[tuple[int, float], bool, "Answer | Failure"]
_Waiting = Generator[tuple[int, float], bool, None]


class Place(NamedTuple):
    """Where the calls go.

    Attributes:
        host: a name, or an address without brackets.
        port: of the server.
        trust: how the server is recognised; None for plain HTTP.
    """

    host: str
    port: int
    trust: ssl.SSLContext | None


#: What a child inherited: a TLS library that was interrupted by the fork is not to be asked to clear up.
_LEFT: list[socket.socket] = []


class _Failed(Exception):
    """The call ended without an answer; its only argument says why."""


class Wire:
    """A connection that opens itself, is kept between calls, and is opened anew when it must be.

    Args:
        place: where it leads.
        resolve: returns a host's addresses, as `socket.getaddrinfo` does; None to be asked again a little later.
        closing: told the descriptor that is about to be closed.

    Attributes:
        descriptor: the socket's, for whoever waits for it; -1 if there is none.
    """

    def __init__(
        self,
        place: Place,
        resolve: Callable[..., list[Any] | None] = socket.getaddrinfo,
        closing: Callable[[int], object] | None = None,
    ) -> None:
        self._place = place
        self._resolve = resolve
        self._closing = closing
        self._socket: socket.socket | None = None
        self._rested = 0.0
        self.descriptor = -1

    def start(self, request: bytes, now: float) -> int:
        """Send a request over the kept connection; returns how many bytes left at once, and what is missing is `call`'s.

        A connection that the server has ended is closed, and then nothing has left.

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
                    raise _Failed(Failure.CUT_OFF)
        except _Failed as failed:
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

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        if self._socket is not None:
            if self._closing is not None:
                self._closing(self.descriptor)
            self._socket.close()
            self._socket, self.descriptor = None, -1

    def leave(self) -> None:
        """Give back, in a forked child, the descriptor; the connection is the parent's, which may be using it."""
        if self._socket is not None:
            _LEFT.append(self._socket)
            os.close(self._socket.detach())
            self._socket, self.descriptor = None, -1

    # --- opening ------------------------------------------------------------------------------------------

    def _open(self, end: float) -> _Waiting:
        """Connect to the first address that answers, and shake hands if the place wants TLS."""
        try:
            while (found := self._resolve(self._place.host, self._place.port, type=socket.SOCK_STREAM)) is None:
                if not (yield 0, end):
                    raise _Failed(Failure.NO_CONNECTION)
        except (OSError, UnicodeError):
            raise _Failed(Failure.NO_CONNECTION) from None
        failure = Failure.NO_CONNECTION
        for at, (family, kind, protocol, _, address) in enumerate(found):
            now = time.monotonic()
            try:
                # An address that does not answer leaves the others their share of the time.
                yield from self._connect(family, kind, protocol, address, now + (end - now) / (len(found) - at))
                return
            except _Failed as failed:
                failure = failed.args[0]
                self.close()
                if failure is Failure.UNTRUSTED:
                    break
        raise _Failed(failure)

    def _connect(self, family: int, kind: int, protocol: int, address: Any, end: float) -> _Waiting:
        """Connect to one address."""
        try:
            self._socket = socket.socket(family, kind, protocol)
            self.descriptor = self._socket.fileno()
            self._stir = select.poll()
            self._stir.register(self.descriptor, READ)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._socket.connect(address)
            except BlockingIOError:
                if not (yield WRITE, end):
                    raise _Failed(Failure.NO_CONNECTION) from None
                if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise _Failed(Failure.NO_CONNECTION) from None
        except OSError:
            raise _Failed(Failure.NO_CONNECTION) from None
        if self._place.trust is not None:
            yield from self._shake_hands(self._place.trust, end)

    def _shake_hands(self, trust: ssl.SSLContext, end: float) -> _Waiting:
        """Put TLS over the connection."""
        try:
            plain = self._opened()
            secure = trust.wrap_socket(plain, server_hostname=self._place.host, do_handshake_on_connect=False)
            self._socket = secure
            while True:
                try:
                    secure.do_handshake()
                    return
                except ssl.SSLWantReadError:
                    ready = yield READ, end
                except ssl.SSLWantWriteError:
                    ready = yield WRITE, end
                if not ready:
                    raise _Failed(Failure.NO_CONNECTION)
        except ssl.SSLCertVerificationError:
            raise _Failed(Failure.UNTRUSTED) from None
        except (ssl.SSLError, ValueError):
            raise _Failed(Failure.NO_TLS) from None
        except OSError:
            raise _Failed(Failure.NO_CONNECTION) from None

    def _opened(self) -> socket.socket:
        """Return the socket of the open connection."""
        if self._socket is None:
            raise _Failed(Failure.BROKEN)
        return self._socket

    # --- calling ------------------------------------------------------------------------------------------

    def _was_closed(self) -> bool:
        """Return True if the server closed the kept connection, or said something, for it is not silent."""
        try:
            self._opened().recv(1)  # news of the TLS session are taken in by this
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except (OSError, ValueError):
            return True
        return True


def _send(sock: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Return what to wait for and what is left to send; if it fails, no whole request is there to be counted."""
    try:
        return WRITE, request[sock.send(request) :]
    except (BlockingIOError, ssl.SSLWantWriteError):
        return WRITE, request
    except ssl.SSLWantReadError:
        return READ, request
    except (OSError, ValueError):
        raise _Failed(Failure.CUT_OFF) from None
