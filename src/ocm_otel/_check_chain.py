"""Does structlog's chain let our processor see the tags? A look at how structlog is configured in this process.

It knows processors by name, as the user's own may be functions as well as objects, and changes nothing.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from ocm_otel._findings import Finding, fine, problem, warning
from ocm_otel._terminal import short

_RENDERERS = {
    "JSONRenderer",
    "KeyValueRenderer",
    "ConsoleRenderer",
    "LogfmtRenderer",
    "wrap_for_formatter",
    "render_to_log_kwargs",
    "render_to_log_args_and_kwargs",
}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def judge() -> list[Finding]:
    """Return what there is to say of structlog as it is configured in this process."""
    structlog: Any = sys.modules.get("structlog")
    if structlog is None or not structlog.is_configured():
        return []
    config = structlog.get_config()
    findings = judge_chain([_name(step) for step in config["processors"]])
    if (level := hidden_below(config["wrapper_class"], structlog.make_filtering_bound_logger)) in _LEVELS[2:]:
        findings.append(
            warning(
                "structlog",
                f"the logger class lets nothing below {level} through: tagged lines below "
                "that reach no processor, and become no events",
                "Take make_filtering_bound_logger(logging.INFO), or tell them with emit().",
            )
        )
    return findings


def _name(step: object) -> str:
    return getattr(step, "__name__", None) or type(step).__name__


def judge_chain(chain: list[str]) -> list[Finding]:
    """Return whether OCMProcessor stands where it sees the tags.

    Args:
        chain: the names of the processors, in their order.
    """
    shown = short(" → ".join(chain), 200)
    if "OCMProcessor" not in chain:
        return [
            warning(
                "structlog",
                f"OCMProcessor is not in the chain ({shown}): a tagged line is an event only if "
                "OpenTelemetry gets it as a log record",
                "Put OCMProcessor() directly after merge_contextvars.",
            )
        ]
    at = chain.index("OCMProcessor")
    before, after = chain[:at], chain[at + 1 :]
    findings = []
    if rendered := [name for name in before if name in _RENDERERS]:
        findings.append(
            problem(
                "structlog",
                f"{rendered[0]} stands before OCMProcessor, which then sees no tags",
                "Put OCMProcessor() directly after merge_contextvars.",
            )
        )
    if "filter_by_level" in before:
        findings.append(
            warning(
                "structlog",
                "filter_by_level stands before OCMProcessor: a tagged line below its logger's level is no event",
                "Put OCMProcessor() directly after merge_contextvars.",
            )
        )
    if "merge_contextvars" in after:
        findings.append(
            warning(
                "structlog",
                "merge_contextvars stands after OCMProcessor, which does not see tags in contextvars",
                "Put OCMProcessor() directly after merge_contextvars.",
            )
        )
    return findings or [fine("structlog", f"OCMProcessor stands where it sees the tags ({shown})")]


def hidden_below(logger_class: object, make: Any) -> str:
    """Return the level below which a structlog logger class does nothing; nothing if it is no such class."""
    for name in _LEVELS:
        if make(getattr(logging, name)) is logger_class:
            return name
    return ""
