"""`ocm-otel emulator`: the events API on this machine, well or unwell, and where its report page is.

It hands options over and words what went wrong; what the emulator does is the emulator's own business.
"""

from __future__ import annotations

from typing import Any

import click

from ocm_otel._setting import PREFIX
from ocm_otel._terminal import plain

_EXTRA = ("starlette", "uvicorn", "opentelemetry.instrumentation")


def extra_missing(error: ImportError) -> click.UsageError:
    """Return what to say of a missing extra.

    Raises:
        ImportError: it is not about an extra.
    """
    name = error.name or ""
    if not any(name == known or name.startswith(f"{known}.") for known in _EXTRA):
        raise error
    return click.UsageError(f"this needs {name}, which is not installed: pip install 'ocm-otel[emulator]'")


@click.command(epilog="Example: ocm-otel emulator --db events.sqlite --fault '503 rate=10%'")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8377, show_default=True, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option("--key", "keys", multiple=True, metavar="TEXT",
              help="A key to accept, made up for this; repeatable.  [default: demo-key]")  # fmt: skip
@click.option("--db", "path", metavar="FILE", help="Keep what comes in in this SQLite file; else it is in memory.")
@click.option("--latency", default=0.0, metavar="MS", type=click.FloatRange(0, 3_600_000),
              help="Milliseconds before each answer.")  # fmt: skip
@click.option("--jitter", default=0.0, metavar="MS", type=click.FloatRange(0, 3_600_000),
              help="Up to so many more, thrown for each answer.")  # fmt: skip
@click.option("--fault", "faults", multiple=True, metavar="LINE",
              help="Give some calls a fault, such as '429 retry-after=2 rate=5%'; repeatable.")  # fmt: skip
@click.option("--faults", "plan", metavar="FILE", help="A plan of faults, as JSON.")
@click.option("--seed", type=click.IntRange(0), metavar="N",
              help="Of the dice: the same seed and order of calls give the same faults.")  # fmt: skip
@click.option("--durations", metavar="FILE",
              help="How long courses take, as CSV (course_id,hours), for the hours of training.")  # fmt: skip
@click.option("--refusal-status", default="400", show_default=True, type=click.Choice(["200", "400"]),
              help="The status of NO-TYPE-PARAMETER, which the vendor's guide does not name.")  # fmt: skip
def emulator(*, keys: tuple[str, ...], latency: float, jitter: float, refusal_status: str, **given: Any) -> None:
    """Run the events API on this machine.

    It runs until Ctrl-C, and has a report page that shows what came in, as it comes in.

    A fault is a status, or one of quota, key-refused, address-refused, redirect, wrong-json, slow-body,
    split-body, black-hole, reset-before and reset-after; with rate=10%, after=100 (calls) or after=10s,
    for=5 or for=5s, times=1 and latency=3s. All about them is in docs/emulator.md.
    """
    try:
        from ocm_otel.emulator import serve
    except ImportError as error:
        raise extra_missing(error) from None
    given_key = "demo-key" if not keys else "'the key that you gave'"

    def ready(running: Any) -> None:
        click.secho("The events API is emulated until Ctrl-C.", bold=True)
        click.echo(f"\n  API          {running.endpoint}\n  report page  {running.url}/\n")
        click.echo(f"export {PREFIX}ENDPOINT={running.endpoint}\nexport {PREFIX}API_KEY={given_key}")

    try:
        serve(keys=keys or ("demo-key",), latency=latency / 1000, jitter=jitter / 1000,
              refusal_status=int(refusal_status), ready=ready, **given)  # fmt: skip
    except ValueError as error:
        raise click.UsageError(plain(str(error))) from None
    except OSError as error:
        raise click.ClickException(plain(error.strerror or str(error))) from None
