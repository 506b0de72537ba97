"""The emulator as a program of its own: it knows nothing of the library, and ends when it is told to."""

from __future__ import annotations

import ast
import http.client
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import ocm_otel.emulator

ROOM = Path(ocm_otel.emulator.__file__).parent

SERVE = """
from ocm_otel.emulator import serve
serve(port=0, path={path!r}, ready=lambda emulator: print(emulator.port, flush=True))
print("ended", flush=True)
"""

MISSING = """
import sys
sys.modules[{package!r}] = None
import ocm_otel.emulator
try:
    from ocm_otel.emulator import Emulator
except ImportError as error:
    print(error)
"""


def test_the_room_imports_nothing_of_the_library():
    """No file of the emulator names another part of ocm_otel: their mistakes must not agree."""
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("ocm_otel") for alias in node.names), path.name
            if isinstance(node, ast.ImportFrom):
                assert node.level < 2, path.name
                assert not (node.module or "").startswith("ocm_otel"), path.name


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_extra_says_what_to_install(package):
    """Without starlette or uvicorn the names fail with the command that helps, the package itself loads."""
    ran = subprocess.run(
        [sys.executable, "-c", MISSING.format(package=package)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "pip install 'ocm-otel[emulator]'" in ran.stdout
    assert package in ran.stdout


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_serving_ends_cleanly_when_told_to(tmp_path, end):
    """serve() answers, and returns on SIGINT and on SIGTERM without a word; the file holds the event."""
    path = tmp_path / "events.db"
    command = [sys.executable, "-W", "error", "-c", SERVE.format(path=str(path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request("GET", "/v2.0/events?type=a", headers={"x-api-key": "demo-key"})
                assert connection.getresponse().read() == b'{"status":"OK"}'
                server.send_signal(end)
                out, err = server.communicate(timeout=20)
        finally:
            server.kill()
    assert (server.returncode, out, err) == (0, "ended\n", "")
    with ocm_otel.emulator.Emulator(path=path) as again:
        assert again.count == 1
