"""How an event stands in a ledger: what is written is read back, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocm_otel._record import HEADER, LONGEST_RECORD, OWED, SENT, SETTLED, encode, parse, told_ids

QUERIES = st.text("abcXYZ019-._~%&=", min_size=1, max_size=300).map("type=".__add__)
TIMES = st.floats(0, 4e9).map(lambda at: round(at, 3))


@given(QUERIES, TIMES, st.sampled_from([OWED, SENT, SETTLED]))
def test_what_is_written_is_read_back(query, at, mark):
    """A record says its event, time and mark, whichever mark it has come to bear."""
    line = encode(query, at)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse(bytes([mark]) + line[1:-1], 7, 99) == (7, 99, mark, at, query)


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@given(st.lists(st.tuples(QUERIES, st.none() | IDS), max_size=6), st.data())
def test_the_ids_of_what_is_owed(told, data):
    """A record bears the id of its event, and the ids of what is owed and whole are found again."""
    kept = []
    lines = []
    for query, event_id in told:
        line = encode(query, 5.0, event_id)
        assert parse(line[:-1], 0, 0) == (0, 0, OWED, 5.0, query)
        fate = data.draw(st.sampled_from(["owed", "sent", "settled", "torn"]))
        if fate == "torn":
            line = line[:-2] + b"\x01\n"
        elif fate != "owed":
            line = bytes([SENT if fate == "sent" else SETTLED]) + line[1:]
        lines.append(line)
        kept += [event_id] if fate != "torn" and event_id is not None else []
    assert list(told_ids(HEADER + b"".join(lines) + bytes(9))) == kept


@given(QUERIES, TIMES, st.data())
def test_a_damaged_record_is_never_an_event(query, at, data):
    """Whatever single byte is changed, the record still says its event or none at all."""
    line = encode(query, at)[:-1]
    place = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[place]))
    record = parse(line[:place] + bytes([byte]) + line[place + 1 :], 0, 0)
    assert record is None or record.query in ("", query)
    if place > 20 + len(str(len(line))):
        assert record == (0, 0, OWED, 0.0, "")


@given(QUERIES, TIMES, st.data())
def test_a_record_that_was_cut_is_torn(query, at, data):
    """The beginning of a record is a record that is owed, without an event."""
    line = encode(query, at)[:-1]
    assert parse(line[: data.draw(st.integers(2, len(line) - 1))], 0, 5) == (0, 5, OWED, 0.0, "")


@given(st.binary(max_size=200))
@example(b"")
@example(b"+")
@example(b"+ 00000000 0 ")
@example(b"+ 00000000 -1 1 type=a")
@example(b"> 0 9e9 1 \xff")
@example(b"- x y z")
@example(b"+ " + b"9" * 20_000 + b" 1 1 1")
def test_any_line_can_be_read(line):
    """No bytes make the reader fail; what begins as an owed record is one, and nothing else is."""
    record = parse(line, 0, 1)
    assert (record is not None and record.mark in (OWED, SENT)) == (line[:2] in (b"+ ", b"> "))


def test_a_line_without_end_is_not_looked_at():
    """A line longer than any record is torn, even if its sum is right: its numbers could take hours to read."""
    line = encode("type=" + "x" * LONGEST_RECORD, 1.0)[:-1]
    assert parse(line, 0, 1) == (0, 1, OWED, 0.0, "")
    assert parse(line[:11] + b"9" * 50_000_000 + line[11:], 0, 1) == (0, 1, OWED, 0.0, "")


def test_an_id_that_is_not_ascii_is_not_written():
    """A query is percent-encoded before it comes here; anything else is an error of ours."""
    with pytest.raises(UnicodeEncodeError):
        encode("type=é", 1.0)
