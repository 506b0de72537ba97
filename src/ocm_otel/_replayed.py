"""What was replayed of kept logs, and how events get from there into the journal exactly once.

    SPOOL_DIR/ACCOUNT/replay/
        done                             the identities of all facts that were replayed, 8 bytes each
        state.json                       how much of that is valid, and which ledgers are on their way
        20261123T184512-4711-9f3c2a/     ledgers that are being written

A handful of events goes over in one step: their ledger is written and synced, then their identities behind all
others; then the state is exchanged, by which both become valid in the same instant; then the ledger's directory is
moved to where processes look for those left behind. Who is killed before the exchange did nothing. Who is killed
behind it left a directory that the state names, and the next one moves it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import time
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from ocm_otel._account import check
from ocm_otel._ledger import Ledger
from ocm_otel._record import HEADER, encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ocm_otel._account import Account

FOLDER = "replay"
_SET = re.compile(r"\d{8}T\d{6}-\d+-[0-9a-f]{6}")
_PAGE = 4096
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class UnknownState(OSError):
    """The state beside the spool cannot be read; the message says which file, and what to do."""


class Replayed:
    """The account's memory of what was replayed.

    Args:
        account: whose directory it is in.
        look: only look: nothing is made, moved or locked.

    Raises:
        BlockingIOError: another replay of the account is under way.
        UnknownState: what is kept cannot be read.
        OSError: the directory cannot be used.
    """

    def __init__(self, account: Account, *, look: bool = False) -> None:
        self._account = account.path
        self._folder = account.path / FOLDER
        self._lock = -1
        if not look:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            check(self._folder)
            self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._count, self._moving = self._read_state()
        self._known = self._read_known()
        if not look:
            self._move()
            self._clear()

    def __contains__(self, identity: object) -> bool:
        """True if this fact was replayed before this was made."""
        place = bisect_left(self._known, identity)  # type: ignore[call-overload]
        return bool(place < len(self._known) and self._known[place] == identity)

    def __len__(self) -> int:
        """Return how many facts were replayed, ever."""
        return self._count

    def hand_over(self, events: Sequence[tuple[int, str]]) -> Path:
        """Put events into the journal, and note that they were replayed: both or none.

        Args:
            events: the identity of each, and its query.

        Returns:
            The directory in which they are owed now; it is gone once all are settled.

        Raises:
            OSError: there is no room for them; then none was handed over.
        """
        self._move()
        now = time.time()
        name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}-{os.getpid()}-{secrets.token_hex(3)}"
        staged = self._folder / name
        staged.mkdir(mode=0o700)
        try:
            self._write_ledger(staged / "000001.ledger", [encode(query, now) for _, query in events])
            self._write_identities([identity for identity, _ in events])
            beside = self._write_state(self._count + len(events), name)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        beside.replace(self._folder / "state.json")  # from here on nothing is taken back, whatever happens
        self._moving = name
        self._count += len(events)
        _sync(self._folder)
        self._move()
        return self._account / name

    def close(self) -> None:
        """Let go of the lock."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    # ------------------------------------------------------------------------------------------------------

    def _read_state(self) -> tuple[int, str]:
        """Return how many identities are valid, and which ledgers may still have to be moved."""
        path = self._folder / "state.json"
        try:
            handle = os.open(path, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return 0, ""
        with os.fdopen(handle, "rb") as file:
            try:
                said = json.load(file)
                count, name = said["count"], said["moving"]
                if type(count) is not int or count < 0 or not _SET.fullmatch(name):
                    raise ValueError
            except (ValueError, LookupError, TypeError, RecursionError):
                raise UnknownState(f"{path} is no state of this version: what was replayed is not known; put it away "
                                   "only if what was replayed may be replayed again") from None  # fmt: skip
        return count, name

    def _read_known(self) -> array[int]:
        """Return the valid identities, in order.

        Raises:
            UnknownState: there are fewer than the state says.
        """
        known = array("Q")
        if self._count:
            path = self._folder / "done"
            try:
                with os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:
                    known.fromfile(file, self._count)
            except (EOFError, FileNotFoundError):
                raise UnknownState(f"{path} is shorter than it was: what was replayed is not known") from None
        return array("Q", sorted(known))

    def _move(self) -> None:
        """Move the ledgers that are valid to where they are found, unless they are there."""
        if self._moving and (self._folder / self._moving).is_dir():
            (self._folder / self._moving).rename(self._account / self._moving)

    def _clear(self) -> None:
        """Remove ledgers that somebody who was killed had begun."""
        for path in list(self._folder.iterdir()):
            if _SET.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)

    def _write_ledger(self, path: Path, records: list[bytes]) -> None:
        """Write a ledger of its own size, and see that the medium has it."""
        size = len(HEADER) + sum(map(len, records))
        ledger = Ledger(path, -(-size // _PAGE) * _PAGE)
        for record in records:
            ledger.append(record)
            ledger.publish(record)
        ledger.sync()
        ledger.unmap()
        _sync(path.parent)

    def _write_identities(self, identities: list[int]) -> None:
        """Write identities behind the valid ones; what a killed one left there is overwritten."""
        handle = os.open(self._folder / "done", os.O_WRONLY | os.O_CREAT | _FLAGS, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.seek(self._count * 8)
            file.write(array("Q", identities).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def _write_state(self, count: int, name: str) -> Path:
        """Write the next state beside the one that is valid; returns where."""
        beside = self._folder / "state.new"
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"count": count, "moving": name}, file)
            file.flush()
            os.fsync(file.fileno())
        _sync(self._folder)
        return beside


def _sync(folder: Path) -> None:
    """Return once the names in a directory are on the medium."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
