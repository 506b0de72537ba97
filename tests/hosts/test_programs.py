"""Programs that are no web servers: scripts, event loops, pools, queues; and forks that nobody tells Python of."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest

from .test_hosts import CELERY, FLAGS, SWITCH, UWSGI, command

SITES = Path(__file__).with_name("sites")
LEAVE = """
import os
from ocm_otel import Event, Outbox
outbox = Outbox()
for number in range(5):
    assert outbox.put(Event("course-save", course_id=number, user_id=f"left-{number}"))
os._exit(0)
"""
NO_TELEMETRY = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


def once(emulator) -> Counter[str]:
    """How often each user was counted."""
    return Counter(event["user_id"] for event in emulator.events())


@pytest.mark.parametrize("how", ["plain", "asyncio"])
def test_a_script(environment, emulator, unneeded, how):
    """40 spans and lines of a script, in a row or in as many tasks at once, are 40 events when it has ended."""
    variables = environment(**SWITCH, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=unneeded())
    command = ["opentelemetry-instrument", sys.executable, "script.py", how]
    done = subprocess.run(command, cwd=SITES, env=variables, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert once(emulator) == {f"user-{number}": 1 for number in range(40)}, done.stderr


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_pool_that_is_joined(environment, emulator, how):
    """A pool's processes deliver before they end, although they skip Python's exit: 41 events, once each."""
    emulator.latency = 0.01
    command = [sys.executable, "pool.py", how, "join"]
    done = subprocess.run(
        command, cwd=SITES, env=environment(**SWITCH), capture_output=True, text=True, timeout=150, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert once(emulator) == {f"user-{number}": 1 for number in range(41)}


def test_a_pool_that_is_terminated(environment, emulator, drain):
    """A pool whose processes are ended by a signal leaves its events on disk, and the next process delivers them."""
    command = [sys.executable, "pool.py", "fork", "terminate"]
    done = subprocess.run(
        command, cwd=SITES, env=environment(**SWITCH), capture_output=True, text=True, timeout=150, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    drain(**SWITCH)
    times = once(emulator)
    assert set(times) == {f"user-{number}" for number in range(41)}
    assert times.total() - 41 <= 2 * int(SWITCH["OTEL_EXPORTER_OCM_MAX_CONCURRENCY"])


def test_celery(environment, emulator, drain, tmp_path, unneeded):
    """40 tasks of two forked processes, told by spans and by lines, are 40 events."""
    queue = tmp_path / "queue"
    queue.mkdir()
    (tmp_path / "queue-control").mkdir()
    variables = environment(**SWITCH, SHOP_QUEUE=str(queue), OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=unneeded("celery"))
    ask = (
        "from celery_spans import act\n"
        "for n in range(40): act.delay(('save', 'complete')[n % 2], n, f'user-{n}', 'group')"
    )
    subprocess.run([sys.executable, "-c", ask], cwd=SITES, env=variables, timeout=150, check=True)
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            ["opentelemetry-instrument", *CELERY.split()], cwd=SITES, env=variables,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        assert emulator.wait_for(40, 60), (once(emulator), (tmp_path / "log").read_text())
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(120) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    drain(**SWITCH)
    assert once(emulator) == {f"user-{number}": 1 for number in range(40)}, (tmp_path / "log").read_text()


@pytest.mark.parametrize("told", ["--py-call-uwsgi-fork-hooks", ""], ids=["told", "untold"])
@pytest.mark.parametrize("threads", ["--enable-threads", ""], ids=["threads", "no-threads"])
def test_uwsgi_forks_what_is_loaded(site, emulator, environment, drain, told, threads):
    """Events of a dead process, of the one that uWSGI forks, and of the workers: all come, and no worker hangs."""
    has_no_threads = not threads and version("pyuwsgi") < "2.0.26"
    if not threads and not has_no_threads:
        pytest.skip("since 2.0.26 uWSGI always has threads; the session on Python 3.10 has an older one")
    left = environment(**SWITCH)
    subprocess.run([sys.executable, "-c", LEAVE], env=left, timeout=150, check=True)
    serve = command(f"{UWSGI} --module flask_code:app").replace(FLAGS, f"{threads} {told}")
    running = site("flask", serve, by_name=False, **SWITCH)
    running.wait_for_workers(2)
    paths = [f"/courses/{n}/save?user=user-{n}&group=g" for n in range(40)]
    assert running.visit(paths) == {200: 40}
    if threads:
        assert emulator.wait_for(45, 60), running.stderr  # the workers deliver what was left, too
    running.end()
    drain(**SWITCH)
    names = {f"user-{n}" for n in range(40)} | {f"left-{n}" for n in range(5)}
    times = once(emulator)
    assert names <= set(times)
    assert len(times) == 46
    assert times.total() - 46 <= (0 if threads else 2 * int(SWITCH["OTEL_EXPORTER_OCM_MAX_CONCURRENCY"]))
    assert ("uWSGI runs without threads" in running.stderr) == has_no_threads
