"""An entry of the journal on disk: an event on loan that knows where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocm_otel._journal import Entry
from ocm_otel._record import SENT

if TYPE_CHECKING:
    from ocm_otel._ledger import Ledger
    from ocm_otel._record import Row

_new = object.__new__

#: What is told of records that are no events (any more), by the reason in the books.
NO_EVENT = {
    "torn": "a torn record in the spool was left out",
    "purged": "events were erased by `ocm-otel spool purge`",
    "deleted": "a ledger in the spool was deleted that still owed events",
    "settled-before": "an adopted event was settled late by its old owner",
}


class SpoolEntry(Entry):
    """An entry that knows where it stands on the disk."""

    __slots__ = ("ledger", "offset")

    ledger: Ledger
    offset: int


def lent(number: int, ledger: Ledger, row: Row) -> SpoolEntry:
    """Return the entry of a record, at a third of what it costs to have a class make it: one is made for each event."""
    entry: SpoolEntry = _new(SpoolEntry)
    entry.number = number
    entry.ledger = ledger
    entry.offset, _, mark, entry.at, entry.query = row
    entry.attempts = entry.strikes = 0
    entry.in_doubt = mark == SENT
    entry.put_off = False
    return entry
