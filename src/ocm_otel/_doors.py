"""What all doors share: taking an event in, telling what was wrong with it, and the border.

A door looks at a record of the user's, and this room does the rest: it reads the tags, books and
reports the faults, and puts the event into the outbox. Nothing that goes wrong here may reach the
application; what is caught is counted as ``failed_door`` and told once. It knows neither spans nor lines.

With it comes all that delivers, so it is loaded when the first door is made, and not when one is imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ocm_otel import _tags
from ocm_otel._books import Books
from ocm_otel._diversion import fault as tell_diversion
from ocm_otel._diversion import opened
from ocm_otel._identity import NOTHING_BESIDE, Beside, completed
from ocm_otel._reading import read, usual_query
from ocm_otel._shared import shared
from ocm_otel._variables import explaining

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ocm_otel._clean import InvalidEvent
    from ocm_otel._outbox import Outbox
    from ocm_otel._reading import Reading

#: Counts what failed in a door whose outbox could not even count, and in the sampler, which has none.
last_resort = Books()

_SHOWN_TYPE = 60
_CUT = (
    "%s has just as many characters as an attribute may have here, %d, and may have been cut: raise "
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT; the event goes on as it is"
)
_PUSHED_OUT = (
    "a span or line with too many attributes lost %s, and kept %s: no event is made of it; raise "
    "OTEL_ATTRIBUTE_COUNT_LIMIT, or set the tags last"
)


def admit(
    outbox: Outbox, tags: Mapping[str, object], event_id: str | None = None, beside: Beside | None = NOTHING_BESIDE
) -> bool:
    """Put the event that `tags` describe into `outbox`; what is wrong with them is booked and told once.

    Args:
        outbox: where the event goes.
        tags: the attributes of the record under their flat names.
        event_id: the identity of the record, if it has one.
        beside: where else it may say whom the event concerns; None if nowhere.

    Returns:
        True when the outbox took the event.
    """
    found = tags if beside is None else completed(tags, outbox.settings, beside)
    if query := usual_query(found):
        return outbox.accept(query, event_id)
    event = _judged(outbox, found, event_id).event
    return event is not None and outbox.put(event)


def judge(outbox: Outbox, tags: Mapping[str, object], event_id: str | None, beside: Beside | None) -> Reading:
    """Return the event that `tags` describe, for `outbox`, and its faults; they are booked and told once.

    The arguments are those of `admit`.
    """
    return _judged(outbox, tags if beside is None else completed(tags, outbox.settings, beside), event_id)


def _judged(outbox: Outbox, tags: Mapping[str, object], event_id: str | None) -> Reading:
    reading = read(tags, event_id=event_id)
    event, faults = reading
    for fault in faults:
        _tell(outbox.books, fault, usable=event is not None)
        if opened:
            tell_diversion(fault)
    if event is not None and event.lacks_course:
        outbox.books.add("incomplete", "course_id")
        outbox.books.report(
            ("incomplete", event.type),
            "an event of type %.*s has no %s: it is sent, but no report can say of which course it was; "
            "set the tag on the same span or line",
            _SHOWN_TYPE,
            event.type,
            _tags.COURSE,
        )
    return reading


def _tell(books: Books, fault: InvalidEvent, *, usable: bool) -> None:
    """Count a fault, and report it once for each key and rule."""
    books.add("mended" if usable else "invalid", fault.key.removeprefix("ocm."))
    done = "the event is sent without it" if usable else "no event is made of it"
    books.report((fault.key, fault.rule), "%s; %s", fault, done)


class Door:
    """The way from one door to its outbox: the one it was given, or the process's.

    The process's is made when the first door is: a process that has no event to tell yet may have some to
    deliver, which one that died left behind.

    Args:
        name: what the door is called in messages.
        outbox: where its events go; None for the shared outbox.
        options: settings for the shared outbox that win over the environment.
        late: make the shared outbox at the first event instead.

    Attributes:
        shut: True when no event is to come in by this door any more.
    """

    __slots__ = ("_options", "_outbox", "name", "shut")

    def __init__(
        self,
        name: str,
        outbox: Outbox | None = None,
        options: Mapping[str, object] | None = None,
        *,
        late: bool = False,
    ) -> None:
        self.name = name
        self.shut = False
        self._outbox = outbox
        self._options = dict(options or {})
        if not late:
            try:
                self.outbox()
            except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
                self.failed(error)

    def outbox(self) -> Outbox:
        """Return the outbox, the process's own if none was given."""
        if self._outbox is None:
            self._outbox = shared(**self._options)
            self._options = {}
        if self._options:
            self._outbox.books.report(
                (self.name, "options"),
                "%s was given an outbox, so these options of its own have no effect: %s",
                self.name,
                ", ".join(sorted(map(str, self._options))),
            )
        return self._outbox

    def admit(
        self, tags: Mapping[str, object], event_id: str | None = None, beside: Beside | None = NOTHING_BESIDE
    ) -> bool:
        """Put the event that `tags` describe into the outbox; see `admit`; a door that is shut takes none."""
        outbox = self._outbox if self._outbox is not None and not self._options else self.outbox()
        return not self.shut and admit(outbox, tags, event_id, beside)

    @property
    def stamps(self) -> bool:
        """Whether the door is to give a line an id that the doors behind it can see."""
        return self.outbox().settings.stamp_event_id

    def lost(self, reason: str, message: str, *args: object) -> None:
        """Count a tag that never became an event, or only in part, and tell the first of each reason."""
        books = self.outbox().books
        books.add("lost", reason)
        books.report((self.name, "lost", reason), message, *args)

    def cut(self, tags: Mapping[str, object], limit: int | None) -> None:
        """See whether OpenTelemetry may have cut a tag: one that is just as long as a value may be.

        Args:
            tags: the attributes.
            limit: how many characters a value may have; None for any number.
        """
        if limit is None:
            return
        for tag in _tags.ALL:
            value = tags.get(tag)
            if isinstance(value, str) and len(value) == limit:
                self.lost("cut", _CUT, tag, limit)

    def pushed_out(self, fields: Mapping[str, object]) -> None:
        """See whether OpenTelemetry dropped the type of a record with too many attributes: other tags are left."""
        for tag in _tags.ALL:
            if tag in fields:
                self.lost("pushed_out", _PUSHED_OUT, _tags.TYPE, tag)
                return

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the outbox is empty, and leave it open, for others may use it.

        Args:
            timeout: seconds; None for the shutdown timeout of the settings.

        Returns:
            True when nothing waits any more; a door that never let anything in has nothing to wait for.
        """
        if self._outbox is None:
            return True
        try:
            return bool(self._outbox.flush(timeout))
        except Exception as error:  # noqa: BLE001 - the border to the application; counted and told
            self.failed(error)
            return False

    def flush_millis(self, timeout_millis: float | None) -> bool:
        """Do as `flush` does, with OpenTelemetry's unit."""
        return self.flush(None if timeout_millis is None else timeout_millis / 1000)

    def failed(self, error: Exception) -> None:
        """Count and tell, once for each kind, what went wrong in a door; never raises."""
        kind = type(error).__name__
        try:
            self._count(self.outbox().books, kind)
        except Exception as second:  # noqa: BLE001 - not even the books work; counted in the last resort
            self._count(last_resort, f"{kind}, {type(second).__name__}")

    def _count(self, books: Books, kind: str) -> None:
        books.add("failed_door", kind)
        books.report(
            (self.name, "failed", kind),
            "%s could not read a record (%s): it makes no event of it, and the record goes on untouched",
            self.name,
            kind,
        )


def shut(processor: object) -> None:
    """Let no more events in by a processor that has to stay where it is, for nobody can take it out."""
    _door(processor).shut = True


def is_shut(processor: object) -> bool:
    """Return whether a processor of ours lets no more events in."""
    return _door(processor).shut


def _door(processor: object) -> Door:
    door = getattr(processor, "_door", None)
    return door if isinstance(door, Door) else Door(type(processor).__name__, late=True)


if explaining():
    from ocm_otel._explain_doors import explain_outcomes

    explain_outcomes(sys.modules[__name__], Door)
