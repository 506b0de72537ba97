"""One call to the events API, from query to verdict.

A call never raises and always ends in a verdict. It goes over a connection of our own (`_wire`), or through httpx
where that cannot serve: a proxy, a transport that the user brought, an address out of the ordinary.
"""

from __future__ import annotations

import re
import ssl
import time
from contextlib import suppress
from functools import cached_property, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ocm_otel._answer import Answer, unpacked
from ocm_otel._link import Place
from ocm_otel._poller import drive
from ocm_otel._values import SettingsError
from ocm_otel._verdict import Failure, Verdict, judge, judge_failure, misconfigured
from ocm_otel._wire import KEPT, Wire

if TYPE_CHECKING:
    from ocm_otel._httpx import BaseTransport, Transport
    from ocm_otel._settings import Settings

#: An address that can stand in a request as it is: RFC 3986's characters, a name or an IP address, no user.
_ORDINARY = re.compile(
    r"https?://(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?"
    r"(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
)


class Connection(Protocol):
    """One kept connection, for one thread at a time; it opens itself at the first call."""

    def send(self, query: str, timeout: float) -> Verdict:
        """Make one call and return what it meant; never raises.

        Args:
            query: what `Event.query` returned.
            timeout: seconds that the call may take.
        """

    def cut(self) -> None:
        """End the call that is under way, from another thread: it hangs, and is not waited for any more."""

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""


class Client:
    """What the calls of one outbox have in common: address, headers, trust, proxy.

    Args:
        settings: where to send to, and how.
        key: the key of the account.
        transport: an httpx transport, or an httpx client, to use for all calls, for tests and for set-ups of the
            user's own; it is not closed by us.
    """

    def __init__(self, settings: Settings, key: str, transport: Transport | None = None) -> None:
        self._given = transport
        self._settings = settings
        self._address = settings.endpoint.rstrip("?&") + ("&" if urlsplit(settings.endpoint).query else "?")
        agent = {"user-agent": f"ocm-otel/{version('ocm-otel')}", "accept": "application/json"}
        further = {name.lower(): value for name, value in settings.further_headers() if name.lower() != "host"}
        self._headers = {**agent, **further, "x-api-key": key}
        self._known: ssl.SSLContext | None = None

    def connect(self) -> Connection:
        """Return a connection for one thread; it opens itself at the first call."""
        if self.is_ordinary:
            return _Line(self)
        from ocm_otel._httpx import Detour, given

        make = self._detour if self._given is None else partial(given, self._given)
        return Detour(make, self._address, self._headers, owned=self._given is None)

    def prepare(self) -> None:
        """Import and read all that a call needs, once and in the caller's thread.

        Senders then import nothing, so that no fork meets one of them in the middle of an import.
        """
        import email.utils  # noqa: F401 - what a Retry-After may want
        import encodings.idna  # noqa: F401 - what `getaddrinfo` wants of a host name

        with suppress(SettingsError):  # what cannot be used is the verdict on each call
            if self.is_ordinary:
                self.place()
            elif self._given is None:
                self._detour().close()

    @cached_property
    def is_ordinary(self) -> bool:
        """True if a connection of our own can serve: nobody brought a transport, and there is no proxy."""
        ordinary = _ORDINARY.fullmatch(self._settings.endpoint) and all(map(str.isascii, self._headers.values()))
        return self._given is None and bool(ordinary) and self._settings.proxy() is None

    def place(self) -> Place:
        """Return where the calls go.

        Raises:
            SettingsError: the certificates cannot be used.
        """
        parts = urlsplit(self._settings.endpoint)
        secure = parts.scheme == "https"
        try:
            return Place(parts.hostname or "", parts.port or (443 if secure else 80), self._trust() if secure else None)
        except ValueError as error:
            msg = f"the address cannot be used: {type(error).__name__}"
            raise SettingsError(msg) from error

    def request(self, query: str) -> bytes:
        """Return the request for an event (RFC 9112, section 3).

        Args:
            query: what `Event.query` returned.
        """
        before, after = self._around
        return before + query.encode("ascii") + after

    def verdict(self, outcome: Answer | Failure) -> Verdict:
        """Return what came of a call: what its answer means, or that it has none."""
        if isinstance(outcome, Failure):
            return judge_failure(outcome)
        body = unpacked(outcome.body) if outcome.encoding else outcome.body
        if outcome.retry_after is None:
            return judge(outcome.status, body)
        return judge(outcome.status, body, outcome.retry_after, now=time.time())

    @cached_property
    def _around(self) -> tuple[bytes, bytes]:
        """What stands before and after the query in a request."""
        parts = urlsplit(self._address)
        target = f"{parts.path or '/'}?{parts.query}"
        lines = [f"host: {parts.netloc.lower()}", *(f"{name}: {value}" for name, value in self._headers.items())]
        return f"GET {target}".encode("ascii"), " HTTP/1.1\r\n{}\r\n\r\n".format("\r\n".join(lines)).encode("ascii")

    def _detour(self) -> BaseTransport:
        """Return an httpx transport for one connection."""
        from ocm_otel._httpx import transport

        return transport(self._trust(), self._settings.proxy(), KEPT)

    def _trust(self) -> ssl.SSLContext:
        """Return whom we trust, and the certificate that we show; read once."""
        if self._known is None:
            try:
                self._known = _trust(self._settings)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                msg = f"{type(error).__name__}: {getattr(error, 'strerror', None) or 'cannot be used'}"
                raise SettingsError(msg) from error
        return self._known


class _Line:
    """One connection of our own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._wire: Wire | None = None

    def send(self, query: str, timeout: float) -> Verdict:
        """Make one call and return what it meant; never raises."""
        end = time.monotonic() + timeout
        try:
            self._wire = self._wire or Wire(self._client.place())
        except SettingsError as error:
            return misconfigured(str(error))
        return self._client.verdict(drive(self._wire, self._wire.call(self._client.request(query), end)))

    def cut(self) -> None:
        """Nothing is to be done: who calls waits for the end of its call."""

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        if self._wire is not None:
            self._wire.close()


def _trust(settings: Settings) -> ssl.SSLContext:
    """Return whom we trust, and the certificate that we show."""
    if settings.certificate:
        trust = ssl.create_default_context(cafile=settings.certificate)
    else:
        from ocm_otel._httpx import trust as usual

        trust = usual()
    if settings.client_certificate:
        trust.load_cert_chain(settings.client_certificate, settings.client_key)
    return trust
