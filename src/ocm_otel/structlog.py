"""The door for structlog: a processor that reads a line on its way and passes it on untouched.

It stands in `structlog.configure(processors=[…])` after `merge_contextvars` and before the renderer. It
keeps nothing between two lines, and knows nothing of delivery.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ocm_otel._doors import Door
from ocm_otel._tags import find

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

    from ocm_otel._outbox import Outbox


class OCMProcessor:
    """Makes an event of each structlog line that bears an event type; never raises, never changes a line.

    ``log.info("saved", **tags("course-save", course_id=7))``; nested (``ocm={"event_type": …}``) and
    keywords (``ocm_event_type=…``) do as well, and so do tags bound to the logger or to contextvars.

    Args:
        outbox: where the events go; by default the process's shared outbox, made from the environment.
    """

    def __init__(self, *, outbox: Outbox | None = None) -> None:
        self._door = Door(type(self).__name__, outbox)

    def __call__(self, logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
        """Take the event of a line, and return the line: the same object, as it came."""
        line: Any = event_dict
        try:
            if isinstance(line, dict) or isinstance(line, Mapping):  # noqa: SIM101 - a dict is known at once
                tags = find(line)
                if tags is not None:
                    self._door.admit(tags, _identity(line))
            else:
                self._tell_misplaced(line)
        except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
            self._door.failed(error)
        return event_dict

    def _tell_misplaced(self, line: Any) -> None:
        self._door.outbox().books.report(
            (self._door.name, "misplaced"),
            "%s got a rendered line (of type %s) and cannot see its tags: put it before the renderer, "
            "directly after merge_contextvars",
            self._door.name,
            type(line).__name__,
        )


def _identity(event_dict: Mapping[str, Any]) -> str | None:
    """Return the identity of a line in a ProcessorFormatter, where each handler runs the processors anew.

    Each handler has a copy of the record there; its moment and its message are the same in all of them.
    """
    record = event_dict.get("_record")
    if record is None:
        return None
    return f"line-{record.process}-{record.thread}-{record.created!r}-{id(record.msg):x}"
