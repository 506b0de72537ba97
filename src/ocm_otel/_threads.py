"""How a thread of ours begins, and the hosts in which that is a matter of its own: gevent and uWSGI.

gevent may patch a program that has loaded us already (gunicorn does so in each worker, after the fork). From
then on `threading` makes greenlets, and a greenlet that waits at one of our queues, which are the system's, would
stop the whole program. So our threads stay what threads were when this room was loaded, as our queues do.

uWSGI forks without telling Python before. A thread of the process that it forks may hold the interpreter at that
moment, or be in the middle of an import, and the child would wait for it for ever: so none of ours begins there.

A signal to a process goes to any of its threads that lets it in, and Python's handlers run in the main thread: one that
ours took would not wake an application that waits for it. So ours let in none but those of their own faults.
"""

from __future__ import annotations

import _thread
import contextvars
import os
import resource
import signal
import sys
import threading
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_begin, _allocate = _thread.start_new_thread, _thread.allocate_lock

_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
_NOT_OURS = signal.valid_signals() - _FAULTS

_MY_OWN: int | None = getattr(resource, "RUSAGE_THREAD", None)

_PROGRAMS = {"uwsgi", "pyuwsgi", "uwsgi-core"}


class Joinable(Protocol):
    """A thread, as far as we need one."""

    def join(self, timeout: float) -> None:
        """Wait until it has ended, for `timeout` seconds at most."""


class _Bare:
    """A thread of the system where `threading` makes no such threads any more."""

    def __init__(self, target: Callable[[], object]) -> None:
        self._over = _allocate()
        self._over.acquire()
        _begin(self._run, (target,))

    def _run(self, target: Callable[[], object]) -> None:
        try:
            contextvars.Context().run(target)
        finally:
            self._over.release()

    def join(self, timeout: float) -> None:
        """Wait until it has ended, for `timeout` seconds at most."""
        if self._over.acquire(timeout=max(0.0, timeout)):
            self._over.release()


def start_thread(name: str, target: Callable[[], object]) -> Joinable:
    """Start a daemon thread that inherits no context: no span, no baggage, no request's variables.

    Raises:
        RuntimeError: the interpreter starts no threads any more, the system has none to give, or this is
            a process that uWSGI is going to fork.
    """
    if _will_fork():
        raise RuntimeError("uWSGI will fork this process, and does not tell Python before")
    target = partial(_apart, target)
    if _thread.start_new_thread is not _begin:
        return _Bare(target)
    thread = threading.Thread(target=target, name=name, daemon=True)
    contextvars.Context().run(thread.start)
    return thread


def _apart(target: Callable[[], object]) -> None:
    """Do a thread's work, and leave the signals to the application's own threads."""
    if threading.get_native_id() != os.getpid():  # a greenlet of gevent's is in the main thread
        signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_OURS)
    target()


def sleeps() -> int:
    """Return how often this thread was put to sleep so far, for want of the interpreter, say; 0 where nobody counts."""
    if _MY_OWN is None:
        return 0
    return resource.getrusage(_MY_OWN).ru_nvcsw


def hindrances() -> list[str]:
    """Return what is in the way of our threads in this host, with its remedy."""
    host = _uwsgi()
    if host is None or getattr(host, "has_threads", True):
        return []
    text = "uWSGI runs without threads: an event waits on disk until the next request, or the end of the process"
    return [f"{text}; start it with --enable-threads"]


def _uwsgi() -> Any:
    """Return the module that uWSGI puts into the programs that it runs; None elsewhere."""
    found = sys.modules.get("uwsgi")
    return found if hasattr(found, "worker_id") else None


def _will_fork() -> bool:
    """True in the process that uWSGI forks its workers from."""
    host = _uwsgi()
    if host is None:  # under opentelemetry-instrument we are there before uWSGI itself
        names = (sys.executable, *getattr(sys, "argv", [])[:1])
        return any(PurePath(name or "").name in _PROGRAMS for name in names)
    return bool(host.worker_id() == 0 and host.masterpid() in {0, os.getpid()})
