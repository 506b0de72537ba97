"""What is written beside the code agrees with it."""

from __future__ import annotations

import ast
import json
import re
import runpy
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TESTS_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q nox uv && .venv/bin/nox"

# A block in any other language would not be run by conftest.py, and so has to be no code.
RUN = {"python", "sh", "console"}
NOT_CODE = {"text", "json", "toml", "yaml", "ini", "http"}


def pages(root: Path) -> list[Path]:
    """Return the README and the pages of the docs."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def tracked(root: Path) -> list[Path]:
    """Return the files that are, or would be, committed."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [root / name for name in listing.split("\0") if name and (root / name).is_file()]


@pytest.mark.parametrize("page", ["settings.md", "verdicts.md", "zero-code.md"])
def test_a_printed_page_is_its_table(root: Path, page: str) -> None:
    """A page that docs/_render.py prints from a table is as printed; `python docs/_render.py` writes it."""
    printed = runpy.run_path(str(root / "docs/_render.py"))["PAGES"][page]()
    assert (root / "docs" / page).read_text(encoding="utf-8") == printed


def test_what_was_tried_is_what_is_tested(root: Path) -> None:
    """The table of zero code has each case of its test, for each release of OpenTelemetry that the hosts run with."""
    tree = ast.parse((root / "tests/hosts/test_zero_code.py").read_text(encoding="utf-8"))
    constants = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"WAYS", "EXPORTERS"}
    }
    every = list(constants["EXPORTERS"])
    tried = json.loads((root / "tests/hosts/zero_code.json").read_text(encoding="utf-8"))
    releases = [sdk.rpartition(".")[0] for sdk in tried]
    pinned = re.findall(r'nox\.param\([^"]*"(1\.\d+)"', (root / "noxfile.py").read_text(encoding="utf-8"))
    assert releases[:-1] == pinned, "and after these the newest"
    for sdk, ways in zip(releases, tried.values(), strict=True):
        expected = {"command", "initialize"} | ({"file"} if sdk in releases[-2:] else set())
        assert ways == dict.fromkeys(set(constants["WAYS"]) if sdk == "1.44" else expected, every), sdk


def test_ci_runs_the_command_of_the_readme(root: Path) -> None:
    """The README has the demo's command and the tests' command in `sh` blocks; CI takes the second from there."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL))
    everywhere, copied = (
        re.findall(r"^python3 -m venv \.venv && .*$", text, flags=re.MULTILINE) for text in (readme, blocks)
    )
    assert copied == everywhere
    assert len(copied) == 2
    assert copied[0].endswith("ocm-otel demo")
    assert copied[1] == TESTS_COMMAND
    ci = (root / ".ci/run").read_text(encoding="utf-8")
    assert r"grep -E '^python3 -m venv \.venv && .*nox$' README.md" in ci


def test_the_changelog_has_a_place_for_the_next_change(root: Path) -> None:
    """The first section of the changelog is Unreleased."""
    sections = re.findall(r"^## .*$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sections[0] == "## [Unreleased]"


def test_every_code_block_is_run_or_says_why_not(root: Path) -> None:
    """A block of the pages is in a language that conftest.py runs, or in one that is no code."""
    strange = [
        (page.name, language)
        for page in pages(root)
        for language in re.findall(
            r"^ *```([^\n`]*)\n.*?^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        if language not in RUN | NOT_CODE and not language.startswith("{toctree}")
    ]
    assert strange == []


def test_a_block_that_is_not_run_says_why(root: Path) -> None:
    """Each mark that keeps a block from running bears a reason and stands right above a block."""
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        marks = re.findall(r"<!-- *not.run.*", text)
        good = re.findall(r"^ *<!-- not run: \S.{9,} -->\n+ *```(?:python|sh|console)$", text, flags=re.MULTILINE)
        assert len(marks) == len(good), page.name


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<![\w.])/(?:root|work)/",
        r"/home/\w+/",
        r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|debian\.org",
    ],
)
def test_no_file_names_a_machine(root: Path, pattern: str) -> None:
    """No committed file names a folder of somebody's machine, or a package registry's host."""
    found = [
        (str(path.relative_to(root)), match.group())
        for path in tracked(root)
        for match in re.finditer(pattern, path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


def test_every_example_runs(root: Path) -> None:
    """Each file of examples/ runs to its end by itself, with warnings as errors."""
    for example in sorted((root / "examples").glob("*.py")):
        done = subprocess.run(
            [sys.executable, "-W", "error", str(example)], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{example.name}: {done.stdout}{done.stderr}"
