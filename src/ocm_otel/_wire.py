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

    def call(self, request: bytes, end: float) -> Calling:
        """Make one call: send `request`, and return the answer, or why there is none; never raises.

        Args:
            request: a whole head of a request, without a body.
            end: when to give up, by `time.monotonic`; an answer whose status was said by then counts.
        """
        answer = Answer()
        try:
            sock = self._socket
            if sock is None or time.monotonic() - self._rested > KEPT or (self._stir.poll(0) and self._was_closed()):
                self.close()
                yield from self._open(end)
                sock = self._opened()
            wanted, left = _send(sock, request)
            while left:
                if not (yield wanted, end):
                    raise _Failed(Failure.CUT_OFF)
                wanted, left = _send(sock, left)
            wanted = READ
            while wanted:
                if not (yield wanted, end):
                    raise _Failed(Failure.SILENCE)
                wanted = _receive(sock, answer, end)
        except _Failed as failed:
            self.close()
            return answer if answer.status else failed.args[0]
        self._rested = time.monotonic()
        if not answer.reusable:
            self.close()
        return answer

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


def _receive(sock: socket.socket, answer: Answer, end: float) -> int:
    """Take in what is there of the answer; return what to wait for, 0 if it is complete."""
    try:
        while True:
            data = sock.recv(_SPACE)
            if not data:
                answer.end()
            if answer.feed(data) if data else answer.status:
                return 0
            if not data:
                raise _Failed(Failure.NO_ANSWER)
            if time.monotonic() > end:
                raise _Failed(Failure.SILENCE)
    except (BlockingIOError, ssl.SSLWantReadError):
        return READ
    except ssl.SSLWantWriteError:
        return WRITE
    except (OSError, ValueError):
        raise _Failed(Failure.NO_ANSWER) from None
    except NotHTTP:
        raise _Failed(Failure.NOT_HTTP) from None
