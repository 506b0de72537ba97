"""The page of guarantees names tests that exist, and keeps quiet about none that proves a promise."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Room

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.fixture
def page(root: Path) -> str:
    """The page of guarantees."""
    return (root / "docs/guarantees.md").read_text(encoding="utf-8")


def proofs(room: Room) -> set[str]:
    """Return the names of a file's tests, those of classes and machines included."""
    return {
        node.name
        for node in room.tree.body
        if (isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))
        or (isinstance(node, ast.ClassDef) and node.name.startswith("Test"))
    }


def test_each_named_test_exists(page: str, test_files: list[Room]) -> None:
    """Each test that the page names as a proof is there."""
    there = {(room.path, name) for room in test_files for name in proofs(room)}
    named = set(NAMED.findall(page))
    assert len(named) > 30
    assert named - there == set()


def test_each_disaster_is_on_the_page(page: str, test_files: list[Room]) -> None:
    """Each test of a disaster proves a promise, and stands on the page beside it."""
    disasters = {
        (room.path, name) for room in test_files if room.path.startswith("tests/disaster/") for name in proofs(room)
    }
    assert disasters - set(NAMED.findall(page)) == set()


def test_each_promise_has_its_proof(page: str) -> None:
    """Each row of the page names a test, or says with what it comes."""
    promises = page.partition("## Measured")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ") and "what is promised" not in line]
    bare = [row for row in rows if not row.startswith("| ---") and not NAMED.search(row) and "comes with" not in row]
    assert bare == []
