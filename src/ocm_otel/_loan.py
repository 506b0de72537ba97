"""An entry of the journal on disk: an event on loan that knows where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocm_otel._journal import Entry
from ocm_otel._record import SENT

if TYPE_CHECKING:
    from ocm_otel._ledger import Ledger
    from ocm_otel._record import Record

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

    def __init__(self, number: int, ledger: Ledger, record: Record) -> None:
        self.number, self.ledger = number, ledger
        self.offset, _, mark, self.at, self.query = record
        self.attempts = self.strikes = 0
        self.in_doubt, self.put_off = mark == SENT, False
