"""The command `ocm-otel`, run as a person runs it: in a process of its own, against a real emulator."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ocm_otel.emulator import Emulator

COMMAND = [sys.executable, "-W", "error", "-m", "ocm_otel.cli"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
PREFIX = "OTEL_EXPORTER_OCM_"


def ocm_otel(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in an environment without any OTEL_ variables but the given ones."""
    return subprocess.run(
        [*COMMAND, *arguments], env=CLEAN | variables, capture_output=True, text=True, timeout=150, check=False
    )


def leads_to(emulator: Emulator, key: str | None = None) -> dict[str, str]:
    """The variables that point at an emulator."""
    return {f"{PREFIX}ENDPOINT": emulator.endpoint, f"{PREFIX}API_KEY": key or emulator.key}


@pytest.fixture
def free_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# --- in general ------------------------------------------------------------------------------------------


def test_the_version_is_told() -> None:
    """`--version` names the command and a version."""
    done = ocm_otel("--version")
    assert re.fullmatch(r"ocm-otel, version \d+\.\d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["send"],
        ["send", "logout", "--api-key", "k"],
        ["emulator", "--port", "many"],
        ["demo", "x"],
    ],
)
def test_wrong_use_exits_with_2(arguments: list[str]) -> None:
    """An unknown command or option and a missing argument are wrong use, told without a traceback."""
    done = ocm_otel(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)])
def test_colours_are_for_terminals(variables: dict[str, str], coloured: bool) -> None:
    """On a terminal there are colours, unless NO_COLOR has a value."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in CLEAN.items() if name != "NO_COLOR"} | variables
    process = subprocess.Popen([*COMMAND, "settings"], env=env, stdout=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how a terminal says that the other side is gone
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait(120) == 0
    assert b"endpoint" in shown
    assert (b"\x1b[" in shown) is coloured


@pytest.mark.parametrize("command", ["demo", "emulator"])
@pytest.mark.parametrize("module", ["starlette", "uvicorn"])
def test_a_missing_extra_is_named(command: str, module: str, tmp_path: Path) -> None:
    """Without a package of the extra the command says what to install, and shows no traceback."""
    text = f"raise ModuleNotFoundError('No module named {module}', name='{module}')"
    (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = ocm_otel(command, PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"this needs {module}, which is not installed: pip install 'ocm-otel[emulator]'" in done.stderr
    assert "Traceback" not in done.stderr


# --- send ------------------------------------------------------------------------------------------------


def test_send_delivers_one_event(emulator: Emulator) -> None:
    """One event with its ids arrives, the verdict is told in words, and the key is not."""
    done = ocm_otel(
        "send",
        "course-save",
        "--course-id",
        "7",
        "--user-id",
        "ann b&c",
        "--entity-id",
        "é1",
        **leads_to(emulator),
    )
    assert done.returncode == 0, done.stderr
    event = emulator.events()[0]
    assert [event[name] for name in ("type", "course_id", "user_id", "entity_id")] == [
        "course-save", "7", "ann b&c", "é1",
    ]  # fmt: skip
    assert len(emulator.requests()) == 1
    assert done.stdout.startswith("delivered: type=course-save course_id=7 user_id=ann b&c entity_id=é1\n")
    assert "has counted the event" in done.stdout
    assert emulator.key not in done.stdout + done.stderr


def test_send_as_json(emulator: Emulator) -> None:
    """With `--json` the verdict is one JSON object."""
    done = ocm_otel("send", "logout", "--user-id", "ann", "--json", **leads_to(emulator))
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told.pop("milliseconds") >= 0
    assert told.pop("words")
    assert told == {
        "delivered": True,
        "fate": "delivered",
        "reason": "delivered",
        "ambiguous": False,
        "wait": None,
        "event": {"type": "logout", "course_id": None, "user_id": "ann", "entity_id": None},
        "endpoint": emulator.endpoint,
    }


def test_send_tells_a_refusal(emulator: Emulator) -> None:
    """A type that the API does not admit is refused: exit code 1, and the API's own name for it."""
    done = ocm_otel("send", "x" * 300, **leads_to(emulator))
    assert done.returncode == 1
    assert done.stdout.startswith("refused: type=xxx")
    assert "NO-TYPE-PARAMETER" in done.stdout
    assert "send it again" not in done.stdout
    assert emulator.count == 0


def test_send_with_a_wrong_key(emulator: Emulator) -> None:
    """A key that the API refuses: exit code 1, what to check, and no word of the key."""
    done = ocm_otel("send", "logout", "--json", **leads_to(emulator, "not-the-right-key"))
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["delivered"], told["fate"], told["reason"]) == (False, "locked out", "key-refused")
    assert "check the API key" in told["words"]
    assert "not-the-right-key" not in done.stdout + done.stderr


def test_send_to_nobody(free_port: int) -> None:
    """Where nobody listens: exit code 1, told that it was not counted."""
    done = ocm_otel(
        "send",
        "logout",
        "--endpoint",
        f"http://127.0.0.1:{free_port}/v2.0/events",
        **{f"{PREFIX}API_KEY": "key"},
    )
    assert done.returncode == 1
    assert "cannot be reached" in done.stdout
    assert "It was not counted" in done.stdout


def test_send_into_silence(emulator: Emulator) -> None:
    """Without an answer in time: exit code 1, told that it may have counted."""
    emulator.latency = 20.0
    done = ocm_otel("send", "logout", "--timeout", "200", **leads_to(emulator))
    assert done.returncode == 1
    assert "may have been counted" in done.stdout
    assert "It was not counted" not in done.stdout
    assert emulator.wait_for(1, 30)
    assert emulator.count == 1


def test_send_shows_nothing_that_turns_the_text(emulator: Emulator) -> None:
    """An id with a mark that turns the direction of the text is sent as it is, and shown without it."""
    done = ocm_otel("send", "logout", "--user-id", "a\u202eb", **leads_to(emulator))
    assert (done.returncode, emulator.events()[0]["user_id"]) == (0, "a\u202eb")
    assert "user_id=a\ufffdb" in done.stdout


def test_send_without_a_key(emulator: Emulator) -> None:
    """Without a key nothing is sent: exit code 2, and the variable to set."""
    done = ocm_otel("send", "logout", "--endpoint", emulator.endpoint)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no API key: set {PREFIX}API_KEY" in done.stderr
    assert emulator.requests() == []


def test_send_with_a_key_file(emulator: Emulator, tmp_path: Path) -> None:
    """The key of `--api-key-file` wins over the variable."""
    file = tmp_path / "key"
    file.write_text(f"{emulator.key}\n", encoding="utf-8")
    done = ocm_otel("send", "logout", "--api-key-file", str(file), **leads_to(emulator, "another"))
    assert (done.returncode, emulator.count) == (0, 1), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["logout", "--user-id", " "], "ocm.user_id = ' ': it is blank"),
        (["course-save", "--course-id", "a\x1b[31mb"], "a text of 7 characters): it has control characters"),
        ([""], "ocm.event_type = '': it is blank"),
        (["logout", "--endpoint", "\x1b[31mred"], "is no http:// or https:// address"),
        (["logout", "--timeout", "soon"], "timeout: 'soon' is no whole number"),
    ],
)  # fmt: skip
def test_send_refuses_what_cannot_be_sent(emulator: Emulator, arguments: list[str], message: str) -> None:
    """A bad id, type or option: exit code 2, the rule, nothing sent, nothing that steers a terminal."""
    done = ocm_otel("send", *arguments, **leads_to(emulator))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "\x1b" not in done.stderr
    assert emulator.requests() == []


def test_send_does_not_fall_back_to_the_real_api(emulator: Emulator) -> None:
    """A bad endpoint in the environment ends `send`; the default, the real API, is not called instead."""
    nowhere = {
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }  # were it to be called
    variables = {**leads_to(emulator), f"{PREFIX}ENDPOINT": "127.0.0.1:8377", **nowhere}
    done = ocm_otel("send", "logout", **variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{PREFIX}ENDPOINT: '127.0.0.1:8377' is no http:// or https:// address" in done.stderr


def test_send_names_a_course_event_without_course(emulator: Emulator) -> None:
    """A course event without a course is sent, and its lack is told."""
    done = ocm_otel("send", "course-save", **leads_to(emulator))
    assert (done.returncode, emulator.count) == (0, 1)
    assert "without --course-id" in done.stdout


# --- settings --------------------------------------------------------------------------------------------


def test_settings_say_where_they_come_from() -> None:
    """Each setting is shown with its value and its source: the default, our variable, or OpenTelemetry's."""
    variables = {
        f"{PREFIX}TIMEOUT": "500", "OTEL_BSP_MAX_QUEUE_SIZE": "77",
        f"{PREFIX}API_KEY": "my-secret", f"{PREFIX}HEADERS": "x-tenant=hidden",
    }  # fmt: skip
    done = ocm_otel("settings", "--json", **variables)
    told = json.loads(done.stdout)
    rows = {row["setting"]: (row["value"], row["source"]) for row in told["settings"]}
    assert (done.returncode, told["problems"], told["has_key"]) == (0, [], True)
    assert rows["timeout"] == (500, f"{PREFIX}TIMEOUT")
    assert rows["max_queue_size"] == (77, "OTEL_BSP_MAX_QUEUE_SIZE")
    assert rows["api_key"] == ("***", f"{PREFIX}API_KEY")
    assert rows["headers"] == ("***", f"{PREFIX}HEADERS")
    assert rows["shutdown_timeout"] == (1000, "default")
    shown = ocm_otel("settings", **variables)
    assert shown.returncode == 0
    assert re.match(r"setting +value +from\n", shown.stdout)
    assert re.search(r"^max_queue_size +77 events +OTEL_BSP_MAX_QUEUE_SIZE$", shown.stdout, re.MULTILINE)
    assert re.search(r"^signals +traces,logs,structlog +default$", shown.stdout, re.MULTILINE)
    assert re.search(r"^explain +false +default$", shown.stdout, re.MULTILINE)
    assert "set OTEL_EXPORTER_OCM_ and its name in capitals, such as OTEL_EXPORTER_OCM_TIMEOUT" in shown.stdout
    for output in (done.stdout, shown.stdout):
        assert "my-secret" not in output
        assert "hidden" not in output


def test_settings_tell_a_bad_value() -> None:
    """A bad value is shown with its message and what is used instead: exit code 1."""
    variables = {
        f"{PREFIX}TIMEOUT": "so\x1b[31mon",
        f"{PREFIX}MAX_RATE": "-1",
        f"{PREFIX}CERTIFICATE": "\x1b[2J",
    }
    done = ocm_otel("settings", **variables)
    assert done.returncode == 1
    assert re.search(r"^timeout +10000 milliseconds +wrong, so: default$", done.stdout, re.MULTILINE)
    assert f"{PREFIX}MAX_RATE: '-1' is not above 0" in done.stdout
    assert "\x1b" not in done.stdout
    rows = {row["setting"]: row for row in json.loads(ocm_otel("settings", "--json", **variables).stdout)["settings"]}
    assert rows["timeout"]["problems"] == [
        f"{PREFIX}TIMEOUT: 'so\\x1b[31mon' is no whole number; the default, 10000, is used"
    ]
    assert rows["endpoint"]["problems"] == []


def test_settings_look_into_the_key_file(tmp_path: Path) -> None:
    """A key file that cannot be read is a bad value; no key at all is only mentioned."""
    missing = ocm_otel("settings", **{f"{PREFIX}API_KEY_FILE": str(tmp_path / "nothing")})
    assert missing.returncode == 1
    assert "cannot be read" in missing.stdout
    keyless = ocm_otel("settings")
    assert keyless.returncode == 0
    assert f"No key is set ({PREFIX}API_KEY)" in keyless.stdout


# --- emulator --------------------------------------------------------------------------------------------


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """A list for processes that are to be gone after the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Start the emulator; return it and what it printed by the time it was ready."""
    command = [*COMMAND, "emulator", "--port", "0", *arguments]
    process = subprocess.Popen(command, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if f"{PREFIX}API_KEY=" in line:
            break
    return process, said


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_emulator_runs_until_told(
    started: list[subprocess.Popen[str]], tmp_path: Path, ending: signal.Signals
) -> None:
    """The printed lines lead a real call to it; a signal ends it with exit code 0, and the file is kept."""
    file = tmp_path / "events.sqlite"
    process, said = start("--db", str(file))
    started.append(process)
    variables = dict(re.findall(r"^export (\w+)=(\S+)$", said, re.MULTILINE))
    assert set(variables) == {f"{PREFIX}ENDPOINT", f"{PREFIX}API_KEY"}
    assert variables[f"{PREFIX}ENDPOINT"].removesuffix("v2.0/events") in re.findall(r"report page +(\S+)", said)
    assert ocm_otel("send", "course-save", "--course-id", "7", **variables).returncode == 0
    process.send_signal(ending)
    assert process.wait(120) == 0
    kept = sqlite3.connect(file)
    assert kept.execute("SELECT type, course_id FROM events").fetchall() == [("course-save", "7")]
    kept.close()


def test_the_emulator_does_as_its_options_say(started: list[subprocess.Popen[str]]) -> None:
    """A key of one's own is needed and not shown; latency and refusal status are as given."""
    process, said = start("--key", "one", "--key", "two-secret", "--latency", "1500", "--refusal-status", "200")
    started.append(process)
    assert "two-secret" not in said
    variables = {f"{PREFIX}ENDPOINT": re.findall(r"ENDPOINT=(\S+)", said)[0]}
    assert ocm_otel("send", "logout", **variables, **{f"{PREFIX}API_KEY": "demo-key"}).returncode == 1
    done = ocm_otel("send", "x" * 300, "--json", **variables, **{f"{PREFIX}API_KEY": "two-secret"})
    told = json.loads(done.stdout)
    assert (done.returncode, told["reason"]) == (1, "no-type-parameter")
    assert told["milliseconds"] >= 1500


def test_a_taken_port_is_told(emulator: Emulator) -> None:
    """On a port that is taken it does not start: exit code 1, one sentence."""
    done = ocm_otel("emulator", "--port", str(emulator.port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: cannot listen on 127.0.0.1:{emulator.port}")
    assert "Traceback" not in done.stderr


def test_a_foreign_file_is_told(tmp_path: Path) -> None:
    """A file that no emulator wrote is left alone: exit code 2, one sentence."""
    file = tmp_path / "letter.txt"
    file.write_text("dear reader, " * 500, encoding="utf-8")
    done = ocm_otel("emulator", "--port", "0", "--db", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert "name another file" in done.stderr
    assert file.read_text(encoding="utf-8") == "dear reader, " * 500
