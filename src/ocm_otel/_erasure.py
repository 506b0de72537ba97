"""Erasing a person from the ledgers of an account, those of living processes included.

Every record that names the user is blanked where it lies, behind its mark: whoever comes to it finds an event that was
erased, and books it as dropped. Bytes of a ledger stay what they are until its file is made anew, so while this works
no process does that: it deletes the file instead (`under_way`, asked by the lanes).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from ocm_otel._ledgerset import LEDGERS
from ocm_otel._record import OWED, PURGED, SENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = "purge.lock"
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_END = re.compile(rb"[\n\x00]")
_PLACES = (f"*/{LEDGERS}", f"*/*/{LEDGERS}")  # the second: what `ocm-otel replay` is writing


def erase(directory: Path, *users: str) -> int:
    """Blank all records of users in the ledgers of an account.

    Args:
        directory: the account's directory.
        *users: their ids.

    Returns:
        How many of them were still owed.

    Raises:
        OSError: a ledger cannot be written.
    """
    owed = 0
    with _alone(directory):
        for path in sorted({path for pattern in _PLACES for path in directory.glob(pattern)}):
            with suppress(FileNotFoundError):  # settled and removed meanwhile
                owed += sum(_erase_in(path, named(user)) for user in users)
    return owed


def remains(directory: Path, *users: str) -> list[Path]:
    """Return the files of an account in which a user is still named: what came in since, say."""
    found = []
    for path in sorted(directory.rglob("*")):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                found += [path] * any(named(user).search(content) for user in users)
    return found


def named(user: str) -> re.Pattern[bytes]:
    """Return what a user looks like in the query of an event, and in what is left of a torn one."""
    return re.compile(rb"user_id=" + re.escape(quote(user, safe="", errors="replace").encode()) + rb"(?![\w%.~-])")


def under_way(directory: Path) -> bool:
    """Return whether somebody erases in this account now."""
    try:
        handle = os.open(directory / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _erase_in(path: Path, user: re.Pattern[bytes]) -> int:
    """Blank the records of a user in one ledger; returns how many were owed."""
    handle = os.open(path, _FLAGS)
    try:
        size = os.fstat(handle).st_size
        if size == 0:
            return 0
        data = mmap.mmap(handle, size)
    finally:
        os.close(handle)
    owed = at = 0
    while (found := user.search(data, at)) is not None:
        start = max(data.rfind(b"\n", 0, found.start()), data.rfind(b"\0", 0, found.start())) + 1
        end = _END.search(data, found.start())
        at = stop = end.start() if end else size
        owed += data[start] in (OWED, SENT)
        data[start + 2 : stop] = PURGED.ljust(stop - start - 2)[: stop - start - 2]
    data.flush()
    return owed


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Be the only one who erases, and let no ledger be made anew meanwhile."""
    handle = os.open(directory / LOCK, _FLAGS | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
