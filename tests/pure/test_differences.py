"""What a failed expectation says: what came, where it differs, and what resembles a tag."""

from __future__ import annotations

import pytest

from ocm_otel._differences import explain, near_misses
from ocm_otel._event import Event
from ocm_otel._guard import is_real


@pytest.mark.parametrize(
    ("fields", "name", "meant"),
    [
        ({"ocm.event_typ": "course-save"}, "ocm.event_typ", "ocm.event_type"),
        ({"event_type": "course-save"}, "event_type", "ocm.event_type"),
        ({"OCM.Event-Type": "course-save"}, "OCM.Event-Type", "ocm.event_type"),
        ({"ocm_user": "ann"}, "ocm_user", "ocm.user_id"),
        ({"ocm.event_type": "course-save", "ocm.curse_id": 7}, "ocm.curse_id", "ocm.course_id"),
        ({"ocm": {"event_typ": "course-save"}}, "ocm['event_typ']", "ocm.event_type"),
        ({"ocm.course_id": 7}, "ocm.course_id", "ocm.course_id"),
        ({"ocm": {"course_id": 7}}, "ocm['course_id']", "ocm.course_id"),
    ],
)
def test_what_resembles_a_tag_is_found(fields: dict, name: str, meant: str) -> None:
    """A misspelt tag, and a tag on a record without a type, are told with the tag that is meant."""
    (miss,) = near_misses("span 'save'", fields)
    assert (miss.name, miss.meant) == (name, meant)


@pytest.mark.parametrize(
    "fields",
    [
        {"ocm.event_type": "course-save", "ocm.course_id": 7},
        {"ocm_event_type": "course-save", "ocm_course_id": 7},
        {"ocm": {"event_type": "course-save", "course_id": 7}},
        {"http.method": "GET", "event": "saved", "user.id": "ann", "document": "x"},
    ],
)
def test_right_tags_and_other_attributes_are_no_near_misses(fields: dict) -> None:
    """Tags that work and attributes that have nothing to do with us are not told."""
    assert list(near_misses("span 'save'", fields)) == []


def test_the_nearest_event_comes_first() -> None:
    """Of many events, the one that differs least stands on top, with the field that differs."""
    events = [Event(f"other-{number}") for number in range(40)] + [Event("course-save", course_id=8, user_id="ann")]
    text = explain("expected one", {"type": "course-save", "course_id": "7"}, events, (), (), passed=41)
    lines = text.splitlines()
    assert lines[:2] == ["expected one", "captured (41), the nearest first:"]
    assert lines[2] == "  41. course-save course_id='8' user_id='ann'  <- course_id is '8', not '7'"
    assert lines[-1] == "  and 29 more"


def test_hostile_values_are_shown_harmlessly() -> None:
    """Ten thousand characters and orders to a terminal are cut and replaced."""
    misses = near_misses("span \x1b[2J", {"ocm.\u202ex": "y" * 10_000})
    text = explain("expected one", {}, (), misses, ["z" * 10], passed=1)
    assert not {"\x1b", "\u202e"} & set(text)
    assert len(text) < 600


@pytest.mark.parametrize(
    ("endpoint", "real"),
    [
        ("https://api.ofcourse.me/v2.0/events", True),
        ("https://API.OfCourse.me.:443/v2.0/events?x=1", True),
        ("http://ofcourse.me/events", True),
        ("http://127.0.0.1:8377/v2.0/events", False),
        ("https://gateway.example.org/api.ofcourse.me", False),
        ("https://notofcourse.me/v2.0/events", False),
    ],
)
def test_the_vendors_addresses(endpoint: str, real: bool) -> None:
    """The guard knows the vendor's own hosts, however they are written, and no others."""
    assert is_real(endpoint) is real
