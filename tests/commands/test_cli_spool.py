"""`ocm-otel spool …`, run as a person runs it, on spools that real processes filled and died over."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ocm_otel import Event, Outbox, Settings
from ocm_otel._census import Census, Standing
from ocm_otel._drain import Drain
from ocm_otel._journal import Refused
from ocm_otel._ledger import Ledger
from ocm_otel._ledgerset import lock_owner
from ocm_otel._refused import RefusedFile
from ocm_otel.emulator import Emulator

COMMAND = [sys.executable, "-W", "error", "-m", "ocm_otel.cli", "spool"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
PREFIX = "OTEL_EXPORTER_OCM_"
#: Puts as many events as it is told, says how many were accepted, and lives until it is killed.
CHILD = """
import sys
from ocm_otel import Event, Outbox
outbox = Outbox()
print(sum(outbox.put(Event("course-click", course_id=7, user_id=f"{sys.argv[2]}{n}")) for n in range(int(sys.argv[1]))),
      flush=True)
sys.stdin.read()
"""


def until(condition: Callable[[], object], timeout: float = 60.0) -> bool:
    """Wait until `condition` is true; False if it was not within `timeout` seconds."""
    end, tick = time.monotonic() + timeout, threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        tick.wait(0.02)
    return True


class Place:
    """One account on this machine: an emulator, a spool, and the processes that use them."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.spool = folder / "spool"
        self.variables = {
            f"{PREFIX}ENDPOINT": emulator.endpoint,
            f"{PREFIX}API_KEY": emulator.key,
            f"{PREFIX}SPOOL_DIR": str(self.spool),
        }
        self.processes: list[subprocess.Popen[str]] = []

    @property
    def account(self) -> Path:
        """The account's directory; whether it is there or not."""
        return Standing(self.spool, self.emulator.endpoint, self.emulator.key).path

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `ocm-otel spool …`; None takes a variable away."""
        env = CLEAN | self.variables | variables
        return subprocess.run([*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=150, check=False)

    def counts(self) -> dict:
        """Return what `list --json` says."""
        done = self.run("list", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def child(self, count: int, name: str) -> subprocess.Popen[str]:
        """Start a process that has put `count` events and lives."""
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(count), name], env=CLEAN | self.variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.processes.append(process)
        assert process.stdout.readline() == f"{count}\n"
        return process

    def dead(self, count: int, name: str) -> int:
        """Leave `count` events behind by a process that is killed; returns its id."""
        self.emulator.always(503)
        process = self.child(count, name)
        process.kill()
        process.wait()
        return process.pid


@pytest.fixture
def place(emulator: Emulator, tmp_path: Path) -> Iterator[Place]:
    """An account whose processes are gone after the test."""
    place = Place(emulator, tmp_path)
    yield place
    for process in place.processes:
        process.kill()
        process.communicate()


def tally(emulator: Emulator) -> Counter:
    """Return how often each event counted, by its user."""
    return Counter(event["user_id"] for event in emulator.events())


def names(name: str, count: int) -> Counter:
    """Return the tally of events that counted once each."""
    return Counter(f"{name}{number}" for number in range(count))


# --- in general ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["list", "drain"])
def test_without_a_key_it_is_wrong_use(command: str, place: Place) -> None:
    """Without a key there is no account: exit code 2, the variable to set, and no directory is made."""
    done = place.run(command, **{f"{PREFIX}API_KEY": ""})
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no API key: set {PREFIX}API_KEY" in done.stderr
    assert not place.spool.exists()


@pytest.mark.parametrize("command", ["list", "drain"])
def test_a_bad_setting_is_wrong_use(command: str, place: Place) -> None:
    """A bad endpoint ends the command; the default, the real API, is not called instead."""
    done = place.run(command, **{f"{PREFIX}ENDPOINT": "127.0.0.1:8377"})
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{PREFIX}ENDPOINT: '127.0.0.1:8377' is no http:// or https:// address" in done.stderr


def test_where_there_is_no_spool_nothing_is_made(place: Place) -> None:
    """Without a spool directory both commands say that nothing waits, and make none."""
    listed, drained = place.run("list"), place.run("drain")
    assert (listed.returncode, drained.returncode) == (0, 0)
    assert "there is no spool directory of this account yet" in listed.stdout
    assert "Nothing is left behind" in drained.stdout
    assert place.counts()["state"] == "none"
    assert not place.spool.exists()


def test_an_unusable_spool_is_told(place: Place) -> None:
    """A spool that others may write to is not used: both say so and what to do; nothing can be drained."""
    place.spool.mkdir()
    place.spool.chmod(0o777)
    listed, drained = place.run("list"), place.run("drain")
    assert (listed.returncode, drained.returncode) == (0, 1)
    for text in (listed.stdout, drained.stderr, place.counts()["problem"]):
        assert "can be written to by other users: chmod 700 it" in text
        assert "Run this as the user that the application runs as" in text


# --- the dead and the living ------------------------------------------------------------------------------


def test_what_a_killed_process_owes_is_listed_and_drained(place: Place) -> None:
    """50 events of a killed process are listed as left behind, then delivered once each, and gone from the disk."""
    pid = place.dead(50, "ann")
    told = place.counts()
    (row,) = told["ledger_sets"]
    assert (row["process"], row["owner"], row["owed"], row["torn"]) == (pid, "dead", 50, 0)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["since"])
    assert 0 <= row["oldest_seconds"] < 60
    assert row["bytes"] == 256 * 1024
    assert (told["totals"]["dead"]["owed"], told["totals"]["living"]["owed"]) == (50, 0)
    shown = place.run("list")
    assert re.search(rf"^{pid} +\S+Z  dead +50 +\d+ +0 +\d+ s +256 KiB$", shown.stdout, re.MULTILINE), shown.stdout
    assert "50 left behind by dead processes" in shown.stdout
    assert "ann" not in shown.stdout + json.dumps(told)
    place.emulator.normally()
    done = place.run("drain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("50 taken over: 50 delivered, 0 refused, 0 dropped; 0 are left.\n")
    assert tally(place.emulator) == names("ann", 50)
    assert place.counts()["ledger_sets"] == []
    assert place.run("drain").stdout == "Nothing is left behind by dead processes.\n"


def test_a_call_that_a_death_interrupted_is_in_doubt(place: Place) -> None:
    """A call that was made and not answered when its process died is listed as sent, and drained as ambiguous."""
    place.emulator.latency = 30.0
    process = place.child(1, "ann")
    assert until(lambda: place.counts()["totals"]["living"]["sent"] == 1)
    process.kill()
    process.wait()
    assert place.counts()["totals"]["dead"] | {"oldest_seconds": 0} == {
        "owed": 1, "sent": 1, "torn": 0, "oldest_seconds": 0, "bytes": 256 * 1024,
    }  # fmt: skip
    place.emulator.latency = 0.0
    done = place.run("drain")
    assert done.returncode == 0
    assert "1 calls may have counted" in done.stdout


def test_a_living_process_keeps_its_ledger(place: Place) -> None:
    """A living process is listed as living however often it is looked at, is not drained, and delivers its own."""
    place.emulator.always(503)
    living = place.child(20, "living")
    dead = place.dead(30, "dead")
    for _ in range(3):
        rows = {row["process"]: (row["owner"], row["owed"]) for row in place.counts()["ledger_sets"]}
        assert rows[living.pid] == ("living", 20)
        assert rows.get(dead, ("dead", 30))[1] == 30
    assert "20 owed by living processes" in place.run("list").stdout or place.counts()["totals"]["living"]["owed"] == 50
    assert living.poll() is None


def test_what_is_living_is_not_left(place: Place) -> None:
    """A drain beside a living process alone ends at once with exit code 0, and not one call is made."""
    place.emulator.always(503)
    living = place.child(20, "living")
    place.emulator.always(429)
    before = place.counts()["ledger_sets"]
    done = place.run("drain")
    assert done.returncode == 0
    assert "Nothing is left behind" in done.stdout
    assert "20 are owed by living processes" in done.stdout
    (row,) = place.counts()["ledger_sets"]
    assert (row["process"], row["owner"], row["owed"]) == (living.pid, "living", 20)
    assert before[0]["bytes"] == row["bytes"]
    place.emulator.normally()
    assert place.emulator.wait_for(20, 30)
    assert tally(place.emulator) == names("living", 20)


def test_a_set_without_ledgers_is_not_asked(place: Place) -> None:
    """A set in which there is no ledger yet, whose maker may be about to lock it, owes nothing and is not listed."""
    place.dead(2, "ann")
    young = place.account / "20260101T000000-1-abcdef"
    young.mkdir(mode=0o700)
    assert [row["owed"] for row in place.counts()["ledger_sets"]] == [2]
    assert list(young.iterdir()) == []


def test_looking_never_takes_a_ledger(place: Place) -> None:
    """While somebody looks without a pause, processes begin, deliver and end; each event counts once."""
    standing, over, looks = Standing(place.spool, place.emulator.endpoint, place.emulator.key), threading.Event(), []

    def look() -> None:
        while not over.is_set():
            looks.append(standing.census())

    watcher = threading.Thread(target=look)
    watcher.start()
    settings = Settings(api_key=place.emulator.key, endpoint=place.emulator.endpoint, spool_dir=str(place.spool))
    for turn in range(20):
        with Outbox(settings) as outbox:
            assert outbox.put(Event("course-click", course_id=7, user_id=f"turn{turn}"))
            assert outbox.flush(30)
    over.set()
    watcher.join()
    assert tally(place.emulator) == names("turn", 20)
    assert any(look.holdings for look in looks)
    assert all(one.living for look in looks for one in look.holdings if one.owed)


# --- drain, and what stands in its way ---------------------------------------------------------------------


def test_drain_with_a_wrong_key(place: Place) -> None:
    """A key that the API refuses: exit code 1, the verdict's words, nothing lost, and no word of the key."""
    key = "not-the-right-key"
    place.variables[f"{PREFIX}API_KEY"] = key
    place.dead(5, "ann")
    place.emulator.normally()
    done = place.run("drain", "--timeout", "3")
    assert done.returncode == 1
    assert done.stderr.count("The events API refuses the key: check the API key setting") == 1
    assert "5 taken over: 0 delivered, 0 refused, 0 dropped; 5 are left." in done.stdout
    assert "Nothing is lost" in done.stdout
    assert "calls failed: key-refused" in done.stdout
    assert key not in done.stdout + done.stderr
    assert place.counts()["totals"]["dead"]["owed"] == 5


def test_drain_while_the_api_is_away(place: Place) -> None:
    """An API that is away: exit code 1 within the timeout, in JSON what was said and what is left."""
    place.dead(5, "ann")
    started = time.monotonic()
    done = place.run("drain", "--timeout", "5", "--json")
    assert time.monotonic() - started < 60  # the start of a program on a busy machine included
    told = json.loads(done.stdout)
    assert (done.returncode, told["done"], told["left"], told["adopted"], told["delivered"]) == (1, False, 5, 5, 0)
    assert told["retried"]["http-503"] >= 2
    assert any("http-503" in line for line in told["said"])
    place.emulator.normally()
    assert json.loads(place.run("drain", "--json").stdout)["delivered"] == 5
    assert tally(place.emulator) == names("ann", 5)


def test_drain_delivers_although_memory_is_set(place: Place) -> None:
    """What was left on disk is delivered even if the settings of today keep nothing there."""
    place.dead(5, "ann")
    place.emulator.normally()
    done = place.run("drain", **{f"{PREFIX}DURABILITY": "memory"})
    assert done.returncode == 0, done.stdout
    assert tally(place.emulator) == names("ann", 5)


class Snatched(Standing):
    """An account of which somebody else takes over everything, right after the first look."""

    locks: tuple[int | None, ...] = ()

    def census(self) -> Census:
        found = super().census()
        self.locks = self.locks or tuple(lock_owner(one.path) for one in found.left())
        return found


def test_what_another_process_took_first_is_not_waited_for(place: Place) -> None:
    """A drain that finds its ledgers in the hands of another living process leaves them to it, and ends."""
    place.dead(5, "ann")
    standing = Snatched(place.spool, place.emulator.endpoint, place.emulator.key)
    settings = Settings(api_key=place.emulator.key, endpoint=place.emulator.endpoint, spool_dir=str(place.spool))
    run = Drain(settings, standing)
    run.work(40)
    (lock,) = standing.locks
    assert (run.books.adopted, [one.owed for one in standing.census().holdings]) == (0, [5])
    assert run.seconds < 20
    os.close(lock)


def test_what_the_api_will_not_have_is_shown_by_reason(place: Place) -> None:
    """Events that a drain finds refused are kept, and listed by their reason."""
    place.dead(3, "ann")
    place.emulator.normally()
    done = place.run("drain", **{f"{PREFIX}MAX_AGE": "1"})
    assert done.returncode == 0
    assert "refused: 3  too-old" in done.stdout
    hostile = Refused("type=t", "evil\x1b[2J\u202e" + "x" * 500, 1.0, 2.0, 1)
    RefusedFile(place.account).add(hostile)
    told, shown = place.counts(), place.run("list").stdout
    assert (told["totals"]["refused"], told["refused"]["too-old"]) == (4, 3)
    assert "4 refused, and kept with their reasons in " in shown
    assert re.search(r"^  3  too-old$", shown, re.MULTILINE)
    assert not {"\x1b", "\u202e"} & set(shown)
    assert "x" * 70 not in shown


def test_a_bar_is_shown_to_a_person(place: Place) -> None:
    """On a terminal a bar moves to its end."""
    place.dead(50, "ann")
    place.emulator.normally()
    ours, theirs = pty.openpty()
    env = CLEAN | place.variables | {"TERM": "xterm"}
    process = subprocess.Popen([*COMMAND, "drain"], env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how a terminal says that the other side is gone
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait(120) == 0
    assert b"delivering" in shown
    assert b"100%" in shown
    assert b"50 delivered" in shown


# --- what is none of ours ---------------------------------------------------------------------------------


def test_torn_records_are_counted_apart(place: Place) -> None:
    """A record whose bytes were spoilt is listed as torn; a drain drops it by that name and delivers the others."""
    place.dead(5, "ann")
    (file,) = place.account.glob("*/*.ledger")
    data = file.read_bytes()
    file.write_bytes(data.replace(b"user_id=ann2", b"user_id=anX2"))
    assert place.counts()["totals"]["dead"]["torn"] == 1
    place.emulator.normally()
    done = place.run("drain")
    assert done.returncode == 0
    assert "dropped: 1  torn" in done.stdout
    assert tally(place.emulator) == names("ann", 5) - Counter(["ann2"])


def test_foreign_ledgers_are_named(place: Place) -> None:
    """A ledger of another version is named with its reason and left alone; a drain has not done all then."""
    place.dead(2, "ann")
    (home,) = {file.parent for file in place.account.glob("*/*.ledger")}
    foreign = home / "000009.ledger"
    foreign.write_bytes(b"ocm-otel ledger 9\nwhatever\n")
    why = {"file": f"{home.name}/000009.ledger", "why": "is no ledger of this version"}
    assert place.counts()["left_alone"] == [why]
    place.emulator.normally()
    done = place.run("drain")
    assert done.returncode == 1
    assert "2 delivered" in done.stdout
    assert "000009.ledger: is no ledger of this version" in done.stdout
    assert foreign.read_bytes() == b"ocm-otel ledger 9\nwhatever\n"


def test_hostile_names_are_harmless(place: Place) -> None:
    """Names that would steer a terminal, are long, or are no text at all are shown without harm, not followed."""
    place.dead(2, "ann")
    account = place.account
    (account / "evil\x1b[2J\n\u202ename").write_bytes(b"x")
    (account / ("y" * 250)).mkdir()
    Path(os.fsdecode(os.fsencode(account) + b"/\xff\xfe")).write_bytes(b"x")
    (account / "20260101T000000-1-abcdef").symlink_to(account)
    odd = account / f"99999999T999999-{'9' * 90}-abcdef"
    odd.mkdir()
    Ledger(odd / "000001.ledger", 4096)
    os.mkfifo(odd / "000002.ledger")
    (odd / "000003.ledger").symlink_to("/etc/passwd")
    done, told = place.run("list"), place.counts()
    assert (done.returncode, done.stderr) == (0, "")
    assert not {"\x1b", "\u202e"} & set(done.stdout)
    assert "y" * 70 not in done.stdout
    assert len(told["left_alone"]) == 6
    assert told["totals"]["dead"]["owed"] == 2
    assert {"since": None, "owed": 0, "owner": "dead"}.items() <= told["ledger_sets"][-1].items()


def test_other_accounts_are_mentioned(place: Place) -> None:
    """With another key nothing of the first is shown but that there is another account."""
    place.dead(2, "ann")
    place.variables[f"{PREFIX}API_KEY"] = "another-key"
    assert "1 other accounts (another endpoint or key) have ledgers" in place.run("list").stdout
    assert (place.counts()["state"], place.counts()["other_accounts"]) == ("none", 1)
    assert place.run("drain").returncode == 0
    assert len(list(place.spool.iterdir())) == 1
