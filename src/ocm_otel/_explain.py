"""What became of each tag, told to the person who asked: one line on standard error for each decision.

Asked for by ``OTEL_EXPORTER_OCM_EXPLAIN``, which is read once, when the first door is imported. Without it nothing
here is put around anything, and no door looks whether it is asked. Of decisions that are alike five are told, then
the 10th, the 100th and so on, and how many they were when the process ends: output is bounded, and exact.

A line reads ``ocm-otel explain [PID] OUTCOME TYPE #KEY.COUNT: WHERE: WHY``; ``ocm-otel explain`` adds them up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ocm_otel import _process
from ocm_otel._variables import explaining

if TYPE_CHECKING:
    from collections.abc import Mapping

#: True in a process that explains itself.
ON = explaining()
#: Each of the first of a kind is told.
_FIRST = 5
#: Kinds of decisions that are told apart in one process.
_MOST_KINDS = 300
_SHOWN = 40
_STDERR = 2


class _Told:
    """How often each kind of decision was made, and whether it was told."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may end a span in the middle of a line
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        _process.register(self)

    def count(self, outcome: str, type: str, why: str) -> tuple[int, int, bool]:
        """Return the number of a kind, how many there were of it, and whether to tell this one."""
        with self._lock:
            key = (outcome, type, why)
            if key not in self._counts and len(self._counts) >= _MOST_KINDS:
                key = (outcome, "-", "of too many kinds to tell them apart")
            known = self._counts.setdefault(key, [len(self._counts), 0])
            known[1] += 1
            return known[0], known[1], known[1] <= _FIRST or str(known[1]).strip("0") == "1"

    def after_fork(self) -> None:
        """Begin anew: the parent tells what was before."""
        self._lock = threading.RLock()
        self._counts = {}

    def at_exit(self, spent: float) -> None:
        """Tell the final number of each kind of which not every one was told."""
        for (outcome, type, why), (number, count) in list(self._counts.items()):
            if count > _FIRST:
                write(f"{outcome} {type} #{number}.{count}: in all: {why}")


_told = _Told() if ON else None


class _Place(threading.local):
    """The record that a door of this thread is looking at, and whether it was judged."""

    where = "emit()"
    judged = False


place = _Place()


def tell(outcome: str, type: object, where: str, why: str, detail: str = "") -> None:
    """Tell one decision; never raises.

    Args:
        outcome: one word: ``event``, ``mended``, ``refused``, ``turned-away``, ``lost``, ``near-miss`` …
        type: the event's type, as far as there is one.
        where: the record, as a person knows it.
        why: the reason, the same for all that are alike.
        detail: what this one has of its own; ids only as `_event.show` shows them.
    """
    if _told is None:
        return
    shown = quote(type[:_SHOWN], safe="") if isinstance(type, str) and type else "-"
    number, count, now = _told.count(outcome, shown, why)
    if now:
        write(f"{outcome} {shown} #{number}.{count}: {where}: {why}{f' ({detail})' if detail else ''}")


def write(text: str) -> None:
    """Write one line to standard error in one piece, without what could steer a terminal."""
    plain = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    try:
        os.write(_STDERR, f"ocm-otel explain [{os.getpid()}] {plain}\n".encode("utf-8", "replace")[:2_000])
    except OSError:
        return  # nobody listens any more


def named(kind: str, name: object) -> str:
    """Return how a record is called in a line: its kind, and its own name in quotes."""
    text = name if isinstance(name, str) else type(name).__name__
    return f"{kind} {text[:_SHOWN]!a}"


def put_around(owner: object, name: str, around: Callable[..., Any]) -> None:
    """Have `around` called in place of a function, with the function itself as its first argument.

    Nothing is done in a process that does not explain itself.

    Args:
        owner: the class or module that has the function.
        name: the function's name there.
        around: called with the function and what the function was called with.
    """
    if not ON or not hasattr(owner, name):
        return
    original = getattr(owner, name)

    def explained(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    explained.__name__ = name
    setattr(owner, name, explained)


def safely(look: Callable[..., None], *args: Any) -> None:
    """Look at something without ever disturbing the application; what fails is told."""
    try:
        look(*args)
    except Exception as error:  # noqa: BLE001 - the border to the application; told
        tell("unexplained", None, place.where, f"explaining it failed ({type(error).__name__})")


def fields_of(attributes: Any) -> Mapping[str, object]:
    """Return attributes as a plain mapping."""
    return {} if attributes is None else dict(attributes)
