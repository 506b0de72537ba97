"""`ocm-otel spool retry`: refused events, corrected by a person and sent again, one call after the other.

An event is marked in the refused file before its call, and removed or put back after the answer: a death on the way
leaves a mark and not a second count. Whoever bears the mark may have counted, and is sent again only by order.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import click

from ocm_otel._clean import InvalidEvent
from ocm_otel._cli_refused import IDS, choose, opened
from ocm_otel._event import Event
from ocm_otel._refused import AMBIGUOUS, DOUBTFUL, IN_DOUBT, RefusedFile, identity
from ocm_otel._tally import AMBIGUOUS as UNANSWERED
from ocm_otel._tally import DELIVERED, Tally
from ocm_otel._terminal import plain, short, write_json, wrong_use
from ocm_otel._verdict import Fate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ocm_otel._client import Connection
    from ocm_otel._journal import Refused
    from ocm_otel._settings import Settings
    from ocm_otel._verdict import Verdict

#: Calls a second, where no MAX_RATE is set.
_CALM = 20.0
#: Calls in a row without an answer about the event, after which the rest is left for later.
_STRIKES = 3


@click.command(epilog="Example: ocm-otel spool retry --reason no-type-parameter --type course-save")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All refused events.")
@click.option("--reason", metavar="REASON", help="All with this reason.")
@click.option("--type", "type_", metavar="TYPE", help="The right type.")
@click.option("--course-id", metavar="ID", help="The right course; an empty text takes it away.")
@click.option("--user-id", metavar="ID", help="The right user, likewise.")
@click.option("--entity-id", metavar="ID", help="The right entity, likewise.")
@click.option("--in-doubt", is_flag=True, help="Also those that may have counted: they may then count twice.")
@click.option("--json", "as_json", is_flag=True, help="Write what became of each as JSON.")
def retry(ids: tuple[str, ...], *, everything: bool, reason: str | None, in_doubt: bool, as_json: bool,
          type_: str | None, **given: str | None) -> None:  # fmt: skip
    """Correct refused events, and send them again.

    Only what is given is changed. What is counted leaves the file; all else stays in it as it was. The first
    answer that says that key or address are wrong ends it. Exit code 0 if all chosen were counted, 1 if not.
    """
    changes = {name: value for name, value in {"type": type_, **given}.items() if value is not None}
    try:
        Event(changes.get("type", "any"), **{name: changes.get(name) or None for name in IDS})
    except InvalidEvent as error:
        raise wrong_use(error) from None
    with opened() as (settings, file, events):
        chosen, unknown = choose(events, ids, everything=everything, reason=reason)
        ready = [one for one in chosen if in_doubt or one.reason not in DOUBTFUL]
        sent = _send_all(settings, file, ready, changes, quiet=as_json)
    done = Counter(one["delivered"] for one in sent)
    left = len(chosen) - done[True]
    none = not chosen and not unknown and not everything
    doubtful = [identity(one) for one in chosen if one.reason in DOUBTFUL and not in_doubt]
    if as_json:
        write_json({"done": not (left or unknown or none), "chosen": len(chosen), "delivered": done[True], "left": left,
                    "in_doubt": doubtful, "unknown": unknown, "events": sent})  # fmt: skip
    else:
        _sum_up(len(chosen), left, len(doubtful), unknown)
    if left or unknown or none:
        raise SystemExit(1)


def _sum_up(chosen: int, left: int, doubtful: int, unknown: list[str]) -> None:
    """Write how it went, and what to do about the rest."""
    for name in unknown:
        click.echo(f"There is no refused event {short(name)}: `ocm-otel spool show` lists them.")
    if doubtful:
        click.echo(f"{doubtful} may have counted already and were not sent: look into the vendor's report, then\n"
                   "`ocm-otel spool retry --in-doubt`, or `ocm-otel spool purge`.")  # fmt: skip
    if chosen:
        rest = f"{left} are left in the refused file: `ocm-otel spool show`." if left else "none is left."
        click.secho(f"{chosen - left} of {chosen} delivered; {rest}", fg="red" if left else "green")
    elif not unknown:
        click.echo("There is no such refused event: `ocm-otel spool show` lists them.")


def _send_all(
    settings: Settings, file: RefusedFile, chosen: list[Refused], changes: Mapping[str, str], *, quiet: bool
) -> list[dict[str, Any]]:
    """Send events one by one, tell what became of each, and stop when the next would fare no better.

    Raises:
        click.ClickException: somebody else is at it.
        OSError: the refused file cannot be written.
    """
    if not chosen:
        return []
    from ocm_otel._client import Client

    done: list[dict[str, Any]] = []
    with file.alone() as alone:
        if not alone:
            raise click.ClickException("another `ocm-otel spool retry` of this account is under way: wait for its end.")
        if settings.in_the_clear:
            click.secho("Warning: key and ids travel unencrypted to another machine", fg="yellow", err=True)
        connection, strikes = Client(settings, settings.key()).connect(), 0
        tally = Tally(file.path.parent)
        try:
            for refused in chosen:
                if done:
                    time.sleep(1 / (settings.max_rate or _CALM))
                done.append(_send_one(file, refused, changes, connection, settings.timeout / 1000, tally))
                _tell(done[-1], quiet=quiet)
                fate = done[-1]["fate"]
                strikes = strikes + 1 if fate == Fate.RETRY.value else 0
                if strikes == _STRIKES or fate in (Fate.LOCKED_OUT.value, Fate.THROTTLED.value):
                    break
        finally:
            connection.close()
            tally.close()
    if (rest := len(chosen) - len(done)) and not quiet:
        click.echo(f"Stopped: the other {rest} would fare no better now. Mend that, and run this again.")
    return done


def _send_one(
    file: RefusedFile, refused: Refused, changes: Mapping[str, str], connection: Connection, timeout: float,
    tally: Tally,
) -> dict[str, Any]:  # fmt: skip
    """Mark an event, send it, and remove it or put it back; returns what became of it."""
    told: dict[str, Any] = {"id": identity(refused), "delivered": False, "fate": None, "ambiguous": False}
    said = {**dict(parse_qsl(refused.query)), **changes}
    try:
        event = Event(said.get("type", ""), **{name: said.get(name) or None for name in IDS})
    except InvalidEvent as error:
        return {**told, "reason": "invalid", "words": f"It cannot be sent: {error}."}
    marked = replace(refused, query=event.query(), reason=IN_DOUBT, attempts=refused.attempts + 1)
    if not file.exchange(refused, marked):
        return {**told, "reason": "changed", "words": "Somebody changed or removed it meanwhile; it was not sent."}
    verdict = connection.send(marked.query, timeout)
    if verdict.fate is Fate.DELIVERED or verdict.ambiguous:
        tally.add(marked.query, DELIVERED if verdict.fate is Fate.DELIVERED else UNANSWERED)
    after = _after(refused, marked, verdict)
    file.exchange(marked, after)
    return {**told, "id": identity(after or refused), "delivered": after is None, "fate": verdict.fate.value,
            "ambiguous": verdict.ambiguous, "reason": verdict.reason, "words": verdict.words}  # fmt: skip


def _after(refused: Refused, marked: Refused, verdict: Verdict) -> Refused | None:
    """Return what stays in the file after an answer, None for nothing.

    A correction that did not help is not kept, so that a wrong one for many events spoils nothing; one that may
    have counted is, for it is what may have counted. Who was in doubt before stays so.
    """
    if verdict.fate is Fate.DELIVERED:
        return None
    if verdict.ambiguous:
        return replace(marked, reason=AMBIGUOUS)
    if verdict.fate is Fate.REFUSED and refused.reason not in DOUBTFUL:
        return replace(refused, reason=verdict.reason, refused_at=time.time(), attempts=marked.attempts)
    return replace(refused, attempts=marked.attempts)


def _tell(told: Mapping[str, Any], *, quiet: bool) -> None:
    """Write what became of one event."""
    if quiet:
        return
    word = "delivered" if told["delivered"] else "not delivered"
    click.secho(f"{told['id']}  {word}: {plain(told['words'])} [{told['reason']}]",
                fg="green" if told["delivered"] else "red")  # fmt: skip
    if told["ambiguous"]:
        click.echo("  It may have counted all the same; it is sent again only with --in-doubt.")
