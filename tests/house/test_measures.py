"""The measures of the house: how long, what it is called, what a test may not do."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Room

FORBIDDEN_NAMES = {"utils", "util", "common", "base", "manager", "managers", "helpers", "helper", "misc"}


def functions(room: Room) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a file, methods and inner ones too."""
    for node in ast.walk(room.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function, its docstring not counted."""
    body = function.body
    first = body[0].end_lineno if ast.get_docstring(function) is not None else function.lineno
    return (function.end_lineno or 0) - (first or 0)


def test_modules_are_short(rooms: list[Room]) -> None:
    """No file of the source has more than 250 lines."""
    assert {room.path: room.lines for room in rooms if room.lines > 250} == {}


def test_functions_are_short(rooms: list[Room]) -> None:
    """No function of the source has more than 40 lines."""
    long = {(room.path, f.name): length(f) for room in rooms for f in functions(room) if length(f) > 40}
    assert long == {}


def test_names_say_what_is_inside(rooms: list[Room]) -> None:
    """No file is called by a word that could be said of any file."""
    assert [room.path for room in rooms if set(room.module.strip("_").split("._")) & FORBIDDEN_NAMES] == []


def test_every_room_says_why_it_exists(rooms: list[Room]) -> None:
    """Every file of the source begins with a docstring."""
    assert [room.path for room in rooms if not ast.get_docstring(room.tree)] == []


def test_nothing_is_swallowed(rooms: list[Room]) -> None:
    """No `except` in the source has nothing but `pass` in it."""
    empty = [
        (room.path, node.lineno)
        for room in rooms
        for node in ast.walk(room.tree)
        if isinstance(node, ast.ExceptHandler)
        and all(isinstance(line, ast.Pass) or ast.unparse(line) == "..." for line in node.body)
    ]
    assert empty == []


def test_every_waiver_has_its_reason(root: Path, rooms: list[Room]) -> None:
    """A `noqa` or `type: ignore` in the source names its rule, and a `noqa` its reason as well."""
    bare = [
        (room.path, number, line.strip())
        for room in rooms
        for number, line in enumerate((root / room.path).read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"# noqa(?!: [A-Z]+\d+(, ?[A-Z]+\d+)* - \S)|# type: ignore(?!\[)", line)
    ]
    assert bare == []


def test_every_test_says_what_it_proves(test_files: list[Room]) -> None:
    """Every test has one sentence of docstring."""
    silent = [
        (room.path, f.name)
        for room in test_files
        for f in functions(room)
        if f.name.startswith("test_")
        and not any("fixture" in ast.unparse(decorator) for decorator in f.decorator_list)
        and not re.fullmatch(r"\S[^\n]*(\n[^\n]+)*[.?!]", (ast.get_docstring(f) or "").strip())
    ]
    assert silent == []


def test_no_test_patches_or_sleeps(test_files: list[Room]) -> None:
    """Tests use real collaborators and wait on conditions: no patching, no sleeping; the bench idles at times."""
    banned = {"time.sleep", "asyncio.sleep", "unittest.mock", "unittest.mock.patch", "pytest_mock"}
    found = {
        room.path: sorted(used)
        for room in test_files
        if not room.path.startswith("tests/bench/")
        and (used := room.touches() & banned | {name for name in room.touches() if name.startswith("unittest.mock.")})
    }
    setattrs = [
        (room.path, node.lineno)
        for room in test_files
        for node in ast.walk(room.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("setattr", "setitem", "delattr")
        and isinstance(node.value, ast.Name)
        and node.value.id.startswith("monkeypatch")
    ]
    assert (found, setattrs) == ({}, [])
