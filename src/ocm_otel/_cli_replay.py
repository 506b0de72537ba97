"""`ocm-otel replay`: the events of logs that somebody kept. It shows first, and sends only by order.

It words what the rooms below it find and do. No id is shown, for logs are other people's.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ocm_otel._account import Account, UnusableSpool
from ocm_otel._census import Standing
from ocm_otel._cli_refused import REMEDY, of_the_account
from ocm_otel._recording import COLUMNS, Recording, Unreadable
from ocm_otel._replay_words import Run, as_json_value, tell
from ocm_otel._replayed import Replayed, UnknownState
from ocm_otel._terminal import plain, short, write_json

if TYPE_CHECKING:
    from ocm_otel._replay import Sending
    from ocm_otel._settings import Settings

#: Events a second, where no MAX_RATE is set.
_CALM = 50.0
_LOOK_EVERY = 0.2
_LINE_EVERY = 5.0


@click.command(epilog="Example: ocm-otel replay app.log.1.gz app.log --send --rate 20")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--send", is_flag=True, help="Send them. Without this, it is only shown what would be sent.")
@click.option("--rate", type=click.FloatRange(0.01, 10_000), metavar="N",
              help=f"Events a second at most.  [default: MAX_RATE, else {_CALM:.0f}]")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["auto", "json", "csv"]), default="auto", show_default=True,
              help="json: a logger's, or OTLP of a Collector's file exporter; csv: a table with heads.")  # fmt: skip
@click.option("--column", "columns", multiple=True, metavar="FIELD=NAME",
              help=f"A column of a table: {', '.join(COLUMNS)}; repeatable.")  # fmt: skip
@click.option("--timeout", default=60.0, show_default=True, metavar="SECONDS", type=click.FloatRange(0, 86_400),
              help="Seconds without any delivery after which it ends.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON; progress goes to standard error.")
def replay(files: tuple[str, ...], *, send: bool, rate: float | None, form: str, columns: tuple[str, ...],
           timeout: float, as_json: bool) -> None:  # fmt: skip
    """Send the tagged lines of kept logs.

    FILE is a log, a Collector's file, or a table; packed with gzip or not; - is standard input. Each event is sent
    once, however often this is run, and whatever ends it: on the same file, on a copy under another name, on one that
    has grown since. The API counts them now: its events have no time. Exit code 0 if all that was found is delivered
    or refused (or was only to be shown), 1 if not.
    """
    given = dict(_column(text) for text in columns)
    settings, standing = of_the_account_or_fail()
    rate = rate or settings.max_rate or _CALM
    run = Run()
    with _told_plainly():
        if send:
            account = Account(settings.spool(), settings.endpoint, settings.key())
            replayed = Replayed(account)
            try:
                _send(run, files, form, given, settings, account, replayed, rate, timeout)
            finally:
                replayed.close()
        else:
            _look(run, files, form, given, settings, Replayed(standing, look=True))
    if as_json:
        write_json(as_json_value(run, sent=send))
    else:
        tell(run, files, rate, sent=send)
    if run.problems or run.why or (send and run.survey.events > run.handed):
        raise SystemExit(1)


def of_the_account_or_fail() -> tuple[Settings, Any]:
    """Return the settings and the account's directory; end the command if they cannot be used."""
    with _told_plainly():
        return of_the_account()


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Say what to do where the spool cannot be used."""
    try:
        yield
    except UnusableSpool as error:
        raise click.ClickException(f"the spool cannot be used: {plain(str(error))}. {REMEDY}") from None
    except BlockingIOError:
        raise click.ClickException(
            "another `ocm-otel replay` of this account is under way: wait for its end."
        ) from None
    except UnknownState as error:
        raise click.ClickException(plain(str(error))) from None
    except OSError as error:
        culprit = plain(str(error.filename or "the spool"))
        raise click.ClickException(f"{culprit}: {error.strerror}. Mend that, and run this again: it goes on where it "
                                   "stopped.") from None  # fmt: skip


def _column(text: str) -> tuple[str, str]:
    """Return which column stands for which field."""
    name, _, column = text.partition("=")
    if name not in COLUMNS or not column:
        raise click.UsageError(f"--column {short(text)}: FIELD=NAME is needed, FIELD one of {', '.join(COLUMNS)}")
    return name, column


def _each(
    run: Run, files: tuple[str, ...], form: str, columns: dict[str, str], replayed: Replayed, settings: Settings,
    progress: _Progress,
) -> Iterator[tuple[int, str]]:  # fmt: skip
    """Yield the identity and the query of each event in the files that was not replayed."""
    for name in files:
        shown = "standard input" if name == "-" else short(name, 80)
        try:
            recording = Recording(name, form, columns, progress.look)
            progress.begin(recording)
            for fact in recording.facts():
                query = run.survey.take(fact, shown, replayed, settings)
                if query is not None:
                    yield fact.identity, query
                progress.look()
            run.torn += [shown] * recording.torn
            run.survey.lines += recording.lines
        except Unreadable as error:
            run.problems[shown] = plain(str(error))
        except (OSError, EOFError, zlib.error) as error:
            run.problems[shown] = plain(getattr(error, "strerror", None) or str(error))


def _look(run: Run, files: tuple[str, ...], form: str, columns: dict[str, str], settings: Settings,
          replayed: Replayed) -> None:  # fmt: skip
    """Only look."""
    with _Progress("reading") as progress:
        for _ in _each(run, files, form, columns, replayed, settings, progress):
            pass


def _send(run: Run, files: tuple[str, ...], form: str, columns: dict[str, str], settings: Settings,
          account: Account, replayed: Replayed, rate: float, timeout: float) -> None:  # fmt: skip
    """Hand over what is found, and deliver it."""
    from ocm_otel._replay import Sending, Stalled  # the outbox, and in the end httpx

    with _Progress("replaying") as progress:
        left = [
            one.path
            for one in Standing(settings.spool(), settings.endpoint, settings.key()).census().left()
            if one.owed
        ]
        sending = Sending(settings, account, replayed, rate, timeout, lambda: progress.look(sending), left)
        with sending:
            try:
                for identity, query in _each(run, files, form, columns, replayed, settings, progress):
                    sending.add(identity, query)
                sending.finish()
            except Stalled:
                run.why = f"nothing was delivered for {timeout:.0f} s"
            except KeyboardInterrupt:
                run.why = "it was interrupted"
            finally:
                run.handed = sending.handed
        progress.look(sending)
    run.books = sending.books


class _Progress:
    """A bar over the files' bytes where somebody watches, else a line now and then."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._watched = sys.stderr.isatty()
        self._bar: Any = None
        self._recording: Recording | None = None
        self._next = time.monotonic() + (_LOOK_EVERY if self._watched else _LINE_EVERY)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def begin(self, recording: Recording) -> None:
        """Show another file."""
        self._end()
        self._recording = recording
        if self._watched and recording.size:
            self._bar = click.progressbar(length=recording.size, label=self._label, file=sys.stderr)
            self._bar.__enter__()

    def look(self, sending: Sending | None = None) -> None:
        """Show how far it is, if it is time."""
        while sending is not None and sending.heard.lines:
            click.secho(sending.heard.lines.popleft(), fg="yellow", err=True)
        now = time.monotonic()
        if now < self._next or self._recording is None:
            return
        self._next = now + (_LOOK_EVERY if self._watched else _LINE_EVERY)
        done = self._recording.read_so_far()
        if self._bar is not None:
            self._bar.update(done - self._bar.pos)
        elif not self._watched:
            click.echo(f"{self._label}: {done} of {self._recording.size or 'unknown'} bytes read", err=True)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.length - self._bar.pos)
            self._bar.__exit__(None, None, None)
            self._bar = None
