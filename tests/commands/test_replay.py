"""`ocm-otel replay`, run as a person runs it, on logs of every kind; the proof is what arrived at the emulator."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocm_otel.emulator import Emulator

COMMAND = [sys.executable, "-W", "error", "-m", "ocm_otel.cli", "replay"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
PREFIX = "OTEL_EXPORTER_OCM_"


def log(path: Path, first: int, last: int, *, untagged: int = 9) -> Path:
    """Write a log with a tagged line for each number, each after some without a tag."""
    with path.open("a", encoding="utf-8") as file:
        for number in range(first, last):
            file.write(('{"event": "request", "path": "/courses/7"}\n') * untagged)
            line = {"event": "saved", "timestamp": "2026-11-01T10:00:00Z", "ocm.event_type": "course-save",
                    "ocm.course_id": number % 7, "ocm.user_id": f"u{number}"}  # fmt: skip
            file.write(json.dumps(line) + "\n")
    return path


class Place:
    """One account: an emulator, and a folder with a spool and logs."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.env = CLEAN | {
            f"{PREFIX}ENDPOINT": emulator.endpoint,
            f"{PREFIX}API_KEY": emulator.key,
            f"{PREFIX}SPOOL_DIR": str(folder / "spool"),
        }

    def run(self, *arguments: str, stdin: bytes | None = None, **variables: str) -> subprocess.CompletedProcess[bytes]:
        """Run `ocm-otel replay …`."""
        return subprocess.run(
            [*COMMAND, *arguments], env=self.env | variables, cwd=self.folder, input=stdin, capture_output=True,
            timeout=150, check=False,
        )  # fmt: skip

    def told(self, *arguments: str, stdin: bytes | None = None) -> dict:
        """Run it with `--json`; return what it says."""
        done = self.run(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def users(self) -> Counter[str]:
        """Return how often each user counted."""
        return Counter(event["user_id"] for event in self.emulator.events())


@pytest.fixture
def place(emulator: Emulator, tmp_path: Path) -> Place:
    """An account."""
    return Place(emulator, tmp_path)


def once(first: int, last: int) -> Counter[str]:
    """Return the users of a log, once each."""
    return Counter(f"u{number}" for number in range(first, last))


def test_it_shows_before_it_sends(place: Place) -> None:
    """Without `--send`: types, period, faults with their place, what the API makes of time; nothing sent or made."""
    path = log(place.folder / "a.log", 0, 20)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"ocm.event_type": "course-view", "ocm.user_id": true}\n{"ocm.event_type": 7}\nx ocm.event_type\n')
    done = place.run("a.log")
    text = done.stdout.decode()
    assert (done.returncode, place.emulator.requests(), (place.folder / "spool").exists()) == (0, [], False), text
    assert text.startswith("203 lines read: 21 events; 0 were replayed before.\n")
    assert "course-save      20\n" in text
    assert "Written from 2026-11-01T10:00:00Z to 2026-11-01T10:00:00Z, 1 without a time." in text
    assert "1  ocm.user_id: a boolean is no id" in text
    assert "no event is made of it (first: a.log, line 202)" in text
    assert "1  names a tag, and is no whole JSON object (first: a.log, line 203)" in text
    assert "it counts these now, on the day on which they are sent" in text
    assert "ocm-otel replay a.log --send" in text
    assert "u1" not in text


def test_once_each_however_often(place: Place) -> None:
    """The same file again, a copy under another name, packed, grown, from standard input: each event once."""
    path = log(place.folder / "a.log", 0, 30)
    assert place.told("a.log", "--send", "--rate", "1000")["delivered"] == 30
    path.rename(place.folder / "a.log.1")
    (place.folder / "a.gz").write_bytes(gzip.compress((place.folder / "a.log.1").read_bytes()))
    told = place.told("a.log.1", "a.gz", "--send")
    assert (told["events"], told["replayed_before"], told["handed_over"]) == (0, 60, 0)
    log(place.folder / "a.log.1", 30, 40)
    log(path, 40, 45)  # what is written after the rotation
    whole = (place.folder / "a.log.1").read_bytes()
    told = place.told("-", "--send", "--rate", "1000", stdin=whole)
    assert (told["events"], told["replayed_before"], told["delivered"]) == (10, 30, 10)
    assert place.told("a.log.1", "a.log", "--send")["delivered"] == 5
    assert place.users() == once(0, 45)


def test_two_copies_at_once(place: Place) -> None:
    """A file and its copy in one call are one."""
    log(place.folder / "a.log", 0, 12)
    log(place.folder / "b.log", 0, 12)
    told = place.told("a.log", "b.log", "--send", "--rate", "1000")
    assert (told["handed_over"], place.users()) == (12, once(0, 12))


def test_killed_and_resumed(place: Place) -> None:
    """Killed in the middle again and again while the API is away, then run to its end: each event once."""
    log(place.folder / "a.log", 0, 400)
    place.emulator.always(503)
    for turn in range(4):
        process = subprocess.Popen(
            [*COMMAND, "a.log", "--send", "--rate", "40"], env=place.env, cwd=place.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        state = place.folder / "spool"
        before = sorted(state.glob("*/replay/done"))
        size = before[0].stat().st_size if before else 0
        end = time.monotonic() + 20
        while time.monotonic() < end and sum(file.stat().st_size for file in state.glob("*/replay/done")) <= size:
            threading.Event().wait(0.003 * turn + 0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    place.emulator.normally()
    told = place.told("a.log", "--send", "--rate", "2000")
    assert told["replayed_before"] > 0
    assert told["replayed_before"] + told["handed_over"] == 400
    assert place.emulator.wait_for(400, 60)
    assert place.users() == once(0, 400)


def test_the_rate_is_kept(place: Place) -> None:
    """At 40 events a second 60 events take more than a second, and no second has many more than 40."""
    log(place.folder / "a.log", 0, 60)
    assert place.told("a.log", "--send", "--rate", "40")["delivered"] == 60
    times = sorted(event["received_at"] for event in place.emulator.events())
    assert times[-1] - times[0] > 0.9
    assert max(sum(start <= other < start + 1 for other in times) for start in times) <= 60 - 10


def test_while_the_api_is_away(place: Place) -> None:
    """Exit code 1 after the timeout, with what to do; nothing is lost, and the next run does not send it again."""
    log(place.folder / "a.log", 0, 5)
    place.emulator.always(503)
    done = place.run("a.log", "--send", "--timeout", "1")
    assert done.returncode == 1
    assert b"Stopped: nothing was delivered for 1 s" in done.stdout
    assert b"Run this again: it goes on there." in done.stdout
    assert b"deliveries to the events API wait" in done.stderr
    place.emulator.normally()
    drained = subprocess.run(
        [sys.executable, "-m", "ocm_otel.cli", "spool", "drain"],
        env=place.env,
        capture_output=True,
        timeout=150,
        check=True,
    )
    assert b"5 taken over: 5 delivered" in drained.stdout
    assert place.told("a.log", "--send")["handed_over"] == 0
    assert place.users() == once(0, 5)


def test_a_collectors_file_and_a_table(place: Place) -> None:
    """OTLP as a Collector's file exporter writes it, and CSV with named columns, in one call."""
    kind = {"key": "ocm.event_type", "value": {"stringValue": "course-save"}}
    user = {"key": "ocm.user_id", "value": {"intValue": "12"}}
    span = {"traceId": "5b8efff798038103d269b633813fc60c", "attributes": [kind, user], "status": {"code": 2}}
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    (place.folder / "traces.json").write_text(json.dumps(request) + "\n", encoding="utf-8")
    (place.folder / "b.csv").write_text("When,What,Who\n2026-11-01,course-view,13\n", encoding="utf-8")
    columns = ("--column", "type=What", "--column", "user_id=Who", "--column", "time=When")
    told = place.told("traces.json", "b.csv", *columns, "--send")
    assert (told["types"], told["first"]) == ({"course-save": 1, "course-view": 1}, "2026-11-01T00:00:00Z")
    assert place.users() == Counter(["12", "13"])
    place.env[f"{PREFIX}ON_SPAN_ERROR"] = "skip"
    (place.folder / "more.json").write_text("\n" + json.dumps(request) + "\n", encoding="utf-8")
    assert place.told("more.json")["failed_spans"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no.log"], 1, "no.log: No such file or directory"),
        ([".", "a.log"], 1, "Is a directory"),
        (["bad.gz"], 1, "bad.gz: "),
        (["a.log", "--column", "typ=x"], 2, "FIELD=NAME is needed, FIELD one of type, course_id"),
        ([], 2, "Missing argument 'FILE...'"),
        (["a.log", "--rate", "0"], 2, "--rate"),
    ],
)
def test_what_cannot_be_read_is_told(place: Place, arguments: list[str], code: int, message: str) -> None:
    """A file that is none, and wrong use, are told in a sentence; the other files are read all the same."""
    log(place.folder / "a.log", 0, 1)
    (place.folder / "bad.gz").write_bytes(b"\x1f\x8b\x08no gzip")
    done = place.run(*arguments)
    said = (done.stdout + done.stderr).decode()
    assert (done.returncode, "Traceback" in said) == (code, False), said
    assert message in said
    if "a.log" in arguments and code == 1:
        assert "course-save" in said


def test_memory_does_not_grow_with_the_log(place: Place) -> None:
    """A log of 100,000 lines with 1 % tagged, and one line of 8 MB in it: within 120 MB of memory in all."""
    path = log(place.folder / "a.log", 0, 1000, untagged=99)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"event": "x" * 8_000_000}) + "\n")
    assert measured(place, "--send", "--rate", "2000", timeout=150)[0] < 120_000
    assert place.users() == once(0, 1000)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_million_lines(place: Place) -> None:
    """1,000,000 lines, 1 % tagged, killed, killed again, interrupted, run to the end: little memory, each once."""
    log(place.folder / "a.log", 0, 10_000, untagged=99)
    memory, said, _ = measured(place, timeout=300)
    assert said.startswith("1000000 lines read: 10000 events; 0 were replayed before.\n")
    assert memory < 60_000
    place.emulator.always(503)
    with sending(place) as process:
        until(lambda: any(file.stat().st_size for file in (place.folder / "spool").glob("*/replay/done")))
        process.kill()
    place.emulator.normally()
    with sending(place) as process:
        assert place.emulator.wait_for(2_000, 120)
        process.kill()
    with sending(place) as process:
        assert place.emulator.wait_for(4_000, 120)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[0]
        assert b"Stopped: it was interrupted." in told
        assert re.search(rb"handed over to the journal, and \d+ that an earlier run left there: \d+ delivered", told)
    memory, said, progress = measured(place, "--send", "--rate", "500", timeout=300)
    assert memory < 80_000
    assert re.search(r"replaying: \d+ of \d+ bytes read", progress)
    assert "10000 were replayed before" in measured(place, "--send", timeout=300)[1]
    report = subprocess.run(
        [*COMMAND[:-1], "report", "--json"], env=place.env, capture_output=True, timeout=50, check=True
    )
    # Of the calls that the second kill cut off the API had counted some, and nobody can know which.
    users, total = place.users(), json.loads(report.stdout)["total"]
    assert (set(users), total["delivered"]) == (set(once(0, 10_000)), 10_000)
    assert users.total() - 10_000 <= total["ambiguous"] <= 32


@contextmanager
def sending(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """Run `ocm-otel replay --send` until it is ended."""
    command = [*COMMAND, "a.log", "--send", "--rate", "1000"]
    with subprocess.Popen(
        command, env=place.env, cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield process


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def measured(place: Place, *arguments: str, timeout: float) -> tuple[int, str, str]:
    """Replay a log; return the memory that it took at most, in KiB, and what it said."""
    measure = (
        "import re, sys; from ocm_otel.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", measure, "replay", "a.log", *arguments], env=place.env,
        cwd=place.folder, capture_output=True, text=True, timeout=timeout, check=True,
    )  # fmt: skip
    return int(done.stderr.split()[-1]), done.stdout, done.stderr
