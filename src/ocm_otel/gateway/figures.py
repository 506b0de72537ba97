"""What the gateway counts of itself, and how that is shown: in Prometheus' text format.

Each worker writes its figures to a page that all of them can read, so that any of them can answer for all. Neither form
bears an id, a key, an address or any other text that came with a request.
"""

from __future__ import annotations

import json
import mmap
import os
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ocm_otel._books import Snapshot

PAGE = 64 * 1024
_PREFIX = "ocm_gateway_"
_HELP = {
    "requests": "Requests, by door and status.",
    "received_bytes": "Bytes of bodies as they came, by door.",
    "records": "Spans and log records in requests that were read, by door.",
    "events": "Events that are in the journal when the answer says so, by door.",
    "duplicates": "Events among these that were there before, by door.",
    "rejected": "Records whose tags make no event, by door.",
    "connections_refused": "Connections that were closed at once, for there were too many.",
    "outbox": "Events by what became of them; waiting is a level, the others only grow.",
}

_COLUMNS = (
    "accepted", "adopted", "delivered", "refused", "dropped", "waiting", "turned_away", "ambiguous", "retried",
)  # fmt: skip


class Board:
    """A file of one page for each worker.

    Args:
        handle: a file descriptor that all workers share; None for a board that is one worker's own.
        place: which page is ours.
        workers: how many pages there are.
    """

    def __init__(self, handle: int | None = None, place: int = 0, workers: int = 1) -> None:
        size = PAGE * workers
        self._map = mmap.mmap(-1, size) if handle is None else mmap.mmap(handle, size)
        self._place, self._workers = place, workers

    @staticmethod
    def make(workers: int) -> int:
        """Return a file descriptor for a board; it has no name, and is gone with the last who has it."""
        handle = os.memfd_create("ocm-gateway-board")
        os.set_inheritable(handle, True)
        os.truncate(handle, PAGE * workers)
        return handle

    def write(self, numbers: dict[str, int]) -> None:
        """Show our figures; a reader in the middle of it sees none of ours."""
        text = json.dumps(numbers).encode()
        start = self._place * PAGE
        if len(text) + 4 <= PAGE:
            self._map[start : start + 4] = bytes(4)
            self._map[start + 4 : start + 4 + len(text)] = text
            self._map[start : start + 4] = len(text).to_bytes(4, "little")

    def read(self) -> Counter[str]:
        """Return the sums of all workers' figures."""
        total: Counter[str] = Counter()
        for start in range(0, self._workers * PAGE, PAGE):
            length = int.from_bytes(self._map[start : start + 4], "little")
            try:
                total.update(json.loads(self._map[start + 4 : start + 4 + length] or b"{}"))
            except ValueError:  # it is just being written
                continue
        return total


class Figures:
    """The counters of one worker.

    Args:
        board: where they are shown.
        prefix: what each name begins with.
        help: a sentence for each name.
        levels: the names that do not only grow.
    """

    def __init__(
        self,
        board: Board,
        prefix: str = _PREFIX,
        help: Mapping[str, str] = _HELP,
        levels: Collection[str] = ("outbox",),
    ) -> None:
        self._counts: Counter[str] = Counter()
        self._board, self._prefix, self._help, self._levels = board, prefix, help, levels

    def add(self, name: str, many: int = 1, **labels: object) -> None:
        """Count `many`; labels are words of ours."""
        self._counts[_named(name, labels)] += many

    def set(self, name: str, level: int, **labels: object) -> None:
        """Say how high a level is."""
        self._counts[_named(name, labels)] = level

    def show(self, books: Snapshot) -> None:
        """Write them to the board, with those of the outbox."""
        outbox = {f'outbox{{became="{name}"}}': getattr(books, name) for name in _COLUMNS}
        self._board.write({**self._counts, **outbox})

    def text(self) -> bytes:
        """Return the figures of all workers for Prometheus."""
        lines: list[str] = []
        told = ""
        for name, value in sorted(self._board.read().items()):
            family = name.partition("{")[0]
            if family != told:
                told = family
                kind = "gauge" if family in self._levels else "counter"
                shown = f"{self._prefix}{family}"
                lines += [f"# HELP {shown} {self._help[family]}", f"# TYPE {shown} {kind}"]
            lines.append(f"{self._prefix}{name} {value}")
        return ("\n".join(lines) + "\n").encode()


def _named(name: str, labels: Mapping[str, object]) -> str:
    shown = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{shown}}}" if shown else name
