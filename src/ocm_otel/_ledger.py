"""One ledger: a file of records, each an event that is owed to the API until it is struck out.

A ledger is a file of fixed size, allocated before it is used and mapped into memory: a record costs its
writer no system call, is in the kernel's hands once it is copied, and survives any death of the process;
and no full disk can turn a write into a crash. Behind the last record there are zeros. A person reads it
with ``tr -d '\\0' < FILE``:

    ocm-otel ledger 1
    + 9f3c2a1b 47 1795459368.916 type=course-save&course_id=7

A record is its mark, the CRC-32 and the length of what follows, the time of acceptance, and the query of
the call. Records are appended; afterwards only the mark changes, which is one byte and cannot be torn:
``+`` owed, ``>`` sent and not answered yet, ``-`` settled.
"""

from __future__ import annotations

import mmap
import os
import re
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from pathlib import Path

HEADER = b"ocm-otel ledger 1\n"
OWED, SENT, SETTLED = b"+>-"
#: A record is far shorter: an event's query has at most 8,100 bytes.
LONGEST_RECORD = 9_000

#: A ledger of ours has at most 8 MiB.
LARGEST_FILE = 64 * 1024 * 1024

_MARKS = frozenset((OWED, SENT, SETTLED))
_NOT_ZERO = re.compile(rb"[^\x00]")
_END = re.compile(rb"[\n\x00]")
_OWED_ONE = re.compile(rb"(?:\n|\x00)[+>] ")


class ForeignLedger(ValueError):
    """A file in the spool that is no ledger of this version; it is left as it is."""


class Record(NamedTuple):
    """What stands at one place of a ledger.

    Attributes:
        offset: where it begins, in bytes.
        end: where the next one begins.
        mark: what is known of it, one of ``OWED``, ``SENT``, ``SETTLED``.
        at: when the event was accepted, wall clock, seconds since 1970.
        query: the event as it is sent; empty if the record is torn, and nothing but its mark is known.
    """

    offset: int
    end: int
    mark: int
    at: float
    query: str


def encode(query: str, at: float) -> bytes:
    """Return the record of an event that is owed."""
    payload = b"%.3f %b" % (at, query.encode("ascii"))
    return b"+ %08x %d %b\n" % (crc32(payload), len(payload), payload)


class Ledger:
    """One file of records. One thread at a time appends, one reads and strikes; they may be two.

    Args:
        path: the file.
        size: make it with this many bytes; None to open one that is there.

    Raises:
        OSError: it cannot be made or opened; a full disk says so here, and never later.
        ForeignLedger: the file is no ledger.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        self.path = path
        self.written = 0
        self.ended = 0
        self.lent = 0
        self.retired = False
        self._read = self._end = self._synced = len(HEADER)
        self._map: mmap.mmap | None = None
        if size is None:
            self._adopt()
        else:
            self._make(size)

    def _make(self, size: int) -> None:
        """Make the file, with every byte of it allocated."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self.path, flags, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
            self._map = mmap.mmap(handle, size)
        except OSError:
            os.unlink(self.path)
            raise
        finally:
            os.close(handle)
        self.size = size
        self._map[: len(HEADER)] = HEADER

    def _adopt(self) -> None:
        """Open a file that another process wrote, and count what it owes."""
        handle = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self.size = os.fstat(handle).st_size
            if not len(HEADER) <= self.size <= LARGEST_FILE:
                raise ForeignLedger(self.path.name)
            self._map = mmap.mmap(handle, self.size)
        finally:
            os.close(handle)
        if self._map[: len(HEADER)] != HEADER:
            self.unmap()
            raise ForeignLedger(self.path.name)
        self._end = self.size
        self.retired = True
        self.written = sum(1 for _ in _OWED_ONE.finditer(self._map, len(HEADER) - 1))

    @property
    def owed(self) -> int:
        """How many of its records are not settled."""
        return self.written - self.ended

    @property
    def mapped(self) -> bool:
        """True while it takes memory and a file descriptor."""
        return self._map is not None

    def append(self, record: bytes) -> bool:
        """Write a record behind the last one; False if there is no room for it.

        It can be read only after `publish`, so that its writer can book it first.
        """
        end = self._end + len(record)
        if end > self.size or self._map is None:
            return False
        self._map[self._end : end] = record
        return True

    def publish(self, record: bytes) -> None:
        """Let a record that was just written be read."""
        self.written += 1
        self._end += len(record)

    def sync(self) -> None:
        """Return once everything that is published is on the medium; many writers share one sync.

        Raises:
            OSError: the medium failed.
        """
        upto = self._end
        if self._synced >= upto:
            return
        handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            upto = self._end
            os.fdatasync(handle)
        finally:
            os.close(handle)
        self._synced = max(self._synced, upto)

    def has_unread(self) -> bool:
        """True if a record may follow that was not read yet."""
        return self._read < self._end

    def peek(self) -> Record | None:
        """Return the next record that is owed without stepping behind it, None if there is none (yet)."""
        while (record := self._at(self._read)) is not None:
            if record.mark != SETTLED:
                return record
            self._read = record.end
        return None

    def step(self, record: Record) -> None:
        """Lend out the record that `peek` returned, and step behind it."""
        self._read = record.end
        self.lent += 1

    def strike(self, offset: int, mark: int) -> None:
        """Change the mark of the record at `offset`."""
        if self._map is None:
            self._remap()
        self._map[offset] = mark  # type: ignore[index] - mapped just above

    def end(self, offset: int) -> None:
        """Strike out the record at `offset`: it is settled.

        Raises:
            OSError: the file is gone; the record counts as ended all the same.
        """
        self.ended += 1
        self.lent -= 1
        self.strike(offset, SETTLED)

    def give_up(self) -> int:
        """Count all that was not read as ended, for it cannot be read; returns how many records."""
        lost = max(0, self.owed - self.lent)
        self.ended += lost
        self._read = self._end
        return lost

    def reset(self) -> None:
        """Begin anew in the same file; everything in it is settled. The room on the disk stays ours."""
        assert self._map is not None  # noqa: S101 - it was written to a moment ago
        self._map[:] = HEADER + bytes(self.size - len(HEADER))
        self.written = self.ended = 0
        self._read = self._end = self._synced = len(HEADER)
        self.retired = False

    def unmap(self) -> None:
        """Give back its memory and its file descriptor; it is mapped again when it is needed."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def remove(self) -> None:
        """Delete the file: nothing in it is owed any more."""
        self.unmap()
        self.path.unlink(missing_ok=True)

    def _remap(self) -> None:
        """Map the file again."""
        handle = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(handle, self.size)
        finally:
            os.close(handle)

    def _at(self, start: int) -> Record | None:
        """Return the first record at or after `start`; what is no record is stepped over, what is torn is not."""
        if self._map is None:
            self._remap()
        data: mmap.mmap = self._map  # type: ignore[assignment] - mapped just above
        while start < self._end:
            if data[start] == 0:
                found = _NOT_ZERO.search(data, start, self._end)
                self._read = start = found.start() if found else self._end
                continue
            found = _END.search(data, start, self._end)
            stop = found.start() if found else self._end
            line = data[start:stop]
            record = _parse(line, start, stop + 1)
            if record is None and line[:2] in (b"+ ", b"> "):
                record = Record(start, stop + 1, line[0], 0.0, "")
            if record is not None:
                return record
            self._read = start = stop + 1
        return None


def _parse(line: bytes, start: int, stop: int) -> Record | None:
    """Return the record in `line`, None unless length and checksum are right."""
    try:
        mark, checksum, length, payload = line.split(b" ", 3)
        at, query = payload.split(b" ", 1)
        right = len(mark) == 1 and len(payload) == int(length) and crc32(payload) == int(checksum, 16)
        if not right or mark[0] not in _MARKS:
            return None
        return Record(start, stop, mark[0], float(at), query.decode("ascii"))
    except ValueError:
        return None
