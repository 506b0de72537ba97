"""The commands meet the same hostile servers as the client does."""

from __future__ import annotations

from ..rooms.conftest import wire  # noqa: TID252 - the tests are no package that could be named

__all__ = ["wire"]
