"""Tagged lines that a level hides: counted and told, for such a line reaches no door.

The root logger's level is WARNING where nobody sets another, so this is the commonest way to lose a tag. While
there is a door of ours for lines, what a level hides is looked at (`_levels`); an enabled line never comes by here.
A line that a door has seen before is not lost: where `OCMProcessor` stands in structlog's chain, it comes before
what logging does with the line.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Protocol

from ocm_otel._culprits import of_handler, of_logger, of_structlog_class
from ocm_otel._explain import named, tell
from ocm_otel._hooks import Wanted, when_imported
from ocm_otel._levels import BY_NAME, of_logging, of_structlog
from ocm_otel._lines import is_stamp
from ocm_otel._tags import EVENT, KEYWORD_TYPE, NESTED, TYPE, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from logging import LogRecord

    from ocm_otel._culprits import Culprit
    from ocm_otel._hooks import Undone
    from ocm_otel._outbox import Outbox

_LOST = "%s was on a log line that a level hides: no event is made of it; %s: %s, or use emit()"
#: How many calls lie between a look and structlog's own logger at most, so far as is known: six.
_DEEPEST = 12


class Listener(Protocol):
    """A door, as far as this room needs it."""

    name: str
    shut: bool

    def outbox(self) -> Outbox:
        """Return where the losses are booked."""

    def failed(self, error: Exception) -> None:
        """Count what went wrong; never raises."""


class Hidden:
    """The lines that levels hide, and those who want to hear of a tag on one: the doors for lines, while they live."""

    def __init__(self) -> None:
        self._wanted: Wanted[Listener | None] = Wanted(self._begin)
        self._on_structlog: list[Undone] = []
        self._waits = False

    def watch(self, owner: object, door: Listener) -> None:
        """Book a tag on a hidden line at the newest of the doors.

        Args:
            owner: whose door it is; when nobody has it any more, it is not told.
            door: counts and tells it.
        """
        self._wanted.add(owner, door)

    def leave(self, owner: object) -> None:
        """Tell a door no more; with the last one all methods are again what they were."""
        self._wanted.remove(owner)

    def explain(self) -> None:
        """Look from now on, whether there is a door or not: this process explains itself."""
        self._wanted.add(self, None)

    def below(self, record: LogRecord, handler: str, lowest: int) -> None:
        """Look at a record that is below the level of a handler of ours; never raises.

        With another door for lines it is not counted: that may have seen the record, or may see it yet.

        Args:
            record: the record.
            handler: what the handler is called.
            lowest: its level.
        """
        fields: Any = record.__dict__

        def culprit() -> Culprit | None:
            return None if len(self._doors()) > 1 else of_handler(record.levelno, handler, lowest)

        self._look(record.msg, culprit, fields, record.msg)

    # --- the hooks -------------------------------------------------------------------------------------------

    def _begin(self) -> list[Undone]:
        if not self._waits:
            self._waits = True
            when_imported("structlog", self._begin_structlog)
        return [*of_logging(self._logged), self]

    def _begin_structlog(self) -> None:
        self._waits = False
        try:
            if self._wanted.listeners() and not self._on_structlog:
                self._on_structlog = of_structlog(self._said, self._dropped)
        except Exception as error:  # noqa: BLE001 - the border to the application: an import; counted
            self._failed(error)

    def undo(self) -> None:
        """Take off what is on structlog, with the rest."""
        for hook in self._on_structlog:
            hook.undo()
        self._on_structlog.clear()

    # --- the looks -------------------------------------------------------------------------------------------

    def _logged(self, logger: Any, level: int, message: object, keywords: Mapping[str, Any]) -> None:
        """Look at a line of logging, which may be structlog's last word on one of its own."""
        extra = keywords.get("extra")
        if type(message) is str and (
            extra is None
            or (type(extra) is dict and TYPE not in extra and KEYWORD_TYPE not in extra and NESTED not in extra)
        ):
            return  # most lines, with as little as can be

        def culprit() -> Culprit | None:
            return None if self._came_by(_chain()) else of_logger(logger, level)

        self._look(message, culprit, extra, message)

    def _said(self, logger: Any, level: int, message: object, keywords: Mapping[str, Any]) -> None:
        """Look at a line of a filtering logger of structlog, with what is bound to it and to the context."""
        import structlog

        try:
            known = {**structlog.contextvars.get_contextvars(), **structlog.get_context(logger), **keywords}
        except Exception as error:  # noqa: BLE001 - the border to the application; counted
            self._failed(error)
        else:
            self._look(message, lambda: of_structlog_class(type(logger), level), known)

    def _dropped(self) -> None:
        """Look at a line that `filter_by_level` drops, unless our processor stands before it."""
        seen: Mapping[str, Any] = sys._getframe(2).f_locals  # noqa: SLF001 - the filter's own; another caller has others
        line, method, logger = seen.get("event_dict"), seen.get("method_name"), seen.get("logger")

        def culprit() -> Culprit | None:
            before = takewhile(lambda step: getattr(step, "__name__", "") != "filter_by_level", _chain())
            found = None if self._came_by(before) else of_logger(logger, BY_NAME.get(str(method), 0))
            return found and found._replace(kind="filter", remedy="put OCMProcessor before filter_by_level")

        if isinstance(line, Mapping):
            self._look(line.get("event"), culprit, line)

    def _look(self, message: object, culprit: Callable[[], Culprit | None], *fields: object) -> None:
        """Tell of a line if it bears a type that no door has seen; never raises.

        Args:
            message: what the line says.
            culprit: returns what hides it; None if it is not lost.
            fields: where its tags may stand.
        """
        try:
            for some in fields:
                tags = find(some) if isinstance(some, Mapping) else None
                if tags is not None:
                    found = None if is_stamp(tags.get(EVENT)) else culprit()
                    if found is not None:
                        self._lost(tags, message, found)
                    return
        except Exception as error:  # noqa: BLE001 - the border to the application; counted
            self._failed(error)

    # --- the books -------------------------------------------------------------------------------------------

    def _lost(self, tags: Mapping[str, object], message: object, culprit: Culprit) -> None:
        text = message.get("event") if isinstance(message, Mapping) else message
        tell("lost", tags[TYPE], named("line", text), f"{culprit.cause}: {culprit.remedy}, or use emit()")
        for door in self._doors()[-1:]:
            books = door.outbox().books
            books.add("lost", "hidden")
            books.report((door.name, "hidden", culprit.kind), _LOST, TYPE, culprit.cause, culprit.remedy)

    def _doors(self) -> list[Listener]:
        return [door for door in self._wanted.listeners() if door is not None and not door.shut]

    def _failed(self, error: Exception) -> None:
        for door in self._doors()[-1:]:
            door.failed(error)

    def _came_by(self, chain: Iterable[object]) -> bool:
        """Return whether a processor of ours is among those that a line has passed."""
        passed = {id(step) for step in chain}
        return any(id(owner) in passed for owner in self._wanted.owners())


def _chain() -> Sequence[Any]:
    """Return the processors of the structlog logger that is at work among the calls that led here, if there is one."""
    frame = sys._getframe(1)  # noqa: SLF001 - as logging finds its caller; without it a line counts as unseen
    for _ in range(_DEEPEST):
        if frame.f_back is None:
            break
        frame = frame.f_back
        if frame.f_globals.get("__name__", "").startswith("structlog."):
            chain = getattr(frame.f_locals.get("self"), "_processors", None)
            if chain is not None:
                return tuple(chain)
    return ()


#: The process's hidden lines.
hidden = Hidden()
