"""The events API on one's own machine: what a test, a demo or a developer calls instead of the real one.

This room imports nothing of the library around it. It is the other side of the wire, with its own
reading of the vendor's guide: were it to share code with the client, one mistake would hide the other.

The names are looked up when they are first used, so that the pure parts (rules, report) can be read
without the extra packages that the server needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answers import Answer
    from .program import serve
    from .server import Emulator

__all__ = ["Answer", "Emulator", "serve"]

_HOMES = {"Answer": ".answers", "Emulator": ".server", "serve": ".program"}
_EXTRA = ("starlette", "uvicorn")


def __getattr__(name: str) -> Any:
    """Return one of the public names, loading the file it lives in.

    Args:
        name: one of ``__all__``.

    Raises:
        AttributeError: there is no such name.
        ImportError: a package of the extra is missing; the text says what to install.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ImportError(
            f"the emulator needs {missing.name}, which is not installed: pip install 'ocm-otel[emulator]'",
            name=missing.name,
        ) from missing


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)
