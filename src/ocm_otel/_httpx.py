"""A connection through httpx: for proxies, for transports of the user's own, and for addresses out of the ordinary.

The only importer of httpx. It goes through an `httpx` transport, not through a client: no redirect is followed, no
cookie kept, no line with the address logged. Whether a request left is known, not guessed: httpcore's trace extension
says when its head was written.
"""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx

from ocm_otel._answer import MOST_BODY, unpacked
from ocm_otel._quiet import hush, quietly
from ocm_otel._values import SettingsError
from ocm_otel._verdict import Failure, Verdict, judge, judge_failure, misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BaseTransport = httpx.BaseTransport
#: What makes the calls: tests and set-ups of the user's own may bring one.
Transport = httpx.BaseTransport | httpx.Client

_NOT_LEFT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_BOTH_WAYS = 2  # socket.SHUT_RDWR
_CUT_OFF = (httpx.WriteError, httpx.WriteTimeout)


def trust() -> ssl.SSLContext:
    """Return the authorities that httpx trusts: certifi's, or those that ``SSL_CERT_FILE`` names."""
    return httpx.create_ssl_context()


def transport(trusted: ssl.SSLContext, proxy: str | None, kept: float) -> httpx.BaseTransport:
    """Return a transport with one connection.

    Args:
        trusted: how the server is recognised.
        proxy: the address of a proxy, None for none.
        kept: seconds that the connection is kept without a call.

    Raises:
        SettingsError: the proxy cannot be used.
    """
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=kept)
    try:
        with quietly():
            return httpx.HTTPTransport(verify=trusted, proxy=proxy, limits=limits)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        msg = f"{type(error).__name__}: the proxy cannot be used"
        raise SettingsError(msg) from error


def given(transport: Transport) -> httpx.BaseTransport:
    """Return what the user brought as a transport."""
    return _Through(transport) if isinstance(transport, httpx.Client) else transport


class _Through(httpx.BaseTransport):
    """A client of the user's as a transport: its proxies, certificates, hooks and authentication hold."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Make a call; a redirect is not followed, whatever the client does with others: the key must not go along."""
        return self._client.send(request, stream=True, follow_redirects=False)


class Detour:
    """One connection through an httpx transport, for one thread at a time.

    Args:
        make: makes the transport, at the first call.
        address: what comes before a query.
        headers: of each call.
        owned: close the transport at the end; not if it is the user's.
    """

    def __init__(
        self, make: Callable[[], httpx.BaseTransport], address: str, headers: Mapping[str, str], *, owned: bool
    ) -> None:
        self._make = make
        self._address = address
        self._headers = dict(headers)
        self._owned = owned
        self._transport: httpx.BaseTransport | None = None
        self._left = _Left()
        hush()

    def send(self, query: str, timeout: float) -> Verdict:
        """Make one call and return what it meant; never raises."""
        self._left = left = _Left(self._left.stream)
        limit = {"connect": timeout, "read": timeout, "write": timeout, "pool": timeout}
        try:
            if self._transport is None:
                self._transport = self._make()
            with quietly():
                extensions = {"timeout": limit, "trace": left}
                request = httpx.Request("GET", self._address + query, headers=self._headers, extensions=extensions)
                return _exchange(self._transport, request, left, time.monotonic() + timeout)
        except SettingsError as error:
            return misconfigured(str(error))
        except (httpx.InvalidURL, UnicodeError) as error:
            return misconfigured(f"the address cannot be used: {type(error).__name__}")

    def cut(self) -> None:
        """End the call that is under way, from another thread: a read's timeout begins anew with each byte."""
        with suppress(OSError, AttributeError):  # it is closed already, or no socket of httpcore's
            self._left.stream.get_extra_info("socket").shutdown(_BOTH_WAYS)

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        if self._transport is not None and self._owned:
            self._transport.close()
        self._transport = None


class _Left:
    """Hears from httpcore how far a request came, and over which stream (the httpx "trace" extension)."""

    def __init__(self, stream: Any = None) -> None:
        self.stream = stream
        self.heard = False
        self.written = False
        self._ours = True

    def __call__(self, name: str, info: dict[str, Any]) -> None:
        self.heard = True
        # A CONNECT to a proxy is written by the same code, and is not our request.
        if name.endswith("send_request_headers.started"):
            self._ours = getattr(info.get("request"), "method", b"GET") != b"CONNECT"
        elif name.endswith("send_request_headers.complete") and self._ours:
            self.written = True
        elif name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self.stream = info.get("return_value")


def _exchange(transport: httpx.BaseTransport, request: httpx.Request, left: _Left, end: float) -> Verdict:
    """Send a request, read the answer up to a bound, and judge it."""
    try:
        response = transport.handle_request(request)
    except Exception as error:  # noqa: BLE001 - the border: whatever a transport raises becomes a verdict
        return judge_failure(_failure(error, left))
    body, broken = _read(response, end)
    if "content-encoding" in response.headers:
        body = unpacked(body)
    status = response.status_code
    if broken and not 200 <= status < 600:
        return judge_failure(Failure.NOT_HTTP)
    return judge(status, body, response.headers.get("retry-after"), now=time.time())


def _read(response: httpx.Response, end: float) -> tuple[bytes, bool]:
    """Return what there is of the body, up to a bound in size and time, and whether it broke off.

    The status has been read, so the answer is known: a body that breaks off does not undo it.
    """
    body, broken = b"", False
    try:
        for chunk in response.stream:  # type: ignore[union-attr]
            body += chunk
            if len(body) >= MOST_BODY or time.monotonic() > end:
                break
    except Exception:  # noqa: BLE001 - as above; told by the second value
        broken = True
    try:
        response.close()
    except Exception:  # noqa: BLE001 - the connection is gone anyway
        broken = True
    return body[:MOST_BODY], broken


def _failure(error: Exception, left: _Left) -> Failure:
    """Return which failure an exception is; whether the request left decides between certain and ambiguous."""
    if isinstance(error, _NOT_LEFT):
        return _tls_failure(error)
    if isinstance(error, _CUT_OFF) or (left.heard and not left.written):
        return Failure.CUT_OFF
    if isinstance(error, httpx.TimeoutException):
        return Failure.SILENCE
    if isinstance(error, httpx.RemoteProtocolError):
        return Failure.NO_ANSWER if "disconnected" in str(error) else Failure.NOT_HTTP
    if isinstance(error, httpx.TransportError):
        return Failure.NO_ANSWER
    return Failure.BROKEN


def _tls_failure(error: BaseException | None) -> Failure:
    """Return why there is no connection: no trust, no TLS, or nobody there."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return Failure.UNTRUSTED
        if isinstance(error, ssl.SSLError):
            return Failure.NO_TLS
        error = error.__cause__ or error.__context__
    return Failure.NO_CONNECTION
