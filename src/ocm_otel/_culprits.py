"""What hides a line: the level, and who bears it, in words that say what to do.

Nothing is decided here: logging and structlog have let the line go already.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from ocm_otel._levels import FILTERS

_SHOWN = 60


class Culprit(NamedTuple):
    """What hides a line.

    Attributes:
        kind: which of the causes it is; of each kind the first is logged.
        cause: the cause, by its name and with its value.
        remedy: what to do about it.
    """

    kind: str
    cause: str
    remedy: str


def of_logger(logger: Any, level: int) -> Culprit:
    """Return what hides a line of a level from a logger of logging, or from an adapter around one."""
    while isinstance(logger, logging.LoggerAdapter):
        logger = logger.logger
    name, wanted = _called(logger), logging.getLevelName(level)
    if logger.disabled:
        cause = f"{name} is disabled, as logging.config does with those that it does not name"
        return Culprit("disabled", cause, "say disable_existing_loggers=False")
    if logger.manager.disable >= level:
        cause = f"logging.disable({logging.getLevelName(logger.manager.disable)}) is in force"
        return Culprit("disable", cause, "take it back with logging.disable(logging.NOTSET)")
    bearer = logger
    while bearer.level == logging.NOTSET and bearer.parent is not None:
        bearer = bearer.parent
    inherited = "" if bearer is logger else f", inherited from {_called(bearer)}"
    cause = f"{wanted} is below the level of {name}, {logging.getLevelName(bearer.level)}{inherited}"
    return Culprit("logger", cause, f"call setLevel({_constant(level)})")


def of_structlog_class(kind: type, level: int) -> Culprit:
    """Return what hides a line of a level from a filtering logger class of structlog."""
    import structlog

    filters = (lowest for lowest in FILTERS if structlog.make_filtering_bound_logger(lowest) in kind.__mro__)
    wanted, lowest = logging.getLevelName(level), logging.getLevelName(next(filters, logging.NOTSET))
    cause = f"{wanted} is below the level of structlog's logger class, {lowest}"
    return Culprit("class", cause, f"set wrapper_class=structlog.make_filtering_bound_logger({_constant(level)})")


def of_handler(level: int, handler: str, lowest: int) -> Culprit:
    """Return what hides a line of a level from a handler of ours."""
    cause = f"{logging.getLevelName(level)} is below the level of {handler}, {logging.getLevelName(lowest)}"
    return Culprit("handler", cause, "call its setLevel")


def _called(logger: Any) -> str:
    """Return how a logger is called in a line."""
    return f"logger {logger.name[:_SHOWN]!a}" if logger.parent is not None else "the root logger"


def _constant(level: int) -> str:
    """Return a level as one writes it in code."""
    name = logging.getLevelName(level)
    return f"logging.{name}" if getattr(logging, name, None) == level else str(level)
