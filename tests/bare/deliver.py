"""An installation without extras delivers, and says which extra is missing: `python tests/bare/deliver.py`.

A plain script: a test runner would bring packages along, and here the point is that nothing else is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qsl, urlsplit

EXTRA = ("starlette", "uvicorn", "confluent_kafka", "opentelemetry.distro", "opentelemetry.instrumentation")

APPLICATION = """
from opentelemetry.sdk.trace import TracerProvider
from ocm_otel import OCMSpanProcessor, emit, tags

provider = TracerProvider()
provider.add_span_processor(OCMSpanProcessor())
with provider.get_tracer("app").start_as_current_span("save") as span:
    span.set_attributes(tags("course-save", course_id=7, user_id="ann"))
assert emit("menu-click", user_id="bob")
provider.shutdown()
"""


class Answer(BaseHTTPRequestHandler):
    """Takes every event and keeps its query."""

    protocol_version = "HTTP/1.1"
    queries: list[dict[str, str]] = []  # noqa: RUF012 - shared on purpose: one for each call is made

    def do_GET(self) -> None:
        """Answer 200."""
        self.queries.append(dict(parse_qsl(urlsplit(self.path).query)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this installation."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | variables
    return subprocess.run(command, env=env, text=True, capture_output=True, timeout=60, check=False)


def delivers() -> None:
    """A tagged span and an `emit()` arrive at a server made of the standard library."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}/v2.0/events"
    variables = {"OTEL_EXPORTER_OCM_ENDPOINT": endpoint, "OTEL_EXPORTER_OCM_API_KEY": "key"}
    with TemporaryDirectory() as folder:  # whatever is kept on disk is not kept in the user's own folder
        variables |= {"OTEL_EXPORTER_OCM_SPOOL_DIR": folder, "XDG_STATE_HOME": folder}
        done = run(sys.executable, "-W", "error", "-c", APPLICATION, **variables)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    assert sorted(Answer.queries, key=str) == [
        {"type": "course-save", "course_id": "7", "user_id": "ann"},
        {"type": "menu-click", "user_id": "bob"},
    ], (Answer.queries, done.stderr)


def names_the_missing_extra(command: str, extra: str) -> None:
    """A command that needs an extra fails without a traceback and names the extra."""
    done = run(str(Path(sys.executable).with_name("ocm-otel")), command)
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), (command, done.returncode, said)
    assert f"ocm-otel[{extra}]" in said, (command, said)
    assert "Traceback" not in said, said


def main() -> None:
    """Check that no extra is installed, and then the above."""
    for name in EXTRA:
        parent = name.rpartition(".")[0]
        assert (parent and find_spec(parent) is None) or find_spec(name) is None, f"{name} is installed"
    delivers()
    print("a tagged span and an emit() were delivered")
    for command, extra in (("emulator", "emulator"), ("demo", "emulator"), ("gateway", "gateway"), ("kafka", "kafka")):
        names_the_missing_extra(command, extra)
        print(f"ocm-otel {command} names the extra that it needs")


if __name__ == "__main__":
    main()
