"""What pytest loads wherever ocm-otel is installed: two fixtures, and the guard that keeps tests off the real API.

The guard is a variable of the environment, set before any conftest is read, so that the programs that a test starts
have it, too. Until a fixture is used, nothing of the library is loaded but that variable's name.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from ocm_otel._guard import REFUSE, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocm_otel.emulator import Emulator
    from ocm_otel.testing import CapturedEvents

_ours = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what allows the real API."""
    group = parser.getgroup("ocm-otel")
    text = "Let tests call the vendor's own events API; what they send counts."
    group.addoption("--ocm-real-api", action="store_true", default=False, help=text)
    parser.addini("ocm_real_api", text, type="bool", default=False)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Put the guard up, before the application can be imported."""
    allowed = early_config.known_args_namespace.ocm_real_api or early_config.getini("ocm_real_api")
    if not allowed and VARIABLE not in os.environ:
        os.environ[VARIABLE] = REFUSE
        early_config.stash[_ours] = True


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the guard down, if it was put up for this run."""
    if config.stash.get(_ours, False):
        os.environ.pop(VARIABLE, None)


@pytest.fixture
def ocm_events() -> Iterator[CapturedEvents]:
    """The events of the test, captured instead of delivered: `ocm_events.assert_one("course-save", course_id=7)`."""
    from ocm_otel.testing import capture_events

    with capture_events() as events:
        yield events


@pytest.fixture
def ocm_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A running emulator of the events API, to which all events go; needs the extra `emulator`."""
    from ocm_otel.testing import run_emulator

    with ExitStack() as stack:
        try:
            emulator = stack.enter_context(run_emulator())
        except ImportError as error:
            pytest.fail(f"the fixture ocm_emulator cannot run: {error}", pytrace=False)
        monkeypatch.setenv("OTEL_EXPORTER_OCM_ENDPOINT", emulator.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OCM_API_KEY", emulator.key)
        yield emulator
