"""`ocm-otel settings`: what is set, where each value comes from, and what of it cannot be used."""

from __future__ import annotations

from typing import Any

import click

from ocm_otel._setting import PREFIX, Setting
from ocm_otel._settings import Settings, origin
from ocm_otel._table import TABLE
from ocm_otel._terminal import plain, write_json
from ocm_otel._values import SettingsError


@click.command(epilog="Example: OTEL_EXPORTER_OCM_TIMEOUT=soon ocm-otel settings")
@click.option("--json", "as_json", is_flag=True, help="Write them as JSON.")
def settings(*, as_json: bool) -> None:
    """Show each setting and where it comes from.

    Keys and headers are masked. Exit code 1 if a value cannot be used.
    """
    problems: list[str] = []
    found = Settings.from_env(report=problems.append)
    keyless = not found.api_key and found.api_key_file is None
    try:
        found.key()
    except SettingsError as error:
        problems += [] if keyless else [str(error)]
    problems = [plain(problem) for problem in problems]
    rows = [_row(setting, getattr(found, setting.field), problems) for setting in TABLE]
    if as_json:
        write_json({"settings": rows, "problems": problems, "has_key": not keyless})
    else:
        _print_rows(rows)
        for problem in problems:
            click.secho(f"\n{problem}", fg="red")
        if keyless:
            click.secho(f"\nNo key is set ({PREFIX}API_KEY): no event is accepted until then.", fg="yellow")
    if problems:
        raise SystemExit(1)


def _row(setting: Setting, value: Any, problems: list[str]) -> dict[str, Any]:
    """Return one setting for a person or a program to read."""
    named = tuple(f"{variable}:" for variable in (setting.variable, setting.stands_in) if variable)
    return {
        "setting": setting.field,
        "value": "***" if setting.secret and value else None if value == () else value,
        "unit": setting.unit,
        "source": origin(setting) or "default",
        "variable": setting.variable,
        "problems": [problem for problem in problems if problem.startswith(named)],
    }


def _print_rows(rows: list[dict[str, Any]]) -> None:
    """Write the settings as a table: name, value with its unit, source; each value as one writes it down."""
    texts = []
    for row in rows:
        value = "-" if row["value"] is None else plain(f"{_written(row['value'])} {row['unit']}".rstrip())
        texts.append((row["setting"], value, "wrong, so: " * bool(row["problems"]) + row["source"]))
    names, values = (max(len(text[column]) for text in texts) for column in (0, 1))
    click.secho(f"{'setting':<{names}}  {'value':<{min(values, 44)}}  from", bold=True)
    for name, value, source in texts:
        click.echo(f"{name:<{names}}  {value:<{min(values, 44)}}  ", nl=False)
        click.secho(source, fg="red" if source.startswith("wrong") else None, dim=source == "default")
    click.echo(f"\nTo change one, set {PREFIX} and its name in capitals, such as {PREFIX}TIMEOUT.")


def _written(value: Any) -> str:
    """Return a value as it stands in a variable."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
