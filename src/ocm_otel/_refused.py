"""The refused file: every event that the API would not have, with its reason.

One file an account, a JSON object a line, so that a person can read, correct and grep it. It is shared by
all processes of the account, and touched seldom: each touch holds a lock of its own beside the file.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from ocm_otel._journal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class RefusedFile:
    """What the API would not have, to look at, correct, send again, or throw away.

    Args:
        directory: the account's directory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "refused.jsonl"
        self._lock_path = directory / "refused.lock"

    def add(self, refused: Refused) -> None:
        """Write one down.

        Raises:
            OSError: it cannot be written.
        """
        line = json.dumps(asdict(refused), separators=(",", ":")).encode() + b"\n"
        with self._locked():
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _FLAGS, 0o600)
            try:
                _write_whole(handle, line)
            finally:
                os.close(handle)

    def read(self) -> list[Refused]:
        """Return all, the oldest first; a line that is none of ours is left out (and left in the file)."""
        return [refused for _, refused in self._lines() if refused is not None]

    def edit(self, change: Callable[[Refused], Refused | None]) -> None:
        """Put each through `change`: what it returns stands in its place, None removes it.

        A crash in between leaves the file as it was.

        Raises:
            OSError: it cannot be written.
        """
        with self._locked():
            kept = []
            for line, refused in self._lines():
                after = refused if refused is None else change(refused)
                if refused is None:
                    kept.append(line)
                elif after is not None:
                    kept.append(json.dumps(asdict(after), separators=(",", ":")).encode() + b"\n")
            beside = self.path.with_suffix(".new")
            beside.unlink(missing_ok=True)
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.writelines(kept)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(self.path)
            finally:
                beside.unlink(missing_ok=True)  # there only if it could not be written

    def _lines(self) -> Iterator[tuple[bytes, Refused | None]]:
        """Yield each line as it is, and what it says."""
        try:
            handle = os.open(self.path, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return
        with os.fdopen(handle, "rb") as file:
            for line in file:
                yield line, _parse(line)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the file; it is beside it, for the file itself is replaced by `edit`."""
        handle = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _write_whole(handle: int, line: bytes) -> None:
    """Write a line of its own behind all others, whole or not at all.

    Raises:
        OSError: there is no room for it.
    """
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":  # who wrote the last one was killed at it
        line = b"\n" + line
    if os.write(handle, line) != len(line):
        os.ftruncate(handle, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _parse(line: bytes) -> Refused | None:
    """Return what a line says, None if it says nothing of ours."""
    try:
        said = json.loads(line)
        return Refused(
            query=str(said["query"]),
            reason=str(said["reason"]),
            at=float(said["at"]),
            refused_at=float(said["refused_at"]),
            attempts=int(said["attempts"]),
        )
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None
