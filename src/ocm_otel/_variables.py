"""What the environment says beside our settings: OpenTelemetry's own switches, and whether we are meant at all.

This room and the settings are the only ones that read the environment.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from ocm_otel._guard import VARIABLE as GUARD
from ocm_otel._setting import PREFIX
from ocm_otel._values import SettingsError, read_flag

if TYPE_CHECKING:
    from collections.abc import Mapping


def environment() -> Mapping[str, str]:
    """Return the process's variables, for a command that judges what OpenTelemetry's own ones will do."""
    return os.environ


@cache
def explaining() -> bool:
    """Return True if this process is to tell what becomes of each tag; the first door to be imported asks, for all."""
    said = _said(f"{PREFIX}EXPLAIN", None)
    try:
        return bool(said) and read_flag(said)
    except SettingsError:
        return False  # told by the outbox, with its other settings


def metrics_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Return True if OpenTelemetry is to show its own metrics; ours are then shown, too."""
    return _said("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", environ).lower() == "true"


def config_file(environ: Mapping[str, str] | None = None) -> str:
    """Return the path of the YAML file that configures OpenTelemetry, an empty text if there is none."""
    return _said("OTEL_CONFIG_FILE", environ)


def sdk_disabled(environ: Mapping[str, str] | None = None) -> bool:
    """Return True if OpenTelemetry is switched off altogether."""
    return _said("OTEL_SDK_DISABLED", environ).lower() == "true"


def key_given(options: Mapping[str, object], environ: Mapping[str, str] | None = None) -> tuple[bool, bool]:
    """Return whether there is an API key, or a file of it, and whether any setting of ours is made at all.

    Args:
        options: settings made in code or in a file; an empty one counts as not made.
        environ: the variables; those of the process if left out.
    """
    environ = os.environ if environ is None else environ
    made = {name for name, value in options.items() if value is not None and value != ""}
    made |= {name.removeprefix(PREFIX).lower() for name, value in environ.items() if name.startswith(PREFIX) and value}
    made -= {GUARD.removeprefix(PREFIX).lower()}  # it is up in every test, whoever means us there
    return bool(made & {"api_key", "api_key_file"}), bool(made)


def _said(name: str, environ: Mapping[str, str] | None) -> str:
    """Return what a variable says, without the blanks around it."""
    return (os.environ if environ is None else environ).get(name, "").strip()
