"""The end of a process: in time, whatever the server does, and what is left is on disk."""

from __future__ import annotations

import signal

import pytest

from .world import OK, SILENT, best, names, until

pytestmark = pytest.mark.timeout(180)  # for busy machines; what is promised in seconds is asserted

HANDLED = """
def end(number, frame):
    raise SystemExit(0)
signal.signal(signal.SIGTERM, end)
outbox = Outbox(Settings.from_env())
say(put(outbox, "a", 100))
obey(outbox)
"""


def delivered_by_the_next(api, here, expected):
    """Start an idle process once the API answers, and see all that was left come, once each."""
    for transport in list(api.held):
        transport.abort()
    api.mood = lambda name, nth: OK
    after = here.puppet()
    assert api.wait_for(len(expected))
    assert until(lambda: after.books()["waiting"] == 0)
    assert api.counted == dict.fromkeys(expected, 1)


def test_exit_against_a_silent_server(api, machine):
    """Against a server that never answers a process ends within a second more than an idle one; all come later."""
    api.mood = lambda name, nth: SILENT
    here = machine(endpoint=api.endpoint)
    expected: set[str] = set()

    def above_idle() -> float:
        idle, busy, prefix = here.puppet().end(), here.puppet(), f"t{len(expected)}"
        assert busy.ask("put", prefix, 50) == "50"
        expected.update(names(prefix, 50))
        took = busy.end()
        assert "not delivered; they wait on disk" in busy.log()
        return took - idle

    took = best(above_idle, 1.0, tries=12)
    print(f"{took:.2f} s above an idle run")
    assert took < 1.0
    delivered_by_the_next(api, here, expected)


def test_exit_when_nobody_listens(api, machine):
    """With the connection refused a process ends in time, and what it had comes later."""
    here = machine(endpoint=api.endpoint)
    api.stop()
    busy = here.puppet()
    assert busy.ask("put", "a", 50) == "50"
    assert busy.end(60) < 10
    api.start()
    delivered_by_the_next(api, here, names("a", 50))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT])
def test_a_deadly_signal_loses_nothing(api, machine, number):
    """A signal that ends the process, handled by nobody, loses nothing of 200 events."""
    api.mood = lambda name, nth: SILENT
    here = machine(endpoint=api.endpoint)
    first = here.puppet()
    assert first.ask("put", "a", 200) == "200"
    first.kill(number)
    delivered_by_the_next(api, here, names("a", 200))


def test_a_handler_that_exits_delivers_first(api, machine):
    """With a SIGTERM handler that exits, what can be delivered is delivered before the end."""
    here = machine(endpoint=api.endpoint, shutdown_timeout=10_000)
    first = here.run(HANDLED)
    assert first.line() == "100"
    first.kill(signal.SIGTERM)
    assert first.process.returncode == 0
    assert api.counted == dict.fromkeys(names("a", 100), 1)
    assert here.left() == []


def test_an_exception_that_ends_the_program_loses_nothing(api, machine):
    """A program that dies of an exception right after its puts has delivered them, or left them on disk."""
    here = machine(endpoint=api.endpoint)
    first = here.run('outbox = Outbox(Settings.from_env())\nput(outbox, "a", 100)\nraise RuntimeError("the end")')
    assert first.wait() == 1
    delivered_by_the_next(api, here, names("a", 100))


@pytest.mark.parametrize("mood", [OK, SILENT])
def test_a_put_after_our_own_end_survives(api, machine, mood):
    """What is put in by an exit handler that runs after ours is on disk, and the next process delivers it."""
    api.mood = lambda name, nth: mood
    here = machine(endpoint=api.endpoint)
    first = here.run(
        'outbox = Outbox(Settings.from_env())\nput(outbox, "a", 10)',
        before='import atexit\natexit.register(lambda: say(put(outbox, "late", 10)))\n',
    )
    assert first.wait() == 0
    assert first.rest() == ["10"]
    delivered_by_the_next(api, here, names("a", 10) | names("late", 10))
