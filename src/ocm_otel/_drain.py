"""Delivering what dead processes left behind: an outbox that nothing is put into, and a wait for its end.

The outbox adopts and delivers as in any process; this room knows when it is done, and shows how far it is.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from ocm_otel._books import Books, Snapshot, logger
from ocm_otel._outbox import Outbox
from ocm_otel._terminal import plain

if TYPE_CHECKING:
    from pathlib import Path

    from click._termui_impl import ProgressBar

    from ocm_otel._census import Standing
    from ocm_otel._settings import Settings

_TICK = 0.05
#: Seconds between two lines where nobody watches.
_LINE_EVERY = 5.0
#: Seconds after which ledgers that we do not have, and that are not free, belong to another process that took
#: them over first. The outbox looks for free ones each two seconds.
_ELSEWHERE = 5.0


class Said(logging.Filter):
    """Keeps what the outbox says, to be written between two steps of the progress bar, and by nobody else."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque()

    def filter(self, record: logging.LogRecord) -> bool:
        self.lines.append(plain(record.getMessage()))
        return False


class Drain:
    """One attempt to deliver all that is left behind.

    Args:
        settings: of the account; events wait on disk.
        standing: the account's directory.

    Attributes:
        books: the outbox's, at the end.
        said: what it said on the way: that the API is away, say, or the key wrong.
        seconds: how long it took.
    """

    def __init__(self, settings: Settings, standing: Standing) -> None:
        self._settings = settings
        self._standing = standing
        self.books: Snapshot = Books().snapshot()
        self.said: list[str] = []
        self.seconds = 0.0
        self._shown = 0
        self._next_line = 0.0
        self._others_since: float | None = None

    def work(self, timeout: float) -> None:
        """Deliver until nothing is left behind, or for `timeout` seconds.

        Raises:
            UnusableSpool: the spool cannot be used.
        """
        left = {one.path: one.owed for one in self._standing.census().left() if one.owed}
        if not left:
            return
        started = time.monotonic()
        heard = Said()
        outbox = None
        with ExitStack() as stack:
            stack.callback(logger.removeFilter, heard)
            logger.addFilter(heard)
            outbox = Outbox(self._settings)
            stack.callback(outbox.close)
            self._wait(outbox, left, heard, started + timeout)
        self._tell(heard, watched=False)  # what it said while it closed, too
        self.books = outbox.books.snapshot()
        self.seconds = time.monotonic() - started

    def _wait(self, outbox: Outbox, left: dict[Path, int], heard: Said, end: float) -> None:
        """Show progress until all is settled, or until `end`."""
        total = sum(left.values())
        watched = sys.stderr.isatty()
        self._next_line = time.monotonic() + _LINE_EVERY
        with ExitStack() as stack:
            bar = None
            if watched:
                bar = stack.enter_context(click.progressbar(length=total, label="delivering", file=sys.stderr))
            while True:
                now = outbox.books.snapshot()
                self._show(now, max(total, now.adopted), bar)
                self._tell(heard, watched=watched)
                if time.monotonic() >= end or (now.waiting == 0 and self._nothing_left(left)):
                    return
                time.sleep(_TICK)

    def _show(self, now: Snapshot, total: int, bar: ProgressBar[int] | None) -> None:
        """Move the bar to where we are, or write a line now and then."""
        ended = now.adopted - now.waiting
        if bar is not None:
            bar.length = total
            bar.update(ended - self._shown)
            self._shown = ended
        elif time.monotonic() >= self._next_line:
            self._next_line += _LINE_EVERY
            click.echo(f"{ended} of {total} settled, {now.delivered} delivered", err=True)

    def _nothing_left(self, left: dict[Path, int]) -> bool:
        """Return whether all is settled that was left at the beginning, or has been since.

        Asked while nothing waits in our books. What is owed then in ledgers that somebody holds is in the hands of
        our own outbox, on its way into the books, or in those of another process, where it stays for longer.
        """
        found = self._standing.census()
        if any(one.owed for one in found.left()):
            self._others_since = None
            return False
        if not any(one.owed for one in found.holdings if one.path in left):
            return True
        if self._others_since is None:
            self._others_since = time.monotonic()
        return time.monotonic() - self._others_since > _ELSEWHERE

    def _tell(self, heard: Said, *, watched: bool) -> None:
        """Write what the outbox said since the last time."""
        while heard.lines:
            line = heard.lines.popleft()
            self.said.append(line)
            click.secho(f"\n{line}" if watched else line, fg="yellow", err=True)
