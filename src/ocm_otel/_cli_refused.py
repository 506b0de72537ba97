"""`ocm-otel spool show | export`: what the API would not have, for a person to look at and decide on.

Ids are shown here, for they are what has to be put right, and made harmless for a terminal or a spreadsheet. What
waits in ledgers is none of its business, and it makes no call (`_cli_retry` does).
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import click

from ocm_otel._account import UnusableSpool
from ocm_otel._census import Standing
from ocm_otel._refused import AMBIGUOUS, DOUBTFUL, IN_DOUBT, RefusedFile, identity, is_of
from ocm_otel._setting import PREFIX
from ocm_otel._terminal import plain, short, strict_settings, write_json, write_table, wrong_use
from ocm_otel._values import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocm_otel._journal import Refused
    from ocm_otel._settings import Settings

REMEDY = f"Run this as the user that the application runs as, or set {PREFIX}SPOOL_DIR to its directory."
IDS = ("course_id", "user_id", "entity_id")
_COLUMNS = ("id", "accepted", "refused", "type", *IDS, "reason", "attempts")
#: What makes a spreadsheet take a cell for a formula (OWASP, CSV Injection); the wide forms, too.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def of_the_account() -> tuple[Settings, Standing]:
    """Return the settings, and the spool directory of their account as it stands.

    Raises:
        click.UsageError: there is no key, or a setting cannot be used.
        UnusableSpool: the directory is not safely ours.
    """
    try:
        settings = strict_settings()
        key, root = settings.key(), settings.spool()
    except SettingsError as error:
        raise wrong_use(error) from None
    return settings, Standing(root, settings.endpoint, key)


@contextmanager
def opened() -> Iterator[tuple[Settings, RefusedFile, list[Refused]]]:
    """Open the account's refused file, and read it; say what to do if that does not work."""
    try:
        settings, standing = of_the_account()
        file = RefusedFile(standing.path)
        yield settings, file, file.read() if standing.there else []
    except UnusableSpool as error:
        raise click.ClickException(f"the spool cannot be used: {plain(str(error))}. {REMEDY}") from None
    except OSError as error:
        culprit = plain(str(error.filename or "the refused file"))
        raise click.ClickException(f"{culprit}: {error.strerror}. Mend that, and run this again.") from None


def _row(refused: Refused) -> dict[str, Any]:
    """Return an event for a person or a program to read."""
    said = dict(parse_qsl(refused.query))
    return {"id": identity(refused), "accepted": moment(refused.at), "refused": moment(refused.refused_at),
            "type": said.get("type"), **{name: said.get(name) for name in IDS},
            "reason": refused.reason, "attempts": refused.attempts}  # fmt: skip


def moment(seconds: float) -> str | None:
    """Return a time, ISO 8601, UTC; None for what is none."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


def choose(
    events: list[Refused], ids: tuple[str, ...], *, everything: bool, reason: str | None, users: tuple[str, ...] = ()
) -> tuple[list[Refused], list[str]]:
    """Return the events that are meant, and the IDs that are nobody's.

    Raises:
        click.UsageError: none or more than one way to say which are meant.
    """
    if sum((bool(ids), everything, reason is not None, bool(users))) != 1:
        raise click.UsageError("say which events are meant, in one way: by ID, by an option such as --reason, or --all")
    names = {identity(one) for one in events} if ids else set()
    chosen = [one for one in events if everything or one.reason == reason or is_of(one, *users)
              or (ids and identity(one) in ids)]  # fmt: skip
    return chosen, [name for name in dict.fromkeys(ids) if name not in names]


# --- show --------------------------------------------------------------------------------------------------


@click.command(epilog="Example: ocm-otel spool show --reason no-type-parameter")
@click.option("--reason", metavar="REASON", help="Only those with this reason.")
@click.option("--type", "type_", metavar="TYPE", help="Only those of this type.")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="At most so many.  [default: 50; with --json all]")
@click.option("--json", "as_json", is_flag=True, help="Write them as JSON, whole.")
def show(*, reason: str | None, type_: str | None, limit: int | None, as_json: bool) -> None:
    """Show the refused events, the oldest first.

    Each with the ID by which `retry` and `purge` know it. They are shown with the ids of people.
    """
    with opened() as (_, _, events):
        rows = [_row(one) for one in events]
    rows = [row for row in rows if reason in (None, row["reason"]) and type_ in (None, row["type"])]
    if as_json:
        write_json({"total": len(rows), "events": rows[:limit]})
        return
    if not rows:
        click.echo("Nothing is refused." if reason is type_ is None else "No refused event is such a one.")
        return
    shown = rows[: 50 if limit is None else limit]
    cells = [tuple("-" if row[name] is None else short(str(row[name]), 40) for name in _COLUMNS) for row in shown]
    write_table(_COLUMNS, cells, left=len(_COLUMNS) - 1)
    if more := len(rows) - len(shown):
        click.echo(f"\n{more} more: --limit {len(rows)}, or `ocm-otel spool export`.")
    if DOUBTFUL & {row["reason"] for row in rows}:
        click.echo(f"\n{IN_DOUBT}, {AMBIGUOUS}: sent again without an answer, and may have counted.")
    click.echo("\nSend one again: ocm-otel spool retry ID --type RIGHT-TYPE. Throw it away: ocm-otel spool purge ID.")


# --- export ------------------------------------------------------------------------------------------------


@click.command(epilog="Example: ocm-otel spool export refused.csv --format csv")
@click.argument("target", default="-", metavar="[FILE|-]")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True,
              help="An object a line, or a table whose cells no spreadsheet takes for formulas.")  # fmt: skip
@click.option("--force", is_flag=True, help="Put it in the place of a file that is there.")
def export(target: str, form: str, *, force: bool) -> None:
    """Write all refused events to a file, or to standard output.

    They name people: the file can be read by this user alone. Exit code 1 if the file cannot be made.
    """
    with opened() as (_, _, events):
        rows = [_row(one) for one in events]
    content = (_as_csv(rows) if form == "csv" else "".join(json.dumps(row) + "\n" for row in rows)).encode(
        "utf-8", "backslashreplace"
    )
    if target == "-":
        click.echo(content, nl=False)
        return
    try:
        _write_file(Path(target), content, force=force)
    except FileExistsError:
        raise click.ClickException(f"{plain(target)} is there already: take another name, or --force.") from None
    except OSError as error:
        raise click.ClickException(f"{plain(target)}: {error.strerror}. Take another place.") from None
    click.echo(f"{len(rows)} refused events are in {plain(target)}.", err=True)


def _write_file(path: Path, content: bytes, *, force: bool) -> None:
    """Make a file that only this user can read, whole or not at all; `force` puts it in the place of an old one.

    Raises:
        OSError: it cannot be made.
    """
    place = path.with_name(f"{path.name}.{os.getpid()}.new") if force else path
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        place.replace(path)
    except OSError:
        place.unlink(missing_ok=True)
        raise


def _as_csv(rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV; a cell that could be a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([defused("" if row[name] is None else str(row[name])) for name in _COLUMNS])
    return text.getvalue()


def defused(cell: str) -> str:
    """Return a cell that is neither a formula nor, on a terminal, an order to it."""
    cell = cell.replace("\0", "\N{REPLACEMENT CHARACTER}")  # which CSV has no way to write
    risky = cell.lstrip().startswith(_FORMULA) or (cell and not cell[0].isprintable())
    return ("'" if risky else "") + (plain(cell) if sys.stdout.isatty() else cell)
