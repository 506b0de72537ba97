"""A link to the events API: one socket that opens itself, and what becomes of it.

To open it takes several steps, each of which may have to wait; so it is a generator: it yields what it waits for and
until when, and is sent whether that came. The room knows sockets and TLS, and nothing of HTTP.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from ocm_otel._poller import READ, WRITE
from ocm_otel._verdict import Failure

#: Yields what it waits for (0: for nothing of the connection's) and until when (`time.monotonic`), is sent whether that
#: came.
Waiting = Generator[tuple[int, float], bool, None]


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


class Failed(Exception):
    """The call has ended without an answer; its only argument says why."""


class Link:
    """A connection that opens itself, and is opened anew when it must be.

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
        self.descriptor = -1

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

    def _was_closed(self) -> bool:
        """Return True if the server closed the kept connection, or said something, for it is not silent."""
        try:
            self._opened().recv(1)  # news of the TLS session are taken in by this
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except (OSError, ValueError):
            return True
        return True

    # --- opening ------------------------------------------------------------------------------------------

    def _open(self, end: float) -> Waiting:
        """Connect to the first address that answers, and shake hands if the place wants TLS."""
        try:
            while (found := self._resolve(self._place.host, self._place.port, type=socket.SOCK_STREAM)) is None:
                if not (yield 0, end):
                    raise Failed(Failure.NO_CONNECTION)
        except (OSError, UnicodeError):
            raise Failed(Failure.NO_CONNECTION) from None
        failure = Failure.NO_CONNECTION
        for at, (family, kind, protocol, _, address) in enumerate(found):
            now = time.monotonic()
            try:
                # An address that does not answer leaves the others their share of the time.
                yield from self._connect(family, kind, protocol, address, now + (end - now) / (len(found) - at))
                return
            except Failed as failed:
                failure = failed.args[0]
                self.close()
                if failure is Failure.UNTRUSTED:
                    break
        raise Failed(failure)

    def _connect(self, family: int, kind: int, protocol: int, address: Any, end: float) -> Waiting:
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
                    raise Failed(Failure.NO_CONNECTION) from None
                if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise Failed(Failure.NO_CONNECTION) from None
        except OSError:
            raise Failed(Failure.NO_CONNECTION) from None
        if self._place.trust is not None:
            yield from self._shake_hands(self._place.trust, end)

    def _shake_hands(self, trust: ssl.SSLContext, end: float) -> Waiting:
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
                    raise Failed(Failure.NO_CONNECTION)
        except ssl.SSLCertVerificationError:
            raise Failed(Failure.UNTRUSTED) from None
        except (ssl.SSLError, ValueError):
            raise Failed(Failure.NO_TLS) from None
        except OSError:
            raise Failed(Failure.NO_CONNECTION) from None

    def _opened(self) -> socket.socket:
        """Return the socket of the open connection."""
        if self._socket is None:
            raise Failed(Failure.BROKEN)
        return self._socket
