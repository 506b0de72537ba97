"""A value of the user's as a person may see it in a log: never a whole text, for it may be somebody's name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal
    from typing import TypeGuard

_SHOWN = 12
_LONGEST_NUMBER = 40


def show(value: object) -> str:
    """Return `value` as a person may see it in a log: its kind and its beginning, never a whole text.

    A text is cut to its first three characters unless it is blank, for it may be somebody's name.
    """
    if value is None or isinstance(value, bool | float) or is_decimal(value):
        return repr(value)[:_LONGEST_NUMBER]
    if isinstance(value, str):
        if not value.strip():
            return repr(value[:_SHOWN])
        return f"{str.__getitem__(value, slice(0, 3))!a}… (a text of {len(value)} characters)"
    kind = type(value).__name__
    try:
        size = f" of {len(value)}" if hasattr(value, "__len__") else ""
    except Exception as error:  # noqa: BLE001 - a foreign object's __len__; the answer is shown
        size = f" ({type(error).__name__} when measured)"
    return f"a value of type {kind}{size}"


def is_decimal(value: object) -> TypeGuard[Decimal]:
    """Return whether it is a Decimal; who has one has loaded the module, which takes its time."""
    module = sys.modules.get("decimal")
    return module is not None and isinstance(value, module.Decimal)
