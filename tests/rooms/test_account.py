"""The spool's directory: nobody else's, one for each account, and who in it is alive."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from ocm_otel._account import Account, UnusableSpool
from ocm_otel._ledger import Ledger
from ocm_otel._process import opening

from .conftest import lowest_free

HERE, KEY = "https://api.ofcourse.me/v2.0/events", "secret-key-1"
SIZE = 16 * 1024


def locks(below: Path) -> int:
    """Return how many `owner` files below a directory this process has open."""
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    targets = [link.readlink() for link in links if link.is_symlink()]
    return sum(target.name == "owner" and target.is_relative_to(below) for target in targets)


@pytest.fixture
def read_only(tmp_path):
    """A directory that cannot be written to, by root either where a mount is possible."""
    place = tmp_path / "ro"
    place.mkdir(mode=0o500)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,mode=700", "none", place], check=False, capture_output=True
    )
    if mount.returncode != 0 and os.geteuid() == 0:
        pytest.fail("root needs to be able to mount a tmpfs for this test")
    yield place
    if mount.returncode == 0:
        subprocess.run(["umount", place], check=True)


def test_modes(tmp_path):
    """Whatever the umask: directories 0700, files 0600."""
    old = os.umask(0)
    try:
        account = Account(tmp_path / "a" / "spool", HERE, KEY)
        account.open_set().new(SIZE)
    finally:
        os.umask(old)
    found = [tmp_path / "a" / "spool", *(tmp_path / "a" / "spool").rglob("*")]
    assert {(path.is_dir(), oct(path.stat().st_mode & 0o777)) for path in found} == {(True, "0o700"), (False, "0o600")}
    assert len(found) == 5


def test_accounts_are_apart_and_tell_nothing(tmp_path):
    """Another endpoint or another key is another directory, and neither can be read from its name."""
    pairs = [(HERE, KEY), (HERE, KEY + "2"), (HERE + "2", KEY), (HERE + KEY, ""), ("", HERE + KEY)]
    paths = {Account(tmp_path, *pair).path for pair in pairs}
    assert len(paths) == len(pairs)
    assert Account(tmp_path, HERE, KEY).path in paths
    assert not any("secret" in str(path) or "ofcourse" in str(path) for path in paths)


@pytest.mark.parametrize("which", ["root", "account"])
@pytest.mark.parametrize("planted", ["link", "dangling", "file", "group", "world", "foreign"])
def test_what_others_planted_is_not_used(tmp_path, which, planted):
    """A link, a file, a directory of somebody else or one that others may write to: refused, with its name."""
    root = tmp_path / "spool"
    place = root if which == "root" else Account(root, HERE, KEY).path
    if which == "account":
        place.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    if planted == "link":
        place.symlink_to(tmp_path / "elsewhere")
    elif planted == "dangling":
        place.symlink_to(tmp_path / "nowhere")
    elif planted == "file":
        place.touch()
    else:
        place.mkdir(mode=0o700)
        place.chmod({"group": 0o770, "world": 0o707}.get(planted, 0o700))
    if planted == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root can give a directory away")
        os.chown(place, 12345, 12345)
    with pytest.raises(UnusableSpool, match=str(place)) as caught:
        Account(root, HERE, KEY)
    assert KEY not in str(caught.value)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not (tmp_path / "nowhere").exists()


def test_a_read_only_place_says_so(read_only):
    """Where nothing can be written the message names the place."""
    for root in (read_only, read_only / "below"):
        with pytest.raises(UnusableSpool, match=str(read_only)):
            Account(root, HERE, KEY)


def test_a_living_process_is_not_left_behind(tmp_path):
    """What is locked, by this process or another, is nobody's to take; once let go of, it is one's at once."""
    first, second = Account(tmp_path, HERE, KEY), Account(tmp_path, HERE, KEY)
    own = first.open_set()
    own.new(SIZE)
    assert list(second.left_behind()) == []
    assert list(first.left_behind()) == []
    assert second.has_ledgers()
    own.close()
    (taken,) = second.left_behind()
    assert [ledger.path.name for ledger in taken.ledgers()[0]] == ["000001.ledger"]
    assert list(first.left_behind()) == []
    second.close()
    assert locks(tmp_path) == 0


def test_an_empty_set_is_cleared_away(tmp_path):
    """A set without ledgers leaves nothing, whether its process ends or dies before it wrote its lock."""
    account = Account(tmp_path, HERE, KEY)
    account.open_set().close()
    assert not account.has_ledgers()
    (account.path / "20261123T184512-4711-9f3c2a").mkdir()
    assert account.has_ledgers()
    for left in account.left_behind():
        left.close()
    assert list(account.path.iterdir()) == []


def test_what_is_not_ours_is_left_alone(tmp_path):
    """Directories with other names, links and files beside the sets are neither touched nor taken."""
    account = Account(tmp_path, HERE, KEY)
    (account.path / "backup").mkdir()
    (account.path / "notes.txt").touch()
    (tmp_path / "elsewhere").mkdir()
    Ledger(tmp_path / "elsewhere" / "000001.ledger", SIZE)
    (account.path / "20261123T184512-4711-9f3c2a").symlink_to(tmp_path / "elsewhere")
    (account.path / "20261123T184512-4711-9f3c2b").touch()
    before = sorted(tmp_path.rglob("*"))
    assert list(account.left_behind()) == []
    assert not account.has_ledgers()
    assert sorted(tmp_path.rglob("*")) == before


def test_foreign_files_stay_where_they_are(tmp_path):
    """In a set that was left behind, files that are no ledgers are named and stay, and the set with them."""
    account = Account(tmp_path, HERE, KEY)
    own = account.open_set()
    own.new(SIZE)
    (own.path / "000002.ledger").write_bytes(b"ocm-otel ledger 7\n whatever")
    (own.path / "000003.ledger").touch()
    (own.path / "readme").write_text("mine")
    own.close()
    for _ in range(2):
        (left,) = account.left_behind()
        ledgers, bad = left.ledgers()
        assert [ledger.path.name for ledger in ledgers] == ["000001.ledger"]
        assert len(bad) == 1
        assert "000002.ledger is left alone" in bad[0]
        left.close()
    assert sorted(path.name for path in left.path.iterdir()) == ["000001.ledger", "000002.ledger", "owner", "readme"]


def test_no_descriptors_no_set_and_no_hang(tmp_path):
    """With all file descriptors in use the set cannot be made: an error, at once, and nothing is left of it."""
    account = Account(tmp_path, HERE, KEY)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free(), hard))
    taken = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(OSError, match="Too many open files"):
            account.open_set()
        assert list(account.left_behind()) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for handle in taken:
            os.close(handle)
    assert list(account.path.iterdir()) == []


def test_bytes_used_counts_every_process(tmp_path):
    """The room that ledgers take is counted over all sets of the account, and of this account only."""
    first, second = Account(tmp_path, HERE, KEY), Account(tmp_path, HERE, KEY)
    other = Account(tmp_path, HERE, "another")
    for account in (first, second, other):
        account.open_set().new(SIZE)
    assert first.bytes_used() == 2 * SIZE
    assert other.bytes_used() == SIZE


FORKED = """
import os, sys
from pathlib import Path
from ocm_otel._account import Account
account = Account(Path(sys.argv[1]), "e", "k")
account.open_set().new(16384)
ready, done = os.pipe(), os.pipe()
if os.fork() == 0:
    account.let_go()
    os.close(done[1])
    os.write(ready[1], b"x")
    os.read(done[0], 1)
    os._exit(0)
os.read(ready[0], 1)
found = os.fork()
if found == 0:
    os._exit(len(list(Account(Path(sys.argv[1]), "e", "k").left_behind())))
assert os.waitpid(found, 0)[1] == 0, "a child took what is the living parent's"
print(os.getpid(), flush=True)
os._exit(0)  # the first child lives on, until the pipe that only we could write to ends
"""


def test_a_child_does_not_keep_its_parents_lock(tmp_path):
    """A forked child that outlives its parent does not keep what the parent left from being taken over."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKED, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as parent:
        assert parent.stdout.readline().strip() == str(parent.pid).encode()
        assert parent.wait(120) == 0
        account = Account(tmp_path, "e", "k")
        assert len(list(account.left_behind())) == 1
        account.close()


def test_a_fork_waits_for_a_lock_that_is_just_taken(tmp_path):
    """Whoever forks can hold `opening`: meanwhile no lock is taken that the child would not know of."""
    account = Account(tmp_path, HERE, KEY)
    thread = Thread(target=account.open_set)
    with opening:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        assert locks(tmp_path) == 0
    thread.join(60)
    assert locks(tmp_path) == 1
    account.let_go()
    assert locks(tmp_path) == 0


def test_a_closed_account_locks_nothing(tmp_path):
    """After its end an account takes nothing more, so that nothing stays locked that nobody works on."""
    account = Account(tmp_path, HERE, KEY)
    (account.path / "20261123T184512-4711-9f3c2a").mkdir()
    account.close()
    assert list(account.left_behind()) == []
    with pytest.raises(UnusableSpool):
        account.open_set()
    assert locks(tmp_path) == 0


def test_a_removed_lock_is_no_lock(tmp_path):
    """Who waited at a lock whose file was removed meanwhile does not hold the set."""
    first = Account(tmp_path, HERE, KEY)
    own = first.open_set()
    handle = os.open(own.path / "owner", os.O_RDWR)
    own.close()
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    own = first.open_set()
    own.new(SIZE)
    assert list(Account(tmp_path, HERE, KEY).left_behind()) == []
    os.close(handle)
