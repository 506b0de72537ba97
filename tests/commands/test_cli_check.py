"""`ocm-otel check`, run as a person runs it, against a real emulator: each thing that can stand in the way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ocm_otel.emulator import Emulator

BIN = Path(sys.executable).parent
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
PREFIX = "OTEL_EXPORTER_OCM_"
NONE = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "LOGS", "METRICS")}
#: What is loaded by `opentelemetry-instrument` and takes seconds.
OTHERS = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi,flask,httpx,httpx2,logging,threading"}
NO_PROXY = {
    "HTTPS_PROXY": "",
    "HTTP_PROXY": "",
    "ALL_PROXY": "",
    "https_proxy": "",
    "http_proxy": "",
    "all_proxy": "",
}


def check(
    *arguments: str, folder: Path | None = None, wrapped: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with no OTEL_ variables but the given ones; under `opentelemetry-instrument` if wrapped."""
    command = [str(BIN / "opentelemetry-instrument")] * wrapped + [str(BIN / "ocm-otel"), "check", *arguments]
    return subprocess.run(
        command,
        env=CLEAN | NO_PROXY | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def leads_to(emulator: Emulator, key: str | None = None) -> dict[str, str]:
    """The variables that point at an emulator, with no exporter but ours."""
    return {f"{PREFIX}ENDPOINT": emulator.endpoint, f"{PREFIX}API_KEY": key or emulator.key, **NONE,
            "OTEL_TRACES_EXPORTER": "console,ocm"}  # fmt: skip


def told(done: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, str]]]:
    """What a run with --json found, by subject."""
    found: dict[str, list[dict[str, str]]] = {}
    content: dict[str, Any] = json.loads(done.stdout)
    assert content["works"] is (done.returncode == 0), done.stderr
    for finding in content["findings"]:
        assert finding["remedy"] or finding["level"] == "ok", finding
        found.setdefault(finding["subject"], []).append(finding)
    return found


def worst(found: dict[str, list[dict[str, str]]], subject: str) -> tuple[str, str]:
    """The level and the words of the worst finding about a subject."""
    order = ["ok", "warning", "problem"]
    finding = max(found[subject], key=lambda one: order.index(one["level"]))
    return finding["level"], finding["found"]


def test_a_good_environment_works(emulator: Emulator, tmp_path: Path) -> None:
    """Key, endpoint and spool in order: exit code 0, nothing counted, nothing made, and the key is not shown."""
    spool = tmp_path / "state" / "spool"
    done = check(**leads_to(emulator), **{f"{PREFIX}SPOOL_DIR": str(spool)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "It will work" in done.stdout.splitlines()[-1]
    assert "takes the key (asked without a type, which counts nothing" in done.stdout
    assert f"*** ({len(emulator.key)} characters, from {PREFIX}API_KEY)" in done.stdout
    assert emulator.key not in done.stdout + done.stderr
    assert (emulator.count, [request["reason"] for request in emulator.requests()]) == (0, ["type is missing"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "type"), [(["--send"], "ocm-otel-check"), (["--send=menu-click"], "menu-click")])
def test_send_sends_one_event(emulator: Emulator, arguments: list[str], type: str) -> None:
    """With --send one event is counted, of the type that was named, and nothing else is asked."""
    done = check("--json", *arguments, **leads_to(emulator))
    assert worst(told(done), "answer")[0] == "ok"
    assert [event["type"] for event in emulator.events()] == [type]
    assert len(emulator.requests()) == 1


def test_send_of_what_is_no_type() -> None:
    """A type that cannot be sent is wrong use."""
    done = check("--send= ")
    assert (done.returncode, done.stdout) == (2, "")
    assert "it is blank" in done.stderr


def test_a_wrong_key(emulator: Emulator) -> None:
    """A key that the API refuses: exit code 1, and what to check."""
    done = check("--json", **leads_to(emulator, "not-the-key"))
    level, said = worst(told(done), "answer")
    assert (done.returncode, level) == (1, "problem")
    assert "check the API key" in said
    assert "not-the-key" not in done.stdout + done.stderr


def test_no_key(emulator: Emulator) -> None:
    """Without a key: exit code 1, the variable to set, and no request."""
    done = check("--json", **{f"{PREFIX}ENDPOINT": emulator.endpoint})
    found = told(done)
    assert worst(found, "key")[0] == "problem"
    assert f"{PREFIX}API_KEY" in found["key"][0]["remedy"]
    assert "answer" not in found
    assert emulator.requests() == []


def test_bad_settings_and_an_address_that_is_none(emulator: Emulator) -> None:
    """Each bad value is a problem of its own, and the real API is not called in place of a bad endpoint."""
    done = check("--json", **{f"{PREFIX}API_KEY": "k", f"{PREFIX}ENDPOINT": "127.0.0.1:1", f"{PREFIX}TIMEOUT": "soon"})
    found = told(done)
    assert done.returncode == 1
    assert [finding["level"] for finding in found["settings"]] == ["problem", "problem"]
    assert not {"answer", "endpoint"} & found.keys()


def test_nobody_listens() -> None:
    """A closed port is told with host and port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        done = check("--json", **{f"{PREFIX}API_KEY": "k", f"{PREFIX}ENDPOINT": f"http://127.0.0.1:{port}/v2.0/events"})
    level, said = worst(told(done), "endpoint")
    assert (done.returncode, level) == (1, "problem")
    assert f"nobody can be reached at 127.0.0.1, port {port}" in said


def test_a_name_without_an_address_and_a_proxy() -> None:
    """A name that does not resolve is told; behind a proxy it is the proxy's name, shown without its password."""
    unknown = {f"{PREFIX}API_KEY": "k", f"{PREFIX}ENDPOINT": "https://api.invalid/v2.0/events"}
    assert "api.invalid has no address" in worst(told(check("--json", **unknown)), "endpoint")[1]
    done = check("--json", **unknown, https_proxy="http://ann:secret@proxy.invalid:3128")
    found = told(done)
    assert "the proxy proxy.invalid has no address" in worst(found, "endpoint")[1]
    assert "http://proxy.invalid:3128" in found["proxy"][0]["found"]
    assert "secret" not in done.stdout


def test_plain_http_to_another_machine() -> None:
    """A plain-http endpoint off this machine is warned of."""
    done = check("--json", **{f"{PREFIX}API_KEY": "k", f"{PREFIX}ENDPOINT": "http://api.invalid/v2.0/events"})
    assert ("warning", True) in [(one["level"], "unencrypted" in one["found"]) for one in told(done)["endpoint"]]


def test_a_spool_that_others_can_write_to(emulator: Emulator, tmp_path: Path) -> None:
    """A directory that is not this user's alone is a problem, with what to do."""
    tmp_path.chmod(0o777)
    done = check("--json", **leads_to(emulator), **{f"{PREFIX}SPOOL_DIR": str(tmp_path)})
    level, said = worst(told(done), "spool")
    assert (done.returncode, level) == (1, "problem")
    assert "can be written to by other users" in said


def test_what_was_left_behind_and_what_was_refused(emulator: Emulator, tmp_path: Path) -> None:
    """Events of a dead process and refused ones are counted, and stay where they are."""
    variables = {**leads_to(emulator), f"{PREFIX}SPOOL_DIR": str(tmp_path)}
    emulator.latency = 20.0
    program = "import os, ocm_otel\nfor _ in range(3): assert ocm_otel.emit('logout')\nos._exit(0)"
    subprocess.run([sys.executable, "-c", program], env=CLEAN | variables, check=True, timeout=150)
    emulator.latency = 0.0
    (account,) = tmp_path.iterdir()
    refused = {"query": "type=x", "at": 1.0, "refused_at": 2.0, "reason": "no-type-parameter", "attempts": 1}
    (account / "refused.jsonl").write_text(json.dumps(refused) + "\n", encoding="utf-8")
    found = told(check("--json", **variables))
    assert (worst(found, "owed")[0], found["owed"][0]["found"].split()[0]) == ("warning", "3")
    assert "1 events were refused" in worst(found, "refused")[1]


def test_an_exporter_that_nobody_brings(emulator: Emulator) -> None:
    """The name of an exporter that is not installed, and the failed start under `opentelemetry-instrument`."""
    variables = {**leads_to(emulator), "OTEL_TRACES_EXPORTER": "zipkin"}
    assert worst(told(check("--json", **variables)), "opentelemetry")[0] == "problem"
    done = check("--json", wrapped=True, **variables, **OTHERS)
    found = told(done)
    assert "no package here brings zipkin" in worst(found, "opentelemetry")[1]
    assert emulator.count == 0


def test_under_opentelemetry_instrument(emulator: Emulator) -> None:
    """There it looks at the real providers: our doors at both of them, and a sampler that drops."""
    variables = {**leads_to(emulator), "OTEL_LOGS_EXPORTER": "console,ocm"}
    done = check("--json", wrapped=True, **variables, **OTHERS)
    found = told(done)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OCMSpanProcessor" in worst(found, "spans")[1]
    assert "OCMLogRecordProcessor" in found["logs"][0]["found"]
    assert worst(found, "sampler")[0] == "ok"


APP = """
import logging, structlog, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from ocm_otel.structlog import OCMProcessor
print("hello from the application")
trace.set_tracer_provider(TracerProvider(sampler=TraceIdRatioBased(0.5)))
structlog.configure(processors=[structlog.processors.JSONRenderer(), OCMProcessor()],
                    wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
"""


def test_the_module_of_an_application(emulator: Emulator, tmp_path: Path) -> None:
    """With --app the providers and the structlog chain that a module sets up are looked at."""
    (tmp_path / "mysite.py").write_text(APP, encoding="utf-8")
    found = told(check("--json", "--app", "mysite", folder=tmp_path, **leads_to(emulator)))
    assert worst(found, "app")[0] == "ok"
    assert "none of our doors is at the tracer provider" in worst(found, "spans")[1]
    assert worst(found, "sampler")[0] == "warning"
    assert "JSONRenderer stands before OCMProcessor" in worst(found, "structlog")[1]
    assert "no span and no line becomes an event" in worst(found, "doors")[1]
    assert any("lets nothing below ERROR through" in one["found"] for one in found["structlog"])
    missing = told(check("--json", "--app", "nosite", folder=tmp_path, **leads_to(emulator)))
    assert "No module named 'nosite'" in worst(missing, "app")[1]


def test_in_uwsgi_and_gevent(emulator: Emulator, tmp_path: Path) -> None:
    """Within uWSGI, which brings a module `uwsgi`, its flags are looked at; and what gevent has replaced."""
    (tmp_path / "uwsgi.py").write_text("opt = {b'http': b':80'}", encoding="utf-8")
    (tmp_path / "mysite.py").write_text("from gevent import monkey\nmonkey.patch_all()\n", encoding="utf-8")
    found = told(check("--json", "--app", "mysite", folder=tmp_path, PYTHONPATH=str(tmp_path), **leads_to(emulator)))
    assert "threads are switched off" in worst(found, "uwsgi")[1]
    assert worst(found, "gevent")[0] == "ok"


def test_nothing_steers_a_terminal(emulator: Emulator) -> None:
    """What comes from variables is shown without control characters."""
    variables = {**leads_to(emulator), "OTEL_TRACES_EXPORTER": "\x1b[31mred", "OTEL_TRACES_SAMPLER": "\x1b[2J"}
    done = check(**variables)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
