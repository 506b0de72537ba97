"""`ocm-otel spool show | retry | export | purge`, run as a person runs them, on events that were really refused."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from ocm_otel import Event, Outbox, Settings
from ocm_otel._census import Standing
from ocm_otel._journal import Refused
from ocm_otel._refused import RefusedFile
from ocm_otel.emulator import Emulator

COMMAND = [sys.executable, "-W", "error", "-m", "ocm_otel.cli", "spool"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
PREFIX = "OTEL_EXPORTER_OCM_"
ONE = Refused("type=cours-save&course_id=7&user_id=ann", "no-type-parameter", 1000.5, 1001.25, 1)
HOSTILE = [
    "<script>alert(1)</script>", "'; DROP TABLE events;--", "=HYPERLINK(1)", "+1+1", "-2+3", "@SUM(1)", "\uff1d1+1",
    "\u202egnp.exe", "a&b=c#d%20e+f", 'quote"comma,', "ünïcødé", "x" * 1900,
]  # fmt: skip
RISKY = ("=", "+", "-", "@", "\uff1d")


class Desk:
    """One account on this machine, and a person at its terminal."""

    def __init__(self, endpoint: str, key: str, folder: Path) -> None:
        self.settings = Settings(api_key=key, endpoint=endpoint, spool_dir=str(folder / "spool"))
        self.variables = {
            f"{PREFIX}ENDPOINT": endpoint,
            f"{PREFIX}API_KEY": key,
            f"{PREFIX}SPOOL_DIR": str(folder / "spool"),
            f"{PREFIX}MAX_RATE": "1000",
        }

    @property
    def file(self) -> RefusedFile:
        """The refused file, whether it is there or not."""
        key, root = self.settings.key(), self.settings.spool()
        return RefusedFile(Standing(root, self.settings.endpoint, key).path)

    def make(self, *events: Refused) -> None:
        """Write refused events down as a process would."""
        self.file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self.file.path.parent, self.file.path.parent.parent):
            directory.chmod(0o700)
        for event in events:
            self.file.add(event)

    def refuse(self, emulator: Emulator, *events: Event) -> None:
        """Have events really refused."""
        emulator.script(*[400] * len(events))
        with Outbox(self.settings) as outbox:
            for event in events:
                assert outbox.put(event)
            assert outbox.flush(20)
        assert len(self.file.read()) == len(events)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `ocm-otel spool …`."""
        return subprocess.Popen([*COMMAND, *arguments], env=CLEAN | self.variables, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def run(self, *arguments: str, said: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `ocm-otel spool …` to its end, and answer its questions with `said`."""
        env = CLEAN | self.variables | variables
        return subprocess.run([*COMMAND, *arguments], env=env, input=said, capture_output=True, encoding="utf-8",
                              timeout=150, check=False)  # fmt: skip

    def shown(self, *arguments: str) -> list[dict]:
        """Return the events that `show --json` shows."""
        done = self.run("show", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["events"]

    def sent(self, *arguments: str, code: int = 0) -> dict:
        """Return what `retry --json` says."""
        done = self.run("retry", "--json", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def desk(emulator: Emulator, tmp_path: Path) -> Desk:
    """An account at the emulator."""
    return Desk(emulator.endpoint, emulator.key, tmp_path)


def counted(emulator: Emulator) -> Counter:
    """Return how often each event counted, by type and user."""
    return Counter((event["type"], event["user_id"]) for event in emulator.events())


# --- in general ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["show", "retry", "export", "purge"])
def test_without_a_key_it_is_wrong_use(command: str, desk: Desk) -> None:
    """Without a key there is no account: exit code 2, and the variable to set."""
    whole = ["--all"] if command in ("retry", "purge") else []
    wrong = desk.run(command, *whole, **{f"{PREFIX}API_KEY": ""})
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert f"no API key: set {PREFIX}API_KEY" in wrong.stderr


def test_where_nothing_is_refused_nothing_is_made(desk: Desk, tmp_path: Path) -> None:
    """Without a spool all four say so, each with its exit code, and make no directory."""
    codes = {command: desk.run(command, *rest).returncode for command, *rest in
             (["show"], ["retry", "--all"], ["retry", "--reason", "x"], ["export"], ["purge", "--all"])}  # fmt: skip
    assert codes == {"show": 0, "retry": 1, "export": 0, "purge": 1}
    assert desk.run("retry", "--all").returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [
    ["retry"], ["purge"], ["retry", "--all", "--reason", "x"], ["purge", "0123", "--all"], ["purge", "--user", " "],
    ["retry", "--all", "--type", ""], ["retry", "--all", "--user-id", " "], ["retry", "--all", "--course-id", "a\nb"],
])  # fmt: skip
def test_unclear_orders_are_wrong_use(desk: Desk, emulator: Emulator, arguments: list[str]) -> None:
    """What does not say which events are meant, or gives what no event can have, changes and sends nothing."""
    desk.make(ONE)
    assert desk.run(*arguments).returncode == 2
    assert desk.file.read() == [ONE]
    assert emulator.requests() == []


# --- show, retry ------------------------------------------------------------------------------------------


def test_three_commands_put_it_right(desk: Desk, emulator: Emulator) -> None:
    """Refused events are shown with what was wrong, corrected, sent again, counted once, and gone."""
    desk.refuse(emulator, *(Event("cours-save", course_id=7, user_id=f"ann{n}") for n in range(3)))
    table = desk.run("show").stdout
    names = re.findall(
        r"^([0-9a-f]{12})  \S+Z  \S+Z  cours-save  7 +ann\d +- +no-type-parameter +1$", table, re.MULTILINE
    )
    assert len(names) == 3, table
    assert names == [row["id"] for row in desk.shown()]
    done = desk.run("retry", *names[:2], "--type", "course-save")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 of 2 delivered; none is left.")
    assert len(emulator.events()) == len(counted(emulator)) == 2
    assert {kind for kind, _ in counted(emulator)} == {"course-save"}
    assert [row["id"] for row in desk.shown()] == names[2:]
    assert desk.sent("--all", "--course-id", "8", "--user-id", "", "--entity-id", "team")["delivered"] == 1
    last = emulator.events()[-1]
    assert [last[name] for name in ("type", "course_id", "user_id", "entity_id")] == ["cours-save", "8", None, "team"]
    assert desk.run("show").stdout == "Nothing is refused.\n"


def test_what_is_refused_again_stays_as_it_was(desk: Desk, emulator: Emulator) -> None:
    """A correction that the API refuses as well is not kept; the new reason and the attempt are."""
    desk.make(ONE, replace(ONE, at=2000.0))
    before = desk.shown()
    emulator.script(422)
    told = desk.sent("--reason", ONE.reason, "--type", "worse", code=1)
    assert (told["delivered"], told["left"]) == (1, 1)
    assert [one["fate"] for one in told["events"]] == ["refused", "delivered"]
    (row,) = desk.shown()
    assert row | {"refused": None} == before[0] | {"refused": None, "reason": "http-422", "attempts": 2}


def test_filters_and_limits(desk: Desk) -> None:
    """Reason, type and limit choose what is shown, and the rest is told."""
    desk.make(*(replace(ONE, at=float(n), reason=f"r{n % 2}") for n in range(60)), replace(ONE, query="type=other"))
    assert len(desk.shown()) == 61
    assert len(desk.shown("--reason", "r1")) == 30
    assert [row["type"] for row in desk.shown("--type", "other")] == ["other"]
    assert len(desk.shown("--limit", "3")) == 3
    assert "\n11 more: --limit 61" in desk.run("show").stdout


def test_an_unknown_id_is_told(desk: Desk) -> None:
    """An ID that is nobody's: exit code 1 for retry and purge, and where to find the right one."""
    desk.make(ONE)
    for command in ("retry", "purge"):
        done = desk.run(command, "ffffffffffff")
        assert done.returncode == 1
        assert "There is no refused event ffffffffffff: `ocm-otel spool show` lists them." in done.stdout
    assert desk.file.read() == [ONE]


def test_a_wrong_key_stops_it_at_once(desk: Desk, emulator: Emulator) -> None:
    """The first 401 or 403 ends it with the verdict's words: one call, every event as it was."""
    desk.make(*(replace(ONE, at=float(n)) for n in range(5)))
    emulator.always(403)
    done = desk.run("retry", "--all", "--type", "course-save")
    assert done.returncode == 1
    assert "The events API refuses the key: check the API key setting" in done.stdout
    assert "the other 4 would fare no better" in done.stdout
    assert len(emulator.requests()) == 1
    assert desk.file.read() == [replace(ONE, at=float(n), attempts=1 + (n == 0)) for n in range(5)]
    assert emulator.key not in done.stdout + done.stderr


def test_an_api_that_is_away_is_not_asked_for_each(desk: Desk, emulator: Emulator) -> None:
    """After three calls in a row without an answer about the event the rest is left alone; nothing is in doubt."""
    desk.make(*(replace(ONE, at=float(n)) for n in range(9)))
    emulator.always(503)
    assert [one["reason"] for one in desk.sent("--all", code=1)["events"]] == ["http-503"] * 3
    assert {one.reason for one in desk.file.read()} == {ONE.reason}
    emulator.normally()
    assert desk.sent("--all")["delivered"] == 9


def test_no_answer_is_ambiguous(tmp_path: Path, wire: Callable) -> None:
    """A call without an answer leaves the event as ambiguous, says so, and it is not sent again without the flag."""
    server = wire(lambda peer: peer.request())
    desk = Desk(server.url, "demo-key", tmp_path)
    desk.make(ONE)
    done = desk.run("retry", "--all", "--type", "course-save")
    assert done.returncode == 1
    assert "It may have counted all the same" in done.stdout
    (row,) = desk.shown()
    assert (row["reason"], row["type"], row["attempts"]) == ("ambiguous", "course-save", 2)
    assert "may have counted" in desk.run("show").stdout
    assert desk.sent("--all", code=1)["in_doubt"] == [row["id"]]
    assert len(server.requests) == 1
    desk.sent("--all", "--in-doubt", code=1)
    assert len(server.requests) == 2


def test_killed_between_call_and_removal(tmp_path: Path, wire: Callable) -> None:
    """Who is killed while it waits for the answer leaves a mark: the event is in doubt, and not sent twice unasked."""
    open_now, answers = threading.Event(), b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n" + b'{"status":"OK"}'

    def behave(peer) -> None:
        while peer.request():
            if open_now.is_set():
                peer.say(answers)
            else:
                peer.until_closed()

    server = wire(behave)
    desk = Desk(server.url, "demo-key", tmp_path)
    desk.make(ONE, replace(ONE, at=2000.0))
    process = desk.start("retry", "--all", "--type", "course-save")
    assert server.wait(lambda: len(server.requests) == 1, 60)
    second = desk.run("retry", "--all", "--in-doubt")
    assert (second.returncode, len(server.requests)) == (1, 1)
    assert "another `ocm-otel spool retry` of this account is under way" in second.stderr
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [(row["reason"], row["type"]) for row in desk.shown()] == [
        ("in-doubt", "course-save"), (ONE.reason, "cours-save"),
    ]  # fmt: skip
    open_now.set()
    told = desk.sent("--all", code=1)
    assert (told["delivered"], len(told["in_doubt"]), len(server.requests)) == (1, 1, 2)
    assert desk.sent("--all", "--in-doubt")["delivered"] == 1
    assert len(server.requests) == 3
    assert desk.shown() == []


def test_what_is_purged_meanwhile_does_not_come_back(tmp_path: Path, wire: Callable) -> None:
    """An event that is thrown away while its answer is awaited is not put back after the answer."""
    desk_gone, bad = threading.Event(), b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n"

    def behave(peer) -> None:
        while peer.request():
            desk_gone.wait(30)
            peer.say(bad)

    server = wire(behave)
    desk = Desk(server.url, "demo-key", tmp_path)
    desk.make(ONE, replace(ONE, at=2000.0))
    process = desk.start("retry", "--all", "--json")
    assert server.wait(lambda: len(server.requests) == 1, 60)
    assert desk.run("purge", "--user", "ann", "--yes").returncode == 0
    desk_gone.set()
    told = json.loads(process.communicate(timeout=120)[0])
    assert [one["reason"] for one in told["events"]] == ["http-400", "changed"]
    assert len(server.requests) == 1
    assert desk.file.path.read_bytes() == b""


# --- hostile ids, export -----------------------------------------------------------------------------------


def test_hostile_ids_are_shown_exported_and_sent(desk: Desk, emulator: Emulator, tmp_path: Path) -> None:
    """Ids that are scripts, formulas, marks or long: harmless on screen and in CSV, whole in JSON, whole at the API."""
    desk.refuse(emulator, *(Event("course-click", course_id=7, user_id=text) for text in HOSTILE))
    table = desk.run("show").stdout
    assert not {"\x1b", "\u202e"} & set(table)
    assert "x" * 50 not in table
    assert sorted(row["user_id"] for row in desk.shown()) == sorted(HOSTILE)
    lines = desk.run("export").stdout.splitlines()
    assert sorted(json.loads(line)["user_id"] for line in lines) == sorted(HOSTILE)
    target = tmp_path / "refused.csv"
    assert desk.run("export", str(target), "--format", "csv").returncode == 0
    cells = [row["user_id"] for row in csv.DictReader(io.StringIO(target.read_text("utf-8"), newline=""))]
    assert sorted(cells) == sorted(("'" if text.startswith((*RISKY, "\u202e")) else "") + text for text in HOSTILE)
    assert desk.sent("--all")["delivered"] == len(HOSTILE)
    assert counted(emulator) == Counter(("course-click", text) for text in HOSTILE)


def test_what_somebody_wrote_by_hand_is_harmless(desk: Desk) -> None:
    """Orders to the terminal, lone surrogates and impossible times in the file steer nothing and end no command."""
    evil = Refused("type=a%1b[2J&user_id=%00b%0d=1\ud800", "\x1b]0;x\x07", float("inf"), float("nan"), 1)
    desk.make(evil, ONE)
    for arguments in (["show"], ["show", "--json"], ["export"], ["retry", "--reason", evil.reason]):
        done = desk.run(*arguments)
        assert done.returncode == (arguments[0] == "retry"), done.stderr
        assert not {"\x1b", "\x07", "\x00"} & set(done.stdout + done.stderr)
    assert desk.run("export", "--format", "csv").stdout.count("'") >= 1
    assert len(desk.file.read()) == 2


def test_an_export_is_private_and_overwrites_nothing(desk: Desk, tmp_path: Path) -> None:
    """The file is 0600; one that is there stays unless forced; a place that is none is told."""
    desk.make(ONE)
    target = tmp_path / "out.jsonl"
    assert desk.run("export", str(target)).returncode == 0
    assert target.stat().st_mode & 0o777 == 0o600
    target.write_text("mine")
    target.chmod(0o644)
    done = desk.run("export", str(target))
    assert (done.returncode, target.read_text()) == (1, "mine")
    assert "is there already: take another name, or --force" in done.stderr
    assert desk.run("export", str(target), "--force").returncode == 0
    assert json.loads(target.read_text())["user_id"] == "ann"
    assert target.stat().st_mode & 0o777 == 0o600
    nowhere = desk.run("export", str(tmp_path / "no" / "out"))
    assert nowhere.returncode == 1
    assert "No such file or directory. Take another place." in nowhere.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "spool"]


# --- purge ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["anna", "ünïcødé@x y", "a&b=c"])
def test_purging_a_user_leaves_no_byte(desk: Desk, user: str) -> None:
    """After it no form of the id is in any file of the account, in lines cut off or spoilt neither; others stay."""
    quoted = quote(user, safe="")
    desk.make(replace(ONE, query=f"type=t&user_id={quoted}"), ONE, replace(ONE, query=f"type=t&user_id={quoted}z"))
    whole = desk.file.path.read_bytes().splitlines(keepends=True)
    spoilt = [b'{"query":"type=t&user_id=' + quoted.encode() + b'","reas\n', b"not ours\n", b'{"user_id": "other"\n']
    torn = whole[0][: whole[0].index(quoted.encode()) + len(quoted) - 1]
    desk.file.path.write_bytes(b"".join([*whole, *spoilt, torn]))
    desk.file.path.with_suffix(".new").write_bytes(whole[0])
    done = desk.run("purge", "--user", user, "--yes")
    assert done.returncode == 0
    assert "3 refused events thrown away, and 0 erased that waited." in done.stdout
    assert desk.file.path.read_bytes() == b"".join([*whole[1:], *spoilt[1:]])
    for path in desk.file.path.parent.iterdir():
        data = path.read_bytes().replace(f"{quoted}z".encode(), b"")
        assert user.encode() not in data
        assert quoted.encode() not in data
    assert desk.run("purge", "--user", user, "--yes").returncode == 1


def test_purge_asks(desk: Desk) -> None:
    """Nothing is thrown away without a yes; the question says how many."""
    desk.make(ONE, replace(ONE, at=2000.0, reason="other"))
    for said in ("n\n", ""):
        done = desk.run("purge", "--all", said=said)
        assert (done.returncode, len(desk.file.read())) == (1, 2)
        assert "Throw 2 of 2 refused events away for good?" in done.stderr
    assert desk.run("purge", "--reason", "other", said="y\n").returncode == 0
    (row,) = desk.shown()
    assert desk.run("purge", row["id"], "--yes").returncode == 0
    assert desk.shown() == []


# --- together ---------------------------------------------------------------------------------------------


LIVING = """
import sys
from ocm_otel import Event, Outbox
with Outbox() as outbox:
    for n in range(150):
        assert outbox.put(Event("y" * 300, user_id=f"living{n}"))
        if n == 20:
            print("begun", flush=True)
    assert outbox.flush(30)
"""


def test_a_living_process_adds_meanwhile(desk: Desk, emulator: Emulator) -> None:
    """While a process has events refused, others are sent again and purged: none is lost, none comes back or twice."""
    desk.make(*(replace(ONE, at=float(n), reason="old", query=f"type=course-save&user_id=old{n}") for n in range(40)))
    env = CLEAN | {**desk.variables, f"{PREFIX}MAX_RATE": "200"}
    living = subprocess.Popen([sys.executable, "-c", LIVING], env=env, text=True, stdout=subprocess.PIPE)
    assert living.stdout.readline() == "begun\n"
    started = time.monotonic()
    assert desk.sent("--reason", "old", "--type", "course-click")["delivered"] == 40
    assert desk.run("purge", "--user", "living3", "--yes").returncode in (0, 1)
    assert living.wait(120) == 0
    assert time.monotonic() - started < 120
    living.stdout.close()
    assert desk.run("purge", "--user", "living3", "--yes").returncode in (0, 1)
    assert counted(emulator) == Counter(("course-click", f"old{n}") for n in range(40))
    users = Counter(row["user_id"] for row in desk.shown())
    assert users == Counter(f"living{n}" for n in range(150) if n != 3)
