"""How a thread of ours begins, and the hosts in which that is a matter of its own: gevent and uWSGI.

gevent may patch a program that has loaded us already (gunicorn does so in each worker, after the fork). From then
on `threading` makes greenlets, and a greenlet that waits at one of our queues, which are the system's, would stop
the whole program. So our threads stay what threads were when this room was loaded, as our queues do.

uWSGI forks without telling Python. A thread in the process that is about to fork may hold the interpreter at
that moment, and the child would wait for it for ever: so none begins there unless uWSGI was told to tell.
"""

from __future__ import annotations

import _thread
import contextvars
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_begin, _allocate = _thread.start_new_thread, _thread.allocate_lock

_HOOKS = "--py-call-uwsgi-fork-hooks"


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
    host = _uwsgi()
    if host is not None and _will_fork(host):
        raise RuntimeError("uWSGI forks this process without telling Python")
    if _thread.start_new_thread is not _begin:
        return _Bare(target)
    thread = threading.Thread(target=target, name=name, daemon=True)
    contextvars.Context().run(thread.start)
    return thread


def hindrances() -> list[str]:
    """Return what is in the way of our threads in this host, each with its remedy."""
    host = _uwsgi()
    if host is None:
        return []
    found = []
    if not getattr(host, "has_threads", 1):
        found.append(
            "uWSGI runs without threads: an event waits on disk until the next request, or the end of the process; "
            "start it with --enable-threads"
        )
    if not (_option(host, _HOOKS) or _option(host, "--lazy-apps") or _option(host, "--lazy")):
        found.append(f"uWSGI forks without telling Python, which can stop threads and locks; start it with {_HOOKS}")
    return found


def _uwsgi() -> Any:
    """Return the module that uWSGI puts into the programs that it runs; None elsewhere."""
    found = sys.modules.get("uwsgi")
    return found if hasattr(found, "worker_id") else None


def _will_fork(host: Any) -> bool:
    """True in the process that the workers are forked from, if Python will not be told of it."""
    return host.worker_id() == 0 and host.masterpid() in {0, os.getpid()} and not _option(host, _HOOKS)


def _option(host: Any, name: str) -> bool:
    value = host.opt.get(name.removeprefix("--"), False)
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.lower() not in {"false", "0", "no", "off", "none"}
