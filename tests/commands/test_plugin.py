"""The pytest plugin, as a team's own test suite uses it: in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTEST_"))}
VIEW = """
    from flask import Flask
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from ocm_otel import OCMSpanProcessor, tags

    trace.set_tracer_provider(TracerProvider())
    trace.get_tracer_provider().add_span_processor(OCMSpanProcessor())
    app = Flask(__name__)

    @app.post("/courses/<int:course>/save")
    def save(course):
        with trace.get_tracer("app").start_as_current_span("save") as span:
            span.set_attributes(tags("course-save", course_id=course))
        return ""

    @app.post("/courses/<int:course>/wrong")
    def wrong(course):
        with trace.get_tracer("app").start_as_current_span("save") as span:
            span.set_attributes({"ocm.event_type": "course-save", "ocm.curse_id": course})
        return ""
"""
SUITE = """
    import os, subprocess, sys, unittest
    import anyio, pytest
    from ocm_otel import Outbox, Event, Settings, emit
    from ocm_otel.testing import capture_events
    from site_ import app

    def test_view(ocm_events):
        app.test_client().post("/courses/7/save")
        ocm_events.assert_one("course-save", course_id=7)

    @pytest.mark.parametrize("turn", range(6))
    def test_each_test_has_its_own(ocm_events, turn):
        emit(f"turn-{turn}")
        ocm_events.assert_one(f"turn-{turn}")
        assert len(ocm_events) == 1

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.mark.anyio
    async def test_async(ocm_events):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, emit, "in-a-thread")
        emit("in-the-task")
        ocm_events.assert_one("in-a-thread")
        ocm_events.assert_one("in-the-task")

    class TestUnit(unittest.TestCase):
        def test_view(self):
            with capture_events() as events:
                app.test_client().post("/courses/7/save")
            events.assert_one("course-save", course_id=7)

    def test_emulator(ocm_emulator):
        app.test_client().post("/courses/9/save")
        child = "from ocm_otel import Outbox, Event\\nwith Outbox() as o: assert o.put(Event('child')) and o.flush(30)"
        subprocess.run([sys.executable, "-c", child], check=True)
        assert ocm_emulator.wait_for(2, 30)
        assert sorted(event["type"] for event in ocm_emulator.events()) == ["child", "course-save"]

    def test_guard():
        os.environ["OTEL_EXPORTER_OCM_API_KEY"] = "a-real-key"
        assert not emit("logout")
        assert not Outbox(Settings(api_key="a-real-key")).put(Event("logout"))
        child = subprocess.run([sys.executable, "-m", "ocm_otel.cli", "send", "logout"], capture_output=True, text=True)
        assert child.returncode == 2
        assert "api.ofcourse.me is the real API" in child.stderr
"""
WRONG = """
    from site_ import app

    def test_view(ocm_events):
        app.test_client().post("/courses/7/wrong")
        ocm_events.assert_one("course-save", course_id=7)
"""


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, as a team does that has ocm-otel installed."""
    env = CLEAN | {"PYTHONPATH": str(folder), "XDG_STATE_HOME": str(folder / "state")} | variables
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-W", "error"]
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False
    )


def write(folder: Path, **files: str) -> None:
    """Write files, their text without its indentation."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text), encoding="utf-8")


def test_a_suite_of_an_application(tmp_path: Path) -> None:
    """A Flask view in three lines, async tests, unittest, the emulator and the guard: all under pytest-xdist."""
    write(tmp_path, site_=VIEW, test_app=SUITE)
    done = run(tmp_path, "-n", "2")
    assert (done.returncode, "11 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def test_the_failure_says_which_tag_is_wrong(tmp_path: Path) -> None:
    """A misspelt tag is named by the failure, in the user's own line, with none of our own frames."""
    write(tmp_path, site_=VIEW, test_app=WRONG)
    done = run(tmp_path)
    assert done.returncode == 1
    wanted = """\
>       ocm_events.assert_one("course-save", course_id=7)
E       AssertionError: expected one course-save course_id='7', and there is none
E       captured (1), the nearest first:
E         1. course-save  <- course_id is None, not '7'
E       attributes that are no tags, or have no effect:
E         span 'save': ocm.curse_id = 7, is ocm.course_id meant?
"""
    assert wanted in done.stdout, done.stdout
    assert "testing.py" not in done.stdout


def test_the_real_api_is_allowed_by_a_word(tmp_path: Path) -> None:
    """The guard is up while conftests are imported; an option or an ini line takes it down."""
    look = "import os\nup = os.environ.get('OTEL_EXPORTER_OCM_REAL_API') == 'refuse'\n"
    write(tmp_path, conftest=look, test_up="from conftest import up\ndef test_it():\n    assert up\n",
          test_down="from conftest import up\ndef test_it():\n    assert not up\n")  # fmt: skip
    assert run(tmp_path, "test_up.py").returncode == 0
    assert run(tmp_path, "test_down.py", "--ocm-real-api").returncode == 0
    assert run(tmp_path, "test_down.py", "-o", "ocm_real_api=true").returncode == 0


def test_it_costs_nothing_until_it_is_used(tmp_path: Path) -> None:
    """In a suite that does not use it, neither OpenTelemetry nor the engine is loaded by the plugin."""
    text = """
    import sys
    def test_it():
        loaded = [name for name in sys.modules if name.startswith(("ocm_otel.", "opentelemetry", "httpx"))]
        assert sorted(loaded) == ["ocm_otel._guard", "ocm_otel._pytest_plugin"]
    """
    write(tmp_path, test_it=text)
    done = run(tmp_path, "-p", "no:anyio")
    assert done.returncode == 0, done.stdout


def test_it_may_be_loaded_before_pytest(tmp_path: Path) -> None:
    """Where the library is imported first, as under `opentelemetry-instrument pytest`, pytest does not warn of it."""
    write(tmp_path, test_it="def test_it(ocm_events):\n    assert not len(ocm_events)\n")
    script = "import sys, ocm_otel, pytest; sys.exit(pytest.main(['-W', 'error', '-p', 'no:cacheprovider']))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=CLEAN, capture_output=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout


def test_a_missing_extra_fails_in_one_sentence(tmp_path: Path) -> None:
    """Without the extra, the fixture says what to install."""
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('no', name='uvicorn')", encoding="utf-8")
    write(tmp_path, test_it="def test_it(ocm_emulator):\n    pass\n")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "the fixture ocm_emulator cannot run: the emulator needs uvicorn, which is not installed" in done.stdout
    assert "pip install 'ocm-otel[emulator]'" in done.stdout
    assert "Traceback" not in done.stdout
