"""The refused file: shared by processes, kept whole, and safe against whatever stands in it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace

import pytest

from ocm_otel._journal import Refused
from ocm_otel._refused import RefusedFile

ONE = Refused("type=cours-save&user_id=1", "no-type-parameter", 1000.5, 1001.25, 3)
HOSTILE = [
    b"not json\n",
    b"\xff\xfe\x00\n",
    b"[1, 2]\n",
    b'"text"\n',
    b"null\n",
    b"{}\n",
    b"[" * 100_000 + b"\n",
    b'{"query":"q","reason":"r","at":1e999,"refused_at":1,"attempts":1e999}\n',
    b'{"query":"q","reason":"r","at":1' + b"0" * 400 + b',"refused_at":1,"attempts":1}\n',
    b'{"query":"q","reason":"r","at":[],"refused_at":1,"attempts":1}\n',
    b'{"query":"q","reason":"r","at":1,"refused_at":1,"attempts":"NaN"}\n',
    b"\n",
]


def users(file: RefusedFile) -> list[str]:
    """Return the user of each refused event."""
    return [refused.query.rpartition("=")[2] for refused in file.read()]


def test_it_keeps_all_that_there_is_to_know(tmp_path):
    """What is added is read back, the oldest first; without a file there is nothing."""
    file = RefusedFile(tmp_path)
    assert file.read() == []
    others = [replace(ONE, query=f"type=t&user_id={n}", attempts=n) for n in range(5)]
    for refused in (ONE, *others):
        file.add(refused)
    assert file.read() == [ONE, *others]
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_an_edit_changes_removes_and_keeps(tmp_path):
    """What the change returns stands in the old one's place, None removes it, and the order stays."""
    file = RefusedFile(tmp_path)
    for number in range(4):
        file.add(replace(ONE, query=f"type=t&user_id={number}"))
    file.edit(lambda one: None if one.query.endswith("1") else replace(one, query=one.query + "0"))
    assert users(file) == ["00", "20", "30"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["refused.jsonl", "refused.lock"]
    assert file.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: repr(line[:12]))
def test_hostile_lines_are_passed_over_and_kept(tmp_path, line):
    """A line that says nothing of ours hides no other, and an edit leaves it as it is."""
    file = RefusedFile(tmp_path)
    file.add(ONE)
    with file.path.open("ab") as handle:
        handle.write(line)
    file.add(ONE)
    assert file.read() == [ONE, ONE]
    file.edit(lambda one: replace(one, query="type=t&user_id=9"))
    assert users(file) == ["9", "9"]
    assert line in file.path.read_bytes()


def test_a_line_that_was_cut_does_not_take_the_next_one_with_it(tmp_path):
    """Who was killed while it wrote left half a line: the next one begins on a line of its own."""
    file = RefusedFile(tmp_path)
    file.add(ONE)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + whole[:40])
    file.add(ONE)
    assert file.read() == [ONE, ONE]


def test_a_failed_edit_changes_nothing(tmp_path):
    """If the change goes wrong half way, the file is as it was, and can be edited again."""
    file = RefusedFile(tmp_path)
    file.add(ONE)
    file.add(replace(ONE, query="type=t&user_id=2"))
    before = file.path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        file.edit(lambda one: None if one == ONE else 1 / 0)
    assert file.path.read_bytes() == before
    file.edit(lambda one: one)
    assert file.path.read_bytes() == before


def test_a_full_disk_leaves_no_half_line(tmp_path):
    """Without room for the whole line none of it is written, it is said, and an edit leaves the old file."""
    file = RefusedFile(tmp_path)
    for _ in range(3):
        file.add(ONE)
    before = file.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (len(before) + 20, len(before)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(OSError, match="."):
                file.add(ONE)
            with pytest.raises(OSError, match="."):
                file.edit(lambda one: replace(one, query=one.query * 9))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert file.path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["refused.jsonl", "refused.lock"]
    file.add(ONE)
    assert file.read() == [ONE] * 4


def test_a_planted_link_is_not_followed(tmp_path):
    """Neither the file nor its lock is written through a link."""
    for name in ("refused.jsonl", "refused.lock"):
        place = tmp_path / name.replace(".", "-")
        place.mkdir()
        (place / name).symlink_to(tmp_path / "victim")
        with pytest.raises(OSError, match="symbolic link"):
            RefusedFile(place).add(ONE)
    assert not (tmp_path / "victim").exists()


TOGETHER = """
import sys
from dataclasses import replace
from pathlib import Path
from ocm_otel._journal import Refused
from ocm_otel._refused import RefusedFile
file, name = RefusedFile(Path(sys.argv[1])), sys.argv[2]
for number in range(100):
    file.add(Refused(f"type=t&user_id={name}-{number}", "r", 1.0, 2.0, 1))
    if number % 10 == 0:
        file.edit(lambda one: replace(one, attempts=one.attempts + 1))
        file.edit(lambda one: None if one.query.endswith(f"={name}-{number}") else one)
"""


def test_processes_add_and_edit_together(tmp_path):
    """Four processes add and edit at once: nothing is lost, nothing comes back, every line is whole."""
    running = [subprocess.Popen([sys.executable, "-c", TOGETHER, str(tmp_path), str(n)]) for n in range(4)]
    assert [process.wait(120) for process in running] == [0] * 4
    expected = sorted(f"{name}-{number}" for name in range(4) for number in range(100) if number % 10)
    file = RefusedFile(tmp_path)
    assert sorted(users(file)) == expected
    assert all(json.loads(line) for line in file.path.read_bytes().splitlines())
    assert len(os.listdir(tmp_path)) == 2
