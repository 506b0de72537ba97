"""Forks of every form: no deadlock, nothing of the parent's sent by a child, nothing of a child's lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from .world import SILENT, names, status, until

pytestmark = pytest.mark.timeout(180)  # for busy machines; what is promised in seconds is asserted

OS_EXIT = """
outbox = Outbox(Settings.from_env())
put(outbox, "a", 100)
os._exit(0)
"""
CHILDREN = """
import multiprocessing

def work(name):
    (globals().get("outbox") or Outbox(Settings.from_env())).put(event(name))

if __name__ == "__main__":
    outbox = Outbox(Settings.from_env())
    put(outbox, "parent", 20)
    context = multiprocessing.get_context(os.environ["HOW"])
    children = [context.Process(target=work, args=(f"child-{number}",)) for number in range(5)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    say("ended", *(child.exitcode for child in children))
    obey(outbox)
"""
DAEMON = """
outbox = Outbox(Settings.from_env())
put(outbox, "parent", 20)
if os.fork():
    obey(outbox)
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
put(outbox, "daemon", 20)
say("flushed", outbox.flush(20))
os._exit(0)
"""
#: A child that lives on holds what it inherited; the parent says how it is called.
ORPHAN = """
outbox = Outbox(Settings.from_env())
put(outbox, "parent", 50)
child = os.fork()
if not child:
    os.close(0)
    while True:
        signal.pause()
say(child)
obey(outbox)
"""
#: Three threads put without a pause to speak of while the main thread forks; each second child does not even wait.
HOT = """
outbox = Outbox(Settings.from_env())
over, pause = threading.Event(), threading.Event()

def heat(name):
    number = 0
    while not over.is_set():
        if outbox.put(event(f"{name}-{number}")):
            number += 1
        pause.wait(0.005 if number < 1000 else 0.05)
    say("heat", name, number)

threads = [threading.Thread(target=heat, args=(f"hot{number}",)) for number in range(3)]
for thread in threads:
    thread.start()
hung = 0
for number in range(int(os.environ["FORKS"])):
    child = os.fork()
    if not child:
        done = outbox.put(event(f"child-{number}"))
        if number % 2:
            done = outbox.flush(30) and done
        os._exit(0 if done else 1)
    end = time.monotonic() + 40
    ended = status = 0
    while not ended and time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        pause.wait(0.002)
    if not ended or status:
        hung += 1
        os.kill(child, signal.SIGKILL)
over.set()
for thread in threads:
    thread.join()
say("hung", hung)
obey(outbox)
"""


def test_os_exit_right_after_put(api, machine):
    """What was put in just before `os._exit` is delivered by the next process."""
    here = machine(endpoint=api.endpoint)
    assert here.run(OS_EXIT).wait() == 0
    after = here.puppet()
    assert api.wait_for(100)
    assert until(lambda: after.books()["waiting"] == 0)
    assert set(api.counted) == names("a", 100)
    assert api.repeats <= 4  # calls that were under way


def test_os_exit_against_a_silent_server(api, machine):
    """Likewise when no call was answered; and then nothing counts twice."""
    api.mood = lambda name, nth: SILENT
    here = machine(endpoint=api.endpoint)
    assert here.run(OS_EXIT).wait() == 0
    api.mood = type(api).mood
    here.puppet()
    assert api.wait_for(100)
    assert api.counted == dict.fromkeys(names("a", 100), 1)


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_multiprocessing_children(api, machine, how):
    """A multiprocessing child that puts and returns loses nothing, and sends nothing of its parent's."""
    here = machine(endpoint=api.endpoint)
    parent = here.run(CHILDREN, extra={"HOW": how})
    assert parent.line() == "ended 0 0 0 0 0"
    assert api.wait_for(25)
    assert set(api.counted) == names("parent", 20) | names("child", 5)
    assert until(lambda: parent.books()["waiting"] == 0)
    assert {name for name, times in api.counted.items() if times > 1} <= names("child", 5)
    assert max(api.counted.values()) <= 2  # a child may end while its call is under way


def test_a_daemonised_child(api, machine):
    """A daemon that was forked twice delivers its own events, and its parent's are sent by the parent alone."""
    here = machine(endpoint=api.endpoint)
    parent = here.run(DAEMON)
    assert parent.line() == "flushed True"
    assert api.wait_for(40)
    assert until(lambda: parent.books()["delivered"] == 20)
    assert api.counted == dict.fromkeys(names("parent", 20) | names("daemon", 20), 1)


def test_a_living_child_does_not_keep_a_dead_parents_events(api, machine):
    """A child that outlives its killed parent holds no lock of the parent's: what that left is taken over."""
    api.mood = lambda name, nth: status(503)
    here = machine(endpoint=api.endpoint)
    parent = here.run(ORPHAN)
    child = int(parent.line())
    try:
        parent.kill()
        sibling = here.puppet()
        api.mood = type(api).mood
        assert api.wait_for(50)
        assert until(lambda: sibling.books()["waiting"] == 0)
        assert api.counted == dict.fromkeys(names("parent", 50), 1)
        os.kill(child, 0)  # it still lives
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("forks", [40, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(300)])])
def test_forks_under_hot_threads(api, machine, forks):
    """Children forked while three threads put: none hangs, each one's event comes, and nothing comes twice."""
    here = machine(endpoint=api.endpoint)
    parent = here.run(HOT, extra={"FORKS": str(forks)})
    heat = {}
    while (line := parent.line(120)).startswith("heat"):
        _, name, count = line.split()
        heat[name] = int(count)
    assert line == "hung 0", parent.log()
    expected = set().union(names("child", forks), *(names(name, count) for name, count in heat.items()))
    assert api.wait_for(len(expected), 40)
    assert until(lambda: parent.books()["waiting"] == 0)
    assert set(api.counted) == expected
    twice = {name for name, times in api.counted.items() if times > 1}
    print(f"{len(expected)} events, {len(twice)} counted twice")
    # A child that ends at once may have a call under way; nobody else's event counts twice.
    assert twice <= {f"child-{number}" for number in range(0, forks, 2)}


#: The import of a module in the background, which makes loggers, and a fork in the middle of it.
IMPORTING = """
from ocm_otel import _process  # before anything else, so that it is the first to set its hooks
import logging, os, threading, warnings
warnings.simplefilter("ignore")  # Python 3.12 and later warn of a fork beside threads
begun = threading.Event()

def load():
    with _process.importing:
        begun.set()
        for number in range(30_000):
            logging.getLogger(str(number))

thread = threading.Thread(target=load)
thread.start()
begun.wait()
if os.fork() == 0:
    os._exit(0)
os.wait()
thread.join()
"""


def test_a_fork_in_the_middle_of_an_import_that_makes_loggers() -> None:
    """Our hook before a fork and logging's do not wait for each other's lock."""
    subprocess.run([sys.executable, "-c", IMPORTING], check=True, timeout=120)
