"""The arrows of docs/architecture.md that `import-linter` cannot see: who may touch what.

The floors themselves are contracts in pyproject.toml (`lint-imports`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Room

# They are programs of their own: they serve, print and start other programs.
PROGRAMS = {
    "cli", "_cli_check", "_cli_emulator", "_cli_explain", "_check_call", "_check_process", "_check_spool",
    "_cli_gateway", "_cli_kafka", "_cli_purge", "_cli_refused", "_cli_replay", "_cli_report", "_cli_retry",
    "_cli_send", "_cli_settings", "_cli_spool", "_census", "_drain", "_pytest_plugin", "_recording", "_replay",
    "_replay_words", "_terminal", "demo", "emulator", "gateway", "kafka", "testing",
}  # fmt: skip
# The journal on disk.
SPOOL = {
    "_spool", "_account", "_ledger", "_mapped", "_ledgerset", "_lanes", "_refused", "_replayed", "_tally", "_tallies",
    "_erasure", "_pacefile",
}  # fmt: skip

OWNED = {
    "an HTTP library": (
        {"httpx", "httpcore", "requests", "urllib3", "http.client", "urllib.request.urlopen"},
        {"_httpx", "demo"},
    ),
    "threads": (
        {"threading.Thread", "threading.Timer", "_thread", "concurrent.futures", "multiprocessing"},
        {"_outbox", "_worker", "_senders", "_threads"} | PROGRAMS,
    ),
    "the process's fork and end": (
        {"atexit", "os.register_at_fork", "os.fork", "os._exit", "weakref.finalize"}, {"_process"},
    ),
    "how modules are found": ({"sys.meta_path"}, {"_hooks"}),
    "signals": ({"signal.signal", "signal.sigwait"}, {"_process"} | PROGRAMS),
    "the environment": (
        {"os.environ", "os.environb", "os.getenv", "os.putenv"}, {"_settings", "_variables", "_pytest_plugin", "demo"},
    ),
    "files": (
        {
            "open", "io.open", "os.open", "sqlite3", "tempfile",
            ".read_text", ".read_bytes", ".write_text", ".write_bytes",
        },
        {"_settings"} | SPOOL | PROGRAMS,
    ),
    "sockets": (
        {"socket", "socketserver", "http.server", "selectors", "select"},
        {"_link", "_wire", "_poller", "_resolver"} | PROGRAMS,
    ),
    "Kafka": ({"confluent_kafka"}, {"kafka"}),
    "an event loop": ({"asyncio"}, {"_outbox"} | PROGRAMS),
}  # fmt: skip

DECIDERS = {
    "_event", "_clean", "_tags", "_reading", "_verdict", "_outlook", "_pace", "_concert", "_courier", "_answer",
    "_head", "_limit", "_marks", "_courtesy",
}  # fmt: skip
EFFECTS = {
    "time", "threading", "socket", "os", "pathlib", "asyncio", "logging", "uuid.uuid1", "uuid.uuid4",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.now", "open", "print", "input",
}  # fmt: skip


def uses(room: Room, names: set[str]) -> set[str]:
    """Return which of the names, or of what is inside of them, a room touches."""
    return {used for used in room.touches() for name in names if used == name or used.startswith(f"{name}.")}


@pytest.mark.parametrize("resource", OWNED)
def test_each_resource_has_one_owner(rooms: list[Room], resource: str) -> None:
    """Only its owner touches a resource, however it was imported."""
    names, owners = OWNED[resource]
    strangers = {room.path: sorted(uses(room, names)) for room in rooms if room.owner not in owners}
    assert {path: used for path, used in strangers.items() if used} == {}


def test_deciding_rooms_have_no_effects(rooms: list[Room]) -> None:
    """Event, tags, verdict, pace and courier know no clock, thread, disk or socket."""
    deciding = {room.path: sorted(uses(room, EFFECTS)) for room in rooms if room.owner in DECIDERS}
    assert len(deciding) == len(DECIDERS)
    assert {path: used for path, used in deciding.items() if used} == {}


def test_nothing_imports_the_front_door(rooms: list[Room]) -> None:
    """No file of the package takes a name from the package root."""
    inside = {room.owner for room in rooms if room.owner}
    taken = {
        (room.path, name)
        for room in rooms
        if room.module
        for name in room.imports()
        if name == "ocm_otel" or (name.startswith("ocm_otel.") and name.split(".")[1] not in inside)
    }
    assert taken == set()


def test_the_emulator_is_the_other_side(rooms: list[Room]) -> None:
    """The emulator imports nothing of ours, and of ours only programs import the emulator."""
    out = {
        (room.path, name)
        for room in rooms
        if room.owner == "emulator"
        for name in room.imports()
        if name.startswith("ocm_otel") and not f"{name}.".startswith("ocm_otel.emulator.")
    }
    into = {
        (room.path, name)
        for room in rooms
        if room.owner not in PROGRAMS
        for name in room.imports()
        if f"{name}.".startswith("ocm_otel.emulator.")
    }
    assert (out, into) == (set(), set())


def test_there_are_no_circles(rooms: list[Room]) -> None:
    """No room can be reached from itself, late imports and those for types counted."""
    modules = {f"ocm_otel.{room.module}" for room in rooms if room.module}

    def home(name: str) -> str | None:
        while name not in modules and "." in name:
            name = name.rpartition(".")[0]
        return name if name in modules else None

    arrows = {
        f"ocm_otel.{room.module}": {home(name) for name in room.imports()} - {None, f"ocm_otel.{room.module}"}
        for room in rooms
        if room.module
    }
    while leaves := {room for room, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {room: targets for room, targets in arrows.items() if room not in leaves}
    assert arrows == {}
