"""The page of hosts gives the command lines that are tested, and names the tests that are there."""

from __future__ import annotations

import re
import runpy
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Room

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.fixture
def page(root: Path) -> str:
    """The page of hosts."""
    return (root / "docs/hosts.md").read_text(encoding="utf-8")


def test_each_command_line_is_tested(root: Path, page: str) -> None:
    """The command lines of the page are those of the tests, with another site and port."""
    tested = runpy.run_path(str(root / "tests/hosts/test_hosts.py"))
    lines = {
        re.sub(r"\w+_(spans|flush|code)(:\w+)?", lambda site: "shop:app" if site[2] else "shop", line.format(port=8000))
        for line in [*tested["SERVERS"].values(), tested["CELERY"]]
    }
    given = set(re.findall(r"\| `((?:gunicorn|uvicorn|uwsgi|celery) [^`]+)` \|", page))
    assert given == lines


def test_each_test_of_a_host_is_on_the_page(page: str, test_files: list[Room]) -> None:
    """Each test that the page names is there, and each of tests/hosts/ is named, but those of zero-code set-up."""
    hosts = {
        (room.path, node.name)
        for room in test_files
        if room.path.startswith("tests/hosts/test_") and "zero_code" not in room.path
        for node in room.tree.body
        if getattr(node, "name", "").startswith("test_")
    }
    named = set(NAMED.findall(page))
    assert (named - hosts, hosts - named) == (set(), set())
