"""The spool's directory: whose it is, which ledgers in it are alive, and which are left behind.

    SPOOL_DIR/ACCOUNT/               one endpoint and key; nothing of one account is sent to another
        20261123T184512-4711-9f3c2a/     the ledgers of one process, living or dead
            owner                        locked by it as long as it lives
            000001.ledger …
        refused.jsonl                    what the API would not have
        pace                             how fast all processes may go

Directories are 0700 and files 0600. A directory that belongs to somebody else, that others may write to,
or that is a link, is not used.
"""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from ocm_otel._ledgerset import LEDGERS, OWNER, LedgerSet, lock_owner
from ocm_otel._process import opening
from ocm_otel._record import told_ids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SET = re.compile(r"\d{8}T\d{6}-\d+-[0-9a-f]{6}")


class UnusableSpool(OSError):
    """The spool directory cannot be used; the message says which, and why."""


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
        self.path = root / sha256(f"{endpoint}\0{key}".encode()).hexdigest()[:20]
        self._held: list[LedgerSet] = []
        self._closed = False
        self.make()

    def make(self) -> None:
        """Make the directories that are not there, and see that they are ours.

        Raises:
            UnusableSpool: they cannot be made, or are not safely ours.
        """
        try:
            for path in (self._root, self.path):  # the one is checked before anything is put into it
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                check(path)
        except UnusableSpool:
            raise
        except OSError as error:
            msg = f"{error.filename or self._root}: {error.strerror}"
            raise UnusableSpool(error.errno, msg) from error

    def sets(self) -> list[Path]:
        """Return the directories that are named as ledger sets, the oldest first."""
        try:
            found = sorted(path for path in self.path.iterdir() if _SET.fullmatch(path.name))
        except OSError:  # somebody removed it
            return []
        return [path for path in found if path.is_dir() and not path.is_symlink()]

    def has_ledgers(self) -> bool:
        """True if any process, living or dead, has ledgers here."""
        return bool(self.sets())

    def open_set(self) -> LedgerSet:
        """Return a new, empty ledger set, locked.

        Raises:
            OSError: it cannot be made.
        """
        while not self._closed:
            name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}-{os.urandom(3).hex()}"
            path = self.path / name
            path.mkdir(mode=0o700)
            try:
                held = self._hold(path)
            except FileNotFoundError:
                continue  # as below, and it is removed already
            except OSError:
                with suppress(OSError):
                    (path / OWNER).unlink(missing_ok=True)
                    path.rmdir()
                raise
            if held is not None:  # else a sibling took it for left behind, in the instant before the lock
                return held
        raise UnusableSpool("closed")

    def left_behind(self) -> Iterator[LedgerSet]:
        """Lock and return, one by one, the ledger sets whose processes are dead, the oldest first."""
        ours = {held.path for held in self._held if held.locked}
        for path in self.sets():
            if path not in ours:
                with suppress(OSError):
                    held = self._hold(path)
                    if held is not None:
                        yield held

    def bytes_used(self) -> int:
        """Return how much room all ledgers of the account take, those of other processes included."""
        used = 0
        for ledgers in self.sets():
            with suppress(OSError):  # it was cleared away by its process in this very moment
                for path in list(ledgers.glob(LEDGERS)):
                    with suppress(OSError):  # likewise
                        used += path.stat(follow_symlinks=False).st_size
        return used

    def ids(self) -> Iterator[str]:
        """Yield the ids of all events that are in ledgers, settled or not, as far as they can be read."""
        for ledgers in self.sets():
            with suppress(OSError):
                for path in list(ledgers.glob(LEDGERS)):
                    with suppress(OSError):  # cleared away in this very moment
                        yield from told_ids(path.read_bytes())

    def close(self) -> None:
        """Unlock everything that is locked; nothing is locked any more."""
        with opening:
            self._closed = True
        for held in self._held:
            held.close()

    def let_go(self) -> None:
        """Close, in a forked child, the locks that are the parent's."""
        self._closed = True
        for held in self._held:
            held.let_go()

    def _hold(self, path: Path) -> LedgerSet | None:
        """Lock a ledger set; None if a living process holds it, or it was removed meanwhile.

        Raises:
            OSError: its lock cannot be opened.
        """
        with opening:
            if self._closed:
                return None
            lock = lock_owner(path)
            if lock is None:
                return None
            held = LedgerSet(path, lock)
            self._held = [*(old for old in self._held if old.locked), held]
            return held


def check(path: Path) -> None:
    """Raise `UnusableSpool` unless `path` is a directory that nobody else can have planted or can change."""
    found = path.stat(follow_symlinks=False)
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
