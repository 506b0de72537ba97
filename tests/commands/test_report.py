"""`ocm-otel report`, and a person erased: run as a person runs them, on spools that real processes filled."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocm_otel import Event, Outbox, Settings
from ocm_otel._census import Standing
from ocm_otel._journal import Refused
from ocm_otel._refused import RefusedFile, identity
from ocm_otel._tally import DELIVERED, Tally
from ocm_otel.emulator import Emulator

COMMAND = [sys.executable, "-W", "error", "-m", "ocm_otel.cli"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
PREFIX = "OTEL_EXPORTER_OCM_"
NINE = 1_795_424_400.0  # 2026-11-23, 09:00 UTC


def until(condition: Callable[[], object], timeout: float = 60.0) -> bool:
    """Wait until `condition` is true; False if it was not within `timeout` seconds."""
    end, tick = time.monotonic() + timeout, threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        tick.wait(0.02)
    return True


class Place:
    """One account: an emulator and a spool."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.settings = Settings(api_key=emulator.key, endpoint=emulator.endpoint, spool_dir=str(folder / "spool"))
        self.env = CLEAN | {
            f"{PREFIX}ENDPOINT": emulator.endpoint, f"{PREFIX}API_KEY": emulator.key,
            f"{PREFIX}SPOOL_DIR": str(folder / "spool"),
        }  # fmt: skip
        self.account = Standing(folder / "spool", emulator.endpoint, emulator.key).path

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `ocm-otel …`."""
        return subprocess.run(
            [*COMMAND, *arguments], env=self.env | variables, capture_output=True, text=True, timeout=150, check=False
        )

    def told(self, *arguments: str) -> dict:
        """Run `ocm-otel report … --json`; return what it says."""
        done = self.run("report", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def put(self, *types: str, **ids: object) -> None:
        """Deliver events by a process of the application that ends."""
        with Outbox(self.settings) as outbox:
            for kind in types:
                assert outbox.put(Event(kind, **ids))
            assert outbox.flush(20)


@pytest.fixture
def place(emulator: Emulator, tmp_path: Path) -> Place:
    """An account."""
    return Place(emulator, tmp_path)


# --- report -----------------------------------------------------------------------------------------------


def test_what_was_delivered_is_reported(place: Place) -> None:
    """Delivered, refused and waiting, of several processes, with what the vendor's report should have."""
    place.put("course-save", "course-save", "logout")
    place.put("course-save", "x" * 300)
    place.emulator.always(503)
    with Outbox(place.settings) as outbox:
        assert outbox.put(Event("logout"))
        assert until(lambda: len(place.emulator.requests()) > 5)
    told = place.told()
    rows = {row["type"]: [row[name] for name in ("delivered", "refused", "waiting")] for row in told["rows"]}
    assert rows == {"course-save": [3, 0, 0], "logout": [1, 0, 1], "x" * 300: [0, 1, 0]} or [*rows.values()] == [
        [3, 0, 0], [1, 0, 1], [0, 1, 0],
    ]  # fmt: skip
    assert told["total"] == {"delivered": 4, "ambiguous": 0, "refused": 1, "dropped": 0, "waiting": 1}
    text = place.run("report").stdout
    assert "The vendor's report should have 4 events." in text
    assert "What was refused is kept: ocm-otel spool show." in text
    assert "What waits stands at the day on which it was accepted" in text


def test_what_is_sent_again_counts_when_it_is(place: Place) -> None:
    """A refused event that `spool retry` delivers stands in the report."""
    place.put("x" * 300, user_id="ann")
    (refused,) = RefusedFile(place.account).read()
    assert place.run("spool", "retry", identity(refused), "--type", "course-view").returncode == 0
    total = place.told()["total"]
    assert (total["delivered"], total["refused"], place.emulator.count) == (1, 1, 1)


def test_days_of_a_zone_and_a_period(place: Place) -> None:
    """Days begin at midnight of the zone that is asked for; what is outside of the period is left out."""
    place.account.mkdir(parents=True, mode=0o700)
    place.account.parent.chmod(0o700)
    for hours in (0, 14, 15):
        tally = Tally(place.account, clock=lambda hours=hours: NINE + hours * 3600)
        tally.add("type=t", DELIVERED)
        tally.close()
    utc, rome = (place.told("--to", "2026-11-24", "--zone", zone)["rows"] for zone in ("UTC", "Europe/Rome"))
    assert [(row["day"], row["delivered"]) for row in utc] == [("2026-11-23", 2), ("2026-11-24", 1)]
    assert [(row["day"], row["delivered"]) for row in rome] == [("2026-11-23", 1), ("2026-11-24", 2)]
    assert [row["day"] for row in place.told("--from", "2026-11-24", "--to", "2026-11-30")["rows"]] == ["2026-11-24"]
    assert place.told("--to", "2026-11-22", "--zone", "local")["rows"] == []


HOSTILE = ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "Robert'); DROP TABLE events;--", "a\u202eb", "é" * 300]


def test_hostile_types_are_harmless(place: Place) -> None:
    """Scripts, formulas, SQL, marks that turn the text and long types: nothing steers a terminal or a spreadsheet."""
    place.account.mkdir(parents=True, mode=0o700)
    place.account.parent.chmod(0o700)
    tally = Tally(place.account)
    for kind in HOSTILE:
        tally.add(Event(kind).query(), DELIVERED)
    shown, table = place.run("report"), place.run("report", "--csv")
    assert "\u202e" not in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) < 200
    heads, *rows = csv.reader(io.StringIO(table.stdout))
    assert heads == ["day", "type", "delivered", "ambiguous", "refused", "dropped", "waiting"]
    assert [row[2:] for row in rows] == [["1", "0", "0", "0", "0"]] * 5
    assert {row[1].lstrip("'") for row in rows} >= set(HOSTILE[:4])
    assert not any(row[1].startswith("=") for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "yesterday"], "--from yesterday: a day such as 2026-11-01 is needed"),
        (["--from", "2026-11-02", "--to", "2026-11-01"], "--from 2026-11-02 is after --to 2026-11-01"),
        (["--zone", "Mars/Olympus"], "--zone Mars/Olympus: no such zone is known here"),
        (["--zone", "../../etc/passwd"], "no such zone is known here"),
    ],
)
def test_wrong_use_of_report(place: Place, arguments: list[str], message: str) -> None:
    """A day or a zone that is none is told with what is needed; no directory is made."""
    done = place.run("report", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not place.account.exists()


def test_where_nothing_is_on_record(place: Place) -> None:
    """Without any tally it says so, and for how long there would be one; a spool in memory is told of."""
    done = place.run("report", **{f"{PREFIX}DURABILITY": "memory"})
    assert done.returncode == 0
    assert "Nothing is on record. What is counted is kept for 400 days." in done.stdout
    assert "such processes keep no account of what they deliver" in done.stderr


# --- a person erased --------------------------------------------------------------------------------------

ANN = "ann.example@school.org"
#: Puts events of two users, lets some be delivered, and lives until it is told to end.
CHILD = f"""
import sys
from ocm_otel import Event, Outbox
outbox = Outbox()
for number in range(40):
    assert outbox.put(Event("course-save", course_id=number, user_id={ANN!r} if number % 2 else f"bob{{number}}"))
print("put", flush=True)
sys.stdin.readline()
assert outbox.flush(20)
books = outbox.books.snapshot()
print(books.reasons.get("dropped", {{}}).get("purged", 0), books.balanced, flush=True)
"""


@pytest.fixture
def child(place: Place) -> Iterator[subprocess.Popen[str]]:
    """A living process that owes 40 events, 20 of them of one user."""
    place.emulator.always(503)
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD], env=place.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout.readline() == "put\n"
    yield process
    process.kill()
    process.communicate()


def named(place: Place) -> list[str]:
    """Return the files of the spool in which the user is named, in any form."""
    forms = (ANN.encode(), ANN.replace("@", "%40").encode())
    files = [path for path in place.account.parent.rglob("*") if path.is_file()]
    return [path.name for path in files if any(form in path.read_bytes() for form in forms)]


def test_a_user_is_erased_from_a_living_process(place: Place, child: subprocess.Popen[str]) -> None:
    """No byte of the id is left in the spool; what waited is not sent, the others are, and the books say so."""
    RefusedFile(place.account).add(Refused(Event("t", user_id=ANN).query(), "no-type-parameter", 1.0, 2.0, 1))
    assert len(named(place)) == 2
    done = place.run("spool", "purge", "--user", ANN, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 refused events thrown away, and 20 erased that waited." in done.stdout
    assert "Nothing in the account's directory names the user." in done.stdout
    assert named(place) == []
    place.emulator.normally()
    assert place.emulator.wait_for(20, 60)
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "20 True\n"
    assert {event["user_id"] for event in place.emulator.events()} == {f"bob{number}" for number in range(0, 40, 2)}
    assert place.run("spool", "purge", "--user", ANN, "--yes").returncode == 1


def test_a_user_is_erased_from_what_the_dead_left(place: Place, child: subprocess.Popen[str]) -> None:
    """In the ledgers of a dead process, too; a drain then delivers the others, and books the erased."""
    child.kill()
    child.wait()
    assert place.run("spool", "purge", "--user", ANN, "--yes").returncode == 0
    assert named(place) == []
    place.emulator.normally()
    done = place.run("spool", "drain")
    assert "40 taken over: 20 delivered, 0 refused, 20 dropped; 0 are left." in done.stdout
    assert "dropped: 20  purged" in done.stdout


def test_what_was_delivered_names_nobody_either(place: Place) -> None:
    """A record that is settled stands in a living process's ledger; it is erased as well, and the ledger goes on."""
    with Outbox(place.settings) as outbox:
        assert outbox.put(Event("t", user_id=ANN))
        assert outbox.flush(20)
        assert named(place) != []
        place.run("spool", "purge", "--user", ANN, "--yes")
        assert named(place) == []
        assert outbox.put(Event("t", user_id="bob"))
        assert outbox.flush(20)
    assert [event["user_id"] for event in place.emulator.events()] == [ANN, "bob"]


def test_an_id_that_begins_alike_is_somebody_else(place: Place, child: subprocess.Popen[str]) -> None:
    """The events of `bob2` stay, when `bob` is erased, and nobody asks without being told to."""
    done = place.run("spool", "purge", "--user", "bob", "--yes")
    assert (done.returncode, "and 0 erased that waited" in done.stdout) == (1, True)
    assert place.run("spool", "purge", "--user", "bob2").returncode == 1  # nobody said yes
    assert place.told()["total"]["waiting"] == 40
