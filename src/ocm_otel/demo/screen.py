"""What the person at the terminal sees of the demo: lines of at most 80 columns, written as things happen.

It is shown line by line, flushed, so that it reads the same in a pipe. This room formats; what happened is
told to it.
"""

from __future__ import annotations

import logging
import textwrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections import Counter

    from ocm_otel._books import Snapshot
    from ocm_otel.demo.visitors import Act, Fact

WIDTH = 80
_ROW = "  {:<6} {:<4} {:<22} {:<11} {:<16} {}"

NEXT_STEPS = """\
Your own application under OpenTelemetry's zero-code command, and the real API:

  pip install 'ocm-otel[auto]'
  export OTEL_EXPORTER_OCM_API_KEY_FILE=ocm.key   # a file that holds your key
  export OTEL_TRACES_EXPORTER=ocm                 # beside another: otlp,ocm
  export OTEL_LOGS_EXPORTER=ocm
  opentelemetry-instrument python app.py

and in its views the tags, for instance:
  span.set_attributes({"ocm.event_type": "course-save", "ocm.course_id": 7})
"""


def say(text: str = "", **style: bool | str) -> None:
    """Write a text and send it off; colours show on a terminal only."""
    click.secho(text, **style)  # type: ignore[arg-type] # names of styles, as click has them


def heading(text: str) -> None:
    """Write what comes next."""
    say()
    say(text, bold=True)


def columns() -> None:
    """Write what the columns of `act` are."""
    say(_ROW.format("who", "", "request", "tagged", "event", "arrived after"), dim=True)


def act(done: Act, arrived: float | None = None) -> None:
    """Write one request and what became of it.

    Args:
        done: the request.
        arrived: seconds from the request to the event's arrival at the API, None if it is not there yet.
    """
    if done.fact is None:
        kind, after = "-", "no event" if done.tagged else ""
    else:
        kind, after = done.fact.type, "waits" if arrived is None else f"{arrived * 1000:4.0f} ms"
    style: dict[str, bool | str] = {"fg": "yellow"} if after in ("waits", "no event") else {}
    say(_ROW.format(done.person, done.method, done.path, done.tagged, kind, after).rstrip(), **style)


class Voice(logging.Formatter):
    """Writes what the library has to tell as it would stand in the application's log, folded."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of the log."""
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        return textwrap.fill(text, WIDTH, initial_indent="    log: ", subsequent_indent=" " * 9)


class Sheet:
    """The screen as a stream, for `logging.StreamHandler`."""

    def write(self, text: str) -> None:
        """Write a text that ends as it ends."""
        click.secho(text, fg="yellow", nl=False)


def books(now: Snapshot) -> None:
    """Write the outbox's books."""
    sign = "=" if now.balanced else "IS NOT"
    say(
        f"  accepted {now.accepted} {sign} delivered {now.delivered} + refused {now.refused} "
        f"+ dropped {now.dropped} + waiting {now.waiting}{'   balanced' if now.balanced else ''}"
    )
    say(f"  retried calls {now.retried}, turned away {now.turned_away}, ambiguous {now.ambiguous}")
    incomplete = sum(now.reasons.get("incomplete", {}).values())
    invalid = sum(now.reasons.get("invalid", {}).values())
    say(f"  wrong tags: {incomplete} without its course (sent), {invalid} without a type (no event)")


def verdict(tagged: int, arrived: int, missing: Counter[Fact], surplus: Counter[Fact], untagged: int) -> None:
    """Write whether what was tagged is what arrived."""
    say()
    if missing or surplus:
        say(f"{tagged} tagged, {arrived} arrived.", fg="red", bold=True)
        for fact, times in missing.items():
            say(f"  did not arrive, {times} times: {fact}", fg="red")
        for fact, times in surplus.items():
            say(f"  arrived and should not have, {times} times: {fact}", fg="red")
    else:
        say(f"{tagged} tagged, {arrived} arrived, each once.", fg="green", bold=True)
    say(f"untagged spans: {untagged}, none sent")
