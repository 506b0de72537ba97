"""`ocm-otel spool purge`: events thrown away for good, or all that there is of one person.

It edits the refused file, and has the ledgers of the account erased; it makes no call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ocm_otel._cli_refused import choose, opened
from ocm_otel._erasure import erase, remains
from ocm_otel._event import veiled
from ocm_otel._refused import identity, is_of, may_name
from ocm_otel._terminal import plain, short

if TYPE_CHECKING:
    from pathlib import Path

    from ocm_otel._journal import Refused


@click.command(epilog="Example: ocm-otel spool purge --user ann")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--user", metavar="ID", help="All events of this user, for an erasure request.")
@click.option("--reason", metavar="REASON", help="All with this reason.")
@click.option("--all", "everything", is_flag=True, help="All refused events.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(ids: tuple[str, ...], *, user: str | None, reason: str | None, everything: bool, yes: bool) -> None:
    """Throw refused events away for good; of a user, all events.

    With --user what still waits to be delivered is erased, too, in the ledgers of living processes as well, so that
    nothing in the account's directory names the user. Without, what waits is not touched. A line that cannot be read
    stays, unless it names the user. Exit code 1 if there was nothing to throw away, or something came in meanwhile.
    """
    user = user.strip() if user is not None else None
    if user == "":
        raise click.UsageError("--user is blank: name the user")
    with opened() as (settings, file, events):
        key = settings.user_id_hash_key
        users = () if user is None else (user, veiled(user, key)) if key else (user,)
        chosen, unknown = choose(events, ids, everything=everything, reason=reason, users=users)
        names, gone = {identity(one) for one in chosen}, 0
        if (chosen or user is not None) and not yes:
            more = "" if user is None else ", and erase what waits of this user"
            text = f"Throw {len(chosen)} of {len(events)} refused events away for good{more}?"
            click.confirm(text, abort=True, err=True)

        def keep(refused: Refused) -> Refused | None:
            nonlocal gone
            over = identity(refused) in names or is_of(refused, *users)
            gone += over
            return None if over else refused

        def keep_odd(line: bytes) -> bool:
            nonlocal gone
            over = any(may_name(line, one) for one in users)
            gone += over
            return not over

        erased, left = 0, []
        if file.path.parent.is_dir():
            file.edit(keep, keep_odd)
            if users:
                erased, left = erase(file.path.parent, *users), remains(file.path.parent, *users)
    for name in unknown:
        click.echo(f"There is no refused event {short(name)}: `ocm-otel spool show` lists them.")
    _tell(gone, erased, left, of_user=user is not None)
    if not (gone or erased) or unknown or left:
        raise SystemExit(1)


def _tell(gone: int, erased: int, left: list[Path], *, of_user: bool) -> None:
    """Write what was thrown away, and what to do about the rest."""
    waiting = f", and {erased} erased that waited" if of_user else ""
    click.secho(f"{gone} refused events thrown away{waiting}.", fg="green" if gone or erased else "red")
    if not of_user:
        click.echo("Events that still wait in ledgers are not touched: `ocm-otel spool list` shows if there are any.")
    for path in left:
        click.secho(f"{plain(str(path))} names the user: an event came in meanwhile. Run this again.", fg="red")
    if of_user and not left:
        click.echo("Nothing in the account's directory names the user. What was sent before is with the API's vendor;\n"
                   "what a living process is sending in this moment may still arrive.")  # fmt: skip
