"""What the processes of one spool directory share: an outbox each, and one table of the ids that were taken.

It is opened in this order, ids first: what an outbox takes over from the dead is told to the table before it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocm_otel._account import Account
from ocm_otel._outbox import Outbox
from ocm_otel.gateway.config import BadConfig
from ocm_otel.gateway.intake import Told
from ocm_otel.gateway.known import Known

if TYPE_CHECKING:
    from ocm_otel._settings import Settings

KNOWN_IDS = "gateway-ids"


def open_known(settings: Settings, most: int) -> Known:
    """Return the ids that are known; when it returns, what became of the claims of dead processes is known as well.

    Args:
        settings: those of the outbox.
        most: how many ids a new table has room for.

    Raises:
        BadConfig: events cannot be kept on disk.
        SettingsError: there is no key.
        OSError: the spool cannot be used.
    """
    if settings.durability == "memory":
        raise BadConfig("OTEL_EXPORTER_OCM_DURABILITY is memory: what was taken in has to be on disk")
    account = Account(settings.spool(), settings.endpoint, settings.key())
    return Known(account.path / KNOWN_IDS, account.ids, most)


def open_outbox(settings: Settings, known: Known) -> Outbox:
    """Return an outbox whose events are on disk, and which tells `known` what it takes over.

    Raises:
        BadConfig: the spool cannot be used.
    """
    outbox = Outbox(settings, recent=Told(known))
    if "failed_spool" in outbox.books.snapshot().reasons:
        raise BadConfig("the spool cannot be used, so nothing could be said to be on disk")
    return outbox
