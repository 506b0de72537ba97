"""The file in which the processes of one account leave word for each other: how fast all of them may go.

    SPOOL_DIR/ACCOUNT/pace      one line: what is believed of the API, since when, until when

The times in it are of the monotonic clock, which all processes of a machine share from boot to boot; so what
another boot (or a machine that shares the directory) wrote is as if it were not there. So is what is torn, foreign
or cannot be read. Nobody waits here for long: a process that is stopped while it holds the lock is passed by.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import stat
import time
import zlib
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from ocm_otel._outlook import Outlook, State
from ocm_otel._process import opening, register

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ocm_otel._books import Books

NAME = "pace"
_SIZE = 256
_FORM = "ocm-otel-pace-1"
#: Times that the lock is asked for, a millisecond apart; and seconds for which it is not, if that was in vain.
_TRIES = 30
_PASSED_BY = 1.0
#: Seconds after which a file that could not be opened is tried again.
_AGAIN = 5.0
_BOOT = "/proc/sys/kernel/random/boot_id"


class PaceFile:
    """A board on disk. Never raises: where there is no file to be had, nothing is read and nothing written.

    Args:
        directory: the account's.
        books: where it is counted that there is none.
    """

    def __init__(self, directory: Path, books: Books) -> None:
        self._path = directory / NAME
        self._books = books
        self._handle = -1
        self._not_before = -math.inf  # … is it opened again
        self._passed_by = -math.inf  # … is the lock asked for again
        self._line = b""
        self._read: Outlook | None = None
        register(self)

    def read(self) -> Outlook | None:
        """Return what was written last; None if there is nothing, or nothing of ours."""
        if self._handle < 0 and not self._open():
            return None
        try:
            line = os.pread(self._handle, _SIZE, 0)
        except OSError as error:
            self._fail(error)
            return None
        if line != self._line:
            self._line, self._read = line, _parse(line)
        return self._read

    def write(self, outlook: Outlook) -> None:
        """Write, in the place of what is there."""
        if self._handle < 0:
            return
        try:
            os.pwrite(self._handle, _line(outlook), 0)
        except OSError as error:
            self._fail(error)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock if it can be had soon; go on without it if it cannot."""
        locked = self._lock()
        try:
            yield
        finally:
            if locked >= 0:
                with suppress(OSError):
                    fcntl.flock(locked, fcntl.LOCK_UN)

    def after_fork(self) -> None:
        """Close, in a child process, what is the parent's: with the file it would share the lock."""
        self._close()

    def at_exit(self, spent: float) -> None:
        """Do nothing: what is written stays true for others."""

    def __del__(self) -> None:
        """Close the file with the last who knew of it, and not before: its number may be another's by then."""
        self._close()

    def _lock(self) -> int:
        """Return the file, locked; -1 if that cannot be had soon."""
        now = time.monotonic()
        if now < self._passed_by or not self._is_there():
            return -1
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError as error:  # a file system without locks, say
                self._fail(error)
                return -1
            else:
                return self._handle
        self._passed_by = time.monotonic() + _PASSED_BY
        return -1

    def _is_there(self) -> bool:
        """Open the file if it is not open, and again if somebody removed it; False if it cannot be."""
        try:
            if self._handle >= 0 and os.fstat(self._handle).st_nlink == 0:
                self._close()
        except OSError as error:
            self._fail(error)
        return self._handle >= 0 or self._open()

    def _open(self) -> bool:
        """Open the file, and make it if it is not there; False if it cannot be, or is not safely ours."""
        if time.monotonic() < self._not_before:
            return False
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with opening:
                self._handle = os.open(self._path, flags, 0o600)
            found = os.fstat(self._handle)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
                raise PermissionError
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: OSError) -> None:
        """Go on without the file for a while."""
        self._books.add("failed_pace", type(error).__name__)
        self._close()
        self._not_before = time.monotonic() + _AGAIN

    def _close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):
                os.close(handle)


@lru_cache
def _boot() -> str:
    """Return what tells this boot of this machine from others; nothing where the system does not say."""
    try:
        handle = os.open(_BOOT, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(handle, 64).decode("ascii", "replace").strip()
    finally:
        os.close(handle)


def _line(outlook: Outlook) -> bytes:
    """Return the line for an outlook; all lines are of one length, so that no end of an older one is left."""
    said = json.dumps([_boot(), outlook.state.value, *outlook[1:]])
    text = f"{_FORM} {said}".encode().ljust(_SIZE - 10)[: _SIZE - 10]
    return b"%b %08x\n" % (text, zlib.crc32(text))


def _parse(line: bytes) -> Outlook | None:
    """Return what a line says, None if it is torn, foreign, or of another boot."""
    text, check = line[: _SIZE - 10], line[_SIZE - 10 :]
    form, _, said = text.partition(b" ")
    if form != _FORM.encode() or check != b" %08x\n" % zlib.crc32(text):
        return None
    try:
        boot, state, step, until, told, due, probe = json.loads(said)
        if boot != _boot() or not all(math.isfinite(value) for value in (until, told, due)):
            return None
        step, probe = (min(max(int(value), 0), 2**53) for value in (step, probe))
        return Outlook(State(state), step, float(until), float(told), float(due), probe)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
