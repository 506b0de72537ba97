"""The ledgers of one process: a directory of them, and the lock that says whether their process lives.

A process proves that it lives by an exclusive `flock` on its `owner` file, which the kernel releases at
its death, whatever the death. A lock belongs to the open file, and a fork shares the open file: so a child
closes what it inherited (`let_go`), or it would keep a dead parent's ledgers from being adopted.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from ocm_otel._ledger import ForeignLedger, Ledger

if TYPE_CHECKING:
    from pathlib import Path

OWNER = "owner"
LEDGERS = "*.ledger"


class LedgerSet:
    """The ledgers of one process, locked by us: our own, or those of a dead process.

    Attributes:
        path: its directory.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._count = 0

    @property
    def locked(self) -> bool:
        """True until it is closed."""
        return self._lock >= 0

    def new(self, size: int) -> Ledger:
        """Return a new ledger of `size` bytes.

        Raises:
            OSError: there is no room for it.
        """
        while True:
            self._count += 1  # two threads may get one number; the file system lets one of them have it
            with suppress(FileExistsError):
                return Ledger(self.path / f"{self._count:06}.ledger", size)

    def ledgers(self) -> tuple[list[Ledger], list[str]]:
        """Open the ledgers that are there, the oldest first; and say which files could not be, and why."""
        found: list[Ledger] = []
        bad: list[str] = []
        for path in sorted(self.path.glob(LEDGERS)):
            try:
                if path.stat(follow_symlinks=False).st_size == 0:
                    path.unlink()  # its maker died before there was anything in it
                    continue
                found.append(Ledger(path))
                found[-1].unmap()
            except ForeignLedger:
                bad.append(f"{path} is left alone: it is no ledger of this version")
            except OSError as error:
                bad.append(f"{path} is left alone for now: {error.strerror}")
        return found, bad

    def sync(self) -> None:
        """Return once its directory, and those above up to the spool's, are on the medium.

        Raises:
            OSError: the medium failed.
        """
        for path in (self.path, *self.path.parents[:2]):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def close(self) -> None:
        """Unlock it, so that whoever lives may take over what is owed; an empty one is removed."""
        if not self.locked:
            return
        with suppress(OSError):
            if not any(path.name != OWNER for path in self.path.iterdir()):
                (self.path / OWNER).unlink(missing_ok=True)
                self.path.rmdir()
        self.let_go()

    def let_go(self) -> None:
        """Close our hold on the lock and nothing else: in a forked child it is the parent's."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def lock_owner(path: Path) -> int | None:
    """Return the owner's file of a ledger set, open and locked; None if somebody holds it, or removed it meanwhile.

    Raises:
        OSError: it cannot be opened, or the file system knows no locks.
    """
    handle = os.open(path / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_CREAT, 0o600)
    lock = None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), (path / OWNER).stat(follow_symlinks=False)):
            lock = handle
    except (BlockingIOError, FileNotFoundError):
        return None
    finally:
        if lock is None:
            os.close(handle)
    return lock
