"""One call to the events API, from query to verdict. The only importer of httpx.

A call never raises and always ends in a verdict. It goes through an `httpx` transport, not through a
client: no redirect is followed, no cookie kept, no line with the address logged.

Whether a request left is known, not guessed: httpcore's trace extension says when its head was written.
"""

from __future__ import annotations

import ssl
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from ocm_otel._quiet import hush, quietly
from ocm_otel._values import SettingsError
from ocm_otel._verdict import Failure, Verdict, judge, judge_failure

if TYPE_CHECKING:
    from ocm_otel._settings import Settings

#: What makes the calls: tests and set-ups of the user's own may bring one.
Transport = httpx.BaseTransport

#: How much of a body is read: an answer of the API has some hundred bytes.
MOST_BODY = 64 * 1024
#: Seconds that a connection is kept without a call; shorter than the 60 s of usual load balancers.
_KEEP_ALIVE = 50.0

_NOT_LEFT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_CUT_OFF = (httpx.WriteError, httpx.WriteTimeout)


class Client:
    """What the calls of one outbox have in common: address, headers, trust, proxy.

    Args:
        settings: where to send to, and how.
        key: the key of the account.
        transport: an httpx transport to use for all calls, for tests and for set-ups of the user's own;
            it is not closed by us.
    """

    def __init__(self, settings: Settings, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self._given = transport
        self._settings = settings
        self._address = settings.endpoint.rstrip("?&") + ("&" if urlsplit(settings.endpoint).query else "?")
        agent = {"user-agent": f"ocm-otel/{version('ocm-otel')}", "accept": "application/json"}
        further = {name.lower(): value for name, value in settings.further_headers() if name.lower() != "host"}
        self._headers = {**agent, **further, "x-api-key": key}
        self._trust: ssl.SSLContext | None = None
        hush()

    def connect(self) -> Connection:
        """Return a connection for one thread; it opens itself at the first call."""
        return Connection(self)

    def call(self, transport: httpx.BaseTransport, query: str, timeout: float) -> Verdict:
        """Make one call through `transport`, and return what it meant; never raises."""
        left = _Left()
        limit = {"connect": timeout, "read": timeout, "write": timeout, "pool": timeout}
        try:
            with quietly():
                request = httpx.Request(
                    "GET",
                    self._address + query,
                    headers=self._headers,
                    extensions={"timeout": limit, "trace": left},
                )
                return _exchange(transport, request, left, time.monotonic() + timeout)
        except (httpx.InvalidURL, UnicodeError) as error:
            return _misconfigured(f"the address cannot be used: {type(error).__name__}")

    def transport(self) -> httpx.BaseTransport:
        """Return the transport for one connection.

        Raises:
            SettingsError: the certificates or the proxy cannot be used.
        """
        if self._given is not None:
            return self._given
        try:
            with quietly():
                self._trust = self._trust or _trust(self._settings)
                return httpx.HTTPTransport(
                    verify=self._trust,
                    proxy=self._settings.proxy(),
                    limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE),
                )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:  # ssl.SSLError is an OSError
            msg = f"{type(error).__name__}: {getattr(error, 'strerror', None) or 'cannot be used'}"
            raise SettingsError(msg) from error

    def prepare(self) -> None:
        """Import and read all that a call needs, once and in the caller's thread.

        Senders then import nothing, so that no fork meets one of them in the middle of an import.
        """
        import encodings.idna  # noqa: F401 - what `getaddrinfo` wants of a host name

        with suppress(SettingsError):  # what cannot be used is the verdict on each call
            self.release(self.transport())

    def release(self, transport: httpx.BaseTransport) -> None:
        """Close a transport, unless it is the user's."""
        if transport is not self._given:
            transport.close()


class Connection:
    """One kept connection, for one thread at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._transport: httpx.BaseTransport | None = None

    def send(self, query: str, timeout: float) -> Verdict:
        """Make one call and return what it meant; never raises.

        Args:
            query: what `Event.query` returned.
            timeout: seconds that the call may take.
        """
        try:
            if self._transport is None:
                self._transport = self._client.transport()
        except SettingsError as error:
            return _misconfigured(str(error))
        return self._client.call(self._transport, query, timeout)

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        if self._transport is not None:
            self._client.release(self._transport)
            self._transport = None


class _Left:
    """Hears from httpcore how far a request came (the httpx "trace" extension)."""

    def __init__(self) -> None:
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


def _misconfigured(why: str) -> Verdict:
    """Return the verdict on a call that could not be made with these settings."""
    return replace(wrong := judge_failure(Failure.MISCONFIGURED), words=f"{wrong.words} ({why})")


def _exchange(transport: httpx.BaseTransport, request: httpx.Request, left: _Left, end: float) -> Verdict:
    """Send a request, read the answer up to a bound, and judge it."""
    try:
        response = transport.handle_request(request)
    except Exception as error:  # noqa: BLE001 - the border: whatever a transport raises becomes a verdict
        return judge_failure(_failure(error, left))
    body, broken = _read(response, end)
    if "content-encoding" in response.headers:
        body = _unpacked(body)
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


def _unpacked(body: bytes) -> bytes:
    """Return what a gzip or deflate body says, up to a bound; any other body as it is."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MOST_BODY)
    except zlib.error:
        return body


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


def _trust(settings: Settings) -> ssl.SSLContext:
    """Return whom we trust, and the certificate that we show."""
    if settings.certificate:
        trust = ssl.create_default_context(cafile=settings.certificate)
    else:
        trust = httpx.create_ssl_context()
    if settings.client_certificate:
        trust.load_cert_chain(settings.client_certificate, settings.client_key)
    return trust
