"""A log that somebody kept, read once from its beginning: each tagged fact in it with an identity of its own.

The identity of a fact is a hash of everything in the file up to and with its record, so it is the same in a renamed
copy, in one that was packed, and in the file as it was when it was shorter or will be when it has grown. The memory
that this takes is that of one record.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from ocm_otel._kept_lines import BadLine, Found, moment, read_json
from ocm_otel._tags import COURSE, ENTITY, EVENT, TYPE, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: A record is shorter: a request that a Collector writes has some megabytes at most.
LONGEST = 64 * 1024 * 1024
#: The columns that stand for each tag where nothing else is said, and for the time.
COLUMNS = {
    "type": (TYPE, "ocm_event_type", "event_type", "type"),
    "course_id": (COURSE, "ocm_course_id", "course_id"),
    "user_id": (USER, "ocm_user_id", "user_id"),
    "entity_id": (ENTITY, "ocm_entity_id", "entity_id"),
    "event_id": (EVENT, "ocm_event_id", "event_id"),
    "time": ("timestamp", "time", "at", "accepted", "datetime", "date"),
}
_TAGS = {"type": TYPE, "course_id": COURSE, "user_id": USER, "entity_id": ENTITY, "event_id": EVENT}
_TICK_EVERY = 10_000
_GZIP = b"\x1f\x8b"


class Unreadable(ValueError):
    """A file of which nothing can be replayed; the message says why, and what to do."""


class Fact(NamedTuple):
    """Something in the file that bears tags, or seems to.

    Attributes:
        line: the number of the line at which its record ends.
        identity: what makes it one of a kind, of 64 bits.
        found: its tags, None if it cannot be read.
        fault: why not.
    """

    line: int
    identity: int
    found: Found | None
    fault: str = ""


class Recording:
    """A file of lines.

    Args:
        path: the file, packed with gzip or not; ``-`` for standard input.
        form: ``json``, ``csv``, or ``auto`` to find out.
        columns: the names of columns in a table, by what they stand for; see `COLUMNS`.
        tick: called now and then while it reads.

    Attributes:
        lines: how many lines were read.
        torn: True if the last line of a table has no end, and was left out.

    Raises:
        OSError: the file cannot be opened.
        Unreadable: it has a form that cannot be read line by line.
    """

    def __init__(
        self, path: str, form: str = "auto", columns: Mapping[str, str] | None = None,
        tick: Callable[[], object] = int,
    ) -> None:  # fmt: skip
        self._raw: IO[bytes] = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 - kept
        self._file = self._raw
        try:
            status = os.fstat(self._raw.fileno())
            self.size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            if self._begin(2) == _GZIP:
                self._file = gzip.GzipFile(fileobj=self._raw)
            self._table = form == "csv" or (form == "auto" and self._looks_like_a_table(path))
        except BaseException:
            self._raw.close()
            raise
        self._columns = columns or {}
        self._chain = hashlib.sha256()
        self._tick = tick
        self.lines = 0
        self.torn = False

    def facts(self) -> Iterator[Fact]:
        """Yield what bears tags, from the beginning.

        Raises:
            OSError: the file cannot be read, or unpacked.
            Unreadable: it is no table of events.
        """
        with closing(self._raw), closing(self._file):
            for found, fault in self._rows() if self._table else self._objects():
                for index, one in enumerate(found):
                    yield Fact(self.lines, self._identity(index), one)
                if fault:
                    yield Fact(self.lines, self._identity(0), None, fault)

    def read_so_far(self) -> int:
        """Return how many bytes of the file (as it lies there) were read."""
        try:
            return self._raw.tell()
        except (OSError, ValueError):  # a pipe; closed
            return self.size

    def _looks_like_a_table(self, path: str) -> bool:
        """Return whether it is CSV, by its name, else by its beginning."""
        if path.removesuffix(".gz").endswith((".csv", ".CSV")):
            return True
        begin = self._begin(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        if begin[:1] == b"[":
            raise Unreadable(
                "it is one JSON array, and an object a line is needed: jq -c '.[]' FILE | ocm-otel replay -"
            )
        line = begin.partition(b"\n")[0]
        return b"{" not in line and b"," in line and any(name.encode() in line for name in COLUMNS["type"])

    def _begin(self, size: int) -> bytes:
        """Return the first bytes, and leave them to be read."""
        file: Any = self._file  # typing's IO knows no peek
        return bytes(file.peek(size)[:size])

    def _identity(self, index: int) -> int:
        """Return the identity of the `index`-th fact of the record that was read last."""
        chain = self._chain.copy()
        chain.update(b"%d" % index)
        return int.from_bytes(chain.digest()[:8], "big")

    def _lines(self) -> Iterator[bytes]:
        """Yield each line with its end, and chain it; one that is too long as an empty one."""
        while line := self._file.readline(LONGEST):
            self.lines += 1
            if self.lines % _TICK_EVERY == 0:
                self._tick()
            self._chain.update(line.rstrip(b"\r\n"))
            whole = line
            while len(whole) == LONGEST and whole[-1:] != b"\n":
                line, whole = b"\0", self._file.readline(LONGEST)
                self._chain.update(whole.rstrip(b"\r\n"))
            self._chain.update(b"\n")
            yield line

    def _objects(self) -> Iterator[tuple[list[Found], str]]:
        """Yield what each line bears that bears something."""
        for line in self._lines():
            if line == b"\0":
                yield [], f"longer than {LONGEST // 1024 // 1024} MiB"
                continue
            try:
                found = read_json(line)
            except BadLine as error:
                yield [], str(error)
            else:
                if found:
                    yield found, ""

    def _rows(self) -> Iterator[tuple[list[Found], str]]:
        """Yield what each row bears.

        Raises:
            Unreadable: there is no column for the type.
        """
        rows = csv.reader(self._texts())
        names = [name.strip() for name in next(rows, [])]
        places = _places(names, self._columns)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield [], f"no row of a table: {error}"
                continue
            said = {name: row[place] for name, place in places.items() if place < len(row) and row[place].strip()}
            if "type" in said:
                tags = {tag: said[name] for name, tag in _TAGS.items() if name in said}
                yield [Found(tags, moment(said.get("time")))], ""

    def _texts(self) -> Iterator[str]:
        """Yield the lines of a table as texts; one without an end may still be written, and is left out."""
        for line in self._lines():
            if line[-1:] != b"\n":
                self.torn = line != b"\0"
                continue
            text = line.decode("utf-8", "surrogateescape")
            yield text.removeprefix("\ufeff") if self.lines == 1 else text


def _places(names: list[str], given: Mapping[str, str]) -> dict[str, int]:
    """Return in which column each field stands.

    Raises:
        Unreadable: a column that was named is not there, or there is none for the type.
    """
    missing = [column for column in given.values() if column not in names]
    if missing:
        raise Unreadable(f"it has no column {missing[0]!r}; its columns are {', '.join(names)[:200]!r}")
    wanted = {name: (given[name],) if name in given else known for name, known in COLUMNS.items()}
    places = {name: names.index(one) for name, known in wanted.items() for one in reversed(known) if one in names}
    if "type" not in places:
        raise Unreadable(f"it has no column for the type; say which it is with --column type=NAME, of "
                         f"{', '.join(names)[:200]!r}")  # fmt: skip
    return places
