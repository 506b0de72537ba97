"""What tests of every kind share: an events API of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ocm_otel.emulator import Emulator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A fresh emulator of the events API, running on a free port of 127.0.0.1."""
    with Emulator() as running:
        yield running
