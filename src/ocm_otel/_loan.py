"""An entry of the journal on disk: an event on loan that knows where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocm_otel._journal import Entry
from ocm_otel._record import SENT, SETTLED, Record

if TYPE_CHECKING:
    from ocm_otel._ledger import Ledger


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
        self.in_doubt = mark == SENT

    def strike(self, mark: int) -> None:
        """Change its mark on the disk; in a file that was deleted there is nothing to be changed.

        Raises:
            OSError: the ledger cannot be written.
        """
        try:
            self.ledger.end(self.offset) if mark == SETTLED else self.ledger.strike(self.offset, mark)
        except FileNotFoundError:
            return  # then nobody will send it again

    def purged(self) -> bool:
        """True if somebody had it erased."""
        try:
            return self.ledger.purged(self.offset)
        except OSError:
            return False
