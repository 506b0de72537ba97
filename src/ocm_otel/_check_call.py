"""Is the events API there, and does it take our key? Asked step by step, so that the step that fails is named.

Without a wish to send, the one request that is made bears no type. The API's guide (part 8) says what becomes of
it: the error NO-TYPE-PARAMETER, and nothing is counted. That answer comes from behind the gateway that looks at the
key and the address, so it says as much as a counted event would.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ocm_otel._event import Event
from ocm_otel._findings import Finding, fine, problem, warning
from ocm_otel._setting import PREFIX
from ocm_otel._verdict import Fate, Verdict

if TYPE_CHECKING:
    from ocm_otel._settings import Settings

#: The type of the event that is sent on request: one that no report is made of.
HARMLESS = "ocm-otel-check"
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


def reach(settings: Settings) -> list[Finding]:
    """Return whether the endpoint's name resolves and somebody listens there, or at the proxy before it."""
    findings = []
    parts, whose = urlsplit(settings.endpoint), ""
    if settings.in_the_clear:
        said = f"{settings.endpoint} is plain http: key and ids travel unencrypted"
        findings.append(warning("endpoint", said, f"Set {PREFIX}ENDPOINT to an https:// address."))
    if proxy := settings.proxy():
        parts, whose = urlsplit(proxy), "the proxy "
        shown = f"{parts.scheme}://{parts.hostname}" + (f":{port}" if (port := _port(proxy)) else "")
        findings.append(fine("proxy", f"calls go through {shown}, as the environment says (NO_PROXY exempts a host)"))
    port = _port(parts.geturl()) or _PORTS.get(parts.scheme, 80)
    return [*findings, connect(parts.hostname or "", port, settings.timeout / 1000, whose)]


def connect(host: str, port: int, timeout: float, whose: str = "") -> Finding:
    """Return whether a host's name resolves, and somebody listens at its port.

    Args:
        host: its name or address.
        port: the number.
        timeout: seconds that a connection may take.
        whose: what to call it before its name.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        said = f"{whose}{host} has no address: {getattr(error, 'strerror', None) or type(error).__name__}"
        return problem("endpoint", said, f"Check the name in {PREFIX}ENDPOINT, and this machine's DNS.")
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError as error:
        said = f"nobody can be reached at {whose}{host}, port {port}: {error.strerror or type(error).__name__}"
        return problem("endpoint", said, "Check its port, and that a firewall lets this machine out to it.")
    addresses = len({address[4][0] for address in found})
    said = f"{whose}{host}, port {port}: the name resolves ({addresses} found), and a connection comes about"
    return fine("endpoint", said)


def _port(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return None


def ask(settings: Settings, key: str, type: str | None) -> Finding:
    """Make one call, and return what its answer says.

    Args:
        settings: where to, and how.
        key: the key of the account.
        type: the type of the event to send; None for the request that counts nothing.
    """
    from ocm_otel._client import Client

    connection = Client(settings, key).connect()
    began = time.monotonic()
    try:
        verdict = connection.send("" if type is None else Event(type).query(), settings.timeout / 1000)
    finally:
        connection.close()
    took = f"{(time.monotonic() - began) * 1000:.0f} ms"
    return judge_empty(verdict, took) if type is None else judge_sent(verdict, took)


def judge_empty(verdict: Verdict, took: str) -> Finding:
    """Return what the answer to a request without a type says."""
    if verdict.reason == "no-type-parameter":
        return fine("answer", f"the events API takes the key (asked without a type, which counts nothing; {took})")
    if verdict.fate in (Fate.DELIVERED, Fate.REFUSED):
        return warning(
            "answer",
            f"a request without a type was not answered with NO-TYPE-PARAMETER, but with "
            f"[{verdict.reason}]: this may not be the events API ({took})",
            f"Check {PREFIX}ENDPOINT; `ocm-otel check --send` sends a real event.",
        )
    return _judge_failed(verdict, took)


def judge_sent(verdict: Verdict, took: str) -> Finding:
    """Return what the answer to the harmless event says."""
    if verdict.fate is Fate.DELIVERED:
        return fine("answer", f"one event was sent, and the events API has counted it ({took})")
    if verdict.fate is Fate.REFUSED:
        return problem(
            "answer",
            f"one event was sent, and not counted: {verdict.words} [{verdict.reason}, {took}]",
            "Key and address are right; name a type that the account admits: --send=TYPE.",
        )
    return _judge_failed(verdict, took)


def _judge_failed(verdict: Verdict, took: str) -> Finding:
    """Return what it means that the call was neither counted nor refused."""
    said = f"{verdict.words} [{verdict.reason}, {took}]"
    if verdict.fate is Fate.THROTTLED:
        return warning("answer", said, "Wait, and check again; the application's events wait as long by themselves.")
    if verdict.fate is Fate.LOCKED_OUT:
        return problem("answer", said, "Events are kept until it is mended.")
    return problem("answer", said, "Check again in a while; the application's events are sent again by themselves.")
