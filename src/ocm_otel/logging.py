"""The door for plain `logging`: a handler, for applications without OpenTelemetry.

It reads the tags from what `extra=` put on the line (and from a message that is a mapping, as structlog
makes it for its formatter); it formats nothing, writes nothing, and knows nothing of delivery.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ocm_otel._diversion import opened, saw
from ocm_otel._identity import Beside
from ocm_otel._lines import described, note_moment, stamped
from ocm_otel._process import importing
from ocm_otel._tags import EVENT, find
from ocm_otel._variables import explaining

if TYPE_CHECKING:
    from ocm_otel._outbox import Outbox


class OCMHandler(logging.Handler):
    """Makes an event of each log line that bears an event type; never raises, never blocks.

    ``log.info("saved", extra={"ocm.event_type": "course-save", "ocm.course_id": 7})``; nested
    (``extra={"ocm": {"event_type": …}}``) and keywords (``extra={"ocm_event_type": …}``) do as well.
    A line below its logger's level reaches no handler, so it is no event either, but counted as lost. A tagged line
    without an ``ocm.event_id`` is given one, by which other doors know it, unless the setting ``stamp_event_id``
    says no.

    Args:
        level: lines below it are not looked at.
        outbox: where the events go; by default the process's shared outbox, made from the environment.
    """

    def __init__(self, level: int | str = logging.NOTSET, *, outbox: Outbox | None = None) -> None:
        super().__init__()
        with importing:
            from ocm_otel._doors import Door
            from ocm_otel._hidden import hidden
        self._door = Door(type(self).__name__, outbox)
        self.setLevel(level)
        self._hidden = hidden
        hidden.watch(self, self._door)

    def setLevel(self, level: int | str) -> None:  # noqa: N802 - logging's own name
        """Look at no line below a level; logging goes on to bring them, so that a tag on one can be counted.

        Args:
            level: the level; the attribute `level` stays ``NOTSET``.
        """
        super().setLevel(level)
        self._lowest, self.level = self.level, logging.NOTSET

    def createLock(self) -> None:  # noqa: N802 - logging's own name
        """Make no lock: there is no stream to guard, and the outbox may log while it holds its own."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Pass a line that level and filters let through to `emit`, without a lock around it."""
        if self._lowest and (record.levelno or 0) < self._lowest:  # one that was made by hand may have no level
            self._hidden.below(record, self._door.name, self._lowest)
            return False
        passed: Any = self.filter(record)
        if passed:  # since Python 3.12 a filter may give another record in place of this one
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Take the event of a line; it is not formatted."""
        try:
            fields: Any = record.__dict__
            tags = find(fields)
            if tags is None and isinstance(record.msg, Mapping):
                fields = record.msg
                tags = find(fields)
            if opened:
                saw(f"log line {record.msg!r}", record.msg if isinstance(record.msg, Mapping) else record.__dict__)
            if tags is not None:
                self._door.admit(tags, None if EVENT in tags else self._line_id(record), Beside(fields))
        except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
            self._door.failed(error)

    def _line_id(self, record: logging.LogRecord) -> str:
        """Return the id of a line that has none, and write it on the line if that is wanted."""
        # A mapping that structlog made is that one line's; of any other the application may make many lines.
        own = isinstance(record.msg, dict) and hasattr(record, "_logger") and hasattr(record, "_name")
        line: Any = record.msg if own else record.__dict__
        name = stamped(line, stamp=self._door.stamps) or described(record)
        note_moment(record, name)
        return name

    def flush(self) -> None:
        """Deliver what waits, as long as ``shutdown_timeout`` allows; the outbox stays open."""
        self._door.flush(None)


if explaining():
    from ocm_otel._explain_doors import explain, of_record

    explain(OCMHandler, "emit", of_record)
