"""What the name ``ocm_record`` switches on, in ``OTEL_TRACES_SAMPLER`` and in a YAML file.

The name stands where the application's sampler stood, so that one has to be named a second time: in
``OTEL_TRACES_SAMPLER_ARG``, or as the option ``root``. Raising here would leave the application with the
SDK's default and without us, or, from a file, without any telemetry; so whatever cannot be used is told once,
and OpenTelemetry's default, ``parentbased_always_on``, stands in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)

from ocm_otel._variables import config_file
from ocm_otel.sampling import OCMSampler

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "ocm_record"
_VARIABLE = "OTEL_TRACES_SAMPLER_ARG"
_FIXED = {
    "always_on": ALWAYS_ON,
    "always_off": ALWAYS_OFF,
    "parentbased_always_on": DEFAULT_ON,
    "parentbased_always_off": DEFAULT_OFF,
}
_BY_RATIO: dict[str, Callable[[float], Sampler]] = {
    "traceidratio": TraceIdRatioBased,
    "parentbased_traceidratio": ParentBasedTraceIdRatio,
}
_TEXT = re.compile(r"([A-Za-z_][\w.-]*)\s*(?:[,=:]\s*(.*))?", re.DOTALL)
_PARENTS = (
    "root",
    "remote_parent_sampled",
    "remote_parent_not_sampled",
    "local_parent_sampled",
    "local_parent_not_sampled",
)


class _UnusableError(ValueError):
    """What names a sampler cannot be used; the message says what of it, and what could stand there."""


def by_variable(argument: object = None) -> OCMSampler:
    """Return our sampler around the one that ``OTEL_TRACES_SAMPLER_ARG`` names; never raises.

    Args:
        argument: what the variable holds: the name of a sampler as ``OTEL_TRACES_SAMPLER`` takes it, with its
            own argument after a comma (or ``=`` or ``:``), as in ``parentbased_traceidratio,0.1``. A number
            alone is the ratio of ``parentbased_traceidratio``. Empty for ``parentbased_always_on``.
    """
    return _around(_VARIABLE, argument, None)


def by_file(**options: object) -> OCMSampler:
    """Return our sampler around the one that a YAML file names; never raises.

    Args:
        options: ``root``, a sampler as the file writes it anywhere else, or a text as `by_variable` takes it;
            and ``mode``, as `OCMSampler` takes it. OpenTelemetry up to 1.45 calls samplers without the options
            that the file has for them; so without any they are looked up in the file.
    """
    found = options or _options_in_file()
    unknown = sorted(map(str, found.keys() - {"root", "mode"}))
    if unknown:
        _tell(NAME, f"there is no option called {_shown(', '.join(unknown))}; there are: root, mode")
    mode = found.get("mode")
    return _around(f"{NAME}: root", found.get("root"), None if mode is None else str(mode).strip().lower())


def _around(source: str, inner: object, mode: str | None) -> OCMSampler:
    try:
        root = _sampler(inner)
    except Exception as error:  # noqa: BLE001 - the border to the application; told
        # The text of somebody else's error could hold what their argument held.
        why = str(error) if isinstance(error, _UnusableError) else f"it cannot be used ({type(error).__name__})"
        _tell(source, f"{why}; parentbased_always_on is used")
        root = DEFAULT_ON
    return root if isinstance(root, OCMSampler) and mode is None else OCMSampler(root, mode=mode)


def _sampler(inner: object) -> Sampler:
    """Return the sampler that a text or a part of a YAML file names; `_UnusableError` if there is none."""
    if isinstance(inner, Mapping):
        return _from_mapping(inner)
    text = "" if inner is None else str(inner).strip()
    if not text:
        return DEFAULT_ON
    if text[:1].isdigit() or text[:1] == ".":
        return _by_ratio(ParentBasedTraceIdRatio, text)
    match = _TEXT.fullmatch(text)
    if not match:
        raise _UnusableError(f"{_shown(text)} is no sampler; write a name, or name,argument")
    name, argument = match.groups()
    lowered = name.lower()
    if lowered in _FIXED:
        return _FIXED[lowered]
    if lowered in _BY_RATIO:
        return _by_ratio(_BY_RATIO[lowered], argument)
    return _installed("opentelemetry_traces_sampler", name, argument or None)


def _from_mapping(inner: Mapping[str, Any]) -> Sampler:
    """Return the sampler that a YAML file describes: one name, with its options below it."""
    if len(inner) != 1:
        raise _UnusableError(f"a sampler has one name, not {len(inner)}")
    ((name, options),) = inner.items()
    options = options or {}
    if name in ("always_on", "always_off"):
        return _FIXED[name]
    if name == "trace_id_ratio_based":
        return _by_ratio(TraceIdRatioBased, options.get("ratio", 1.0))
    if name == "parent_based":
        given = {part: _sampler(options[part]) for part in _PARENTS if options.get(part) is not None}
        return ParentBased(**{"root": ALWAYS_ON, **given})
    if name == NAME:
        return by_file(root=options.get("root"), mode=options.get("mode"))
    return _installed("opentelemetry_sampler", name)


def _by_ratio(make: Callable[[float], Sampler], ratio: object) -> Sampler:
    try:
        return make(float(ratio))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise _UnusableError(f"{_shown(ratio)} is no ratio; one from 0 to 1 is needed") from None


def _installed(group: str, name: str, *arguments: object) -> Sampler:
    """Return the sampler that another package provides under `name`, as the SDK itself would."""
    from importlib.metadata import entry_points  # only for what is not OpenTelemetry's own

    found = next(iter(entry_points(group=group, name=name)), None)
    if found is None:
        names = ", ".join([*_FIXED, *_BY_RATIO])
        raise _UnusableError(
            f"no sampler {_shown(name)} is installed (entry point group {group}); OpenTelemetry has: {names}"
        )
    sampler = found.load()(*arguments)
    if not isinstance(sampler, Sampler):
        raise _UnusableError(f"what is installed as {_shown(name)} is no sampler")
    return sampler


def _options_in_file() -> Mapping[str, Any]:
    """Return the options that the YAML file has for us, which the SDK does not hand on; nothing if it has none."""
    try:
        # Since 1.44; the file was read a moment ago by the SDK itself, so reading it once more succeeds.
        loaded = import_module("opentelemetry.configuration").load_config_file(config_file())
        sampler = loaded.tracer_provider.sampler
        found = _below(sampler)
    except Exception as error:  # noqa: BLE001 - the border to the application; told
        _tell(
            NAME,
            f"its options could not be read again ({type(error).__name__}); parentbased_always_on is inside of it",
        )
        return {}
    if found is not None and NAME not in getattr(sampler, "additional_properties", {}):
        _tell(NAME, "it is inside of another sampler, which never asks it about some spans; make it the outermost one")
    return found or {}


def _below(node: object) -> Mapping[str, Any] | None:
    """Return our options from a part of the configuration; None if we are not in it."""
    if is_dataclass(node):
        node = vars(node)
    if not isinstance(node, Mapping):
        return None
    if NAME in node:
        return node[NAME] if isinstance(node[NAME], Mapping) else {}
    return next((found for child in node.values() if (found := _below(child)) is not None), None)


def _tell(source: str, message: str) -> None:
    from ocm_otel._doors import last_resort

    last_resort.report((source, message), "%s: %s", source, message)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…" + text[0]
