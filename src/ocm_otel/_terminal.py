"""What all commands do at a terminal: read the settings strictly, and write nothing that could steer it.

It knows no command and no event.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ocm_otel._values import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ocm_otel._settings import Settings

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def plain(text: str) -> str:
    """Return a text from outside without characters that would steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def short(text: str, most: int = 60) -> str:
    """Return a text from outside, plain, and of at most `most` characters."""
    return plain(text) if len(text) <= most else f"{plain(text[:most])}… ({len(text)} characters)"


def write_json(content: object) -> None:
    """Write a value for a program to read."""
    click.echo(json.dumps(content, indent=2))


def wrong_use(error: Exception) -> click.UsageError:
    """Return what ends a command with exit code 2 and the error's words."""
    return click.UsageError("\n".join(map(plain, str(error).splitlines())))


def strict_settings(given: Mapping[str, object] | None = None) -> Settings:
    """Return the settings of the environment, and of `given`, which wins.

    Raises:
        SettingsError: a value cannot be used. An application would go on with the default; a command
            could then send an event that was meant for an emulator to the real API.
    """
    from ocm_otel._settings import Settings  # only for commands that have to do with an account

    said: list[str] = []
    settings = Settings.from_env(given=given, report=said.append)
    if said:
        raise SettingsError("\n".join(text.rpartition("; ")[0] for text in said))
    return settings


def in_bytes(number: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    value, unit = float(number), "B"
    for larger in _UNITS:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def in_time(seconds: float | None) -> str:
    """Return a length of time in the unit that suits it, a dash for none."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def write_table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, left: int, err: bool = False) -> None:
    """Write rows under their heads, in columns as wide as they have to be; the first `left` stand to the left.

    Args:
        heads: of the columns.
        rows: of texts.
        left: how many columns are not numbers.
        err: write to standard error.
    """
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:left], widths[:left], strict=True)]
        cells += [cell.rjust(width) for cell, width in zip(row[left:], widths[left:], strict=True)]
        click.secho("  ".join(cells).rstrip(), bold=row is heads, err=err)
