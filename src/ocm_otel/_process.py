"""What happens to a process: it forks, and it ends. The only owner of fork hooks, signals and the exit.

Whoever has threads, locks or files registers here and is told. What is to happen at the end is set once, when this
module is imported, which is when the first door is: before most providers are made, so that ours runs after they have
handed over what they still had. Python has no way to take such a hook back, so it knows only weak references.
"""

from __future__ import annotations

import atexit
import logging  # noqa: F401 - its own fork hook must be set before ours, or the two wait for each other's lock
import os
import sys
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class Life(Protocol):
    """Something that has to know of forks and of the end."""

    def after_fork(self) -> None:
        """Begin anew in a child: threads, locks and files are the parent's."""

    def at_exit(self, spent: float) -> None:
        """The interpreter ends, and others have held that up for `spent` seconds already."""


class Importing:
    """Held while a module is imported late.

    A fork waits for it: a child would inherit the lock of the half-made import, and nobody to release it. Who comes
    in the middle of an import, as a signal handler does, cannot wait for it; so it has `mine` and `afterwards`.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._holders: list[int] = []
        self._actions: deque[Callable[[], object]] = deque()

    @property
    def mine(self) -> bool:
        """True in the middle of an import that this thread makes: nothing more can be imported here."""
        return threading.get_ident() in self._holders

    def afterwards(self, action: Callable[[], object]) -> None:
        """Do something as soon as the import is over, of which this is the middle; it must not raise."""
        self._actions.append(action)

    def __enter__(self) -> None:
        """Wait until no other thread imports."""
        self._lock.acquire()
        self._holders.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        """Let others import, or fork; then do what had to wait."""
        self._holders.pop()
        self._lock.release()
        while self._actions and not self._holders:
            self._actions.popleft()()

    def leave(self, *, held: bool) -> None:
        """Begin anew in a child: what waits is the parent's.

        Args:
            held: whether the thread that forked holds it, and goes on with it.
        """
        self._actions.clear()
        if not held:
            self._lock = threading.RLock()
            self._holders.clear()


importing = Importing()

#: Held from the opening of a lock's file until its owner knows of it: a child forked in between would hold a
#: lock that nobody knows to let go of.
opening = threading.RLock()

_pid = os.getpid()
_listening = False
_telling = False
_is_worker = False
_noticing = threading.RLock()  # whom we tell may log, and so come here again

_lives: weakref.WeakSet[Life] = weakref.WeakSet()


def register(life: Life) -> None:
    """Tell `life` of forks and of the end, as long as it lives."""
    global _listening
    if not _listening:
        # Only now: gevent, which may patch threads after our import, has a hook in which there must be no others yet.
        os.register_at_fork(after_in_child=_tell)
        _listening = True
    _lives.add(life)


def here() -> None:
    """Find out if this is a child that was forked behind Python's back, as uWSGI does; if so, tell everybody."""
    if os.getpid() != _pid:
        _notice()


def _notice() -> None:
    with _noticing:
        if os.getpid() != _pid and not _telling:
            importing.leave(held=False)  # whoever held it is not here any more, nor who held the other one
            getattr(opening, "_at_fork_reinit", opening.release)()
            _tell()


def _tell() -> None:
    """Tell everybody that this is a child, unless they know."""
    global _pid, _telling
    if os.getpid() == _pid:
        return
    _telling = True
    try:
        for life in list(_lives):
            life.after_fork()
        _pid = os.getpid()
    finally:
        _telling = False


def on_sigterm(action: Callable[[], object]) -> None:
    """Call `action` when SIGTERM comes, then do what would have been done without us.

    Raises:
        ValueError: this is not the main thread (a rule of Python's `signal`).
    """
    import signal  # only for those who asked for it

    before = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        action()
        if callable(before):
            before(number, frame)
        elif before is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, handle)


def _before_fork() -> None:
    importing.__enter__()
    opening.acquire()


def _in_parent() -> None:
    opening.release()
    importing.__exit__()


def _in_child() -> None:
    importing.leave(held=True)
    _in_parent()  # the thread that forked took them, and it is the one that goes on here
    if not _listening:
        _tell()  # nobody; who comes later is no child of this fork
    _tell_of_workers()


def _tell_of_workers() -> None:
    """Have `multiprocessing` tell us of the end of its children, who skip `atexit`, where it is in use."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # It forgets what was registered before it has set a child up, but not whom it has to tell of that.
        util.register_after_fork(_in_worker, _in_worker)


def _in_worker(_: object) -> None:
    """`multiprocessing` has made this process: be told of its end, once all else in it is done."""
    global _is_worker
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _is_worker:
        _is_worker = True
        util.Finalize(None, _at_exit, exitpriority=0)


def _at_exit() -> None:
    started = time.monotonic()
    for life in list(_lives):
        life.at_exit(time.monotonic() - started)


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
atexit.register(_at_exit)
_tell_of_workers()  # this may be a child that was not forked, but spawned
