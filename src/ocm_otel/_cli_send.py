"""`ocm-otel send`: one event to the events API, and what it answered.

It makes the one call and words its verdict; it decides nothing about events, settings or the API.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from ocm_otel._clean import InvalidEvent
from ocm_otel._event import Event
from ocm_otel._terminal import plain, strict_settings, write_json, wrong_use
from ocm_otel._values import SettingsError
from ocm_otel._verdict import Fate, Verdict

if TYPE_CHECKING:
    from ocm_otel._settings import Settings


@click.command(epilog="Example: ocm-otel send course-save --course-id 7 --user-id ann")
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
