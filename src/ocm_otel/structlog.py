"""The door for structlog: a processor that reads a line on its way and passes it on.

It stands in `structlog.configure(processors=[…])` after `merge_contextvars` and before the renderer. It
keeps nothing between two lines, and knows nothing of delivery.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ocm_otel._diversion import heed, opened, saw
from ocm_otel._identity import Beside
from ocm_otel._lines import described, note_moment, source, stamped
from ocm_otel._process import importing
from ocm_otel._tags import EVENT, TYPE, find
from ocm_otel._variables import explaining

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

    from ocm_otel._doors import Door
    from ocm_otel._outbox import Outbox


_MISPLACED = (
    "%s got a rendered line (of type %s) and cannot see its tags: put it before the renderer, directly after "
    "merge_contextvars"
)


class _Any:
    """What is looked for in place of the name when a line is to be looked at closely, tagged or not.

    A tuple has it; a mapping cannot be asked for it, nor can a text, and so the line takes the long way.
    """

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # as Python means it


_ANY = _Any()
_sought: object = TYPE  # what functions look for from their second line on
_functions: WeakSet[Any] = WeakSet()


def _watch(*, opened: bool) -> None:
    """Have each line looked at closely while a test watches; a question at each line would cost what one saves."""
    global _sought
    _sought = _ANY if opened else TYPE
    for function in tuple(_functions):
        function.seek(_ANY)


heed(_watch)


class _Handed(type):
    """The class of a processor that is handed out as a function, for that is what structlog calls at half the cost.

    Most lines only pass by, and to call an object costs as much as to look at one of them does. `isinstance` knows the
    function. Of a class of one's own, and in a process that explains itself, the object is handed out.
    """

    if not TYPE_CHECKING:  # whoever checks types sees a class like any other

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            made = super().__call__(*args, **kwargs)
            with importing:
                from ocm_otel._hidden import hidden
            door = made._door  # noqa: SLF001 - of this very class
            handed = _function(made, door) if cls is OCMProcessor and not explaining() else made
            hidden.watch(handed, door)
            return handed

    def __instancecheck__(cls, instance: object) -> bool:
        return super().__instancecheck__(getattr(instance, "_processor", instance))


def _function(processor: OCMProcessor, door: Door) -> Any:
    """Return a function that does as a processor does, and sees with as little as can be that a line has no tag.

    The first line is looked at closely, for it shows what kind of lines come here: a chain that renders before us does
    so from the beginning. After it a tuple, which wraps what is rendered, is so always, and a text if a tag is in it.
    """
    sought: object = _ANY

    def process(logger: WrappedLogger, method_name: str, event_dict: Any) -> Any:
        try:  # the names are written out, for each look-up of a constant costs as much as one in the line
            if not (sought in event_dict or "ocm_event_type" in event_dict or "ocm" in event_dict):
                return event_dict
        except Exception:  # noqa: BLE001 - no line of structlog's, or one to look at: the processor finds out
            seek(_sought)
        return processor(logger, method_name, event_dict)

    def seek(what: object) -> None:
        nonlocal sought
        sought = what

    process.__name__ = process.__qualname__ = type(processor).__name__
    vars(process).update(_processor=processor, _door=door, seek=seek)
    _functions.add(process)
    return process


class OCMProcessor(metaclass=_Handed):
    """Makes an event of each structlog line that bears an event type; never raises, never drops a line.

    ``log.info("saved", **tags("course-save", course_id=7))``; nested (``ocm={"event_type": …}``) and
    keywords (``ocm_event_type=…``) do as well, and so do tags bound to the logger or to contextvars. A tagged
    line without an ``ocm.event_id`` is given one, by which other doors know it, unless the setting
    ``stamp_event_id`` says no; nothing else of a line is changed.

    Args:
        outbox: where the events go; by default the process's shared outbox, made from the environment.
    """

    def __init__(self, *, outbox: Outbox | None = None) -> None:
        with importing:
            from ocm_otel._doors import Door
        self._door = Door(type(self).__name__, outbox)

    def __call__(self, logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
        """Take the event of a line, and return the line: the same object."""
        line: Any = event_dict
        try:
            if isinstance(line, Mapping):
                tags = find(line)
                if opened:
                    saw(f"line {line.get('event')!r}", line)
                if tags is not None:
                    self._door.admit(tags, None if EVENT in tags else self._line_id(line), Beside(line))
            else:
                self._tell_misplaced(line)
        except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
            self._door.failed(error)
        return event_dict

    def _line_id(self, line: Any) -> str | None:
        """Return the id of a line that has none, and write it on the line if that is wanted."""
        stamp = self._door.stamps and isinstance(line, dict)
        record = line.get("_record")
        if record is None:
            return stamped(line, stamp=stamp)
        # In a formatter, which each handler has of its own: with a copy of the record, or of structlog's mapping.
        shared = record.msg if line.get("_from_structlog") else source()
        name = None if shared is None else stamped(shared, stamp=stamp)
        name = name or described(record)
        note_moment(record, name)
        if stamp:
            line[EVENT] = name
        return name

    def _tell_misplaced(self, line: Any) -> None:
        if "ocm" in str(line):
            self._door.lost("rendered", _MISPLACED, self._door.name, type(line).__name__)
        else:
            books = self._door.outbox().books
            books.report((self._door.name, "lost", "rendered"), _MISPLACED, self._door.name, type(line).__name__)


if explaining():
    from ocm_otel._explain_doors import explain, of_line

    explain(OCMProcessor, "__call__", of_line)
