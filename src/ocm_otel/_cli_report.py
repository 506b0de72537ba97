"""`ocm-otel report`: what the API was given, by day and type, to be laid beside the vendor's own report.

It adds up the tallies of all processes of the account, and looks into their ledgers for what still waits. It changes
nothing, and names no one.
"""

from __future__ import annotations

import csv
import io
import time
from collections import defaultdict
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from ocm_otel._account import UnusableSpool
from ocm_otel._cli_refused import REMEDY, defused, of_the_account
from ocm_otel._tallies import KEPT_DAYS, Rows, read
from ocm_otel._tally import COLUMNS
from ocm_otel._terminal import plain, short, write_json, write_table

_HEADS = ("day", "type", *COLUMNS, "waiting")
_OTHER = "(others)"
_WAITING = len(COLUMNS)

#: Day and type -> the counts of the columns, and how many wait.
_Days = dict[tuple[str, str], list[int]]


@click.command(epilog="Example: ocm-otel report --from 2026-11-01 --to 2026-11-30 --zone Europe/Rome --csv")
@click.option("--from", "first", metavar="DAY", help="The first day, as 2026-11-01.  [default: 30 days ago]")
@click.option("--to", "last", metavar="DAY", help="The last day.  [default: today]")
@click.option("--zone", default="UTC", show_default=True, metavar="NAME",
              help="Where a day begins at midnight: Europe/Rome, say, or local for this machine's zone.")  # fmt: skip
@click.option("--csv", "as_csv", is_flag=True, help="Write a table for a spreadsheet.")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def report(*, first: str | None, last: str | None, zone: str, as_csv: bool, as_json: bool) -> None:
    """Show what was delivered, by day and type.

    Of all processes of this account on this machine, by the hour of the API's answer. The vendor's report should have
    at least what was delivered, and at most what is ambiguous besides: calls whose answer never came, so that they
    may have counted.
    """
    where = _zone(zone)
    end = _day(last, "--to") or datetime.now(where).date()
    begin = _day(first, "--from") or end - timedelta(days=30)
    if begin > end:
        raise click.UsageError(f"--from {begin} is after --to {end}")
    try:
        settings, standing = of_the_account()
        rows, bad = read(standing.path) if standing.there else ({}, {})
        days = _by_day(rows, where)
        for query, at in standing.owed():
            days[_moment(at, where), _type_of(query)][_WAITING] += 1
    except UnusableSpool as error:
        raise click.ClickException(f"the spool cannot be used: {plain(str(error))}. {REMEDY}") from None
    except OSError as error:
        culprit = plain(str(error.filename or "the spool"))
        raise click.ClickException(f"{culprit}: {error.strerror}. Mend that, and run this again.") from None
    found: list[tuple[Any, ...]] = [(*key, *days[key]) for key in sorted(days) if str(begin) <= key[0] <= str(end)]
    total = [sum(row[place] for row in found) for place in range(2, len(_HEADS))]
    if as_json:
        write_json({"from": str(begin), "to": str(end), "zone": zone, "endpoint": settings.endpoint,
                    "rows": [dict(zip(_HEADS, row, strict=True)) for row in found],
                    "total": dict(zip(_HEADS[2:], total, strict=True)), "unread": bad})  # fmt: skip
    elif as_csv:
        click.echo(_as_csv(found), nl=False)
    else:
        click.echo(f"{begin} to {end}, days of {zone}, as answered by {settings.endpoint}\n")
        _tell(found, total)
    for name, why in bad.items():
        click.secho(f"tally/{plain(name)} is not in it: {plain(why)}.", fg="red", err=True)
    if settings.durability == "memory":
        click.secho("DURABILITY is memory here: such processes keep no account of what they deliver.", fg="yellow",
                    err=True)  # fmt: skip


def _tell(found: list[tuple[Any, ...]], total: list[int]) -> None:
    """Write it for a person."""
    if not found:
        click.echo(f"Nothing is on record. What is counted is kept for {KEPT_DAYS} days.")
        return
    cells = [(row[0], short(row[1], 50), *map(str, row[2:])) for row in found]
    write_table(_HEADS, [*cells, ("together", "", *map(str, total))], left=2)
    delivered, ambiguous, refused, _, waiting = total
    least = f"The vendor's report should have {delivered} event{'s' * (delivered != 1)}"
    click.echo(f"\n{least}." if not ambiguous else f"\n{least}, and up to {ambiguous} more: the ambiguous calls.")
    if refused:
        click.echo("What was refused is kept: ocm-otel spool show. Sent again, it counts as delivered on that day.")
    if waiting:
        click.echo("What waits stands at the day on which it was accepted: ocm-otel spool list.")


def _as_csv(found: list[tuple[Any, ...]]) -> str:
    """Return it as CSV; a type that could be a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_HEADS)
    writer.writerows((row[0], defused(row[1]), *row[2:]) for row in found)
    return text.getvalue()


def _by_day(rows: Rows, where: tzinfo) -> _Days:
    """Return the counts by the days of a zone."""
    days: _Days = defaultdict(lambda: [0] * (_WAITING + 1))
    for (day, kind, hour), counts in rows.items():
        at = datetime.strptime(day, "%Y%m%d").replace(hour=hour, tzinfo=timezone.utc)
        row = days[str(at.astimezone(where).date()), _named(kind)]
        for place, count in enumerate(counts):
            row[place] += count
    return days


def _named(kind: str) -> str:
    """Return a type as it was given; a name for all others."""
    return unquote(kind, errors="replace") if kind else _OTHER


def _type_of(query: str) -> str:
    return _named(query.removeprefix("type=").partition("&")[0])


def _moment(at: float, where: tzinfo) -> str:
    """Return the day of a time; today for what is none."""
    try:
        return str(datetime.fromtimestamp(at, where).date())
    except (ValueError, OverflowError, OSError):
        return str(datetime.fromtimestamp(time.time(), where).date())


def _zone(name: str) -> tzinfo:
    """Return a zone by its name."""
    if name.lower() == "local":
        return datetime.now().astimezone().tzinfo or timezone.utc
    try:
        return timezone.utc if name.upper() == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = f"--zone {short(name)}: no such zone is known here; UTC, local, or a name such as Europe/Rome is needed"
        raise click.UsageError(text) from None


def _day(text: str | None, option: str) -> date | None:
    """Return a day that was given."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise click.UsageError(f"{option} {short(text or '')}: a day such as 2026-11-01 is needed") from None
