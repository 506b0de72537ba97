"""Kept logs: what makes a fact one of a kind, and that each goes over to the journal once, whatever happens."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ocm_otel._account import Account
from ocm_otel._ledger import Ledger
from ocm_otel._recording import Recording, Unreadable
from ocm_otel._replayed import Replayed, UnknownState


def lines(*numbers: int) -> bytes:
    """Return tagged lines, each after one without a tag."""
    return b"".join(b'{"event": "x"}\n{"ocm.event_type": "t", "ocm.user_id": %d}\n' % number for number in numbers)


def identities(path: Path, content: bytes, form: str = "auto") -> list[int]:
    """Return the identities of the facts of a file."""
    path.write_bytes(content)
    return [fact.identity for fact in Recording(str(path), form).facts()]


def test_a_fact_is_known_wherever_it_lies(tmp_path: Path) -> None:
    """A renamed copy, a packed one, a shorter and a longer one, other line ends: the same facts."""
    whole = identities(tmp_path / "a", lines(1, 2, 3))
    assert len(set(whole)) == 3
    assert identities(tmp_path / "b", lines(1, 2, 3)) == whole
    assert identities(tmp_path / "c", gzip.compress(lines(1, 2, 3))) == whole
    assert identities(tmp_path / "d", lines(1, 2)) == whole[:2]
    assert identities(tmp_path / "e", lines(1, 2, 3, 4))[:3] == whole
    assert identities(tmp_path / "f", lines(1, 2, 3).replace(b"\n", b"\r\n")) == whole
    assert identities(tmp_path / "g", lines(1, 2, 3)[:-1]) == whole


def test_another_fact_is_another(tmp_path: Path) -> None:
    """Equal lines of one file, and those of a file that began in another way, are facts of their own."""
    equal = identities(tmp_path / "a", lines(1, 1, 1))
    other = identities(tmp_path / "b", b"\n" + lines(1, 1, 1))
    assert len({*equal, *other}) == 6


def test_facts_of_one_record_are_several(tmp_path: Path) -> None:
    """Two spans in one request of a Collector are two facts."""
    span = {"attributes": [{"key": "ocm.event_type", "value": {"stringValue": "t"}}]}
    content = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span, span]}]}]}).encode()
    assert len(set(identities(tmp_path / "a", content))) == 2


def test_a_table(tmp_path: Path) -> None:
    """Columns by their known names or by the given ones, quoted line breaks, a mark at the beginning, empty rows."""
    path = tmp_path / "a.csv"
    path.write_bytes(
        '\ufefftime,type,course_id,note\n2026-11-23T12:00:00Z,course-save,7,"a\nb"\n,,,\n,logout,,\n'.encode()
    )
    first, second = Recording(str(path)).facts()
    assert first.found.tags == {"ocm.event_type": "course-save", "ocm.course_id": "7"}
    assert (first.found.at, first.line, second.found.tags) == (1_795_435_200.0, 3, {"ocm.event_type": "logout"})
    (named,) = Recording(str(path), columns={"type": "note"}).facts()
    assert named.found.tags == {"ocm.event_type": "a\nb", "ocm.course_id": "7"}


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (b"a,b\n1,2\n", {}, "it has no column for the type; say which it is with --column type=NAME, of 'a, b'"),
        (b"a,b\n1,2\n", {"type": "c"}, "it has no column 'c'; its columns are 'a, b'"),
        (b"", {}, "it has no column for the type"),
    ],
)
def test_no_table_of_events(tmp_path: Path, content: bytes, columns: dict, message: str) -> None:
    """A table without the columns is told with those that it has."""
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(Unreadable, match=message):
        list(Recording(str(tmp_path / "a.csv"), columns=columns).facts())


def test_the_last_row_of_a_table_may_still_be_written(tmp_path: Path) -> None:
    """A row without an end is left out and told; once it has one, it is a fact."""
    (tmp_path / "a.csv").write_bytes(b"type,user_id\nlogout,1\nlogout,2")
    recording = Recording(str(tmp_path / "a.csv"))
    assert (len(list(recording.facts())), recording.torn) == (1, True)
    with (tmp_path / "a.csv").open("ab") as file:
        file.write(b"2\n")
    recording = Recording(str(tmp_path / "a.csv"))
    assert [fact.found.tags["ocm.user_id"] for fact in recording.facts()] == ["1", "22"]
    assert not recording.torn


def test_an_array_is_told(tmp_path: Path) -> None:
    """One JSON array instead of lines is told with the remedy; damaged gzip is an error of the file."""
    (tmp_path / "a").write_bytes(b' [{"ocm.event_type": "t"}]')
    with pytest.raises(Unreadable, match="jq -c"):
        Recording(str(tmp_path / "a"))
    (tmp_path / "b").write_bytes(gzip.compress(lines(1))[:-9])
    with pytest.raises(EOFError):
        list(Recording(str(tmp_path / "b")).facts())


# --- once each --------------------------------------------------------------------------------------------


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """The directory of an account."""
    return Account(tmp_path / "spool", "http://127.0.0.1:9/", "key")


def owed(account: Account) -> list[str]:
    """Return the queries that are owed in an account, in order of their ledgers."""
    found = []
    for path in account.sets():
        for file in sorted(path.glob("*.ledger")):
            ledger = Ledger(file)
            while (record := ledger.lend()) is not None:
                found.append(record.query)
    return found


def test_what_was_handed_over_is_known(account: Account) -> None:
    """It is owed in the journal, and known to whoever comes next and to who only looks; one at a time may do it."""
    replayed = Replayed(account)
    with pytest.raises(BlockingIOError):
        Replayed(account)
    place = replayed.hand_over([(1, "type=a"), (2**64 - 1, "type=b")])
    replayed.hand_over([(3, "type=c")])
    assert (place.parent, sorted(owed(account))) == (account.path, ["type=a", "type=b", "type=c"])
    replayed.close()
    for later in (Replayed(account, look=True), Replayed(account)):
        assert all(identity in later for identity in (1, 3, 2**64 - 1))
        assert 2 not in later
        assert len(later) == 3
        later.close()


def test_a_state_that_is_none_stops_it(account: Account) -> None:
    """Where what was replayed is not known, nothing is replayed, and the file is named."""
    replayed = Replayed(account)
    replayed.hand_over([(1, "type=a")])
    replayed.close()
    done, state = account.path / "replay" / "done", account.path / "replay" / "state.json"
    done.write_bytes(b"")
    with pytest.raises(UnknownState, match="done is shorter than it was"):
        Replayed(account)
    for bad in (b"{", b"[]", b'{"count": -1, "moving": "x"}', b'{"count": 1, "moving": "../../x"}'):
        state.write_bytes(bad)
        with pytest.raises(UnknownState, match="what was replayed is not known"):
            Replayed(account, look=True)


#: Kills a child at the N-th line that it runs in the room, for every N; then runs it to its end, and looks.
EACH_LINE = """
import os, signal, sys, tempfile
from collections import Counter
from pathlib import Path
from ocm_otel import _replayed
from ocm_otel._account import Account
sys.path.insert(0, sys.argv[1])
from test_replayed import owed

FACTS = [(number, f"type=t&user_id={number}") for number in range(4)]

def work(account):
    replayed = _replayed.Replayed(account)
    for start in (0, 2):
        batch = [fact for fact in FACTS[start:start + 2] if fact[0] not in replayed]
        if batch:
            replayed.hand_over(batch)
    replayed.close()

def killed_at(number):
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code.co_filename != _replayed.__file__:
            return None
        seen += event == "line"
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

number, kills = 0, 0
with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
    while True:
        number += 1
        account = Account(Path(folder) / str(number), "http://127.0.0.1:9/", "key")
        child = os.fork()
        if child == 0:
            sys.settrace(killed_at(number))
            work(account)
            os._exit(0)
        killed = os.waitpid(child, 0)[1] == signal.SIGKILL
        work(account)
        assert Counter(owed(account)) == Counter(query for _, query in FACTS), (number, owed(account))
        assert not [path for path in (account.path / "replay").iterdir() if path.is_dir()], number
        kills += killed
        if not killed:
            break
print(kills)
"""


def test_a_kill_at_any_line_counts_each_once() -> None:
    """Killed at each single line of the way over, and run again: each event is owed once, and nothing lies around."""
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", EACH_LINE, here], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60
