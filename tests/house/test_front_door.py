"""What a user can name: the package's names, and the command's."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution

import click
import pytest

import ocm_otel
from ocm_otel import cli


def test_the_names_are_sorted() -> None:
    """`__all__` is sorted and names nothing twice."""
    assert list(ocm_otel.__all__) == sorted(set(ocm_otel.__all__))


@pytest.mark.parametrize("name", ocm_otel.__all__)
def test_each_name_is_there(name: str) -> None:
    """Each name of `__all__` can be imported and is listed by `dir()`."""
    assert getattr(ocm_otel, name) is not None
    assert name in dir(ocm_otel)


def test_other_names_are_not_there() -> None:
    """A name that the front door does not have is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(ocm_otel, "no_such_name")  # noqa: B009 - the point is the look-up by name


def test_installed_it_takes_nothing_over() -> None:
    """The package registers what can be named or switched off, and no configurator or distribution."""
    groups = {point.group for point in distribution("ocm-otel").entry_points}
    assert groups == {
        "console_scripts",
        "opentelemetry_environment_variables",
        "opentelemetry_instrumentor",
        "opentelemetry_logs_exporter",
        "opentelemetry_sampler",
        "opentelemetry_traces_exporter",
        "opentelemetry_traces_sampler",
        "pytest11",
    }


def test_the_doors_open_without_an_http_library() -> None:
    """Importing every name of the package loads no HTTP library."""
    look = "import sys; from ocm_otel import *; sys.exit('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], check=False)
    assert done.returncode == 0


def commands() -> dict[str, click.Command]:
    """Return the commands of `ocm-otel` by name."""
    context = click.Context(cli.main)
    return {name: cli.main.get_command(context, name) for name in cli.main.list_commands(context)}


def inner(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    """Return a command and those in it, each with the words by which it is called."""
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found += inner(command.get_command(context, name), f"{path} {name}")
    return found


@pytest.mark.parametrize(("words", "command"), inner(cli.main, "ocm-otel"))
def test_each_help_ends_with_an_example(words: str, command: click.Command) -> None:
    """The help of each command, those in groups too, ends with an example that calls it."""
    assert re.fullmatch(rf"Example: (\S+ )*{words}\b.*", command.epilog or "")


@pytest.mark.parametrize("name", commands())
def test_every_command_shows_an_example(name: str) -> None:
    """The help of each command says what it does and shows one call of it."""
    done = subprocess.run(
        [sys.executable, "-c", "from ocm_otel.cli import main; main(prog_name='ocm-otel')", name, "--help"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    usage, _, rest = done.stdout.partition("\n")
    assert usage.startswith(f"Usage: ocm-otel {name}")
    assert f"ocm-otel {name}" in rest
