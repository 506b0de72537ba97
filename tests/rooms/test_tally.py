"""The tallies: counted by living processes, added up when they are gone, each answer once whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ocm_otel import Event, Outbox, Settings
from ocm_otel._books import Books
from ocm_otel._census import Standing
from ocm_otel._tallies import KEPT_DAYS, fold, read
from ocm_otel._tally import AMBIGUOUS, DELIVERED, DROPPED, MOST_TYPES, REFUSED, Tally
from ocm_otel.emulator import Answer, Emulator

NINE = 1_795_424_400.0  # 2026-11-23, 09:00 UTC


def total(rows: dict) -> list[int]:
    """Return the sums of the columns."""
    return [sum(column) for column in zip(*rows.values(), strict=True)] if rows else [0, 0, 0, 0]


def test_counts_by_type_day_and_hour(tmp_path: Path) -> None:
    """What is counted is there at once for everybody, by the hour of the answer; midnight begins another file."""
    now = [NINE]
    tally = Tally(tmp_path, clock=lambda: now[0])
    for query, column in (("type=a&user_id=ann", DELIVERED), ("type=a", DELIVERED), ("type=b%20c", REFUSED)):
        tally.add(query, column)
    now[0] += 15 * 3600
    tally.add("type=a", AMBIGUOUS)
    tally.add("", DROPPED)
    assert read(tmp_path) == (
        {
            ("20261123", "a", 9): [2, 0, 0, 0], ("20261123", "b%20c", 9): [0, 0, 1, 0],
            ("20261124", "a", 0): [0, 1, 0, 0], ("20261124", "", 0): [0, 0, 0, 1],
        },
        {},
    )  # fmt: skip
    assert not any(b"ann" in path.read_bytes() for path in (tmp_path / "tally").iterdir())


def test_types_without_end_are_bounded(tmp_path: Path) -> None:
    """A thousand types of 2,000 bytes take no more room than ten, and none is lost from the sum."""
    tally = Tally(tmp_path, clock=lambda: NINE)
    for number in range(1000):
        tally.add(f"type={number:04}" + "%E2%82%AC" * 200, DELIVERED)
    rows, _ = read(tmp_path)
    assert (len(rows), total(rows)) == (MOST_TYPES + 1, [1000, 0, 0, 0])
    assert rows["20261123", "", 9] == [1000 - MOST_TYPES, 0, 0, 0]
    assert all(len(kind) <= 160 for _, kind, _ in rows)
    (path,) = (tmp_path / "tally").iterdir()
    assert path.stat().st_size == 64 * 1024


def test_the_dead_are_added_up_once(tmp_path: Path) -> None:
    """Files of the dead become one page a day; a kill between page and removal counts nothing twice."""
    living = Tally(tmp_path, clock=lambda: NINE)
    living.add("type=a", DELIVERED)
    for _ in range(3):
        dead = Tally(tmp_path, clock=lambda: NINE)
        dead.add("type=a", DELIVERED)
        dead.close()
    folder = tmp_path / "tally"
    fold(folder)  # they may still hear of a late answer
    assert len(list(folder.iterdir())) == 4
    saved = {path: path.read_bytes() for path in folder.iterdir()}
    for _ in range(3):
        fold(folder, settling=-1.0)
        assert len(list(folder.iterdir())) == 2
        path = next(path for path in saved if not path.exists())
        path.write_bytes(saved[path])
        assert total(read(tmp_path)[0]) == [4, 0, 0, 0]
    living.add("type=a", DELIVERED)
    assert total(read(tmp_path)[0]) == [5, 0, 0, 0]


def test_a_late_answer_is_counted(tmp_path: Path) -> None:
    """An answer that comes when the outbox is closed already is counted all the same."""
    tally = Tally(tmp_path, clock=lambda: NINE)
    tally.add("type=a", DELIVERED)
    tally.close()
    tally.add("type=a", DELIVERED)
    assert total(read(tmp_path)[0]) == [2, 0, 0, 0]


def test_a_forked_child_has_its_own(tmp_path: Path) -> None:
    """A child that forgot its parent's tally counts nothing in it, and does not keep it from being added up."""
    tally = Tally(tmp_path, clock=lambda: NINE)
    tally.add("type=a", DELIVERED)
    got, go = os.pipe()
    done, out = os.pipe()
    child = os.fork()
    if child == 0:
        tally.forget()
        tally.add("type=a", DELIVERED)
        os.write(out, b"x")
        os.read(got, 1)
        os._exit(0)
    os.read(done, 1)
    tally.close()
    fold(tmp_path / "tally", settling=-1.0)
    names = [path.suffix for path in (tmp_path / "tally").iterdir()]
    os.write(go, b"x")
    os.waitpid(child, 0)
    for handle in (got, go, done, out):
        os.close(handle)
    assert (names, total(read(tmp_path)[0])) == ([".json"], [1, 0, 0, 0])


def test_old_days_are_thrown_away(tmp_path: Path) -> None:
    """A day's page is kept for 400 days."""
    tally = Tally(tmp_path)
    tally.add("type=a", DELIVERED)
    folder, page = tmp_path / "tally", {"day": "", "from": [], "types": {"a": {"9": [1, 0, 0, 0]}}}
    ages = {time.strftime("%Y%m%d", time.gmtime(time.time() - days * 86_400)): days for days in (1, KEPT_DAYS + 2)}
    for day in ages:
        (folder / f"{day}.json").write_text(json.dumps(page), encoding="utf-8")
    fold(folder)
    assert [ages[path.stem] for path in folder.glob("*.json")] == [1]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"from": [1], "types": {}}', '{"from": [], "types": {"a": {"9": [-1]}}}']
)
def test_a_page_that_is_none_is_told(tmp_path: Path, content: str) -> None:
    """A damaged page is named, left as it is, and the files of its day are still counted."""
    tally = Tally(tmp_path, clock=lambda: NINE)
    tally.add("type=a", DELIVERED)
    tally.close()
    page = tmp_path / "tally" / "20261123.json"
    page.write_text(content, encoding="utf-8")
    fold(tmp_path / "tally", settling=-1.0)
    assert read(tmp_path) == ({("20261123", "a", 9): [1, 0, 0, 0]}, {page.name: "it is no page of this version"})
    assert page.read_text(encoding="utf-8") == content


def test_where_nothing_can_be_counted_events_go_on(tmp_path: Path) -> None:
    """A folder that cannot be made is told once; nothing is raised."""
    (tmp_path / "tally").write_text("", encoding="utf-8")
    books = Books()
    tally = Tally(tmp_path, books)
    for _ in range(3):
        tally.add("type=a", DELIVERED)
    assert books.snapshot().reasons["uncounted"] == {"FileExistsError": 1}


# --- with the outbox, and with the dead --------------------------------------------------------------------


def settings_for(emulator: Emulator, folder: Path, **further: object) -> Settings:
    """Return settings with a spool of their own."""
    return Settings(api_key=emulator.key, endpoint=emulator.endpoint, spool_dir=str(folder), **further)


def counted(emulator: Emulator, folder: Path) -> list[int]:
    """Return the sums of an account's tallies."""
    return total(read(Standing(folder, emulator.endpoint, emulator.key).path)[0])


def test_the_outbox_tallies_each_answer(emulator: Emulator, tmp_path: Path) -> None:
    """Delivered, ambiguous, refused and dropped: the tally says what the books say."""
    settings = settings_for(emulator, tmp_path, on_ambiguous="discard", max_concurrency=1)
    with Outbox(settings) as outbox:
        emulator.script(200, 200, Answer(400, body=b'{"error": "NO-TYPE-PARAMETER"}'), 504, 200)
        for number in range(5):
            assert outbox.put(Event("course-save", user_id=number))
        assert outbox.flush(20)
    books = outbox.books.snapshot()
    assert counted(emulator, tmp_path) == [books.delivered, books.ambiguous, books.refused, books.dropped]
    assert counted(emulator, tmp_path) == [3, 1, 1, 1]


CHILD = """
import os, signal, sys
from ocm_otel import Event, Outbox
outbox = Outbox()
for number in range(150):
    outbox.put(Event(f"type-{number % 3}", user_id=number))
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_under_load_the_tally_is_what_the_vendor_counted(emulator: Emulator, tmp_path: Path) -> None:
    """After kills at any moment: the vendor's figures are at least the delivered, at most the ambiguous more."""
    prefix = "OTEL_EXPORTER_OCM_"
    env = os.environ | {f"{prefix}ENDPOINT": emulator.endpoint, f"{prefix}API_KEY": emulator.key,
                        f"{prefix}SPOOL_DIR": str(tmp_path)}  # fmt: skip
    for turn in range(2):
        child = subprocess.Popen([sys.executable, "-c", CHILD], env=env, stdin=subprocess.PIPE)
        assert emulator.wait_for(150 * turn + 20 * (turn + 1), 60)
        child.communicate(b"\n", timeout=120)
        with Outbox(settings_for(emulator, tmp_path)) as heir:
            assert emulator.wait_for(150 * (turn + 1), 60)
            assert heir.flush(20)
    rows, _ = read(Standing(tmp_path, emulator.endpoint, emulator.key).path)
    vendor = Counter(event["type"] for event in emulator.events())
    for kind in ("type-0", "type-1", "type-2"):
        delivered, ambiguous, *_ = total({key: row for key, row in rows.items() if key[1] == kind})
        assert delivered <= vendor[kind] <= delivered + ambiguous
    assert total(rows)[0] >= 300 - total(rows)[1]
