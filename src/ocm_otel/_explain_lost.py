"""Tags that no door ever sees, told of in a process that explains itself.

They are set on spans that are not recorded, or that have ended, and on lines below their level.
Nobody is told of these by OpenTelemetry, logging or structlog: what is dropped leaves no trace. Some are noticed in
any process (`_unrecorded`, `_hidden`); to look for all would cost every untagged span and line. So it is looked only
where a person asked, by standing in for the functions that drop them. It looks, and changes nothing: each function
does what it did.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ocm_otel._explain import ON, named, put_around, safely, tell
from ocm_otel._hidden import hidden
from ocm_otel._near import meant_by
from ocm_otel._tags import TYPE, find


def watch() -> None:
    """Stand in for what drops tags."""
    _watch_spans()
    put_around(logging.LoggerAdapter, "process", _adapted)
    if ON:
        hidden.explain()


# --- spans ---------------------------------------------------------------------------------------------------


def _watch_spans() -> None:
    from opentelemetry.sdk.trace import Span, Tracer
    from opentelemetry.trace import NonRecordingSpan

    def one(original: Callable[..., Any], span: Any, key: str, value: Any) -> Any:
        safely(_unrecorded, span, {key: value})
        return original(span, key, value)

    def many(original: Callable[..., Any], span: Any, attributes: Any) -> Any:
        safely(_unrecorded, span, attributes)
        return original(span, attributes)

    def event(original: Callable[..., Any], span: Any, name: str, attributes: Any = None, *more: Any, **kw: Any) -> Any:
        safely(_unrecorded, span, attributes)
        return original(span, name, attributes, *more, **kw)

    for method, around in (("set_attribute", one), ("set_attributes", many), ("add_event", event)):
        put_around(NonRecordingSpan, method, around)
    put_around(Span, "set_attributes", _late_many)
    if "set_attributes" not in Span.set_attribute.__code__.co_names:  # some releases go through the other one
        put_around(Span, "set_attribute", _late_one)
    put_around(Span, "add_event", _late_event)
    put_around(Tracer, "start_span", _started)


def _type_in(attributes: Any) -> tuple[bool, object]:
    """Return whether attributes bear a type, or what was meant as one, and the type."""
    for key in attributes or ():
        if meant_by(key) == TYPE:
            return True, attributes[key]
    return False, None


def _unrecorded(span: Any, attributes: Any, name: str = "") -> None:
    there, kind = _type_in(attributes)
    if not there:
        return
    context = span.get_span_context()
    where = named("span", name) if name else "a span that is not recorded"
    if not context.is_valid:
        why = "there is no current span here: set tags within a span, or on the span itself"
    elif context.is_remote:
        why = "this is the caller's span, known by its number only: start one here, and set the tags on it"
    else:
        why = "the sampler dropped this span: OTEL_TRACES_SAMPLER=ocm_record lets tags count all the same"
    tell("lost", kind, where, why)


def _late_many(original: Callable[..., Any], span: Any, attributes: Any) -> Any:
    safely(_ended, span, attributes)
    return original(span, attributes)


def _late_one(original: Callable[..., Any], span: Any, key: str, value: Any) -> Any:
    safely(_ended, span, {key: value})
    return original(span, key, value)


def _late_event(
    original: Callable[..., Any], span: Any, name: str, attributes: Any = None, *more: Any, **kw: Any
) -> Any:
    safely(_ended, span, attributes)
    return original(span, name, attributes, *more, **kw)


def _ended(span: Any, attributes: Any) -> None:
    if span.end_time is not None:
        there, kind = _type_in(attributes)
        if there:
            tell("lost", kind, named("span", span.name), "the span had ended when the tag was set")


def _started(original: Callable[..., Any], tracer: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    span = original(tracer, name, *args, **kwargs)
    if not span.is_recording():  # a dropped one: what it was given at its start is gone
        attributes = args[2] if len(args) > 2 else kwargs.get("attributes")
        safely(_unrecorded, span, attributes, name)
    return span


# --- lines ---------------------------------------------------------------------------------------------------


def _adapted(original: Callable[..., Any], adapter: Any, message: Any, kwargs: Any) -> Any:
    before = kwargs.get("extra")
    done = original(adapter, message, kwargs)

    def look() -> None:
        tags = find(before) if isinstance(before, Mapping) else None
        after = done[1].get("extra")
        if tags is not None and not (isinstance(after, Mapping) and find(after)):
            why = (
                "a LoggerAdapter puts its own extra in place of the call's (from Python 3.13 merge_extra=True keeps it)"
            )
            tell("lost", tags[TYPE], named("line", message), why)

    safely(look)
    return done
