r"""One ledger: a file of records, each an event that is owed to the API until it is struck out.

A ledger is a file that is memory (`_mapped`), so that a record is safe from any death of the process once it is
copied. Records are appended; behind the last one there are zeros. A person reads it with ``tr -d '\0' < FILE``.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ocm_otel._mapped import MappedFile
from ocm_otel._record import HEADER, OWED, PURGED, SETTLED, count_owed, find_owed, told_ids, without_event

if TYPE_CHECKING:
    from pathlib import Path

    from ocm_otel._record import Row

LARGEST_FILE = 64 * 1024 * 1024  # a ledger of ours has at most 8 MiB
#: Records that are read in one go, for each go has its price.
_AHEAD = 32
#: Values of records that are handed to the reader as they are written, so that it need not read them: four for each, in
#: a row, for the garbage collector has to look through objects. Some 2 MB of memory.
HANDED = 4 * 8192
_PURGED_END = 2 + len(PURGED)
_BLANK = PURGED[-1]  # what a record ends with that was erased, and no other


class ForeignLedger(ValueError):
    """A file in the spool that is no ledger of this version; it is left as it is."""


class Ledger(MappedFile):
    """One file of records. One thread at a time appends, one reads and strikes; they may be two.

    Args:
        path: the file.
        size: make it with this many bytes; None to open one that is there.

    Attributes:
        ended: how many records are settled, `lent` how many are lent out.
        retired: True once nobody will write to it any more.
        gone: True once it is known that the file was deleted, and is to be written to no more.
        listed: True once the directory that it is in was synced.
        handed: what was written lately and not taken yet, with gaps: begin, end, time, query, begin, …

    Raises:
        OSError: it cannot be made or opened; a full disk says so here, and never later.
        ForeignLedger: the file is no ledger.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        super().__init__(path, LARGEST_FILE if size is None else size)
        self.ended = self.lent = 0
        self.retired = self.gone = self.listed = False
        self._read = self._looked = self._synced = len(HEADER)
        self._shown = (len(HEADER), 0)  # the end of what was published, and how many that is: changed in one step
        self._syncing = threading.RLock()
        self._ahead: deque[Row] = deque()  # what was looked at and not lent out
        self.handed: deque[Any] = deque()  # only who writes appends, only who reads takes
        self._adopt() if size is None else self._make(HEADER)

    def _adopt(self) -> None:
        """Open a file that another process wrote, and count what it owes."""
        data = self._mapped(LARGEST_FILE + 1)
        head = data[: len(HEADER)]
        # Who was killed before the header was written, or whose machine was, leaves zeros in its place.
        ours = len(head) == len(HEADER) and all(byte in (0, right) for byte, right in zip(head, HEADER, strict=True))
        if not ours or self.size > LARGEST_FILE:
            self.unmap()
            raise ForeignLedger(self.path.name)
        self.retired = True
        self._shown = count_owed(data, self.size)  # nothing behind the last one is read, so nothing that comes later

    def ids(self) -> list[str]:
        """Return the ids of its events, settled or not, and stay mapped or not; none if it cannot be read for now."""
        data, found = self._map, list[str]()
        with suppress(OSError):
            found += told_ids(self._mapped(self.size))
            self._map = data
        return found

    @property
    def written(self) -> int:
        """How many records were published, or were owed when it was opened."""
        return self._shown[1]

    @property
    def owed(self) -> int:
        """How many of its records are not settled."""
        return self.written - self.ended

    def append(self, record: bytes) -> bool:
        """Write a record behind the last one, to be read after `publish`; False if there is no room for it."""
        start, data = self._shown[0], self._map
        end = start + len(record)
        if end > self.size or self.gone or data is None:
            return False
        data[start:end] = record
        return True

    def publish(self, record: bytes, at: float = 0.0, query: str = "") -> None:
        """Let a record that was just written be read; if `at` and `query` say what is in it, by handing it over."""
        start, written = self._shown
        end = start + len(record)
        self._shown = (end, written + 1)  # first: what is lent out is among what was written
        if query and len(self.handed) < HANDED:
            self.handed.extend((start, end, at, query))

    def withdraw(self) -> None:
        """Strike out a record that was written and not published, if this process still has the map."""
        if (data := self._map) is not None:
            data[self._shown[0]] = SETTLED

    def sync(self) -> None:
        """Return once everything that is published is on the medium; who waits meanwhile shares the next sync.

        Raises:
            OSError: the medium failed.
        """
        upto = self._shown[0]
        with self._syncing:
            if self._synced >= upto:
                return
            upto = self._shown[0]
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)
            self._synced = upto

    def has_unread(self) -> bool:
        """True if a record may follow that was not read yet."""
        return self._read < self._shown[0]

    def peek(self) -> Row | None:
        """Return the next record that is owed without stepping behind it, None if there is none (yet).

        Raises:
            OSError: it was not mapped, and cannot be; FileNotFoundError if it is not there any more.
        """
        return self._ahead[0] if self._ahead or self._look_ahead() else None

    def lend(self) -> Row | None:
        """Lend out the next record that is owed, as plain values, and step behind it; None if there is none (yet).

        Raises as `peek` does.
        """
        data = self._map if self._map is not None else self._mapped(self.size)
        while self._ahead or self._look_ahead():
            row = self._ahead.popleft()
            self._read = end = row[1]
            if end - 2 < self.size and data[row[0]] != SETTLED:  # else struck out since it was looked at
                self.lent += 1
                return row if data[end - 2] != _BLANK else without_event(row)
        return None

    def _look_ahead(self) -> bool:
        """Take what was handed over, or else read some more records; returns whether there are any."""
        if not self._take_handed():
            data, end = self._mapped(self.size), min(self._shown[0], self.size)
            found, self._looked = find_owed(data, self._looked, end, _AHEAD)
            self._ahead.extend(found)
            if not found:
                self._read = end
        return bool(self._ahead)

    def _take_handed(self) -> bool:
        """Take what was handed over and comes next; returns whether it did."""
        handed, ahead, looked = self.handed, self._ahead, self._looked
        take = handed.popleft
        while handed and handed[0] <= looked and len(ahead) < _AHEAD:
            start, end, at, query = take(), take(), take(), take()
            if start == looked:  # else it was read before it was handed over
                ahead.append((start, end, OWED, at, query))
                looked = end
        self._looked = looked
        return bool(ahead)

    def strike(self, offset: int, mark: int) -> None:
        """Change the mark of the record at `offset`; if the file was deleted, nobody reads that.

        Raises:
            OSError: it was not mapped, and cannot be.
        """
        if (data := self._map) is None:
            try:
                data = self._mapped(self.size)
            except FileNotFoundError:
                return
        if offset < self.size:
            data[offset] = mark

    def purged(self, offset: int) -> bool:
        """Return whether the record at `offset` was erased; False if it cannot be looked at for now."""
        try:
            data = self._map if self._map is not None else self._mapped(self.size)
        except OSError:
            return False
        return data[offset + 2 : offset + _PURGED_END] == PURGED

    def end(self, offset: int) -> None:
        """Strike out the record at `offset`, which then counts as ended, also where `strike` raises."""
        self.ended += 1
        self.lent -= 1
        if (data := self._map) is not None and offset < self.size:  # as usual; else as `strike` says
            data[offset] = SETTLED
        else:
            self.strike(offset, SETTLED)

    def give_up(self) -> int:
        """Count all that was not read as ended, for it cannot be read; returns how many records."""
        lost = max(0, self.owed - self.lent)
        self.ended += lost
        self._read = self._looked = self._shown[0]
        self._ahead.clear()
        self.handed.clear()
        return lost

    def reset(self) -> None:
        """Begin anew in the same file; everything in it is settled. The room on the disk stays ours.

        Raises:
            OSError: it was not mapped, and cannot be.
        """
        data = self._mapped(self.size)
        data[:] = HEADER + bytes(self.size - len(HEADER))
        self.ended = 0
        self._read = self._looked = self._synced = len(HEADER)
        self._shown = (len(HEADER), 0)
        self.handed.clear()
        self.retired = False

    def leave(self) -> None:
        """Leave the file to whoever comes; delete it if nothing in it is owed and it can be deleted."""
        self.unmap()
        if self.owed <= 0:
            with suppress(OSError):  # then the heir does it
                self.remove()
