"""The outboxes that a process shares: every door that was given none meets the others here.

Equal settings are one outbox, so that two doors with the same options do not deliver side by side.
"""

from __future__ import annotations

from ocm_otel._outbox import Outbox
from ocm_otel._settings import Settings

_by_settings: dict[Settings, Outbox] = {}
_by_options: dict[str, Outbox] = {}


def shared(**options: object) -> Outbox:
    """Return the process's outbox, made from the environment at first use.

    Args:
        options: fields of `Settings` that win over the environment; equal settings share one outbox. What
            is no setting, or has a bad value, is reported and left out.
    """
    name = repr(sorted(options.items()))
    found = _by_options.get(name)
    if found is None:
        said: list[str] = []
        settings = Settings.from_env(given=options, report=said.append)
        # Two threads may come here at once: both make one, and one of the two stays.
        known = _by_settings.get(settings) or _by_settings.setdefault(settings, Outbox(settings, said=said))
        found = _by_options.setdefault(name, known)
    return found
