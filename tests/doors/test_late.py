"""What delivers is loaded with the first door or event, wherever that comes: nothing hangs, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ocm_otel.emulator import Emulator

    from .conftest import Run

#: How each program begins: with a door, and nothing behind it.
BEGIN = """
import atexit, os, signal, sys, threading
from ocm_otel import emit
assert "ocm_otel._doors" not in sys.modules
def tell(name):
    assert emit("a", user_id=name)
"""

FIRSTS = {
    "in an exit handler that runs before ours": """
atexit.register(tell, "first")
""",
    "in a thread when the program has ended": """
main = threading.main_thread()
def late():
    main.join()
    tell("first")
threading.Thread(target=late).start()
""",
    "in a signal handler": """
signal.signal(signal.SIGUSR1, lambda *_: tell("first"))
os.kill(os.getpid(), signal.SIGUSR1)
""",
    "in a finalizer": """
class Last:
    def __del__(self):
        tell("first")
Last()
""",
    "in a forked child": """
if os.fork() == 0:
    tell("first")
    sys.exit(0)
assert os.wait()[1] == 0
""",
    "in a forked child, whose outbox knows of no fork": """
if os.fork() == 0:
    from ocm_otel._shared import shared
    books = shared().books
    tell("first")
    assert shared().books is books
    sys.exit(0)
assert os.wait()[1] == 0
""",
    "in many threads at once": """
together = threading.Barrier(8)
def one(number):
    together.wait()
    tell("first" if number == 0 else f"{number}")
for number in range(8):
    threading.Thread(target=one, args=(number,)).start()
""",
    "by a span, in an exit handler": """
from ocm_otel import OCMSpanProcessor
from opentelemetry.sdk.trace import TracerProvider
provider = TracerProvider(shutdown_on_exit=False)
def end():
    provider.add_span_processor(OCMSpanProcessor())
    with provider.get_tracer("x").start_as_current_span("s") as span:
        span.set_attributes({"ocm.event_type": "a", "ocm.user_id": "first"})
atexit.register(end)
""",
    "by a line, in a signal handler": """
import logging
from ocm_otel import OCMHandler
def handle(*_):
    logging.getLogger().addHandler(OCMHandler())
    logging.warning("x", extra={"ocm.event_type": "a", "ocm.user_id": "first"})
signal.signal(signal.SIGUSR1, handle)
os.kill(os.getpid(), signal.SIGUSR1)
""",
}


def users(emulator: Emulator) -> Counter[str]:
    """Return how often each user came."""
    return Counter(event["user_id"] for event in emulator.events())


@pytest.mark.parametrize("where", FIRSTS)
def test_the_first_event_of_a_process(emulator: Emulator, run: Run, where: str) -> None:
    """It arrives, once, from wherever it is told, though what delivers has to be loaded for it."""
    done = run(BEGIN + FIRSTS[where])
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert emulator.wait_for(1, 30)
    assert users(emulator)["first"] == 1
    assert set(users(emulator).values()) == {1}


#: Calls `then` in the middle of the import of what delivers, in the thread that imports.
AMID = """
class Amid:
    def find_spec(self, name, path, target=None):
        if name == "ocm_otel._spool":
            sys.meta_path.remove(self)
            then()
sys.meta_path.insert(0, Amid())
"""


@pytest.mark.parametrize(
    "importing",
    ["tell('outer')", "from ocm_otel import OCMHandler; OCMHandler(); tell('outer')"],
    ids=["emit", "a door"],
)
def test_a_signal_in_the_middle_of_the_import(emulator: Emulator, run: Run, importing: str) -> None:
    """A handler that tells events there is not waited for, nor does it wait: its events come after."""
    code = """
def handler(*_):
    for number in range(20):
        tell(f"inner-{number}")
signal.signal(signal.SIGUSR1, handler)
def then():
    signal.raise_signal(signal.SIGUSR1)
"""
    done = run(BEGIN + code + AMID + importing)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert emulator.wait_for(21, 30)
    assert users(emulator) == dict.fromkeys(["outer", *(f"inner-{number}" for number in range(20))], 1)


def test_signals_all_over_the_first_event(emulator: Emulator, run: Run) -> None:
    """Wherever in the first event a handler tells its own, both come once."""
    code = """
told = []
def handler(*_):
    tell(f"inner-{number}")
    told.append(number)
signal.signal(signal.SIGALRM, handler)
for number in range(30):
    if os.fork() == 0:
        signal.setitimer(signal.ITIMER_REAL, 0.0003 + number / 500)
        tell(f"outer-{number}")
        while not told:
            pass
        sys.exit(0)
    assert os.wait()[1] == 0
"""
    done = run(BEGIN + code)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert emulator.wait_for(60, 30)
    assert users(emulator) == {f"{who}-{number}": 1 for who in ("outer", "inner") for number in range(30)}


def test_a_fork_in_the_middle_of_the_import(emulator: Emulator, run: Run) -> None:
    """The fork waits for the other thread's import: the child's own first event does not wait for ever."""
    code = """
import logging, warnings
warnings.simplefilter("ignore")  # Python 3.12 and later warn of a fork beside threads
begun = threading.Event()
def then():
    begun.set()
    for number in range(30_000):
        logging.getLogger(str(number))
"""
    fork = """
thread = threading.Thread(target=tell, args=("parent",))
thread.start()
begun.wait()
if os.fork() == 0:
    signal.alarm(90)
    tell("child")
    sys.exit(0)
assert os.wait()[1] == 0
thread.join()
"""
    done = run(BEGIN + code + AMID + fork)
    assert done.returncode == 0, done.stderr
    assert emulator.wait_for(2, 30)
    assert users(emulator) == {"parent": 1, "child": 1}


def test_a_fork_by_who_imports(emulator: Emulator, run: Run) -> None:
    """A signal handler that forks in the middle of the import leaves two processes that go on with it."""
    code = """
pid = None
def then():
    global pid
    pid = os.fork()
"""
    fork = """
tell("both")
tell("parent" if pid else "child")
if not pid:
    sys.exit(0)
assert os.wait()[1] == 0
"""
    done = run(BEGIN + code + AMID + fork)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert emulator.wait_for(4, 30)
    assert users(emulator) == {"both": 2, "parent": 1, "child": 1}


def test_a_first_event_when_it_is_too_late(run: Run) -> None:
    """When Python takes its modules apart nothing can be loaded: that is said, and nothing is raised."""
    code = """
import builtins
class Last:
    def __init__(self, *borrowed):
        self.emit, self.write = borrowed
    def __del__(self):
        self.write(1, str(self.emit("a")).encode())
builtins.last = Last(emit, os.write)
"""
    done = run(BEGIN + code)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert done.stdout in {"False", ""}  # some Pythons do not come to it any more
    assert not done.stdout or "emit could not load what delivers" in done.stderr
