"""Every code block of the README and the docs that a reader could copy is a test.

Python blocks of a page run in their order and share their names. A `sh` block runs as a script that has to
succeed. In a `console` block each line after `$ ` is a command, and the lines below it are what it prints,
where `...` stands for anything. A block that cannot run here has `<!-- not run: the reason -->` above it.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ocm_otel.emulator import Emulator

ROOT = Path(__file__).parent
NOT_RUN = re.compile(r"<!-- not run: \S.*-->\s*\Z")


@pytest.fixture(scope="session")
def events_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator for all pages, set up in the environment: no example ever calls the real API."""
    from ocm_otel.emulator import Emulator

    with Emulator() as running, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OCM_ENDPOINT", running.endpoint)
        environment.setenv("OTEL_EXPORTER_OCM_API_KEY", running.key)
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield running


def unless_marked(parser: Callable[[Document], Iterable[Region]]) -> Callable[[Document], Iterable[Region]]:
    """Return a parser that leaves out the blocks which are marked as not run."""

    def parse(document: Document) -> Iterable[Region]:
        return [region for region in parser(document) if not NOT_RUN.search(document.text[: region.start])]

    return parse


def shell(script: str) -> str:
    """Run a script as a reader would, from the top of the clone; return what it printed.

    Raises:
        AssertionError: the script failed; with everything it printed.
    """
    bin_folder = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": bin_folder + os.pathsep + os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT, env=env, text=True, timeout=150, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode} of:\n{script}\n{done.stdout}"
    return done.stdout


def run_sh(example: Example) -> None:
    """Run a `sh` block."""
    shell(example.parsed)


def run_console(example: Example) -> str | None:
    """Run a `console` block; return how what it printed differs from the page, if it does."""
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.REPORT_NDIFF
    for block in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        command, _, printed = block.partition("\n")
        while command.endswith("\\"):
            more, _, printed = printed.partition("\n")
            command += "\n" + more.removeprefix("> ")
        want, got = printed.strip() + "\n", shell(command).strip() + "\n"
        if not checker.check_output(want, got, flags):
            return f"$ {command}\n" + checker.output_difference(doctest.Example(command, want), got, flags)
    return None


pytest_collect_file = Sybil(
    parsers=[
        unless_marked(PythonCodeBlockParser()),
        unless_marked(CodeBlockParser("sh", run_sh)),
        unless_marked(CodeBlockParser("console", run_console)),
    ],
    patterns=["README.md", "docs/*.md"],
    fixtures=["events_api"],
).pytest()
