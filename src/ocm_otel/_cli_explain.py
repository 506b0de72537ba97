"""`ocm-otel explain -- COMMAND`: runs a program with the switch on, and adds up what its processes told.

What the program writes to standard error is passed on as it comes, the lines of `_explain` among it; this room only
reads along. So it hears of every process that the program starts, and of one that is killed, too.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import click

from ocm_otel._setting import PREFIX
from ocm_otel._terminal import plain, short, write_table, wrong_use
from ocm_otel._variables import environment

_LINE = re.compile(rb"ocm-otel explain \[(\d+)\] (\S{1,40}) (\S{1,200}) #(\d+)\.(\d+): (in all: )?")
_LONGEST_LINE = 16 * 1024
#: Kinds of decisions, of all processes together, that are remembered.
_MOST = 10_000
#: Seconds that processes which outlive the program, and hold its standard error, are listened to.
_AFTER = 0.5
#: Of a kind this many are told one by one; the number of one that was told more often may be out of date.
_EXACT = 5
#: Rows of the table.
_SHOWN = 50
_ORDER = ("event", "mended", "duplicate", "refused", "turned-away", "skipped", "lost", "near-miss")


class Heard:
    """What the processes of a program told of its tags, added up."""

    def __init__(self) -> None:
        self._rest = b""
        self._kinds: dict[tuple[bytes, bytes], tuple[str, str, int, bool]] = {}

    def read(self, piece: bytes) -> None:
        """Read along with a piece of what was written to standard error."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        for line in lines:
            if (found := _LINE.search(line)) and len(self._kinds) < _MOST:
                process, outcome, type, number, count, final = found.groups()
                exact = final is not None or int(count) <= _EXACT
                told = (outcome.decode(errors="replace"), unquote(type.decode(errors="replace")), int(count), exact)
                self._kinds[process, number] = told

    def sums(self) -> list[tuple[str, str, int, bool]]:
        """Return outcome, type, how many, and whether that is all there were, in the order of a table."""
        sums: dict[tuple[str, str], tuple[int, bool]] = {}
        for outcome, type, count, exact in self._kinds.values():
            before, sure = sums.get((outcome, type), (0, True))
            sums[outcome, type] = before + count, sure and exact
        rank = {outcome: at for at, outcome in enumerate(_ORDER)}
        rows = [(outcome, type, count, exact) for (outcome, type), (count, exact) in sums.items()]
        return sorted(rows, key=lambda row: (rank.get(row[0], len(_ORDER)), row[0], row[1]))


@click.command(
    epilog="Example: ocm-otel explain -- python app.py",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the sums to this file as well, as JSON.")  # fmt: skip
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
def explain(command: tuple[str, ...], *, report: Path | None) -> None:
    """Run a program, and tell what becomes of its tags.

    For each span and line that bears a tag, or nearly one, what became of it and why; at the end the sums. All of
    that goes to standard error; events are sent as usual. Ids are shown shortened, and the key is not. The same
    without this command, in any process: OTEL_EXPORTER_OCM_EXPLAIN=true.
    Exit code: the program's own; 2 if it cannot be started.
    """
    heard = Heard()
    try:
        code = _run(list(command), heard)
    except OSError as error:
        raise wrong_use(OSError(f"{command[0]} cannot be started: {error.strerror}")) from None
    _tell(heard, code)
    if report is not None:
        _write(report, heard, code)
    raise SystemExit(code if code >= 0 else 128 - code)


def _run(command: list[str], heard: Heard) -> int:
    """Run the program with the switch on, passing on its standard error; return what it ended with.

    Raises:
        OSError: it cannot be started.
    """
    variables = {**environment(), f"{PREFIX}EXPLAIN": "true"}
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE) as process:  # noqa: S603 - what was asked for
        # Ctrl-C reaches the program by itself, as it is in the foreground, too; SIGTERM does not.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
        if process.stderr is not None:
            _pass_on(process, process.stderr, heard)
        return process.wait()


def _pass_on(process: subprocess.Popen[bytes], source: IO[bytes], heard: Heard) -> None:
    """Write what comes to our own standard error, until nobody has the other end, or the program has ended."""
    ended_at = None
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while True:
            if selector.select(0.1):
                piece = os.read(source.fileno(), 64 * 1024)
                if not piece:
                    return
                sys.stderr.buffer.write(piece)
                sys.stderr.buffer.flush()
                heard.read(piece)
            elif ended_at is None and process.poll() is not None:
                ended_at = time.monotonic()
            elif ended_at is not None and time.monotonic() - ended_at > _AFTER:
                return


def _tell(heard: Heard, code: int) -> None:
    """Write the sums for a person."""
    ended = f"exit code {code}" if code >= 0 else f"signal {-code}"
    click.secho(f"\nThe program ended ({ended}).", bold=True, err=True)
    rows = [(outcome, short(type, 40), str(count) if exact else f"at least {count}")
            for outcome, type, count, exact in heard.sums()]  # fmt: skip
    if not rows:
        click.echo("No tag was seen, and nothing like one. Is one of our doors there? `ocm-otel check` says, under "
                   "`opentelemetry-instrument` or with --app.", err=True)  # fmt: skip
        return
    write_table(("outcome", "type", "records"), rows[:_SHOWN], left=2, err=True)
    if len(rows) > _SHOWN:
        click.echo(f"and {len(rows) - _SHOWN} more kinds; --json FILE writes all of them", err=True)
    click.echo("\nevent, mended: accepted, not yet delivered; `ocm-otel spool list` shows what waits.", err=True)


def _write(report: Path, heard: Heard, code: int) -> None:
    """Write the sums for a program."""
    sums = [
        {"outcome": outcome, "type": None if type == "-" else plain(type), "count": count, "at_least": not exact}
        for outcome, type, count, exact in heard.sums()
    ]
    try:
        report.write_text(json.dumps({"exit": code, "sums": sums}, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{plain(str(report))}: {error.strerror}") from None
