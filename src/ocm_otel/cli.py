"""The command `ocm-otel`: what a person asks for at a terminal, and what a program reads with ``--json``.

It puts the rooms to use and words their answers; it decides nothing about events, settings or the API.
Exit codes: 0 done, 1 the answer is no, 2 wrong use. The extras are imported by the commands that need them.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

import click

from ocm_otel._cli_check import check
from ocm_otel._cli_emulator import emulator, extra_missing
from ocm_otel._cli_explain import explain
from ocm_otel._cli_gateway import gateway
from ocm_otel._cli_kafka import kafka
from ocm_otel._cli_replay import replay
from ocm_otel._cli_report import report
from ocm_otel._cli_spool import spool
from ocm_otel._event import Event, InvalidEvent
from ocm_otel._setting import PREFIX, Setting
from ocm_otel._settings import Settings, origin
from ocm_otel._table import TABLE
from ocm_otel._terminal import plain, strict_settings, write_json, wrong_use
from ocm_otel._values import SettingsError
from ocm_otel._verdict import Fate, Verdict


def _set_colour(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:  # https://no-color.org: any text but the empty one
        context.color = False


@click.group(epilog="Example: ocm-otel demo", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ocm-otel")
@click.option("--no-color", is_flag=True, flag_value="yes", type=str, default=None, envvar="NO_COLOR",
              is_eager=True, expose_value=False, callback=_set_colour,
              help="No colours on a terminal either; NO_COLOR in the environment does the same.")  # fmt: skip
def main() -> None:
    """Tagged spans and log lines become OfCourseMe events.

    Exit codes: 0 done, 1 the answer is no, 2 wrong use.
    """


@main.command(epilog="Example: ocm-otel demo --keep")
@click.option("--keep", is_flag=True, help="Leave the emulator there afterwards, to look at its report page.")
def demo(*, keep: bool) -> None:
    """Watch tags become events on this machine.

    An emulated events API, a small learning site with OpenTelemetry and structlog, and people who use it: no
    key, no network, some seconds.
    Exit code 0 if everything that was tagged arrived exactly once, 1 if not.
    """
    try:
        from ocm_otel.demo.stage import run
    except ImportError as error:
        raise extra_missing(error) from None
    if not run(keep=keep):
        raise SystemExit(1)


@main.command(epilog="Example: ocm-otel send course-save --course-id 7 --user-id ann")
@click.argument("type_", metavar="TYPE")
@click.option("--course-id", metavar="ID", help="The course; course events (course-…) should have one.")
@click.option("--user-id", metavar="ID", help="A session id or an internal id of the person.")
@click.option("--entity-id", metavar="ID", help="A group, family or entity of persons.")
@click.option("--endpoint", metavar="URL", help="The address of the events API, in place of the setting.")
@click.option("--api-key-file", metavar="FILE", help="A file that holds the key, in place of the settings.")
@click.option("--timeout", metavar="MS", help="Milliseconds that the call may take.")
@click.option("--json", "as_json", is_flag=True, help="Write the verdict as JSON.")
def send(type_: str, *, as_json: bool, **given: Any) -> None:
    """Send one event and say what the API answered.

    The event counts, as any other does. The key comes from OTEL_EXPORTER_OCM_API_KEY or from a file, never
    from an option: options are shown in the machine's list of processes. Exit code 0 if the event was
    counted, 1 if not.
    """
    ids = {name: given.pop(name) for name in ("course_id", "user_id", "entity_id")}
    try:
        event = Event(type_, **ids)
        settings = strict_settings(given)
        settings = replace(settings, api_key=None) if given["api_key_file"] else settings
        key = settings.key()
    except (InvalidEvent, SettingsError) as error:
        raise wrong_use(error) from None
    if settings.in_the_clear:
        click.secho("Warning: key and ids travel unencrypted to another machine", fg="yellow", err=True)
    began = time.monotonic()
    verdict = _call(settings, key, event)
    _tell(verdict, event, settings, time.monotonic() - began, as_json=as_json)
    if verdict.fate is not Fate.DELIVERED:
        raise SystemExit(1)


def _call(settings: Settings, key: str, event: Event) -> Verdict:
    """Make the one call."""
    from ocm_otel._client import Client

    event = event.veiled(settings.user_id_hash_key) if settings.user_id_hash_key else event
    connection = Client(settings, key).connect()
    try:
        return connection.send(event.query(), settings.timeout / 1000)
    finally:
        connection.close()


def _tell(verdict: Verdict, event: Event, settings: Settings, seconds: float, *, as_json: bool) -> None:
    """Write what the API said about the event."""
    fields = {name: value for name, value in asdict(event).items() if name != "event_id"}
    delivered = verdict.fate is Fate.DELIVERED
    if as_json:
        told = {**asdict(verdict), "fate": verdict.fate.value}
        write_json({"delivered": delivered, **told, "event": fields, "endpoint": settings.endpoint,
                     "milliseconds": round(seconds * 1000)})  # fmt: skip
        return
    shown = " ".join(plain(f"{name}={value}") for name, value in fields.items() if value is not None)
    word = verdict.fate.value if verdict.fate in (Fate.DELIVERED, Fate.REFUSED) else "not delivered"
    click.secho(f"{word}: {shown}", fg="green" if delivered else "red")
    click.echo(f"  {verdict.words} [{verdict.reason}, {seconds * 1000:.0f} ms]")
    if event.lacks_course:
        click.echo("  A course event without --course-id: no report can say of which course it was.")
    if verdict.ambiguous:
        click.echo("  It may have been counted all the same: to send it again may count it twice.")
    elif verdict.fate not in (Fate.DELIVERED, Fate.REFUSED):
        click.echo("  It was not counted, and nothing is kept: send it again when that is mended.")


@main.command("settings", epilog="Example: OTEL_EXPORTER_OCM_TIMEOUT=soon ocm-otel settings")
@click.option("--json", "as_json", is_flag=True, help="Write them as JSON.")
def show_settings(*, as_json: bool) -> None:
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


main.add_command(check)
main.add_command(emulator)
main.add_command(explain)
main.add_command(gateway)
main.add_command(kafka)
main.add_command(spool)
main.add_command(replay)
main.add_command(report)

if __name__ == "__main__":
    main(prog_name="ocm-otel")
