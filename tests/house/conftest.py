"""What the tests of the house look at: the parsed files of the source and of the tests."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILTINS = {"open", "print", "input", "setattr"}


@dataclass(frozen=True)
class Room:
    """One parsed file.

    Attributes:
        path: where it is, from the top of the clone.
        module: its dotted name inside the package; "" for the front door (and for a test).
        tree: its syntax tree.
        lines: how many lines it has.
    """

    path: str
    module: str
    tree: ast.Module
    lines: int

    @property
    def owner(self) -> str:
        """The file or folder directly under the package that it belongs to."""
        return self.module.partition(".")[0]

    def aliases(self) -> dict[str, str]:
        """Return what each imported name stands for, dotted; imports inside functions are counted."""
        found = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    found[name.asname or name.name.partition(".")[0]] = (
                        name.name if name.asname else name.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    found[name.asname or name.name] = f"{self.base(node)}.{name.name}"
        return found

    def base(self, node: ast.ImportFrom) -> str:
        """Return the absolute name of the module that a `from … import` names."""
        if not node.level:
            return node.module or ""
        package = ["ocm_otel", *self.module.split(".")]
        if not self.path.endswith("__init__.py"):
            package.pop()
        above = package[: len(package) - node.level + 1]
        return ".".join([*above, *([node.module] if node.module else [])])

    def imports(self) -> set[str]:
        """Return every module, or name in a module, that the file imports, dotted, lazy ones as well."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {f"{self.base(node)}.{name.name}" for name in node.names}
        return found

    def touches(self) -> set[str]:
        """Return all that the file uses, dotted: `os.environ`, `threading.Thread`, `open`, `.read_text`."""
        aliases, found = self.aliases(), set(self.imports())
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute):
                found.add(f".{node.attr}")
                parts: list[str] = []
                inner: ast.expr = node
                while isinstance(inner, ast.Attribute):
                    parts.append(inner.attr)
                    inner = inner.value
                if isinstance(inner, ast.Name) and inner.id in aliases:
                    found.add(".".join([aliases[inner.id], *reversed(parts)]))
            elif isinstance(node, ast.Name) and node.id in BUILTINS and node.id not in aliases:
                found.add(node.id)
        return found


def parsed(path: Path) -> Room:
    """Return a file of the clone, parsed."""
    text = path.read_text(encoding="utf-8")
    inside = path.relative_to(ROOT / "src/ocm_otel") if path.is_relative_to(ROOT / "src/ocm_otel") else None
    parts = [*inside.parent.parts, *([] if inside.stem == "__init__" else [inside.stem])] if inside else []
    return Room(str(path.relative_to(ROOT)), ".".join(parts), ast.parse(text), len(text.splitlines()))


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the clone."""
    return ROOT


@pytest.fixture(scope="session")
def rooms() -> list[Room]:
    """Every file of the source."""
    found = [parsed(path) for path in sorted((ROOT / "src/ocm_otel").rglob("*.py"))]
    assert found, "there is no source"
    return found


@pytest.fixture(scope="session")
def test_files() -> list[Room]:
    """Every file of the tests."""
    return [parsed(path) for path in sorted((ROOT / "tests").rglob("*.py"))]
