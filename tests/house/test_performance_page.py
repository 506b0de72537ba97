"""The page of performance is as tests/bench prints it, and what falls short stands on it."""

from __future__ import annotations

import re
import runpy
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Room

ROW = re.compile(r"^\| \[.+\]\{#([a-z0-9-]+)\} \|(?: [^|]*\|){4} (yes|no|) ?\|$", re.MULTILINE)


@pytest.fixture
def page(root: Path) -> str:
    """The page of performance."""
    return (root / "docs/performance.md").read_text(encoding="utf-8")


def test_its_words_are_those_of_the_bench(root: Path, page: str) -> None:
    """Each heading and each text of the page stands in texts.py, and nothing but figures is beside them."""
    texts = runpy.run_path(str(root / "tests/bench/texts.py"))
    assert set(re.findall(r"^## (.*)$", page, flags=re.MULTILINE)) == {*texts["ABOUT"], "Out of reach"}
    fixed = [piece for piece in re.split(r"\{\w+\}", texts["HEAD"]) if piece]
    assert [piece for piece in fixed if piece not in page] == []
    for text in texts["ABOUT"].values():
        assert re.search(re.sub(r"\\\{\w+\\\}", r"\\d+", re.escape(text)), page)


def test_each_row_has_its_address_and_its_shortfall(page: str) -> None:
    """Each line of a table is a row with an address of its own, and those that fall short are listed."""
    rows = ROW.findall(page)
    lines = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| what", "| ---"))]
    assert len(rows) == len(lines) > 20
    assert len({key for key, _ in rows}) == len(rows)
    short = page.partition("## Out of reach")[2]
    assert re.findall(r"^- \[.*\]\(#([a-z0-9-]+)\)", short, flags=re.MULTILINE) == [
        key for key, reached in rows if reached == "no"
    ]


def test_the_bench_keeps_to_the_measures_of_the_house(test_files: list[Room]) -> None:
    """No file of the bench has more than 250 lines."""
    assert [room.path for room in test_files if room.path.startswith("tests/bench/") and room.lines > 250] == []
