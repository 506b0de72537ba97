"""One record of a ledger: how an event stands on the disk, and how it is read back.

    + 9f3c2a1b 47 1795459368.916 type=course-save&course_id=7 order-17

That is its mark, the CRC-32 and the length of what follows, the time of acceptance, the query of the
call, and the event's id if it has one. Only the mark ever changes, which is one byte and cannot be torn.
This room knows bytes, not files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote
from zlib import crc32

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

HEADER = b"ocm-otel ledger 1\n"
#: The marks: owed; sent and not answered yet; settled.
OWED, SENT, SETTLED = b"+>-"
#: What stands behind the mark of a record that was erased, before blanks.
PURGED = b"purged "
#: A record is shorter: an event's query has at most 8,100 bytes, its id 2,000.
LONGEST_RECORD = 11_000

_new = tuple.__new__  # a named tuple that is called costs twice as much
_MARKS = frozenset((OWED, SENT, SETTLED))
_NOT_ZERO = re.compile(rb"[^\x00]")
_END = re.compile(rb"[\n\x00]")
_NAMED = re.compile(rb"[\n\x00][+>-] (\w+) (\d+) ([\d.]+ [^ \n\x00]+ ([^ \n\x00]+))(?=\n)")
_WHOLE = re.compile(rb"([+>-]) ([0-9a-f]{8}) ([0-9]{1,5}) (([0-9]+\.[0-9]+) ([!-~]+)(?: [!-~]+)?)(?=\n)")
_OWED_ONE = re.compile(rb"[\n\x00][+>] ")


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


#: The values of a `Record`, in their order: one is made for each event, and a named tuple costs five times as much.
Row = tuple[int, int, int, float, str]


def encode(query: str, at: float, event_id: str | None = None) -> bytes:
    """Return the record of an event that is owed."""
    if event_id is None:
        payload = b"%.3f %b" % (at, query.encode("ascii"))  # faster than a text that is encoded afterwards
    else:
        plain = event_id.isascii() and event_id.isprintable() and " " not in event_id and "%" not in event_id
        name = event_id if plain else quote(event_id, safe="")
        payload = b"%.3f %b %b" % (at, query.encode("ascii"), name.encode("ascii"))
    return b"+ %08x %d %b\n" % (crc32(payload), len(payload), payload)


def parse(line: bytes, start: int, stop: int) -> Record | None:
    """Return the record in `line`, a torn one if no more than its mark can be read; None if it is none.

    Args:
        line: the bytes without the line's end.
        start: where it begins in the ledger.
        stop: where the next one begins.
    """
    torn = Record(start, stop, line[0], 0.0, "") if line[:2] in (b"+ ", b"> ") else None
    if len(line) > LONGEST_RECORD:
        return torn
    try:
        mark, checksum, length, payload = line.split(b" ", 3)
        at, query, *_ = payload.split(b" ", 2)
        right = len(mark) == 1 and len(payload) == int(length) and crc32(payload) == int(checksum, 16)
        if right and mark[0] in _MARKS:
            return Record(start, stop, mark[0], float(at), query.decode("ascii"))
    except ValueError:
        return torn
    return torn


def without_event(row: Row) -> Row:
    """Return a record as it is when the event in it was erased."""
    return (*row[:4], "")


def find_owed(data: bytes | mmap.mmap, start: int, end: int, most: int) -> tuple[list[Record], int]:
    """Return the first records that are not settled, and where the next one would be looked for.

    Args:
        data: the ledger.
        start: where to begin, in bytes.
        end: where what was published ends.
        most: how many records are wanted.
    """
    found: list[Record] = []
    while start < end and len(found) < most:
        if (usual := _WHOLE.match(data, start, end)) is not None:
            mark, checksum, length, payload, at, query = usual.groups()
            if crc32(payload) == int(checksum, 16) and len(payload) == int(length):
                stop = usual.end() + 1
                if mark != b"-":
                    found.append(_new(Record, (start, stop, mark[0], float(at), query.decode("ascii"))))
                start = stop
                continue
        record = find(data, start, end)
        if record is not None and record.mark != SETTLED:
            found.append(record)
        start = end if record is None else record.end
    return found, start


def find(data: bytes | mmap.mmap, start: int, end: int) -> Record | None:
    """Return the first record, torn or whole, that begins between `start` and `end`; None if there is none."""
    while start < end:
        if data[start] == 0:
            found = _NOT_ZERO.search(data, start, end)
            if found is None:
                return None
            start = found.start()
        found = _END.search(data, start, end)
        stop = found.start() if found else end
        if (record := parse(data[start:stop], start, stop + 1)) is not None:
            return record
        start = stop + 1
    return None


def count_owed(data: bytes | mmap.mmap, size: int) -> tuple[int, int]:
    """Return where the last record that is owed ends, and how many there are: as many as `find` will find."""
    ends = [found.end() for found in _OWED_ONE.finditer(data, len(HEADER) - 1)]
    if not ends:
        return len(HEADER), 0
    last = _END.search(data, ends[-1])
    return last.end() if last else size, len(ends)


def told_ids(data: bytes | mmap.mmap) -> Iterator[str]:
    """Yield the ids of the events that are in a ledger and not torn, settled or not."""
    for found in _NAMED.finditer(data, len(HEADER) - 1):
        if crc32(found[3]) == int(found[1], 16) and len(found[3]) == int(found[2]):
            yield unquote(found[4].decode("ascii"))
