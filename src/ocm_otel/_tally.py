"""What the API answered, by type and hour, so that a person can lay it beside the vendor's report.

    SPOOL_DIR/ACCOUNT/tally/
        20261123-4711-9f3c2a.tally       the counts of one process and day (UTC), locked by it as long as it lives
        20261123.json                    those of processes that are gone, added up

A process counts in a file that is mapped into memory: a count is one store of eight bytes, and survives any death of
the process. An answer is counted before its record is struck out, so a kill in between shows as what it is: the event
is sent again, and counted again. Who begins a file adds up those of the dead. There is no id in any of them.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ocm_otel._process import opening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ocm_otel._books import Books

FOLDER = "tally"
#: What is counted; the number is the place in a row.
COLUMNS = ("delivered", "ambiguous", "refused", "dropped")
DELIVERED, AMBIGUOUS, REFUSED, DROPPED = range(4)
#: Types that a process counts one by one each day; further ones are one row, whose type is an empty text.
MOST_TYPES = 64
HEADER = b"ocm-otel tally 1\n"
#: Seconds after its last count for which the file of a dead process is left alone.
SETTLING = 120.0
_HEAD, _SLOT, _LONGEST = 64, 192, 160
_COUNTS = _HEAD + MOST_TYPES * _SLOT
_SIZE = 16 * 4096
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_REST = 60.0
_DAY = 86_400


class NoTally:
    """Counts nothing."""

    def add(self, query: str, column: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Do nothing."""

    def forget(self) -> None:
        """Do nothing."""


class Tally(NoTally):
    """The counts of this process; one thread at a time counts.

    Args:
        directory: the account's directory.
        books: where it is told that nothing can be counted.
        clock: the wall clock, seconds since 1970; for tests.
        fold: called with the folder when a file was begun; for what `_tallies` does.
    """

    def __init__(
        self,
        directory: Path,
        books: Books | None = None,
        *,
        clock: Callable[[], float] = time.time,
        fold: Callable[[Path], object] | None = None,
    ) -> None:
        self._folder = directory / FOLDER
        self._books = books
        self._clock = clock
        self._fold = fold
        self._day = -1
        self._from = self._until = math.inf  # this hour, if it can be counted in
        self._row: dict[str, int] = {}  # where this hour's counts of a type begin, as a number of counts
        self._map: mmap.mmap | None = None
        self._counts = memoryview(b"")
        self._lock = -1
        self._slots: dict[str, int] = {}
        self._not_before = 0.0
        self._closed = False

    def add(self, query: str, column: int) -> None:
        """Count an answer about the event of this query; an empty one stands for an event that cannot be read."""
        try:
            now = self._clock()
            if not self._from <= now < self._until:
                self._turn(int(now // 3600))
            kind = query[5:].partition("&")[0]
            row = self._row.get(kind)
            if row is None and self._map is not None:
                row = self._row_of(self._map, kind, int(now // 3600) % 24)
            if row is not None:
                self._counts[row + column] += 1  # one store of eight bytes
        except (OSError, ValueError) as error:
            self._not_before = time.monotonic() + _REST
            if self._books is not None:
                self._books.add("uncounted", type(error).__name__)
                text = (
                    "what is delivered cannot be tallied for `ocm-otel report` (%s); events are delivered all the same"
                )
                self._books.report("tally", text, type(error).__name__)

    def close(self) -> None:
        """Let others add it up; an answer that comes late is counted for a moment more."""
        self._closed = True
        self.let_go()

    def let_go(self) -> None:
        """Close our hold on the lock: in a forked child it is the parent's."""
        with opening:
            lock, self._lock = self._lock, -1
            if lock >= 0:
                os.close(lock)

    def forget(self) -> None:
        """Count no more, in a forked child: the file is the parent's."""
        self._closed, self._map, self._from = True, None, math.inf
        self.let_go()

    def _turn(self, hour: int) -> None:
        """Begin an hour, and with it the file of its day."""
        if hour // 24 != self._day and not self._closed:
            self._begin(hour // 24)
        self._row = {}
        self._from, self._until = (math.inf if self._map is None else hour * 3600.0), (hour + 1) * 3600.0

    def _begin(self, day: int) -> None:
        """Begin the file of a day.

        Raises:
            OSError: there is no room for it.
        """
        if time.monotonic() < self._not_before:
            return
        self.let_go()
        self._map, self._slots = None, {}
        self._folder.mkdir(mode=0o700, exist_ok=True)
        name = f"{time.strftime('%Y%m%d', time.gmtime(day * _DAY))}-{os.getpid()}-{os.urandom(3).hex()}.tally"
        path = self._folder / name
        with opening:
            handle = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                # Whoever looks just now whether its owner lives is gone at once. A map keeps a file descriptor of its
                # own, and with it the lock of the file that it was made of; so it is made of another.
                fcntl.flock(handle, fcntl.LOCK_EX)
                os.posix_fallocate(handle, 0, _SIZE)
                data = _mapped(path)
                data[: len(HEADER)] = HEADER
            except BaseException:
                os.close(handle)
                with suppress(OSError):
                    path.unlink()
                raise
            self._lock, self._map, self._day = handle, data, day
            self._counts = memoryview(data).cast("Q")
        if self._fold is not None:
            self._fold(self._folder)

    def _row_of(self, data: mmap.mmap, kind: str, hour: int) -> int:
        """Return where the counts of a type begin in this hour, and remember it if the type has a slot of its own."""
        slot = self._slot(data, kind)
        row = _place(hour, slot, 0) // 8
        if slot < MOST_TYPES:
            self._row[kind] = row
        return row

    def _slot(self, data: mmap.mmap, kind: str) -> int:
        """Return the slot of a type, made if it has none; that of all others if there is none left for it."""
        slot = self._slots.get(kind)
        if slot is None and kind and len(self._slots) < MOST_TYPES:
            slot = self._slots[kind] = len(self._slots)
            text = kind.encode("ascii")
            if len(text) > _LONGEST:
                from hashlib import sha256

                text = text[: _LONGEST - 17].rpartition(b"%")[0] or text[: _LONGEST - 17]
                text += b"~" + sha256(kind.encode()).hexdigest()[:16].encode()
            start = _HEAD + slot * _SLOT
            data[start + 1 : start + 1 + len(text)] = text
            data[start] = len(text)  # one byte, and last: from now on it is read
        return MOST_TYPES if slot is None else slot


def _mapped(path: Path) -> mmap.mmap:
    """Return a file as memory."""
    handle = os.open(path, _FLAGS)
    try:
        return mmap.mmap(handle, _SIZE)
    finally:
        os.close(handle)


def _place(hour: int, slot: int, column: int) -> int:
    """Return where a count stands."""
    return _COUNTS + ((hour * (MOST_TYPES + 1) + slot) * len(COLUMNS) + column) * 8


def counts(data: bytes) -> Iterator[tuple[str, int, list[int]]]:
    """Yield type (as in a query; empty for all others), hour and counts of what is counted in a file's content."""
    if data[: len(HEADER)] != HEADER or len(data) != _SIZE:
        return
    names = []
    for start in range(_HEAD, _COUNTS, _SLOT):
        text = data[start + 1 : start + 1 + data[start]]
        names.append(text.decode("ascii", "replace") if data[start] <= _LONGEST else "")
    for hour in range(24):
        for slot in range(MOST_TYPES + 1):
            place = _place(hour, slot, 0)
            row = [int.from_bytes(data[at : at + 8], sys.byteorder) for at in range(place, place + 8 * len(COLUMNS), 8)]
            if any(row):
                yield names[slot] if slot < MOST_TYPES else "", hour, row
