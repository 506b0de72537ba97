"""The command `ocm-otel`: what a person asks for at a terminal, and what a program reads with ``--json``.

Each command has a room of its own, which is imported when the command is asked for.
Exit codes: 0 done, 1 the answer is no, 2 wrong use. The extras are imported by the commands that need them.
"""

from __future__ import annotations

from importlib import import_module

import click

#: The commands that have a room of their own, called after them.
_ROOMS = ("check", "emulator", "explain", "gateway", "kafka", "replay", "report", "send", "settings", "spool")


class _Commands(click.Group):
    """Commands whose rooms are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names."""
        return sorted({*super().list_commands(ctx), *_ROOMS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, None if there is none."""
        if cmd_name in _ROOMS and cmd_name not in self.commands:
            self.add_command(getattr(import_module(f"ocm_otel._cli_{cmd_name}"), cmd_name))
        return super().get_command(ctx, cmd_name)


def _set_colour(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:  # https://no-color.org: any text but the empty one
        context.color = False


@click.group(cls=_Commands, epilog="Example: ocm-otel demo", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ocm-otel")
@click.option("--no-color", is_flag=True, flag_value="yes", type=str, default=None, envvar="NO_COLOR",
              is_eager=True, expose_value=False, callback=_set_colour,
              help="No colours on a terminal either; NO_COLOR in the environment does the same.")  # fmt: skip
def main() -> None:
    """Tagged spans and log lines become OfCourseMe events.

    Exit codes: 0 done, 1 the answer is no, 2 wrong use.
    """


@main.command(epilog="Example: ocm-otel demo --keep")
@click.option("--keep", is_flag=True, help="Leave the emulator there afterwards, to look at its report page.")
def demo(*, keep: bool) -> None:
    """Watch tags become events on this machine.

    An emulated events API, a small learning site with OpenTelemetry and structlog, and people who use it: no
    key, no network, some seconds.
    Exit code 0 if everything that was tagged arrived exactly once, 1 if not.
    """
    try:
        from ocm_otel.demo.stage import run
    except ImportError as error:
        from ocm_otel._cli_emulator import extra_missing

        raise extra_missing(error) from None
    if not run(keep=keep):
        raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="ocm-otel")
