"""The page of what OpenTelemetry does numbers 33 things, each with a test that is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .test_guarantees import NAMED, proofs

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Room


@pytest.fixture
def rows(root: Path) -> list[str]:
    """The rows of the page's table."""
    page = (root / "docs/upstream.md").read_text(encoding="utf-8")
    return [line for line in page.splitlines() if re.match(r"\| \d+ \|", line)]


def test_each_of_the_33_has_its_test(rows: list[str], test_files: list[Room]) -> None:
    """None is left out, each names a test at least, and each test that is named is there."""
    there = {(room.path, name) for room in test_files for name in proofs(room)}
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 34))
    assert [row for row in rows if not NAMED.search(row)] == []
    assert {named for row in rows for named in NAMED.findall(row)} - there == set()


def test_no_batch_processor_is_made(rooms: list[Room]) -> None:
    """The engine and its doors construct none of OpenTelemetry's batch processors."""
    made = {touched for room in rooms for touched in room.touches() if re.search(r"Batch\w*Processor", touched)}
    assert made == set()
