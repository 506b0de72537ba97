"""OpenTelemetry spans and structlog lines that bear ``ocm.event_type`` become OfCourseMe events.

The front door: names only. Each is imported when it is first asked for, so that an application pays
for the doors that it uses, and for nothing at ``import ocm_otel``.

(PYTEST_DONT_REWRITE: where OpenTelemetry is started first, this is imported before pytest can rewrite assertions.)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocm_otel._clean import InvalidEvent
    from ocm_otel._emit import emit
    from ocm_otel._event import Event
    from ocm_otel._outbox import Outbox
    from ocm_otel._settings import Settings
    from ocm_otel._tags import tags
    from ocm_otel._values import SettingsError
    from ocm_otel.instrumentor import OCMInstrumentor
    from ocm_otel.logging import OCMHandler
    from ocm_otel.logs import OCMLogExporter, OCMLogRecordProcessor
    from ocm_otel.sampling import OCMSampler
    from ocm_otel.spans import OCMSpanExporter, OCMSpanProcessor
    from ocm_otel.structlog import OCMProcessor

    __version__: str

_HOMES = {
    "Event": "_event",
    "InvalidEvent": "_clean",
    "OCMHandler": "logging",
    "OCMInstrumentor": "instrumentor",
    "OCMLogExporter": "logs",
    "OCMLogRecordProcessor": "logs",
    "OCMProcessor": "structlog",
    "OCMSampler": "sampling",
    "OCMSpanExporter": "spans",
    "OCMSpanProcessor": "spans",
    "Outbox": "_outbox",
    "Settings": "_settings",
    "SettingsError": "_values",
    "emit": "_emit",
    "tags": "_tags",
}

__all__ = [
    "Event",
    "InvalidEvent",
    "OCMHandler",
    "OCMInstrumentor",
    "OCMLogExporter",
    "OCMLogRecordProcessor",
    "OCMProcessor",
    "OCMSampler",
    "OCMSpanExporter",
    "OCMSpanProcessor",
    "Outbox",
    "Settings",
    "SettingsError",
    "__version__",
    "emit",
    "tags",
]


def __getattr__(name: str) -> object:
    """Return a public name from the module where it lives, and keep it here for the next time."""
    if name == "__version__":
        value: object = import_module("importlib.metadata").version("ocm-otel")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted({*globals(), *__all__})
