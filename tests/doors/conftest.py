"""What the tests of the doors share: an outbox that delivers to the emulator, and one that only remembers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

from ocm_otel import Event, Outbox, Settings
from ocm_otel._books import Books
from ocm_otel.emulator import Emulator

Arrived = Callable[[], list[tuple[str, str | None, str | None, str | None]]]
#: Until 0.61 OpenTelemetry's handler on the root logger had to be asked for; since then asking is deprecated.
BEFORE_0_61 = version("opentelemetry-instrumentation") < "0.61"

Run = Callable[..., subprocess.CompletedProcess[str]]


class Memory:
    """An outbox that keeps what it is given, for what the API cannot show: identities, time limits."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.books = Books()
        self.events: list[Event] = []
        self.flushed: list[float | None] = []

    def put(self, event: Event) -> bool:
        self.events.append(event)
        return True

    def accept(self, query: str, event_id: str | None) -> bool:
        return self.put(Event.from_query(query, event_id))

    def flush(self, timeout: float | None = None) -> bool:
        self.flushed.append(timeout)
        return True


class Broken(Memory):
    """An outbox in which everything that a door calls goes wrong, but the books."""

    def put(self, event: Event) -> bool:
        raise RuntimeError("put")

    def flush(self, timeout: float | None = None) -> bool:
        raise RuntimeError("flush")


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def broken() -> Broken:
    return Broken()


@pytest.fixture
def make_outbox(emulator: Emulator) -> Iterator[Callable[..., Outbox]]:
    """Makes outboxes that deliver to the emulator, with further settings."""
    made = []

    def make(**settings: object) -> Outbox:
        made.append(Outbox(Settings(api_key=emulator.key, endpoint=emulator.endpoint, **settings)))
        return made[-1]

    yield make
    for outbox in made:
        outbox.close(5)


@pytest.fixture
def outbox(make_outbox: Callable[..., Outbox]) -> Outbox:
    """An outbox that delivers to the emulator."""
    return make_outbox()


@pytest.fixture
def arrived(emulator: Emulator, outbox: Outbox) -> Arrived:
    """Waits until the outbox is empty and returns what the emulator counted, in a fixed order."""

    def look() -> list[tuple[str, str | None, str | None, str | None]]:
        assert outbox.flush(60)
        names = ("type", "course_id", "user_id", "entity_id")
        return sorted((tuple(event[name] for name in names) for event in emulator.events()), key=repr)

    return look


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """A tracer provider of the real SDK, without any processor."""
    made = TracerProvider(shutdown_on_exit=False)
    yield made
    made.shutdown()


@pytest.fixture
def run(
    emulator: Emulator, tmp_path: Path, without_upstream: Callable[[str], str], unneeded: Callable[..., str]
) -> Run:
    """Runs a program in a process of its own, whose environment leads to the emulator.

    A variable given as None is left out; `by_name` runs it under `opentelemetry-instrument`. It may take its
    time at the end, for what is proved is what arrives, not how fast it leaves.
    """

    def start(code: str, *, by_name: bool = False, **variables: str | None) -> subprocess.CompletedProcess[str]:
        program = tmp_path / "application.py"
        program.write_text(code, encoding="utf-8")
        ours = {
            "OTEL_EXPORTER_OCM_ENDPOINT": emulator.endpoint,
            "OTEL_EXPORTER_OCM_API_KEY": emulator.key,
            "OTEL_EXPORTER_OCM_SPOOL_DIR": str(tmp_path / "spool"),
            "OTEL_EXPORTER_OCM_SHUTDOWN_TIMEOUT": "30000",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": unneeded(),
            **({"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"} if BEFORE_0_61 else {}),
            **variables,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        command = [sys.executable, str(program)]
        if by_name:
            command.insert(0, str(Path(sys.executable).with_name("opentelemetry-instrument")))
        done = subprocess.run(
            command,
            env=kept | {name: value for name, value in ours.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        done.stderr = without_upstream(done.stderr)
        return done

    return start
