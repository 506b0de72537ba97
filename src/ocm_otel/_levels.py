"""What a level hides is looked at: what stands in for the methods of logging and structlog that then do nothing.

An enabled line must not pay for it, and the place that a line names as its caller must stay the same. So nothing is
put around a method of logging: a function with the very body of logging's own stands in its place, with a look where
the level says no. It bears the name of logging's file and has its globals, for `findCaller` knows logging's own calls
by the one, and structlog's by the other.
Of structlog's classes only the methods that do nothing are stood in for, and of `filter_by_level` the exception.
"""

from __future__ import annotations

import functools
import logging
import sys
from logging import raiseExceptions
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol

from ocm_otel._explain import ON
from ocm_otel._hooks import Instead
from ocm_otel._tags import KEYWORD_TYPE, NESTED, TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ocm_otel._hooks import Undone

#: The levels by the names that structlog has for them.
BY_NAME = {
    "debug": 10, "info": 20, "msg": 20, "warning": 30, "warn": 30, "error": 40, "exception": 40, "err": 40,
    "critical": 50, "fatal": 50,
}  # fmt: skip
#: The levels below which a class of structlog may do nothing.
FILTERS = (20, 30, 40, 50)
#: The names in logging's functions; in one that has others there is something that ours does not do.
_SAYS = {"isEnabledFor", "_log"}
_LOG_SAYS = {*_SAYS, "isinstance", "int", "raiseExceptions", "TypeError"}
_ADAPTER_SAYS = {"isEnabledFor", "process", "logger", "log"}
_FILE = logging.addLevelName.__code__.co_filename


class Look(Protocol):
    """Told of a line that its level hides, with its keywords; never raises."""

    def __call__(self, logger: Any, level: int, message: object, keywords: Mapping[str, Any], /) -> None:
        """Look at a line."""


# --- logging -------------------------------------------------------------------------------------------------


def of_logging(look: Look) -> list[Undone]:
    """Let `look` see the lines with keywords that the levels of logging hide.

    A function that another library has put in the place of logging's own is left alone: its lines are not seen.

    Args:
        look: is called instead of nothing.

    Returns:
        What takes it off again.
    """
    found: list[Undone] = []
    for name in ("debug", "info", "warning", "error", "critical"):
        _put(found, logging.Logger, name, _method(BY_NAME[name], look), {*_SAYS, name.upper()})
    _put(found, logging.Logger, "log", _log(look), _LOG_SAYS)
    _put(found, logging.LoggerAdapter, "log", _adapter_log(look, TYPE), _ADAPTER_SAYS)
    return found


def _put(found: list[Undone], owner: type, name: str, ours: Any, says: set[str]) -> None:
    """Have our function stand in for one of logging's own, if that says what ours does."""
    own = vars(owner).get(name)
    if isinstance(own, FunctionType) and own.__code__.co_filename == _FILE and set(own.__code__.co_names) == says:
        found.append(Instead(owner, name, _disguised(ours, own)))


def _disguised(ours: FunctionType, own: FunctionType) -> object:
    """Return our function under the name, and in the place in its file, of logging's own."""
    code, place = ours.__code__, own.__code__
    last, real = (max(line for _, _, line in one.co_lines() if line) for one in (code, place))
    named: dict[str, Any] = {"co_name": place.co_name, "co_filename": _FILE}
    if sys.version_info >= (3, 11):
        named["co_qualname"] = place.co_qualname
    code = code.replace(co_firstlineno=code.co_firstlineno + real - last, **named)
    return functools.update_wrapper(FunctionType(code, own.__globals__, closure=ours.__closure__), own)


# The last line of each of these is the last one of logging's own: a traceback that goes through it shows that. What is
# global to them is so in logging.


def _method(level: int, look: Look) -> Callable[..., None]:
    def method(self: Any, msg: object, *args: Any, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            if kwargs:
                look(self, level, msg, kwargs)
            return
        self._log(level, msg, args, **kwargs)

    return method


def _log(look: Look) -> Callable[..., None]:
    def log(self: Any, level: Any, msg: object, *args: Any, **kwargs: Any) -> None:
        if not isinstance(level, int):
            if raiseExceptions:
                raise TypeError("level must be an integer")
            return
        if not self.isEnabledFor(level):
            if kwargs:
                look(self, level, msg, kwargs)
            return
        self._log(level, msg, args, **kwargs)

    return log


def _adapter_log(look: Look, tag: str) -> Callable[..., None]:
    def log(self: Any, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            extra = self.extra
            if type(extra) is dict and tag in extra:
                look(self, level, msg, {"extra": extra})
            elif kwargs:
                look(self, level, msg, kwargs)
            return
        msg, kwargs = self.process(msg, kwargs)
        self.logger.log(level, msg, *args, **kwargs)

    return log


# --- structlog -----------------------------------------------------------------------------------------------


def of_structlog(look: Look, dropped: Callable[[], None]) -> list[Undone]:
    """Let `look` see the lines with tags that structlog's own filters hide.

    Args:
        look: is called by the methods of a filtering class that do nothing, for a line that bears a tag itself or by
            its logger; in a process that explains itself for each, for there is the context, too.
        dropped: is called when `filter_by_level` drops a line, which is in the frame two above.

    Returns:
        What takes it off again.
    """
    import structlog

    class DropEvent(structlog.DropEvent):
        """What `filter_by_level` raises, wherever it stands: chains keep the function itself."""

        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            dropped()

    found: list[Undone] = [Instead(structlog.stdlib, "DropEvent", DropEvent)]
    for lowest in FILTERS:
        owner = structlog.make_filtering_bound_logger(lowest)
        for name, method in list(vars(owner).items()):
            level = BY_NAME.get(name) or BY_NAME.get(name[1:], 0)
            kind = getattr(method, "__name__", "")
            if kind in ("_nop", "_anop"):
                nothing = _each(level, look) if ON else _nothing(level, look)
                ours = nothing if kind == "_nop" else _later(nothing)
                found.append(Instead(owner, name, functools.update_wrapper(ours, method)))
    return found


def _nothing(level: int, look: Look) -> Callable[..., None]:
    def nothing(self: Any, event: str, *args: Any, **kw: Any) -> None:
        try:
            bound = TYPE in self._context
        except AttributeError:  # a release that keeps it elsewhere
            bound = False
        if bound or (kw and (TYPE in kw or KEYWORD_TYPE in kw or NESTED in kw)):
            look(self, level, event, kw)

    return nothing


def _each(level: int, look: Look) -> Callable[..., None]:
    def nothing(self: Any, event: str, *args: Any, **kw: Any) -> None:
        look(self, level, event, kw)

    return nothing


def _later(nothing: Callable[..., None]) -> Callable[..., Any]:
    async def later(self: Any, event: str, *args: Any, **kw: Any) -> None:
        nothing(self, event, *args, **kw)

    return later
