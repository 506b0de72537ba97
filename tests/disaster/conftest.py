"""What disasters share: machines to run programs on, and an events API with faults."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from .world import Api, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def api() -> Iterator[Api]:
    """An events API that can be told to fail in every way."""
    with Api() as running:
        yield running


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """Make the machine that programs run on, from the settings that they share; all end with the test."""
    with contextlib.ExitStack() as ends:

        def make(**given: object) -> Machine:
            made = Machine(tmp_path, **given)
            ends.callback(made.close)
            return made

        yield make
