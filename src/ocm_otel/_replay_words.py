"""How a replay is told: what was found, what became of it, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from ocm_otel._survey import Survey
from ocm_otel._terminal import in_time, plain, short, write_table

if TYPE_CHECKING:
    from ocm_otel._books import Snapshot

_MOST = 30
_NOW = """\
The API's events have no time: it counts these now, on the day on which they are sent, not on which they happened.
What the application delivered itself when it happened would count a second time."""


@dataclass
class Run:
    """What one call of the command found, and did.

    Attributes:
        survey: what is in the files.
        problems: files that could not be read, and why.
        torn: tables whose last line has no end.
        handed: how many events went into the journal.
        books: what became of those that this process delivered.
        why: what ended it before its time; empty if nothing did.
    """

    survey: Survey = field(default_factory=Survey)
    problems: dict[str, str] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)
    handed: int = 0
    books: Snapshot | None = None
    why: str = ""


def as_json_value(run: Run, *, sent: bool) -> dict[str, Any]:
    """Return it for a program to read."""
    survey, books = run.survey, run.books
    found = {
        "sent": sent, "lines": survey.lines, "events": survey.events, "replayed_before": survey.before,
        "types": {short(name): count for name, count in survey.types.most_common()},
        "first": _moment(survey.first), "last": _moment(survey.last), "undated": survey.undated,
        "failed_spans": survey.skipped,
        "faults": [{"fault": plain(text), "count": count, "first": where}
                   for text, (count, where) in survey.faults.items()],
        "unread": run.problems, "torn": run.torn,
    }  # fmt: skip
    if not sent:
        return found
    ends = {name: getattr(books, name) if books else 0 for name in ("adopted", "delivered", "refused", "dropped")}
    return {**found, "handed_over": run.handed, **ends, "stopped": run.why}


def tell(run: Run, files: tuple[str, ...], rate: float, *, sent: bool) -> None:
    """Write it for a person."""
    survey = run.survey
    found = f"{survey.events} events" if survey.events else "no event that was not replayed before"
    click.secho(f"{survey.lines} lines read: {found}; {survey.before} were replayed before.", bold=True)
    if survey.types:
        rows = [(short(name, 50), str(count)) for name, count in survey.types.most_common(_MOST)]
        click.echo()
        write_table(("type", "events"), rows, left=1)
        if more := len(survey.types) - len(rows):
            click.echo(f"and {more} further types")
        undated = f", {survey.undated} without a time" if survey.undated else ""
        click.echo(f"\nWritten from {_moment(survey.first) or '-'} to {_moment(survey.last) or '-'}{undated}.")
    _tell_faults(run)
    if sent:
        _tell_sent(run)
    elif survey.events:
        click.echo(f"\n{_NOW}")
        names = " ".join(short(name) for name in files)
        click.secho(f"\nNothing was sent. To send them, at most {rate:g} a second ({in_time(survey.events / rate)}): "
                    f"ocm-otel replay {names} --send", fg="yellow")  # fmt: skip


def _tell_faults(run: Run) -> None:
    """Write what could not be used."""
    survey = run.survey
    if survey.skipped:
        click.echo(f"{survey.skipped} spans failed, and ON_SPAN_ERROR says that they are no events.")
    if survey.faults:
        click.secho("\nWhat could not be used:", fg="yellow")
        for text, (count, where) in list(survey.faults.items())[:_MOST]:
            click.echo(f"  {count}  {short(text, 160)} (first: {where})")
        if len(survey.faults) > _MOST:
            click.echo(f"  and {len(survey.faults) - _MOST} further kinds")
    for name in run.torn:
        click.secho(f"{name}: its last line has no end and was left out, for it may still be written; if not, add "
                    "a line break.", fg="yellow")  # fmt: skip
    for name, why in run.problems.items():
        click.secho(f"{name}: {why}", fg="red")


def _tell_sent(run: Run) -> None:
    """Write what became of them, and what to do about the rest."""
    books = run.books
    if books is not None and run.handed:
        elsewhere = f"; {rest} by other processes" if (rest := run.handed - books.adopted + books.waiting) > 0 else ""
        before = f", and {found} that an earlier run left there" if (found := books.adopted - run.handed) > 0 else ""
        ends = f"{books.delivered} delivered, {books.refused} refused, {books.dropped} dropped{elsewhere}"
        colour = "red" if run.why else "green"
        click.secho(f"\n{run.handed} handed over to the journal{before}: {ends}.", fg=colour)
        if books.refused:
            click.echo("The refused ones are kept: ocm-otel spool show.")
        if books.ambiguous:
            click.echo(f"{books.ambiguous} calls may have counted although no answer said so.")
    if run.why:
        click.secho(f"Stopped: {run.why}. What was handed over waits on disk, and any process of the account (or "
                    "`ocm-otel spool drain`) delivers it. Run this again: it goes on there.", fg="red")  # fmt: skip


def _moment(seconds: float | None) -> str | None:
    """Return a time, ISO 8601, UTC; None for none."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None
