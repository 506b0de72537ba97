"""The API's own call: who calls the events API today changes the host name, and is answered as the API answers.

The client's own key is checked here, and never goes further; the event goes on with the key of the gateway's account.
The answers, and their order, are those of the service in front of the API: size, place, key, type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ocm_otel._doors import judge
from ocm_otel._identity import Beside
from ocm_otel._tags import COURSE, ENTITY, TYPE, USER
from ocm_otel.gateway.answers import API_FORBIDDEN, API_NO_TYPE, API_TOO_LONG, API_UNKNOWN_PLACE, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocm_otel._event import Event
    from ocm_otel._outbox import Outbox
    from ocm_otel.gateway.guard import Secrets

PATH = "/v2.0/events"
_LONGEST = 10_240
_TAGS = (("type", TYPE), ("course_id", COURSE), ("user_id", USER), ("entity_id", ENTITY))


def called_for(
    outbox: Outbox,
    keys: Secrets | None,
    method: str,
    path: str,
    query: bytes,
    headers: Sequence[tuple[bytes, bytes]],
) -> Event | Reply:
    """Return the event that a call is for, or the answer if it is for none.

    Args:
        outbox: whose settings and books are used; nothing is put into it.
        keys: the clients' own keys; None if nobody may call.
        method: of HTTP.
        path: decoded.
        query: what follows the question mark, percent-encoded.
        headers: names in small letters, and values.
    """
    size = len(method) + len(path) + len(query) + 12 + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > _LONGEST:
        return API_TOO_LONG
    if method != "GET" or path != PATH:
        return API_UNKNOWN_PLACE
    key = next((value for name, value in headers if name == b"x-api-key"), b"")
    if keys is None or not keys.has(key):
        return API_FORBIDDEN
    said = dict(parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"))
    tags = {tag: said[name] for name, tag in _TAGS if said.get(name)}
    return judge(outbox, tags, None, Beside(baggage={})).event or API_NO_TYPE
