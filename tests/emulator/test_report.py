"""The figures and the report as text: right sums, and hostile strings shown but never obeyed."""

from __future__ import annotations

import csv
import io
import unicodedata

import pytest

from ocm_otel.emulator import durations
from ocm_otel.emulator.figures import Choice, figures
from ocm_otel.emulator.latest import every, latest
from ocm_otel.emulator.mirror import Mirror
from ocm_otel.emulator.report import plain, text
from ocm_otel.emulator.sheets import COLUMNS, rows_of, sheet
from ocm_otel.emulator.store import Received, Store

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></table>",
    "'; DROP TABLE calls; --",
    "=cmd|' /C calc'!A0",
    "\x1b[2J\x1b]0;owned\x07",
    "abc\u202egnp.exe",
    "a\r\nb\u2028c",
    "&lt;b&gt;",
    "x" * 10_000,
]


@pytest.fixture
def store():
    opened = Store()
    yield opened
    opened.close()


def add(store, type, user_id=None, course_id=None, entity_id=None, *, counted=True, reason=None, at=None, status=400):
    given = {"type": type, "user_id": user_id, "course_id": course_id, "entity_id": entity_id}
    store.add(
        Received(
            received_at=1_700_000_000.0 + store.count if at is None else at,
            monotonic=0.0,
            client="",
            method="GET",
            path="/v2.0/events",
            query="",
            status=200 if counted else status,
            reason=reason,
            counted=counted,
            key=None,
            fields={name: value for name, value in given.items() if value is not None},
        )
    )


@pytest.fixture
def mirror(store):
    copy = Mirror(store)
    yield copy
    copy.close()


def report(mirror, store):
    return text(figures(mirror), latest(mirror, store, refused=True))


def read(name, rows):
    """Return a table of the report as a reader of CSV gets it, without the line of names."""
    content = b"".join(sheet(name, rows)).decode()
    return list(csv.reader(io.StringIO(content, newline="")))[1:]


def test_the_figures_answer_the_questions_of_the_guide(store, mirror):
    """People with a completion, completions per hundred searches and sums by type and course are right."""
    for _ in range(8):
        add(store, "search", "ann")
    add(store, "course-complete", "ann", "7")
    add(store, "Course_Completed", "ann", "8")
    add(store, "course-completion", "bob", "7")
    add(store, "course-complete", None, "7")
    add(store, "course-complete", " ", "7")
    add(store, "course-save", "cid", "9")
    add(store, "course-complete", "eve", "7", counted=False, reason="wrong key")
    data = figures(mirror)
    assert (data.events, data.refused, data.people) == (14, 1, 3)
    assert (data.completions, data.completions_without_user, data.people_with_completion) == (5, 2, 2)
    assert (data.searches, data.completions_per_hundred_searches) == (8, 62.5)
    assert (data.by_type[0]["type"], data.by_type[0]["events"]) == ("search", 8)
    assert [(c["course_id"], c["saves"], c["completions"], c["events"]) for c in data.courses] == [
        ("7", 0, 4, 4), ("8", 0, 1, 1), ("9", 1, 0, 1),
    ]  # fmt: skip
    (refusal,) = latest(mirror, store, refused=True)
    assert (refusal["reason"], "keys" in refusal["remedy"]) == ("wrong key", True)
    assert (data.first_at, data.last_at) == (1_700_000_000.0, 1_700_000_013.0)


def test_an_empty_report_says_so(store, mirror):
    """Without a single event the report is whole, and no ratio is made up."""
    data = figures(mirror)
    assert data.completions_per_hundred_searches is None
    assert "no search yet" in report(mirror, store)
    assert report(mirror, store).count("none") == 3


def test_the_text_shows_each_figure(store, mirror):
    """The report for the terminal bears the headline, the types, the courses and the refusals."""
    add(store, "course-save", "ann", "7")
    add(store, "search", "ann")
    add(store, "course-complete", "ann", "7")
    add(store, "oops", counted=False, reason="no key")
    add(store, "gone", counted=False, status=0, reason="answered as planned: reset-before")
    lines = [" ".join(line.split()) for line in report(mirror, store).splitlines()]
    assert lines[0] == "What the events API received, 2023-11-14 22:13:20 to 2023-11-14 22:13:22 (UTC)"
    assert "People with at least one completed course 1" in lines
    assert "Completions per hundred searches 100.0" in lines
    assert "course-save 1" in lines
    assert "7 1 1 2" in lines
    assert "2023-11-14 22:13:23 400 oops no key" in lines
    assert "2023-11-14 22:13:23 - gone answered as planned: reset-before" in lines


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_steering_character_reaches_the_terminal(store, mirror, hostile):
    """Controls, bidi marks and line separators appear as their code points, and lines stay short."""
    add(store, hostile, hostile, hostile)
    add(store, hostile, counted=False, reason=hostile)
    shown = report(mirror, store)
    steering = {c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}}
    assert steering == {"\n"}
    assert max(map(len, shown.splitlines())) < 300


def test_a_long_value_tells_its_length():
    """What is cut says how long it was."""
    assert plain("x" * 100, 10) == "xxxxxxxxxx… (100 characters)"
    assert plain(None) == "-"


def test_the_hours_are_those_of_each_completion(store, mirror):
    """Each completion of a course with a known duration adds it; the others are counted apart."""
    store.measure(durations.read(b"course_id,hours\n7,1.5\n8,2\n"))
    for course in ("7", "7", "8", "9"):
        add(store, "course-complete", "ann", course, "IT")
    add(store, "course-save", "ann", "8")
    data = figures(mirror)
    assert (data.hours, data.completions_without_duration, data.durations) == (5.0, 1, 2)
    assert {course["course_id"]: course["hours"] for course in data.courses} == {"7": 3.0, "8": 2.0, "9": None}
    assert [(entity["entity_id"], entity["hours"]) for entity in data.by_entity] == [("IT", 5.0)]
    store.measure({"9": 30})
    assert figures(mirror).hours == 0.5


def test_the_figures_of_a_choice_are_those_of_its_calls(store, mirror):
    """Type, entity and period each leave the other calls out, of the refused ones, too."""
    add(store, "search", "ann", None, "IT", at=100)
    add(store, "search", "bob", None, "HR", at=200)
    add(store, "course-save", "ann", "7", "IT", at=300)
    add(store, "search", "eve", None, "IT", at=300, counted=False, reason="no key")
    for choice, expected in (
        (Choice(), (3, 1, 2)),
        (Choice(type="search"), (2, 1, 2)),
        (Choice(entity_id="IT"), (2, 1, 1)),
        (Choice(since=200), (2, 1, 2)),
        (Choice(until=300), (2, 0, 2)),
        (Choice(type="search", entity_id="IT", since=100, until=101), (1, 0, 1)),
        (Choice(type="Search"), (0, 0, 0)),
    ):
        data = figures(mirror, choice)
        assert (data.events, data.refused, data.people) == expected, choice
        assert len(latest(mirror, store, choice)) == data.events + data.refused


def test_time_has_no_gaps_and_few_pieces(store, mirror):
    """Pieces of time follow each other, hold every call, and are never more than sixty."""
    for at in (1_000_000_000, 1_000_000_000.9, 1_000_003_600):
        add(store, "search", "ann", None, "IT", at=at)
    add(store, "search", counted=False, reason="no key", at=1_400_000_000)
    data = figures(mirror, Choice(until=1_000_004_000))
    starts = [piece["start"] for piece in data.over_time]
    assert starts == list(range(starts[0], starts[-1] + 1, data.width))
    assert [piece["events"] for piece in data.over_time] == [2, *[0] * (len(starts) - 2), 1]
    assert len(starts) <= 60
    whole = figures(mirror)
    assert len(whole.over_time) <= 60
    assert sum(piece["refused"] for piece in whole.over_time) == 1


def test_the_copy_forgets_what_the_store_forgot(store, mirror):
    """After clear() the report starts anew, also when as many calls came again."""
    add(store, "search", "ann")
    assert figures(mirror).by_type[0]["type"] == "search"
    store.clear()
    add(store, "logout", "bob")
    assert [row["type"] for row in figures(mirror).by_type] == ["logout"]


@pytest.mark.parametrize("hostile", [*HOSTILE, "+1", "@sum", "-1+1", "\tx", " =1+1", "\uff1d1", "a\0b", '"q",r'])
def test_no_cell_is_a_formula(store, mirror, hostile):
    """Every table of CSV has the text in one cell, which begins with an apostrophe where it could be a formula."""
    add(store, hostile, hostile, hostile, hostile)
    add(store, hostile, hostile, hostile, hostile, counted=False, reason=hostile)
    data = figures(mirror, whole=True)
    tables = {name: read(name, rows_of(name, data)) for name in ("types", "courses", "entities")}
    tables["calls"] = read("calls", every(mirror, store))
    formula = hostile.lstrip(" ")[0] in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
    expected = "'" * formula + hostile.replace("\0", "\ufffd")
    assert {name: sum(row.count(expected) for row in rows) for name, rows in tables.items()} == {
        "types": 1, "courses": 1, "entities": 1, "calls": 9,
    }  # fmt: skip
    assert all(len(row) == len(COLUMNS[name]) for name, rows in tables.items() for row in rows)


@pytest.mark.parametrize(
    ("table", "minutes"),
    [
        (b"course_id,hours\n7,1.5\n", {"7": 90}),
        (b"\xef\xbb\xbfCourse_ID;title;Hours\r\n7;A, b;1,5\r\n\r\n", {"7": 90}),
        (b"minutes,course_id\n45, x \n", {"x": 45}),
    ],
)
def test_durations_are_read_as_people_write_them(table, minutes):
    """Commas and semicolons, hours and minutes, decimal commas, further columns and empty lines are understood."""
    assert durations.read(table) == minutes


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (b"", "line 1 names"),
        (b"course,hours\n7,1\n", "line 1 names"),
        (b"course_id,hours\n", "no course"),
        (b"course_id,hours\n7\n", "line 2 has no course or no hours"),
        (b"course_id,hours\n7,soon\n", "line 2 has hours 'soon'"),
        (b"course_id,hours\n7,nan\n", "line 2 has hours 'nan'"),
        (b"course_id,hours\n7,-1\n", "line 2 has hours '-1'"),
        (b"course_id,hours\n7,1\n7,2\n", "line 3 has course '7' again"),
        (b"course_id,hours\n\xff,1\n", "not in UTF-8"),
    ],
)
def test_a_table_without_durations_says_what_is_wrong(table, says):
    """The line, what is wrong in it, and what to write instead are told."""
    with pytest.raises(ValueError, match=says):
        durations.read(table)
