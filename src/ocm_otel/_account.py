"""The spool's directory: whose it is, which ledgers in it are alive, and which are left behind.

    SPOOL_DIR/ACCOUNT/               one endpoint and key; nothing of one account is sent to another
        20261123T184512-4711-9f3c2a/     the ledgers of one process, living or dead
            owner                        locked by it as long as it lives
            000001.ledger …
        refused.jsonl                    what the API would not have

A process proves that it lives by an exclusive `flock` on its `owner` file, which the kernel releases at
its death, whatever the death. A lock belongs to the open file, and a fork shares the open file: so a child
closes what it inherited (`LedgerSet.let_go`), or it would keep a dead parent's ledgers from being adopted.

Directories are 0700 and files 0600. A directory that belongs to somebody else, that others may write to,
or that is a link, is not used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ocm_otel._ledger import ForeignLedger, Ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_OWNER = "owner"
_LEDGERS = "*.ledger"


class UnusableSpool(OSError):
    """The spool directory cannot be used; the message says which, and why."""


class LedgerSet:
    """The ledgers of one process, locked by us: our own, or those of a dead process.

    Attributes:
        path: its directory.
        ours: True if this process made it.
    """

    def __init__(self, path: Path, lock: int, *, ours: bool) -> None:
        self.path = path
        self.ours = ours
        self._lock = lock
        self._count = 0

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
        """Open the ledgers that are there, the oldest first; and the names of files that are none."""
        found: list[Ledger] = []
        foreign: list[str] = []
        for path in sorted(self.path.glob(_LEDGERS)):
            try:
                found.append(Ledger(path))
            except (ForeignLedger, OSError):
                foreign.append(path.name)
        return found, foreign

    def close(self) -> None:
        """Unlock it, so that whoever lives may take over what is owed; an empty one is removed."""
        if self._lock < 0:
            return
        with suppress(OSError):
            if not any(path.name != _OWNER for path in self.path.iterdir()):
                (self.path / _OWNER).unlink(missing_ok=True)
                self.path.rmdir()
        self.let_go()

    def let_go(self) -> None:
        """Close our hold on the lock and nothing else: in a forked child it is the parent's."""
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            os.close(lock)


class Account:
    """The part of the spool directory that belongs to one endpoint and key.

    Args:
        root: the spool directory; it is made if it is not there.
        endpoint: the address of the API.
        key: the key of the account; neither can be read from what is on the disk.

    Raises:
        UnusableSpool: the directory cannot be made, or is not safely ours.
    """

    def __init__(self, root: Path, endpoint: str, key: str) -> None:
        self._root = root
        self.path = root / hashlib.sha256(f"{endpoint}\0{key}".encode()).hexdigest()[:20]
        self.make()

    def make(self) -> None:
        """Make the directories that are not there, and see that they are ours.

        Raises:
            UnusableSpool: they cannot be made, or are not safely ours.
        """
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
            for path in (self._root, self.path):
                _check(path)
        except UnusableSpool:
            raise
        except OSError as error:
            msg = f"{error.filename or self._root}: {error.strerror}"
            raise UnusableSpool(error.errno, msg) from error

    def has_ledgers(self) -> bool:
        """True if any process, living or dead, has ledgers here."""
        try:
            return any(path.is_dir() for path in self.path.iterdir())
        except OSError:
            return False

    def open_set(self) -> LedgerSet:
        """Return a new, empty ledger set, locked.

        Raises:
            OSError: it cannot be made.
        """
        while True:
            name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}-{secrets.token_hex(3)}"
            path = self.path / name
            path.mkdir(mode=0o700)
            lock = _lock(path / _OWNER, os.O_CREAT)
            if lock is not None:  # else a sibling took it for left behind, in the instant before the lock
                return LedgerSet(path, lock, ours=True)

    def left_behind(self, ours: Collection[str] = ()) -> Iterator[LedgerSet]:
        """Lock and return, one by one, the ledger sets whose processes are dead, the oldest first.

        Args:
            ours: names that need not be tried.
        """
        with suppress(OSError):
            for name in sorted(os.listdir(self.path)):
                path = self.path / name
                if name in ours or not path.is_dir() or path.is_symlink():
                    continue
                lock = _lock(path / _OWNER, os.O_CREAT)
                if lock is not None:
                    yield LedgerSet(path, lock, ours=False)

    def bytes_used(self) -> int:
        """Return how much room all ledgers of the account take, those of other processes included."""
        used = 0
        for path in self.path.glob(f"*/{_LEDGERS}"):
            with suppress(OSError):
                used += path.stat().st_size
        return used


def _lock(path: Path, flags: int) -> int | None:
    """Return an open and locked file; None if somebody holds it, or removed it meanwhile."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False)):
            return handle
    except OSError:  # held by a living process, or gone: both mean that it is not ours to take
        os.close(handle)
        return None
    os.close(handle)
    return None


def _check(path: Path) -> None:
    """Raise `UnusableSpool` unless `path` is a directory that nobody else can have planted or can change."""
    found = os.stat(path, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        msg = f"{path} is no directory (a link is not followed)"
    elif found.st_uid != os.geteuid():
        msg = f"{path} belongs to another user"
    elif found.st_mode & 0o022:
        msg = f"{path} can be written to by other users: chmod 700 it"
    elif not os.access(path, os.W_OK | os.X_OK):
        msg = f"{path} cannot be written to"
    else:
        return
    raise UnusableSpool(msg)
