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
    """Importing every name of the package loads no HTTP library, and making an outbox no event loop either."""
    assert "httpx" not in loaded("", "from ocm_otel import *")
    assert not loaded("", "from ocm_otel import OCMHandler; OCMHandler()") & {"httpx", "asyncio"}


def loaded(before: str, then: str) -> set[str]:
    """Return the modules that a program loads beyond those that it has, by their names."""
    look = f"import sys\n{before}\nhad = set(sys.modules)\n{then}\nprint(*set(sys.modules) - had)"
    return set(subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout.split())


SDK = "import opentelemetry.trace, opentelemetry.sdk.trace, opentelemetry.sdk._logs"
#: What each door is beside, and what it may load of ours besides itself: neither the outbox nor the settings.
DOORS = {
    "OCMSpanProcessor": (SDK, "spans _diversion _tags"),
    "OCMSpanExporter": (SDK, "spans _diversion _tags"),
    "OCMLogRecordProcessor": (SDK, "logs _diversion"),
    "OCMLogExporter": (SDK, "logs _diversion"),
    "OCMSampler": (SDK, "sampling _tags"),
    "OCMProcessor": ("import structlog", "structlog _diversion _identity _lines _tags"),
    "OCMHandler": ("import logging, contextlib, contextvars", "logging _diversion _identity _lines _tags"),
    "OCMInstrumentor": ("import opentelemetry.instrumentation.instrumentor", "instrumentor"),
    "emit": ("import logging, contextlib", "_emit _tags"),
}
ALWAYS = {"ocm_otel", *(f"ocm_otel.{room}" for room in ("_guard", "_process", "_setting", "_values", "_variables"))}
#: Of the standard library, what any module with types has.
TYPES = {"typing", "typing.io", "typing.re", "_typing", "__future__"}


@pytest.mark.parametrize("name", DOORS)
def test_importing_a_door_loads_little(name: str) -> None:
    """A door is imported without what delivers, and without anything of the standard library that it may not need."""
    before, rooms = DOORS[name]
    found = loaded(before, f"from ocm_otel import {name}")
    theirs = {module for module in found if module.startswith("opentelemetry.")}
    ours = {module for module in found if module.startswith("ocm_otel")}
    assert ours <= ALWAYS | {f"ocm_otel.{room}" for room in rooms.split()}
    assert {module for module in found - theirs - ours if not module.startswith("importlib")} <= TYPES | {"gc"}


def test_the_variables_for_opentelemetry_instrument_load_little() -> None:
    """The names of our settings, which that command reads in each process that it starts, come without the settings."""
    found = loaded("import typing, warnings", "import ocm_otel.environment_variables")
    rooms = {f"ocm_otel.{room}" for room in ("_setting", "_table", "_values", "environment_variables")}
    assert {module for module in found if not module.startswith("importlib")} <= rooms | TYPES | {"ocm_otel"}


@pytest.mark.parametrize(
    ("words", "rooms"),
    [
        ("--version", ""),
        ("send --help", "_clean _cli_send _event _head _shown _terminal _values _verdict"),
        ("settings --help", "_cli_settings _guard _setting _settings _table _terminal _values"),
        ("gateway --help", "_cli_gateway _guard _setting _settings _table _terminal _values"),
    ],
)
def test_a_command_loads_its_own_rooms(words: str, rooms: str) -> None:
    """One command is started without the rooms of the others."""
    found = loaded("", f"from ocm_otel.cli import main; main({words.split()}, standalone_mode=False)")
    ours = {module for module in found if module.startswith("ocm_otel.")}
    assert ours == {"ocm_otel.cli", *(f"ocm_otel.{room}" for room in rooms.split())}


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
