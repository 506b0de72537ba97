"""The figures and the report: right sums, and hostile strings shown but never obeyed."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

import pytest

from ocm_otel.emulator.figures import figures
from ocm_otel.emulator.report import html, plain, text
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


def add(store, type, user_id=None, course_id=None, *, counted=True, reason=None):
    given = {"type": type, "user_id": user_id, "course_id": course_id}
    store.add(
        Received(
            received_at=1_700_000_000.0 + store.count,
            monotonic=0.0,
            client="",
            method="GET",
            path="/v2.0/events",
            query="",
            status=200 if counted else 400,
            reason=reason,
            counted=counted,
            key=None,
            fields={name: value for name, value in given.items() if value is not None},
        )
    )


class Page(HTMLParser):
    """Collects what a browser would see: tags with their attributes, and the text."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data):
        self.texts.append(data)


def test_the_figures_answer_the_questions_of_the_guide(store):
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
    data = figures(store)
    assert (data.events, data.refused, data.people) == (14, 1, 3)
    assert (data.completions, data.completions_without_user, data.people_with_completion) == (5, 2, 2)
    assert (data.searches, data.completions_per_hundred_searches) == (8, 62.5)
    assert data.by_type[0] == {"type": "search", "events": 8}
    assert data.courses[0] == {"course_id": "7", "saves": 0, "completions": 4, "events": 4}
    assert {"course_id": "9", "saves": 1, "completions": 0, "events": 1} in data.courses
    assert [row["reason"] for row in data.refusals] == ["wrong key"]
    assert (data.first_at, data.last_at) == (1_700_000_000.0, 1_700_000_013.0)


def test_an_empty_report_says_so(store):
    """Without a single event both reports are whole, and no ratio is made up."""
    data = figures(store)
    assert data.completions_per_hundred_searches is None
    assert "no search yet" in text(data)
    assert text(data).count("none") == 3
    assert "no search yet" in html(data)


def test_the_text_shows_each_figure(store):
    """The report for the terminal bears the headline, the types, the courses and the refusals."""
    add(store, "course-save", "ann", "7")
    add(store, "search", "ann")
    add(store, "course-complete", "ann", "7")
    add(store, "oops", counted=False, reason="no key")
    lines = [" ".join(line.split()) for line in text(figures(store)).splitlines()]
    assert lines[0] == "What the events API received, 2023-11-14 22:13:20 to 2023-11-14 22:13:22 (UTC)"
    assert "People with at least one completed course 1" in lines
    assert "Completions per hundred searches 100.0" in lines
    assert "course-save 1" in lines
    assert "7 1 1 2" in lines
    assert "2023-11-14 22:13:23 400 oops no key" in lines


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_string_is_shown_on_the_page_and_makes_no_markup(store, hostile):
    """Types, courses and reasons that are markup leave the page's tags and attributes as they were."""
    add(store, "harmless", "ann", "7")
    add(store, "refused", counted=False, reason="harmless")
    before = Page(html(figures(store)))
    store.clear()
    add(store, hostile, hostile, hostile)
    add(store, hostile, counted=False, reason=hostile)
    page = Page(html(figures(store)))
    assert page.tags == before.tags
    assert page.attributes == before.attributes
    assert page.texts.count(plain(hostile, 200)) == 4


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_steering_character_reaches_the_terminal(store, hostile):
    """Controls, bidi marks and line separators appear as their code points, and lines stay short."""
    add(store, hostile, hostile, hostile)
    add(store, hostile, counted=False, reason=hostile)
    shown = text(figures(store))
    steering = {c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}}
    assert steering == {"\n"}
    assert max(map(len, shown.splitlines())) < 300


def test_the_page_needs_nothing_from_elsewhere(store):
    """No script, and no address but those of the emulator's own pages."""
    page = Page(html(figures(store)))
    assert "script" not in page.tags
    addresses = {value for name, value in page.attributes if name in {"src", "href"}}
    assert all(value == "data:," or value.startswith("/emulator/") for value in addresses)


def test_a_long_value_tells_its_length():
    """What is cut says how long it was."""
    assert plain("x" * 100, 10) == "xxxxxxxxxx… (100 characters)"
    assert plain(None) == "-"
