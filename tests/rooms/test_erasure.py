"""A person erased from ledgers: what is blanked, what stays, and what no process does meanwhile."""

from __future__ import annotations

import fcntl
from pathlib import Path
from urllib.parse import quote

import pytest

from ocm_otel._account import Account
from ocm_otel._books import Books
from ocm_otel._courier import Courier
from ocm_otel._erasure import LOCK, erase, remains, under_way
from ocm_otel._event import Event
from ocm_otel._pace import Pace
from ocm_otel._spool import Spool
from ocm_otel._verdict import judge


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A journal on disk."""
    return Spool(Account(tmp_path / "spool", "http://127.0.0.1:9/", "key"), Books(), most_bytes=2**28)


def put(spool: Spool, *users: str) -> None:
    """Put an event of each user."""
    for user in users:
        assert spool.append(Event("t", user_id=user).query(), 1000.0, lambda: spool._books.add("accepted")) == ""


def taken(spool: Spool) -> list[str]:
    """Deliver all there is; return the queries."""
    found = []
    while (entry := spool.take()) is not None:
        found.append(entry.query)
        spool.settle(entry)
    return found


@pytest.mark.parametrize("user", ["ann", "ünïcøde@x y", "a&b=c", "a+b", "%61nn", "x" * 600])
def test_only_the_user_is_erased(spool: Spool, user: str) -> None:
    """Owed and settled records of the user are blanked, those of others whose ids begin or end alike are not."""
    put(spool, user, "bob")
    first = spool.take()
    spool.settle(first)
    put(spool, f"{user}z", user, f"z{user}", user)
    assert erase(spool._account.path, user) == 2
    assert remains(spool._account.path, user) == []
    assert taken(spool) == [Event("t", user_id=one).query() for one in ("bob", f"{user}z", f"z{user}")]
    assert spool._books.snapshot().reasons["dropped"] == {"purged": 2}
    assert spool.waiting() == 0
    (ledger,) = spool._account.path.glob("*/*.ledger")
    exact = b"user_id=" + quote(user, safe="").encode() + b"\n"
    assert exact not in ledger.read_bytes()


def test_what_is_lent_is_not_held_any_more(spool: Spool) -> None:
    """An entry on loan whose record is erased is not to be sent."""
    put(spool, "ann", "bob")
    ann, bob = spool.take(), spool.take()
    erase(spool._account.path, "ann")
    assert (spool.holds(ann), spool.holds(bob)) == (False, True)


def test_what_was_read_ahead_is_not_lent(spool: Spool) -> None:
    """A record that is erased after it was read, and before it is lent, is none any more, and is booked as erased."""
    put(spool, "ann", "bob", "ann", "carl", "ann")
    spool.settle(spool.take())  # with it, all of them were read
    assert erase(spool._account.path, "ann") == 2
    assert taken(spool) == ["type=t&user_id=bob", "type=t&user_id=carl"]
    assert spool._books.snapshot().reasons["dropped"] == {"purged": 2}
    assert spool.waiting() == 0


def test_what_was_put_off_is_not_sent_again(spool: Spool) -> None:
    """An event that is erased while it waits for its next call has none, and is booked as erased."""
    courier = Courier(spool, Pace(4), spool._books)
    put(spool, "ann")
    call = courier.due(0.0)
    courier.answered(call, judge(500), 0.1, 1000.0)
    erase(spool._account.path, "ann")
    assert courier.due(100.0) is None
    assert spool._books.snapshot().reasons["dropped"] == {"purged": 1}
    assert spool.waiting() == 0


def test_no_ledger_is_made_anew_meanwhile(spool: Spool) -> None:
    """While somebody erases, a ledger that is done with is deleted, so that no byte of it becomes another event."""
    path, made = spool._account.path, set()
    for erasing in (False, True):
        with (path / LOCK).open("w", encoding="utf-8") as lock:
            if erasing:
                fcntl.flock(lock, fcntl.LOCK_EX)
            assert under_way(path) is erasing
            put(spool, *["x" * 500] * 600)
            made = {file.stat().st_ino for file in path.glob("*/*.ledger")}
            assert len(taken(spool)) == 600
            spool.take()
        after = {file.stat().st_ino for file in path.glob("*/*.ledger")}
        assert (len(made - after) >= 1) is erasing


def test_a_ledger_that_cannot_be_read_is_an_error(spool: Spool) -> None:
    """Nobody is told that all is erased while a ledger could not be looked into."""
    put(spool, "ann")
    (ledger,) = spool._account.path.glob("*/*.ledger")
    ledger.unlink()
    ledger.symlink_to("/dev/null")
    with pytest.raises(OSError, match="symbolic link"):
        erase(spool._account.path, "ann")
