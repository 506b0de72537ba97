"""The file in which processes leave word for each other: what is read from it, and what cannot stop anybody."""

from __future__ import annotations

import fcntl
import os
import random
import time

import pytest

from ocm_otel._books import Books
from ocm_otel._outlook import Outlook, State
from ocm_otel._pacefile import PaceFile

SAID = Outlook(State.THROTTLED, 3, 12.5, 13.25, 0.5, 7)


@pytest.fixture
def pair(tmp_path):
    """Two boards over one file, as two processes have them."""
    return PaceFile(tmp_path, Books()), PaceFile(tmp_path, Books())


def test_what_one_writes_the_other_reads(pair, tmp_path):
    """An outlook comes back as it was written; the file is one line, and nobody else can read it."""
    one, other = pair
    assert other.read() is None
    assert one.read() is None
    with one.alone():
        one.write(SAID)
    assert other.read() == SAID
    (line,) = (tmp_path / "pace").read_text().splitlines()
    assert '"throttled"' in line
    assert (tmp_path / "pace").stat().st_mode & 0o777 == 0o600


def test_damage_is_as_if_nothing_were_there(pair, tmp_path):
    """Torn, cut, foreign, empty or random: what is not intact is not read, and the next word mends it."""
    one, other = pair
    one.read()
    chance = random.Random(1)
    with one.alone():
        one.write(SAID)
    whole = (tmp_path / "pace").read_bytes()
    damages = [b"", whole[:100], whole[1:], b"\0" * 256, b"x" * 10_000, whole.replace(b"ocm", b"abc")]
    for _ in range(300):
        place = chance.randrange(len(whole))
        damages.append(whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :])
    for damage in damages:
        with (tmp_path / "pace").open("r+b") as file:
            file.truncate(0)
            file.write(damage)
        assert other.read() is None
    with one.alone():
        one.write(SAID)
    assert other.read() == SAID


def test_another_boots_word_does_not_count(pair, tmp_path):
    """The clock of another boot, or of another machine, says nothing here."""
    import json
    import zlib

    one, other = pair
    one.read()
    with one.alone():
        one.write(SAID)
    text = (tmp_path / "pace").read_bytes()[:246]
    form, _, said = text.partition(b" ")
    boot, *rest = json.loads(said)
    for name, expected in ((boot, SAID), ("another-boot", None)):
        text = (form + b" " + json.dumps([name, *rest]).encode()).ljust(246)
        (tmp_path / "pace").write_bytes(b"%b %08x\n" % (text, zlib.crc32(text)))
        assert other.read() == expected


@pytest.mark.parametrize("planted", ["link", "hard link", "directory", "pipe"])
def test_what_somebody_planted_is_not_used(tmp_path, planted):
    """A link, a pipe, a directory: nothing is read from it and nothing written to it, and nobody waits."""
    place, victim = tmp_path / "pace", tmp_path / "victim"
    victim.write_text("precious")
    if planted == "link":
        place.symlink_to(victim)
    elif planted == "hard link":
        os.link(victim, place)
    elif planted == "directory":
        place.mkdir()
    else:
        os.mkfifo(place)
    books = Books()
    board = PaceFile(tmp_path, books)
    with board.alone():
        assert board.read() is None
        board.write(SAID)
    assert victim.read_text() == "precious"
    assert "failed_pace" in books.snapshot().reasons


def test_a_lock_that_is_held_for_long_is_passed_by(pair, tmp_path):
    """A process that was stopped with the lock in its hand holds the others up for a moment only."""
    one, other = pair
    one.read()
    with (tmp_path / "pace").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        started = time.monotonic()
        for _ in range(50):
            with one.alone():
                one.write(SAID)
        assert time.monotonic() - started < 5
    assert other.read() == SAID


def test_a_file_that_was_removed_is_made_anew(pair, tmp_path):
    """Who removes the file does not part the processes for good."""
    one, other = pair
    for board in pair:
        assert board.read() is None
    (tmp_path / "pace").unlink()
    for board in pair:
        with board.alone():
            board.write(SAID)
    other.write(SAID._replace(probe=8))
    assert one.read() == SAID._replace(probe=8)


def test_a_child_lets_go_of_the_file(pair):
    """After a fork the parent's file is closed in the child: with it the child would share the parent's lock."""
    one, _ = pair
    one.read()
    child = os.fork()
    if not child:
        os._exit(0 if one._handle == -1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert one._handle >= 0


def test_the_file_is_closed_with_the_last_who_knew_of_it(tmp_path):
    """An outbox that is gone leaves no open file behind."""
    board = PaceFile(tmp_path, Books())
    board.read()
    handle = board._handle
    assert os.fstat(handle)
    del board
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)
