"""Servers of several processes, as docs/hosts.md starts them: each request is one event, whoever ends when.

Each is told to end the moment the last request is answered, while the API still takes its time: what was tagged
is delivered on the way out, by each process for itself, or by the next that comes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

import pytest

VISITS = [(("save", "complete")[n % 2], n, f"user-{n}", f"group-{n % 5}") for n in range(60)]
PATHS = [f"/courses/{course}/{action}?user={user}&group={group}" for action, course, user, group in VISITS]
EVENTS = Counter((f"course-{action}", str(course), user, group) for action, course, user, group in VISITS)
WIDTH = 2
SWITCH = {
    "OTEL_TRACES_EXPORTER": "none",  # without a line of code: the key is all that is set
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_EXPORTER_OCM_MAX_CONCURRENCY": str(WIDTH),
    # A machine may be slow; a second would be enough here. (gunicorn kills what takes 30.)
    "OTEL_EXPORTER_OCM_SHUTDOWN_TIMEOUT": "25000",
    "DJANGO_SETTINGS_MODULE": "django_settings",
}

GUNICORN = "gunicorn --bind 127.0.0.1:{port} --workers 2"
FLAGS = "--enable-threads --py-call-uwsgi-fork-hooks"
UWSGI = f"uwsgi --http-socket 127.0.0.1:{{port}} --master --processes 2 --die-on-term {FLAGS}"
#: What serves; docs/hosts.md has the same lines, with `shop` for the site and 8000 for the port.
SERVERS = {
    "django": f"{GUNICORN} django_spans:application",
    "flask-preload": f"{GUNICORN} --preload flask_spans:app",
    "flask-gevent": f"{GUNICORN} --worker-class gevent flask_spans:app",
    "flask-gevent-preload": f"{GUNICORN} --worker-class gevent --preload flask_spans:app",
    "fastapi-gunicorn": f"{GUNICORN} --worker-class uvicorn_worker.UvicornWorker fastapi_flush:app",
    "fastapi-uvicorn": "uvicorn --port {port} --workers 2 fastapi_code:app",
    "flask-uwsgi": f"{UWSGI} --module flask_spans:app",
    "flask-uwsgi-lazy": f"{UWSGI} --lazy-apps --module flask_spans:app",
}
CELERY = "celery --app celery_spans worker --concurrency 2 --loglevel INFO"
#: What a test needs besides: time on a slow machine, an answer that says that its connection ends.
OWN = {
    "gunicorn": "",
    "uvicorn": "--timeout-worker-healthcheck 60",
    "uwsgi": "--need-app --disable-logging --add-header 'Connection: close'",
}
#: Uvicorn ends its processes by SIGTERM itself, and uWSGI now and then leaves Python's exit out: what they leave
#: is delivered by the next process.
UNORDERLY = {"fastapi-uvicorn", "flask-uwsgi", "flask-uwsgi-lazy"}


def command(line: str) -> str:
    """Return the command line of the page with what a test needs besides."""
    return f"{line} {OWN[line.split(maxsplit=1)[0]]}"


def counted(emulator) -> Counter[tuple[str, ...]]:
    """What the emulator counted, as `EVENTS` tells it."""
    names = ("type", "course_id", "user_id", "entity_id")
    return Counter(tuple(event[name] for name in names) for event in emulator.events())


@pytest.mark.parametrize("host", SERVERS)
def test_each_request_is_an_event(site, emulator, drain, host):
    """60 requests to two workers, then SIGTERM at once: 60 events, each as it was tagged, before the end."""
    emulator.latency = 0.01
    running = site(host, command(SERVERS[host]), by_name="_code:" not in SERVERS[host], **SWITCH)
    running.wait_for_workers(2)
    assert running.visit(PATHS) == {200: len(PATHS)}
    assert running.end() in {0, -signal.SIGTERM}
    if host in UNORDERLY:
        drain(**SWITCH)
        assert set(counted(emulator)) == set(EVENTS), running.stderr
        assert len(emulator.requests()) - len(EVENTS) <= 2 * WIDTH  # what was under way in two processes
    else:
        assert counted(emulator) == EVENTS, running.stderr
        assert len(emulator.requests()) == len(PATHS)


def test_a_worker_is_killed_under_load(site, emulator, drain):
    """One of gunicorn's two workers is killed in the middle: each answered request is an event, none a third time."""
    emulator.latency = 0.01
    running = site("flask", SERVERS["flask-preload"], **SWITCH)
    workers = running.wait_for_workers(2)
    answered: list[str] = []
    turn, killed = threading.Semaphore(0), workers.pop()

    def kill() -> None:
        for _ in range(40):
            turn.acquire(timeout=60)
        os.kill(killed, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    paths = [f"/courses/{n}/save?user=user-{n}&group=g" for n in range(200)]
    running.try_each(paths, lambda path: (answered.append(path), turn.release()))
    killer.join()
    users = {path.partition("user=")[2].partition("&")[0] for path in answered}
    assert len(users) > 150
    assert running.end() == 0
    drain(**SWITCH)
    times = Counter(event["user_id"] for event in emulator.events())
    assert users - set(times) == set(), running.stderr
    twice = {user for user, count in times.items() if count > 1}
    assert len(twice) <= WIDTH  # what the killed one had under way
    assert max(times.values()) <= 2
