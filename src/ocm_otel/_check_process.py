"""What is in this very process: providers, processors, sampler, and the server around it.

It looks at OpenTelemetry's objects, and changes nothing. What only private names would tell is
asked of them behind a guard, and left unsaid where they are gone.
"""

from __future__ import annotations

import importlib
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel._check_chain import judge as _chain
from ocm_otel._findings import OK, Finding, fine, problem, warning
from ocm_otel.logging import OCMHandler

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PARTS = (
    "_active_span_processor",
    "_multi_log_record_processor",
    "_span_processors",
    "_log_record_processors",
    "span_exporter",
    "_exporter",
    "_batch_processor",
)
_DEEP = 4
_DOORS = ("spans", "logs", "structlog")
#: How samplers describe themselves that drop no trace that begins here.
_KEEPING = ("AlwaysOnSampler", "ParentBased{root:AlwaysOnSampler")


def instrumented() -> bool:
    """Return whether `opentelemetry-instrument` started this process."""
    customized = getattr(sys.modules.get("sitecustomize"), "__file__", None) or ""
    return Path(customized).parent.name == "auto_instrumentation"


def judge(*, wrapped: bool, app: bool) -> list[Finding]:
    """Return what there is to say of this process.

    Args:
        wrapped: True if `opentelemetry-instrument` was to set it up.
        app: True if a module of the application was imported.
    """
    findings = [*_spans(wrapped=wrapped), *_logs(), *_chain()]
    if (wrapped or app) and not any(found.level == OK and found.subject in _DOORS for found in findings):
        said = "none of our doors is anywhere in this process: no span and no line becomes an event"
        findings.append(problem("doors", said, "Set OTEL_TRACES_EXPORTER=otlp,ocm, or add the doors in code."))
    return [*findings, *_host(sys.modules)]


# --- OpenTelemetry -----------------------------------------------------------------------------------------


def _spans(*, wrapped: bool) -> list[Finding]:
    provider: Any = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = getattr(provider, "provider", None)  # a vendor's stand-in names the real one so
    if not isinstance(provider, TracerProvider):
        remedy = "Look for the message of OpenTelemetry above: it says why it set nothing up."
        return [problem("spans", "OpenTelemetry has no tracer provider here", remedy)] if wrapped else []
    found = doors_in(provider)
    if found:
        findings = [fine("spans", f"at the tracer provider: {', '.join(found)}")]
    else:
        said = "none of our doors is at the tracer provider: no span becomes an event"
        findings = [warning("spans", said, "Add OCMSpanProcessor, or set OTEL_TRACES_EXPORTER=otlp,ocm.")]
    return [*findings, judge_sampler(type(provider.sampler).__name__, _description(provider.sampler))]


def judge_sampler(name: str, description: str) -> Finding:
    """Return whether a sampler drops spans with their tags.

    Args:
        name: its class.
        description: what it says of itself.
    """
    said = f"{name} decides which spans are recorded"
    if name == "OCMSampler" or description.startswith(_KEEPING):
        return fine("sampler", said)
    remedy = "Set OTEL_TRACES_SAMPLER=ocm_record, and the sampler of today as its _ARG."
    return warning("sampler", f"{said}; a dropped span's tags are seen by nobody", remedy)


def _description(sampler: Any) -> str:
    """Return what a sampler says of itself; a stranger's may fail at it."""
    try:
        return str(sampler.get_description())
    except Exception as error:  # noqa: BLE001 - the user's own sampler; the finding then names its class
        return type(error).__name__


def _logs() -> list[Finding]:
    provider = get_logger_provider()
    root = logging.getLogger()
    found = [type(handler).__name__ for handler in root.handlers if isinstance(handler, OCMHandler)]
    if isinstance(provider, LoggerProvider):
        found += doors_in(provider)
        if not found:
            said = "none of our doors is at the logger provider: no log record becomes an event"
            return [
                warning("logs", said, "If lines bear tags, add OCMLogRecordProcessor, or OTEL_LOGS_EXPORTER=otlp,ocm.")
            ]
    if not found:
        return []
    findings = [fine("logs", f"at the logger provider or the root logger: {', '.join(found)}")]
    if root.level > logging.INFO:
        said = f"the root logger's level is {logging.getLevelName(root.level)}: tagged lines below it become no events"
        findings.append(
            warning("logs", said, "Call logging.getLogger().setLevel(logging.INFO), or on the tagged loggers.")
        )
    return findings


def doors_in(provider: object) -> list[str]:
    """Return the names of our doors at a provider; also of those inside OpenTelemetry's own processors."""
    found: list[str] = []
    _search(provider, found, _DEEP)
    return found


def _search(holder: object, found: list[str], deep: int) -> None:
    for name in _PARTS:
        try:
            part = getattr(holder, name)
        except Exception as error:  # noqa: BLE001 - a private name that is gone, or a stranger's attribute
            del error
            continue
        for one in part if isinstance(part, tuple | list) else (part,):
            if type(one).__module__.startswith("ocm_otel."):
                found.append(type(one).__name__)
            elif deep and type(one).__module__.startswith("opentelemetry."):
                _search(one, found, deep - 1)


# --- the server around it -----------------------------------------------------------------------------------


def _host(modules: Mapping[str, Any]) -> list[Finding]:
    findings = []
    if find_spec("uwsgi") is not None:  # a module that uWSGI makes, and nobody else has
        findings += judge_uwsgi(importlib.import_module("uwsgi").opt)
    if "gevent" in modules:
        patched = importlib.import_module("gevent.monkey").is_module_patched
        findings.append(judge_gevent(patched(name) for name in ("threading", "socket", "ssl")))
    return findings


def judge_uwsgi(options: Mapping[Any, Any]) -> list[Finding]:
    """Return whether uWSGI lets threads run, and tells Python of its forks.

    Args:
        options: `uwsgi.opt`; its names are bytes.
    """
    said = {name.decode() if isinstance(name, bytes) else str(name) for name in options}
    findings = []
    if not said & {"enable-threads", "threads"}:
        what = "threads are switched off: what delivers events does not run"
        findings.append(problem("uwsgi", what, "Start uWSGI with --enable-threads."))
    if not said & {"lazy-apps", "lazy", "py-call-uwsgi-fork-hooks"}:
        what = "the application is loaded before uWSGI forks, and Python is not told of it"
        findings.append(warning("uwsgi", what, "Start uWSGI with --lazy-apps, or with --py-call-uwsgi-fork-hooks."))
    return findings or [fine("uwsgi", "threads run, and workers begin anew after the fork")]


def judge_gevent(patched: Iterable[bool]) -> Finding:
    """Return whether gevent has replaced what delivery stands on, all of it or none."""
    found = list(patched)
    if any(found) and not all(found):
        said = "it has replaced only a part of threads, sockets and TLS"
        return warning("gevent", said, "Call gevent.monkey.patch_all() first of all, without exceptions.")
    by = "greenlets, as it has replaced threads, sockets and TLS" if all(found) else "threads: it has replaced nothing"
    return fine("gevent", f"events are delivered by {by}")
