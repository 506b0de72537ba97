"""What tests of every kind share: an events API of their own, and a state directory that is nobody's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ocm_otel.emulator import Emulator


@pytest.fixture(autouse=True, scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let whatever is kept on disk be kept in a folder of this run, in child processes, too."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A fresh emulator of the events API, running on a free port of 127.0.0.1."""
    with Emulator() as running:
        yield running
