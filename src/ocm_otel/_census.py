"""Who holds which ledgers of an account, and what is owed in them: a look that changes nothing.

Nothing is made, marked or removed, and no event is shown: this room counts.

Whether an owner lives, only its lock says, and to ask is to try for it. So that this disturbs nobody: the lock
is tried for without waiting, as a shared one, and let go of at once. A living owner holds it, exclusively, from
before its first ledger until its end: the attempt fails and its ledgers stay its own. A set without any ledger,
whose maker may just be about to lock it, owes nothing and is not asked. Two that look do not see each other. Who
wants to adopt in that very instant finds the set locked, and looks again two seconds later.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ocm_otel._account import Account, UnusableSpool, check
from ocm_otel._ledger import ForeignLedger, Ledger
from ocm_otel._ledgerset import LEDGERS, OWNER
from ocm_otel._record import SENT
from ocm_otel._refused import RefusedFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_OTHER = re.compile(r"[0-9a-f]{20}")
_OURS = frozenset(("refused.jsonl", "refused.lock", "refused.new", "pace", "purge.lock", "replay", "tally"))


@dataclass
class Holding:
    """The ledgers of one process.

    Attributes:
        path: their directory.
        living: True if somebody who lives has them locked: their own process, or one that took them over.
        owed: how many records are not settled; `sent` of them may have counted already, `torn` of them
            cannot be read.
        oldest: when the oldest of them was accepted, seconds since 1970; None if nothing is owed.
        room: bytes that the ledgers take on the disk, settled records included.
        unread: ledgers that could not be read, and why.
    """

    path: Path
    living: bool = False
    owed: int = 0
    sent: int = 0
    torn: int = 0
    oldest: float | None = None
    room: int = 0
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def process(self) -> int:
        """The id of the process that made them; one that took them over has another."""
        return int(self.path.name.split("-")[1])

    @property
    def since(self) -> str | None:
        """When they were begun, ISO 8601, UTC; None if their name does not say it."""
        try:
            begun = datetime.strptime(self.path.name.split("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)
        except ValueError:
            return None
        return begun.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Census:
    """What stands in an account's directory.

    Attributes:
        there: whether there is such a directory.
        holdings: who holds what, the oldest first.
        refused: how many events the API would not have, by reason.
        strangers: names in the directory that are none of ours, and files in it that cannot be read, with why.
        neighbours: how many other accounts have ledgers in the same spool.
    """

    there: bool
    holdings: tuple[Holding, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    strangers: Mapping[str, str] = field(default_factory=dict)
    neighbours: int = 0

    def left(self) -> list[Holding]:
        """Return what dead processes left behind."""
        return [holding for holding in self.holdings if not holding.living]

    def problems(self) -> list[tuple[str, str]]:
        """Return the files that are left alone, and why."""
        held = {f"{one.path.name}/{name}": why for one in self.holdings for name, why in one.unread.items()}
        return sorted({**self.strangers, **held}.items())


class Standing(Account):
    """An account's directory as it stands; it is not made if it is not there.

    Args:
        root: the spool directory.
        endpoint: the address of the API.
        key: the key of the account.

    Raises:
        UnusableSpool: it is not safely ours.
    """

    def make(self) -> None:
        """Make nothing, and see that what is there is ours.

        Raises:
            UnusableSpool: it is not, or cannot be looked at.
        """
        self.there = False
        try:
            for path in (self._root, self.path):
                check(path)
        except FileNotFoundError:
            return
        except UnusableSpool:
            raise
        except OSError as error:
            raise UnusableSpool(error.errno, f"{error.filename or self._root}: {error.strerror}") from error
        self.there = True

    def census(self) -> Census:
        """Return what is there now."""
        self.make()
        if not self.there:
            return Census(there=False, neighbours=self._neighbours())
        strangers = self._strangers()
        try:
            refused = Counter(refused.reason for refused in RefusedFile(self.path).read())
        except OSError as error:
            refused = Counter()
            strangers["refused.jsonl"] = f"cannot be read: {error.strerror}"
        holdings = tuple(holding for path in self.sets() if (holding := look_at(path)) is not None)
        return Census(True, holdings, dict(refused), strangers, self._neighbours())

    def owed(self) -> Iterator[tuple[str, float]]:
        """Yield the query of each event that is owed in the account, and when it was accepted."""
        for file in sorted(self.path.glob(f"*/{LEDGERS}")) if self.there else ():
            with suppress(OSError, ForeignLedger):  # settled and removed meanwhile; none of ours
                ledger = Ledger(file)
                while (row := ledger.lend()) is not None:
                    _, _, _, at, query = row
                    if query:
                        yield query, at

    def _strangers(self) -> dict[str, str]:
        """Return the names in the account's directory and its ledger sets that are none of ours."""
        sets = self.sets()
        names = {path.name for path in sets}
        found = [path for path in self.path.iterdir() if path.name not in _OURS | names]
        for path in sets:
            try:
                found += [inner for inner in path.iterdir() if inner.name != OWNER and not inner.match(LEDGERS)]
            except OSError:  # settled and removed meanwhile; one that cannot be read is told as a holding
                continue
        return {str(path.relative_to(self.path)): "none of ours" for path in sorted(found)}

    def _neighbours(self) -> int:
        """Return how many other accounts have ledgers in the spool."""
        try:
            others = [path for path in self._root.iterdir() if _OTHER.fullmatch(path.name) and path != self.path]
        except OSError:
            return 0
        return sum(any(path.glob(f"*/{LEDGERS}")) for path in others)


def look_at(path: Path) -> Holding | None:
    """Return what one ledger set holds, None if there is no ledger in it."""
    found = Holding(path)
    try:
        files = sorted(inner for inner in path.iterdir() if inner.match(LEDGERS))
        if not files:
            return None
        found.living = _lives(path)
    except FileNotFoundError:  # removed meanwhile
        return None
    except OSError as error:
        found.unread[OWNER] = error.strerror or type(error).__name__
        return found
    for file in files:
        try:
            status = file.stat(follow_symlinks=False)
            if status.st_size and stat.S_ISREG(status.st_mode):
                found.room += status.st_size
                _count(Ledger(file), found)
            elif not stat.S_ISREG(status.st_mode):
                found.unread[file.name] = "is no file"
        except FileNotFoundError:  # settled and removed meanwhile
            continue
        except ForeignLedger:
            found.unread[file.name] = "is no ledger of this version"
        except OSError as error:
            found.unread[file.name] = error.strerror or type(error).__name__
    return found


def _lives(path: Path) -> bool:
    """Return whether somebody who lives has a ledger set locked.

    Raises:
        OSError: its lock cannot be opened, or the file system knows no locks.
    """
    try:
        handle = os.open(path / OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _count(ledger: Ledger, found: Holding) -> None:
    """Add what a ledger owes."""
    while (row := ledger.lend()) is not None:
        _, _, mark, at, query = row
        found.owed += 1
        found.sent += mark == SENT
        found.torn += not query
        if query and math.isfinite(at):
            found.oldest = at if found.oldest is None else min(found.oldest, at)
