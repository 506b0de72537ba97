"""What there is to know of one setting: a row of the table in `_table`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "OTEL_EXPORTER_OCM_"


class Setting(NamedTuple):
    """One row of the table.

    Attributes:
        field: the name in `Settings`; the variable is ``OTEL_EXPORTER_OCM_`` and this in capitals.
        default: the value when nothing is set.
        unit: what a number counts; empty where there is nothing to count.
        help: one sentence for a person.
        read: makes the value out of a text, or raises `SettingsError`.
        stands_in: OpenTelemetry's own variable that is honoured while ours is unset.
        secret: True where the value is never shown.
    """

    field: str
    default: Any
    unit: str
    help: str
    read: Callable[[object], Any]
    stands_in: str = ""
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable of this setting."""
        return PREFIX + self.field.upper()
