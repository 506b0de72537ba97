"""The disk: full, read-only, taken away, or damaged; the application goes on, and says what it could not keep."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess

import pytest

from .world import OK, names, status, until

pytestmark = pytest.mark.timeout(180)  # for busy machines; what is promised in seconds is asserted


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 700 kilobytes, mounted as the spool's place; skipped where nothing may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k,mode=700", "tmpfs", str(place)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def away(name, nth):
    """Answer that the API is away."""
    return status(503)


def test_a_full_disk(api, machine, small_disk):
    """On a full disk the application goes on, what is turned away is counted, two lines tell, what fits comes."""
    here = machine(endpoint=api.endpoint, spool_dir=small_disk / "spool")
    api.mood = away
    first = here.puppet()
    kept = int(first.ask("put", "a", 2_000, 500))
    books = first.books()
    assert 500 < kept < 2_000
    assert (books["accepted"], books["turned_away"]) == (kept, 2_000 - kept)
    assert books["reasons"]["turned_away"] == {"disk-full": 2_000 - kept}
    lines = first.log().splitlines()
    assert sum("no event is accepted" in line for line in lines) == 1
    assert len(lines) <= 2  # one tells of the outage
    api.mood = lambda name, nth: OK
    assert api.wait_for(kept, 30)
    assert until(lambda: first.books()["waiting"] == 0)
    assert until(lambda: first.ask("put", "b", 1) == "1")
    assert api.until(lambda api: api.counted["b-0"])
    assert until(lambda: first.ask("put", "c", 1) == "1" and "accepted again" in first.log())
    assert sum("accepted" in line for line in first.log().splitlines()) == 2
    assert {count for name, count in api.counted.items() if not name.startswith("c-")} == {1}  # "c" was put often


def test_a_disk_filled_by_others(api, machine, small_disk):
    """When others fill the disk, a process that delivers goes on doing so in the ledger that it has."""
    here = machine(endpoint=api.endpoint, spool_dir=small_disk / "spool")
    first = here.puppet()
    assert first.ask("put", "a", 10) == "10"
    assert api.wait_for(10)
    with (small_disk / "others").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    arrived = 10
    for turn in range(80):  # together more than one ledger has room for
        arrived += int(first.ask("put", f"t{turn}", 50))
        assert api.until(lambda api, arrived=arrived: api.counted.total() == arrived)
        assert until(lambda: first.books()["waiting"] == 0)
    books = first.books()
    # What comes at the moment when the only ledger is full and not yet paid off has no place to go.
    assert books["turned_away"] <= 50
    assert books["delivered"] == arrived == 10 + 80 * 50 - books["turned_away"]
    assert max(api.counted.values()) == 1


def test_a_full_disk_at_the_start(api, machine, small_disk):
    """With no room for a first ledger nothing is accepted, and nothing else happens to the application."""
    (small_disk / "others").write_bytes(bytes(600 * 1024))
    here = machine(endpoint=api.endpoint, spool_dir=small_disk / "spool")
    first = here.puppet()
    assert first.ask("put", "a", 1000) == "0"
    assert first.books()["reasons"]["turned_away"] == {"disk-full": 1000}
    assert len(first.log().splitlines()) == 1
    first.end()


@pytest.mark.parametrize("how", ["read-only", "a file", "nothing", "planted"])
def test_an_unusable_place(api, machine, small_disk, how):
    """Where no spool can be, events wait in memory, one line says so, and they are delivered."""
    place = small_disk / "spool"
    if how == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    elif how == "a file":
        place.write_text("")
    elif how == "nothing":
        place = "/proc/nothing/spool"
    else:
        (small_disk / "elsewhere").mkdir()
        place.symlink_to("elsewhere")
    first = machine(endpoint=api.endpoint, spool_dir=place).puppet()
    assert first.ask("put", "a", 100) == "100"
    assert api.wait_for(100)
    (line,) = first.log().splitlines()
    assert "no spool on disk" in line
    assert "OTEL_EXPORTER_OCM_SPOOL_DIR" in line
    first.end()


def test_a_spool_that_is_taken_away(api, machine):
    """When somebody removes the directory, the process goes on, and what it still has is delivered once."""
    here = machine(endpoint=api.endpoint)
    first = here.puppet()
    api.mood = away
    assert first.ask("put", "a", 3_000) == "3000"
    assert api.until(lambda api: api.calls)
    shutil.rmtree(here.folder / "spool")
    first.ask("put", "b", 3_000)
    api.mood = lambda name, nth: OK
    assert until(lambda: first.books()["waiting"] == 0, 20)
    assert api.wait_for(first.books()["delivered"])
    assert max(api.counted.values()) == 1
    assert first.ask("put", "c", 10) == "10"
    assert api.until(lambda api: names("c", 10) <= set(api.counted))
    assert len(first.log().splitlines()) <= 5


def test_the_bound_of_the_spool(api, machine):
    """Past `SPOOL_MAX_BYTES` the newest events are turned away and counted, and the others come."""
    here = machine(endpoint=api.endpoint, spool_max_bytes=1024 * 1024)
    api.mood = away
    first = here.puppet()
    kept = int(first.ask("put", "a", 2_000, 1_000))
    assert 500 < kept < 2_000
    assert first.books()["reasons"]["turned_away"] == {"spool-full": 2_000 - kept}
    assert sum(path.stat().st_size for path in here.folder.glob("spool/*/*/*")) <= 1024 * 1024
    first.kill()
    api.mood = lambda name, nth: OK
    here.puppet()
    assert api.wait_for(kept, 30)
    assert set(api.counted) == names("a", kept)


# --- damage -----------------------------------------------------------------------------------------------


@pytest.fixture
def left(api, machine):
    """A machine on which a killed process left 100 events; with the file that they are in."""
    api.mood = lambda name, nth: status(503)
    here = machine(endpoint=api.endpoint)
    first = here.puppet()
    assert first.ask("put", "a", 100) == "100"
    assert api.until(lambda api: api.calls)
    first.kill()
    api.mood = lambda name, nth: OK
    (ledger,) = here.folder.glob("spool/*/*/*.ledger")
    return here, ledger


def heir(api, here, expected):
    """Start the next process; return it once it has delivered `expected`, once each, and owes nothing."""
    after = here.puppet()
    assert api.wait_for(len(expected))
    assert until(lambda: after.books()["adopted"] > 0 and after.books()["waiting"] == 0)
    assert {name for name, times in api.counted.items() if times} == expected
    assert api.repeats == 0
    assert after.ask("put", "z", 1) == "1"
    assert api.until(lambda api: api.counted["z-0"] == 1)
    assert len(after.log().splitlines()) <= 2
    return after


def cut_lines(data):
    """Return the lines of a ledger, and the zeros behind them."""
    text = data.rstrip(b"\0")
    return text.splitlines(keepends=True), bytes(len(data) - len(text))


def test_torn_records_are_left_out(api, left):
    """Of a ledger with ten damaged records the ninety others are delivered; the damage is counted and told once."""
    here, ledger = left
    lines, zeros = cut_lines(ledger.read_bytes())
    for number in range(10, 20):
        lines[number] = lines[number].replace(b"user_id", b"user_iX")
    ledger.write_bytes(b"".join(lines) + zeros)
    lost = {f"a-{number - 1}" for number in range(10, 20)}
    after = heir(api, here, names("a", 100) - lost)
    assert after.books()["reasons"]["dropped"] == {"torn": 10}


@pytest.mark.parametrize("seed", range(3))
def test_a_truncated_ledger(api, left, seed):
    """Of a ledger that was cut anywhere all events before the cut are delivered."""
    here, ledger = left
    data = ledger.read_bytes()
    place = random.Random(seed).randrange(200, len(data.rstrip(b"\0")))
    ledger.write_bytes(data[:place])
    whole = data[:place].count(b"\n") - 1
    heir(api, here, names("a", whole))


def test_a_hole_in_a_ledger(api, left):
    """Of a ledger in which a page of the disk reads as zeros all events around it are delivered."""
    here, ledger = left
    data = ledger.read_bytes()
    start, end = data.index(b"a-30\n") + 5, data.index(b"a-40\n") + 2
    ledger.write_bytes(data[:start] + bytes(end - start) + data[end:])
    heir(api, here, names("a", 100) - {f"a-{number}" for number in range(31, 41)})


def test_reordered_records(api, left):
    """The events of a ledger whose records stand in another order are delivered all the same."""
    here, ledger = left
    lines, zeros = cut_lines(ledger.read_bytes())
    rest = lines[1:]
    random.Random(3).shuffle(rest)
    ledger.write_bytes(lines[0] + b"".join(rest) + zeros)
    heir(api, here, names("a", 100))


def test_foreign_files_are_left_alone(api, left):
    """Files in the spool that are not ours stay as they are, are told of once each, and stop nobody."""
    here, ledger = left
    foreign = {
        ledger.with_name("000002.ledger"): b"ocm-otel ledger 9\nfrom the future\n",
        ledger.with_name("000003.ledger"): b"\x7fELF" + bytes(100),
        ledger.parents[1] / "notes.txt": b"remember the milk",
    }
    for path, content in foreign.items():
        path.write_bytes(content)
    heir(api, here, names("a", 100))
    assert {path: path.read_bytes() for path in foreign} == foreign


def test_random_damage_never_stops_a_process(api, left):
    """Whatever bytes of a ledger are wrong, the next process delivers nothing twice and goes on."""
    here, ledger = left
    data, chance = bytearray(ledger.read_bytes()), random.Random(5)
    end = len(data.rstrip(b"\0"))
    for _ in range(40):
        data[chance.randrange(18, end)] = chance.randrange(256)
    ledger.write_bytes(data)
    after = here.puppet()
    assert until(lambda: after.books()["adopted"] > 0 and after.books()["waiting"] == 0)
    assert after.ask("put", "z", 1) == "1"
    assert api.until(lambda api: api.counted["z-0"] == 1)
    assert api.repeats == 0
    assert len(api.counted) > 50
