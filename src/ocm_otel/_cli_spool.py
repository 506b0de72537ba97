"""`ocm-otel spool …`: what waits on the disk, whose it is, and how it gets delivered when nobody is left to do it.

It asks the census what is there, and lets an outbox deliver; it touches no ledger itself. What a program reads
of them (``--json``) counts, and names neither events nor ids. The refused events have a room of their own.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ocm_otel._account import UnusableSpool
from ocm_otel._census import Census, Holding, Standing
from ocm_otel._cli_purge import purge
from ocm_otel._cli_refused import REMEDY, export, of_the_account, show
from ocm_otel._cli_retry import retry
from ocm_otel._terminal import in_bytes, in_time, plain, short, write_json, write_table

if TYPE_CHECKING:
    from ocm_otel._drain import Drain
    from ocm_otel._settings import Settings

_SHOWN = 20


@click.group(epilog="Example: ocm-otel spool list")
def spool() -> None:
    """See and deliver what waits on the disk; see, mend or throw away what was refused.

    Of the account that the settings name: one endpoint and key, as the application has them.
    """


spool.add_command(show)
spool.add_command(retry)
spool.add_command(export)
spool.add_command(purge)


# --- list --------------------------------------------------------------------------------------------------


@spool.command("list", epilog="Example: ocm-otel spool list --json")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON: counts only, no ids of events or people.")
def list_(*, as_json: bool) -> None:
    """Show what is owed, by whom, and how old it is.

    It only looks: no process is disturbed, and nothing is changed.
    """
    try:
        settings, standing = of_the_account()
        found = standing.census()
    except UnusableSpool as error:
        said = f"The spool cannot be used: {plain(str(error))}. {REMEDY}"
        if as_json:
            write_json({"state": "unusable", "problem": said})
        else:
            click.secho(said, fg="red")
        return
    if as_json:
        write_json(_as_json(found, standing, settings))
    elif not found.there:
        click.echo(f"Nothing waits: there is no spool directory of this account yet ({plain(str(standing.path))}).")
        _tell_neighbours(found)
    else:
        click.echo(f"{plain(str(standing.path))}  for  {settings.endpoint}\n")
        _tell_holdings(found)
        _tell_refused(found, standing)
        _tell_problems(found)
        _tell_neighbours(found)


def _as_json(found: Census, standing: Standing, settings: Settings) -> dict[str, Any]:
    """Return a census for a program to read."""
    now = time.time()
    return {
        "state": "ready" if found.there else "none",
        "directory": plain(str(standing.path)),
        "endpoint": settings.endpoint,
        "ledger_sets": [
            {"process": holding.process, "since": holding.since, "owner": _owner(holding), **_counts([holding], now)}
            for holding in found.holdings
        ],
        "totals": {
            "living": _counts([holding for holding in found.holdings if holding.living], now),
            "dead": _counts(found.left(), now),
            "all": _counts(found.holdings, now),
            "refused": sum(found.refused.values()),
        },
        "refused": {short(reason): count for reason, count in sorted(found.refused.items())},
        "left_alone": [{"file": short(name), "why": why} for name, why in found.problems()],
        "other_accounts": found.neighbours,
    }


def _owner(holding: Holding) -> str:
    return "living" if holding.living else "dead"


def _counts(holdings: list[Holding] | tuple[Holding, ...], now: float) -> dict[str, Any]:
    """Return the sums of some holdings."""
    oldest = min((holding.oldest for holding in holdings if holding.oldest is not None), default=None)
    return {
        "owed": sum(holding.owed for holding in holdings),
        "sent": sum(holding.sent for holding in holdings),
        "torn": sum(holding.torn for holding in holdings),
        "oldest_seconds": None if oldest is None else round(max(0.0, now - oldest), 3),
        "bytes": sum(holding.room for holding in holdings),
    }


def _tell_holdings(found: Census) -> None:
    """Write who owes what, as a table, and what to do about it."""
    if not found.holdings:
        click.echo("Nothing waits.")
        return
    now, rows = time.time(), []
    for name, since, owner, some in (
        *((str(one.process)[:12], one.since, _owner(one), [one]) for one in found.holdings),
        ("together", "", "", list(found.holdings)),
    ):
        sums = _counts(some, now)
        numbers = (str(sums["owed"]), str(sums["sent"]), str(sums["torn"]))
        rows.append((name, since or "", owner, *numbers, in_time(sums["oldest_seconds"]), in_bytes(sums["bytes"])))
    write_table(("process", "since", "owner", "owed", "sent", "torn", "oldest", "room"), rows, left=3)
    click.echo("\nsent: a call was made and not answered yet, or its process died meanwhile; part of what is owed.")
    living = sum(one.owed for one in found.holdings if one.living)
    left = sum(one.owed for one in found.left())
    if living:
        click.echo(f"{living} owed by living processes, which deliver them.")
    if left:
        click.secho(f"{left} left behind by dead processes: the next process delivers them, or `ocm-otel spool drain`.",
                    fg="yellow")  # fmt: skip


def _tell_refused(found: Census, standing: Standing) -> None:
    """Write what the API would not have, by reason."""
    if not found.refused:
        return
    total = sum(found.refused.values())
    click.secho(f"\n{total} refused, and kept with their reasons in {plain(str(standing.path))}/refused.jsonl "
                "(`ocm-otel spool show`):", fg="yellow")  # fmt: skip
    reasons = sorted(found.refused.items(), key=lambda item: -item[1])
    for reason, count in reasons[:_SHOWN]:
        click.echo(f"  {count}  {short(reason)}")
    if more := reasons[_SHOWN:]:
        click.echo(f"  {sum(count for _, count in more)}  for {len(more)} other reasons")


def _tell_problems(found: Census) -> None:
    """Write which files are left alone."""
    problems = found.problems()
    if not problems:
        return
    click.secho(f"\n{len(problems)} left alone; look at them, and remove them if nobody misses them:", fg="yellow")
    for name, why in problems[:_SHOWN]:
        click.echo(f"  {short(name)}: {why}")
    if len(problems) > _SHOWN:
        click.echo(f"  and {len(problems) - _SHOWN} more")


def _tell_neighbours(found: Census) -> None:
    """Write that there is more in the spool than this account's."""
    if found.neighbours:
        click.echo(f"\n{found.neighbours} other accounts (another endpoint or key) have ledgers in this spool.")


# --- drain -------------------------------------------------------------------------------------------------


@spool.command(epilog="Example: ocm-otel spool drain --timeout 300")
@click.option("--timeout", default=60.0, show_default=True, metavar="SECONDS", type=click.FloatRange(0, 86_400),
              help="Seconds that it may take.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write the books as JSON; progress goes to standard error.")
def drain(*, timeout: float, as_json: bool) -> None:
    """Deliver what dead processes left behind.

    Living processes deliver what is theirs, and are left alone. Exit code 0 if nothing is left behind, 1 if
    something is.
    """
    from ocm_otel._drain import Drain  # the outbox, and in the end httpx

    try:
        settings, standing = of_the_account()
        settings = replace(settings, durability="fsync" if settings.durability == "fsync" else "disk", schedule_delay=0)
        run = Drain(settings, standing)
        run.work(timeout)
        found = standing.census()
    except UnusableSpool as error:
        raise click.ClickException(f"the spool cannot be used: {plain(str(error))}. {REMEDY}") from None
    left, unread = sum(one.owed for one in found.left()), [one for one in found.left() if one.unread]
    books = run.books
    if as_json:
        living = sum(one.owed for one in found.holdings if one.living)
        write_json({"done": not left and not unread, "left": left, "left_alone": len(unread), "living": living,
                    "adopted": books.adopted, "delivered": books.delivered,
                    "refused": books.reasons.get("refused", {}), "dropped": books.reasons.get("dropped", {}),
                    "ambiguous": books.ambiguous, "retried": books.reasons.get("retried", {}),
                    "said": run.said, "seconds": round(run.seconds, 3)})  # fmt: skip
    else:
        _tell_drained(run, found, left)
    if left or unread:
        raise SystemExit(1)


def _tell_drained(run: Drain, found: Census, left: int) -> None:
    """Write the books of a drain in words, and what to do if something is left."""
    books = run.books
    if not books.adopted and not left:
        click.echo("Nothing is left behind by dead processes.")
    else:
        click.secho(f"{books.adopted} taken over: {books.delivered} delivered, {books.refused} refused, "
                    f"{books.dropped} dropped; {left} are left.", fg="red" if left else "green")  # fmt: skip
    for column in ("refused", "dropped"):
        for reason, count in books.reasons.get(column, {}).items():
            click.echo(f"  {column}: {count}  {short(reason)}")
    if books.ambiguous:
        click.echo(f"  {books.ambiguous} calls may have counted although no answer said so.")
    for reason, count in Counter(books.reasons.get("retried", {})).most_common():
        click.echo(f"  {count} calls failed: {short(reason)}")
    if left:
        click.echo(
            "Nothing is lost: it waits on disk. Mend what stands in the way and run this again, with a\n"
            "longer --timeout if time was all it lacked; the next process of the account delivers it, too."
        )
    if living := sum(one.owed for one in found.holdings if one.living):
        click.echo(f"{living} are owed by living processes, which deliver them themselves.")
    _tell_problems(replace(found, strangers={}, holdings=tuple(found.left())))
