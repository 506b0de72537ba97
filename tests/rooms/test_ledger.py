"""One ledger on a real file: whatever bytes stand in it, each intact record that is owed is lent once."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocm_otel._ledger import LARGEST_FILE, ForeignLedger, Ledger
from ocm_otel._record import HEADER, OWED, SENT, SETTLED, encode

SIZE = 64 * 1024
PAGE = 4096


def all_of(ledger: Ledger) -> list:
    """Return every record that a ledger lends, torn ones too."""
    found = []
    while (record := ledger.lend()) is not None:
        found.append(record)
        assert len(found) < 100_000, "it lends without end"
    return found


def made(path, count, size=SIZE) -> Ledger:
    """Return a new ledger with `count` records."""
    ledger = Ledger(path, size)
    for number in range(count):
        record = encode(f"type=t&user_id={number}", 1000.0 + number)
        assert ledger.append(record)
        ledger.publish(record)
    return ledger


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A file name that each example writes anew."""
    return tmp_path_factory.mktemp("ledgers") / "000001.ledger"


@st.composite
def ledgers(draw) -> tuple[bytes, set[bytes]]:
    """Return the bytes of a ledger that much has happened to, and the records that were once written to it."""
    written, data = set(), HEADER
    for number in range(draw(st.integers(0, 12))):
        mark = draw(st.sampled_from([b"+", b">", b"-"]))
        pad = "x" * draw(st.sampled_from([0, 3, 90, 1500, 3000]))
        record = mark + encode(f"type=t{pad}&user_id={number}", 1e9 + number)[1:]
        written.add(record[:-1])
        between = draw(
            st.one_of(
                st.just(b""),
                st.integers(1, 5000).map(bytes),
                st.binary(max_size=40),
                st.sampled_from([b"\n", b"+ \n", b"> ", b"\n+ ", b"+ 12 3", b"-\n", b"\0+ \0> \n"]),
                st.integers(1, len(record) - 1).map(lambda cut, record=record: record[:cut]),
                st.integers(1, len(record) - 1).map(lambda cut, record=record: record[cut:]),
            )
        )
        data += record + between
    data += bytes(draw(st.sampled_from([0, 1, 5000])))
    harm = draw(st.sampled_from(["none", "cut", "zeros", "pages", "noise"]))
    if harm == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    elif harm == "zeros":
        start = draw(st.integers(0, len(data)))
        data = data[:start] + bytes(len(data[start : start + PAGE])) + data[start + PAGE :]
    elif harm == "pages":
        first, *rest = [data[at : at + PAGE] for at in range(0, len(data), PAGE)]
        data = first + b"".join(draw(st.permutations(rest)))
    elif harm == "noise":
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(st.binary(min_size=1, max_size=60)) + data[start:]
    return data, written


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ledgers())
def test_each_intact_record_is_lent_exactly_once(place, case):
    """After any damage the intact records that are owed are lent once, nothing torn is an event, and the count
    made at the opening is what there is to lend."""
    data, written = case
    place.write_bytes(data)
    try:
        ledger = Ledger(place)
    except (ForeignLedger, OSError):
        assert not data.startswith(HEADER)
        return
    lines = re.split(rb"[\n\x00]", data[len(HEADER) :])
    owed = [line for line in lines if line[:2] in (b"+ ", b"> ")]
    intact = Counter(line for line in owed if line in written)
    counted = ledger.written
    lent = all_of(ledger)
    assert counted == ledger.owed == ledger.lent == len(lent) == len(owed)
    assert not ledger.has_unread()
    assert Counter(data[start : end - 1] for start, end, _, _, query in lent if query) == intact
    for start, *_ in lent:
        ledger.end(start)
    assert ledger.owed == ledger.lent == 0
    again = Ledger(place)
    assert (again.written, all_of(again)) == (0, [])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_the_opening(place, noise, headed):
    """Whatever stands in a file, it is a ledger that can be read to its end, or it is said to be none."""
    data = (HEADER if headed else b"") + noise
    place.write_bytes(data)
    try:
        ledger = Ledger(place)
    except (ForeignLedger, OSError):
        assert not headed
        return
    assert ledger.written == len(all_of(ledger))


@pytest.mark.parametrize(
    "data", [b"ocm-otel ledger 2\n", b"#!/bin/sh\n" * 9, HEADER[:-1], b"x", HEADER.upper(), b"\0" * 5]
)
def test_foreign_files_are_left_alone(tmp_path, data):
    """A file of another version or kind is no ledger, and not a byte of it changes."""
    path = tmp_path / "a.ledger"
    path.write_bytes(data)
    with pytest.raises(ForeignLedger):
        Ledger(path)
    assert path.read_bytes() == data


def test_an_empty_and_a_missing_file_are_no_ledgers(tmp_path):
    """Where there is nothing to open, the error is the file system's."""
    (tmp_path / "a.ledger").touch()
    for name in ("a.ledger", "b.ledger"):
        with pytest.raises(OSError, match=name):
            Ledger(tmp_path / name)


def test_a_huge_file_is_no_ledger(tmp_path):
    """A file larger than any of ours is not read."""
    path = tmp_path / "a.ledger"
    path.write_bytes(HEADER)
    os.truncate(path, LARGEST_FILE + 1)
    with pytest.raises(ForeignLedger):
        Ledger(path)


def test_links_directories_and_pipes_are_no_ledgers(tmp_path):
    """What is not a file is not opened, and a link is not followed."""
    made(tmp_path / "real", 1)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "directory", "pipe"):
        with pytest.raises((ForeignLedger, OSError)):
            Ledger(tmp_path / name)


@pytest.mark.parametrize("zeros", [range(18), range(9), range(9, 18), [17]], ids=str)
def test_a_header_that_was_not_finished_is_ours(tmp_path, zeros):
    """Who was killed while the header was written left zeros there: the records behind it count all the same."""
    path = tmp_path / "a.ledger"
    made(path, 3)
    data = bytearray(path.read_bytes())
    for place in zeros:
        data[place] = 0
    path.write_bytes(data)
    assert [record.query for record in all_of(Ledger(path))] == [f"type=t&user_id={n}" for n in range(3)]


def test_marks_survive_a_reopening(tmp_path):
    """What was settled stays settled, what was sent is known to be sent, the rest is owed."""
    ledger = made(tmp_path / "a.ledger", 4)
    first, second, third, _ = all_of(ledger)
    ledger.end(first.offset)
    ledger.strike(second.offset, SENT)
    ledger.strike(third.offset, SENT)
    ledger.strike(third.offset, OWED)
    again = Ledger(tmp_path / "a.ledger")
    assert again.written == 3
    assert [(record.mark, record.query[-1]) for record in all_of(again)] == [(SENT, "1"), (OWED, "2"), (OWED, "3")]
    assert (tmp_path / "a.ledger").read_bytes().count(bytes([SETTLED]) + b" ") == 1


def test_a_record_can_be_read_only_when_it_is_published(tmp_path):
    """Its writer books it between the two; and one that was never published leaves no trace in its successor."""
    ledger = Ledger(tmp_path / "a.ledger", SIZE)
    assert ledger.append(encode("type=" + "long" * 30, 1.0))
    assert ledger.peek() is None
    record = encode("type=short", 2.0)
    assert ledger.append(record)
    ledger.publish(record)
    assert [record.query for record in all_of(ledger)] == ["type=short"]
    again = Ledger(tmp_path / "a.ledger")
    assert (again.written, [record.query for record in all_of(again)]) == (1, ["type=short"])


def test_a_full_ledger_takes_no_more(tmp_path):
    """It is filled to its last byte and not past it."""
    ledger = Ledger(tmp_path / "a.ledger", 4096)
    record = encode("type=t", 1.0)
    count = 0
    while ledger.append(record):
        ledger.publish(record)
        count += 1
    assert count == (4096 - len(HEADER)) // len(record)
    assert len(all_of(Ledger(tmp_path / "a.ledger"))) == count
    assert (tmp_path / "a.ledger").stat().st_size == 4096


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(["hand over", "hand over late", "write", "lend", "peek", "settle"]), max_size=200),
    st.data(),
)
def test_what_is_handed_over_is_lent_as_if_it_were_read(place, steps, data):
    """Each record is lent once, in its order, with what is in it, whether its reader was handed it or has to read it;
    but for those that were struck out meanwhile."""
    place.unlink(missing_ok=True)
    ledger, owed, lent = Ledger(place, SIZE), [], []
    for number, step in enumerate(steps):
        if step in ("hand over", "hand over late", "write"):
            query, at = f"type=t&user_id={number}", 1000.5 + number
            record = encode(query, at)
            start = ledger._shown[0]
            assert ledger.append(record)
            ledger.publish(record, at, query) if step == "hand over" else ledger.publish(record)
            if step == "hand over late":  # its reader was faster
                ledger.peek()
                ledger.handed.extend((start, start + len(record), at, query))
            owed.append((start, start + len(record), OWED, at, query))
        elif step == "lend":
            lent.append(ledger.lend())
            assert lent[-1] == (owed.pop(0) if owed else None)
        elif step == "peek":
            found = ledger.peek()  # it may be one that was struck out since it was looked at
            assert found == owed[0] if owed and found is not None and found[0] >= owed[0][0] else True
            assert found is not None or not owed
        elif owed:
            start, *_ = owed.pop(data.draw(st.integers(0, len(owed) - 1)))
            ledger.strike(start, SETTLED)
    assert all_of(ledger) == owed


def test_what_is_handed_over_in_another_thread_is_lent_once(tmp_path):
    """One thread writes and hands over, far more than is kept in memory, while another reads."""
    ledger, most = Ledger(tmp_path / "a.ledger", 4 * 1024 * 1024), 30_000

    def write():
        for number in range(most):
            query, at = f"type=t&user_id={number}", 1000.0 + number
            record = encode(query, at)
            assert ledger.append(record)
            ledger.publish(record, at, query)

    writer = threading.Thread(target=write)
    writer.start()
    found = []
    while len(found) < most:
        if (row := ledger.lend()) is not None:
            found.append(row[4])
        else:
            assert writer.is_alive() or ledger.has_unread()
    writer.join()
    assert found == [f"type=t&user_id={number}" for number in range(most)]
    assert ledger.lend() is None
    assert len(ledger.handed) == 0


def test_a_reset_ledger_is_as_good_as_new(tmp_path):
    """Nothing of what was settled is read again, neither in this life nor in the next."""
    ledger = made(tmp_path / "a.ledger", 50)
    for record in all_of(ledger):
        ledger.end(record.offset)
    ledger.retired = True
    ledger.reset()
    assert (ledger.written, ledger.owed, ledger.retired, ledger.peek()) == (0, 0, False, None)
    record = encode("type=new", 5.0)
    assert ledger.append(record)
    ledger.publish(record)
    assert [record.query for record in all_of(ledger)] == ["type=new"]
    assert [record.query for record in all_of(Ledger(tmp_path / "a.ledger"))] == ["type=new"]


def test_it_is_mapped_again_when_it_is_needed(tmp_path):
    """Memory and descriptor are given back in between; reading and striking go on as before."""
    ledger = made(tmp_path / "a.ledger", 3)
    before = len(os.listdir("/proc/self/fd"))
    ledger.unmap()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    first, *_ = all_of(ledger)
    ledger.unmap()
    ledger.end(first.offset)
    assert Ledger(tmp_path / "a.ledger").written == 2


def test_a_deleted_ledger_that_rests_keeps_its_events(tmp_path):
    """While its file is gone its map is all there is, and is not given back."""
    ledger = made(tmp_path / "a.ledger", 3)
    (tmp_path / "a.ledger").unlink()
    ledger.rest()
    assert len(all_of(ledger)) == 3


def test_a_deleted_ledger_says_so(tmp_path):
    """Once it is unmapped and its file is gone, reading says that there is no file, and give_up what that costs."""
    ledger = made(tmp_path / "a.ledger", 3)
    record = ledger.lend()
    ledger.unmap()
    (tmp_path / "a.ledger").unlink()
    with pytest.raises(FileNotFoundError):
        ledger.lend()
    assert ledger.give_up() == 2
    ledger.end(record.offset)
    assert (ledger.owed, ledger.lent, ledger.has_unread()) == (0, 0, False)


def test_what_is_struck_out_after_it_was_looked_at_is_not_lent(tmp_path):
    """Records are read some in one go; one that its late owner settles in between is not sent once more."""
    made(tmp_path / "a.ledger", 3)
    reader, owner = Ledger(tmp_path / "a.ledger"), Ledger(tmp_path / "a.ledger")
    first, second, third = all_of(owner)
    assert reader.peek() == first  # all three are read by now
    owner.end(second.offset)
    assert all_of(reader) == [first, third]


def test_a_ledger_that_was_cut_lends_what_is_left(tmp_path):
    """Cut while it was not mapped, it is read up to where it ends now, and no mark is set behind that."""
    ledger = made(tmp_path / "a.ledger", 100)
    last = all_of(Ledger(tmp_path / "a.ledger"))[-1]
    ledger.unmap()
    os.truncate(tmp_path / "a.ledger", 1000)
    whole = [record for record in all_of(ledger) if record.query]
    assert 10 < len(whole) < 40
    ledger.strike(last.offset, SETTLED)
    assert ledger.give_up() > 0
    os.truncate(tmp_path / "a.ledger", 0)
    ledger.unmap()
    with pytest.raises(FileNotFoundError):
        ledger.lend()
    ledger.strike(whole[0].offset, SETTLED)
    assert (tmp_path / "a.ledger").read_bytes() == b""


def test_nothing_is_left_of_a_ledger_that_could_not_be_made(tmp_path):
    """No room for it: the error says so, and no half-made file stands in the way; an old one is not overwritten."""
    with pytest.raises(OSError, match="."):
        Ledger(tmp_path / "a.ledger", 2**62)
    assert list(tmp_path.iterdir()) == []
    made(tmp_path / "b.ledger", 2)
    with pytest.raises(FileExistsError):
        Ledger(tmp_path / "b.ledger", SIZE)
    assert Ledger(tmp_path / "b.ledger").written == 2


def test_it_is_nobody_elses(tmp_path):
    """Whatever the umask, only its user may read a ledger."""
    old = os.umask(0)
    try:
        made(tmp_path / "a.ledger", 1)
    finally:
        os.umask(old)
    assert (tmp_path / "a.ledger").stat().st_mode & 0o777 == 0o600


def test_a_person_can_read_it(tmp_path):
    """Without its zeros it is a text: a header, and a line a record."""
    made(tmp_path / "a.ledger", 1)
    text = (tmp_path / "a.ledger").read_bytes().replace(b"\0", b"").decode("ascii")
    assert re.fullmatch(r"ocm-otel ledger 1\n\+ [0-9a-f]{8} \d+ 1000\.000 type=t&user_id=0\n", text)


def test_sync_reaches_the_disk_once(tmp_path):
    """What is synced already costs no second sync, and a file that is gone cannot be synced."""
    ledger = made(tmp_path / "a.ledger", 1)
    ledger.sync()
    (tmp_path / "a.ledger").rename(tmp_path / "away")
    ledger.sync()
    record = encode("type=t", 2.0)
    assert ledger.append(record)
    ledger.publish(record)
    with pytest.raises(FileNotFoundError):
        ledger.sync()
    (tmp_path / "away").rename(tmp_path / "a.ledger")
    ledger.sync()
