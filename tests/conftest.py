"""What tests of every kind share: an events API of their own, and a state directory that is nobody's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points

import pytest

from ocm_otel.emulator import Emulator

#: What OpenTelemetry itself prints, with or without us: its logging handler at the end of an interpreter that starts
#: no more threads (CPython 3.12.1), and the choice of a configurator.
UPSTREAM = re.compile(
    r"Exception ignored in atexit callback: <function shutdown at 0x[0-9a-f]+>\n"
    r"Traceback \(most recent call last\):\n(?:  .*\n)*?  .*/opentelemetry/sdk/_logs/.*\n(?:  .*\n)+"
    r"RuntimeError: can't create new thread at interpreter shutdown\n"
    r"|Exception ignored in atexit callback: <function shutdown at 0x[0-9a-f]+>\n"
    r"Traceback \(most recent call last\):\n(?:  .*\n)*?  .*/opentelemetry/instrumentation/logging/.*\n(?:  .*\n)+"
    r"RuntimeError: can't create new thread at interpreter shutdown\n"
    # Where a vendor's distribution is installed beside OpenTelemetry's own, and the latter is chosen.
    r"|Configuration of \w+ not loaded because configurator is set by OTEL_PYTHON_CONFIGURATOR\n"
)


@pytest.fixture(scope="session")
def without_upstream() -> Callable[[str], str]:
    """Takes what is known to come from OpenTelemetry's own handler out of what a program printed."""
    return lambda printed: UPSTREAM.sub("", printed)


#: Instrumentations that programs of the tests need; to load all that are installed takes seconds of a processor.
KEPT = {"logging", "ocm", "structlog"}


@pytest.fixture(scope="session")
def unneeded() -> Callable[..., str]:
    """Names the instrumentations that a program with one framework, or none, can do without."""
    there = {point.name for point in entry_points(group="opentelemetry_instrumentor")}
    return lambda *frameworks: ",".join(sorted(there - {*frameworks} - KEPT))


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
