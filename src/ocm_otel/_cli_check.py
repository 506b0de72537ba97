"""`ocm-otel check`: is this environment going to work?

It puts the looks of the `_check_…` rooms together, and writes what they found; it judges nothing itself.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ocm_otel import _check_call, _check_spool, _check_switches, _check_versions
from ocm_otel._clean import InvalidEvent
from ocm_otel._event import Event
from ocm_otel._findings import OK, PROBLEM, WARNING, Finding, fine, problem
from ocm_otel._setting import PREFIX
from ocm_otel._settings import Settings, origin
from ocm_otel._table import DEFAULT_ENDPOINT, TABLE
from ocm_otel._terminal import plain, write_json, wrong_use
from ocm_otel._values import SettingsError
from ocm_otel._variables import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS = {OK: "green", WARNING: "yellow", PROBLEM: "red"}


@click.command(epilog="Example: opentelemetry-instrument ocm-otel check")
@click.option(
    "--send",
    is_flag=False,
    flag_value=_check_call.HARMLESS,
    default=None,
    metavar="[TYPE]",
    help=f"Send one event, too, which counts; of type {_check_call.HARMLESS} if no TYPE is named.",
)
@click.option(
    "--app",
    metavar="MODULE",
    help="Import this module first, and look at the providers and the structlog chain that it sets up.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
def check(*, send: str | None, app: str | None, as_json: bool) -> None:
    """Say whether events will get through from here.

    Looks at the settings, the key, the way to the events API, the spool, the versions, and what OpenTelemetry's
    variables will do. Run it as the application is run, as the same user; under `opentelemetry-instrument` it
    looks at the very providers that are set up. Without --send one request without a type is made: it shows
    that the key and the address are right, and counts nothing. Exit code 0 if it will work, 1 if not.
    """
    try:
        if send is not None:
            Event(send)
    except InvalidEvent as error:
        raise wrong_use(error) from None
    findings = [*_imported(app), *_configured(send), *_surroundings(app)]
    works = not any(finding.level == PROBLEM for finding in findings)
    if as_json:
        write_json({"works": works, "findings": [_plain(finding) for finding in findings]})
    else:
        _tell(findings, works=works)
    if not works:
        raise SystemExit(1)


def _imported(app: str | None) -> list[Finding]:
    """Import the application's module, so that it sets up what it sets up."""
    if app is None:
        return []
    sys.path.insert(0, "")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            importlib.import_module(app)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's own module; the finding tells it
        said = f"the module {app} cannot be imported: {type(error).__name__}: {error}"
        return [problem("app", said, "Name the module that sets up logging and telemetry, as `python -m` would.")]
    return [fine("app", f"the module {app} was imported")]


def _configured(send: str | None) -> list[Finding]:
    """Return what there is to say of settings, key, endpoint and spool."""
    said: list[str] = []
    settings = Settings.from_env(report=said.append)
    findings = [problem("settings", text, "Correct or unset it; `ocm-otel settings` shows them all.") for text in said]
    if not said:
        made = [setting.variable for setting in TABLE if origin(setting) == setting.variable]
        findings.append(
            fine("settings", f"{len(made)} are made: {', '.join(made)}" if made else "all have their defaults")
        )
    try:
        key = settings.key()
    except SettingsError as error:
        key = ""
        remedy = f"Set {PREFIX}API_KEY, or {PREFIX}API_KEY_FILE; without a key no event is accepted."
        findings.append(problem("key", str(error), remedy))
    else:
        source = f"{PREFIX}API_KEY" if settings.api_key else f"{PREFIX}API_KEY_FILE"
        findings.append(fine("key", f"*** ({len(key)} characters, from {source})"))
    if any(text.startswith(f"{PREFIX}ENDPOINT:") for text in said):
        return findings  # the default, the real API, is not called in its place
    findings += _check_call.reach(settings)
    if key and not any(finding.subject == "endpoint" and finding.level == PROBLEM for finding in findings):
        findings.append(_check_call.ask(settings, key, send))
    if settings.endpoint != DEFAULT_ENDPOINT:
        findings.append(fine("endpoint", f"it is {settings.endpoint}, not {DEFAULT_ENDPOINT}"))
    return [*findings, *_check_spool.look(settings, key, now=time.time())]


def _surroundings(app: str | None) -> list[Finding]:
    """Return what there is to say of the installation, of OpenTelemetry's variables, and of this process."""
    from ocm_otel import _check_process  # the SDK, which the other looks do not need

    there = _check_versions.installed()
    findings = _check_versions.judge(there)
    running = _check_process.instrumented()
    if running or app is None:
        findings += _check_switches.judge(environment(), there, running=running)
    else:
        findings += _check_switches.limits(environment())
    if not _check_switches.disabled(environment()):
        findings += _check_process.judge(wrapped=running, app=app is not None)
    if not running and app is None:
        findings.append(
            fine(
                "process",
                "the application is not in this process; `opentelemetry-instrument ocm-otel "
                "check` and `--app MODULE` look at its providers and its structlog chain",
            )
        )
    return findings


def _plain(finding: Finding) -> dict[str, str]:
    """Return a finding for a program to read, without what could steer a terminal."""
    return {name: plain(value) for name, value in asdict(finding).items()}


def _tell(findings: Sequence[Finding], *, works: bool) -> None:
    """Write the findings for a person, and the answer last."""
    for finding in findings:
        click.secho(f"{finding.level:<8} ", fg=_COLOURS[finding.level], nl=False)
        click.echo(f"{finding.subject:<13} {plain(finding.found)}")
        if finding.remedy:
            click.echo(f"{'':<23}→ {plain(finding.remedy)}")
    counted = {level: sum(finding.level == level for finding in findings) for level in (PROBLEM, WARNING)}
    more = ", ".join(f"{count} {level}{'s' * (count > 1)}" for level, count in counted.items() if count)
    click.secho(
        f"\nIt will {'' if works else 'not '}work{f': {more}' if more else ''}.", fg=_COLOURS[OK if works else PROBLEM]
    )
