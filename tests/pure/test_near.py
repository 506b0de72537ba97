"""Names that were probably meant to be tags, and names that have nothing to do with ours."""

from __future__ import annotations

import pytest

from ocm_otel._near import meant_by, near_misses


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ocm.event-type", "ocm.event_type"), ("ocm.eventType", "ocm.event_type"), ("OCM.EVENT_TYPE", "ocm.event_type"),
        ("ocm_event_typ", "ocm.event_type"), ("ocm.type", "ocm.event_type"), ("omc.event_type", "ocm.event_type"),
        ("ocm.courseid", "ocm.course_id"), ("ocm-user-id", "ocm.user_id"), ("ocm.user", "ocm.user_id"),
        ("ocm.whatever", "ocm.event_type"),
    ],
)  # fmt: skip
def test_what_a_name_was_meant_to_be(name: str, meant: str) -> None:
    """Another case, another separator, a letter more or less: the tag that was meant is named."""
    assert meant_by(name) == meant


@pytest.mark.parametrize(
    "name",
    ["event_type", "event.name", "user.id", "http.route", "ocm", "ocmserver", "document.type", "x" * 99, 7, None],
)
def test_names_that_are_none_of_ours(name: object) -> None:
    """The usual attributes of spans and lines are not taken for tags."""
    assert meant_by(name) is None


@pytest.mark.parametrize(
    ("fields", "line", "said"),
    [
        ({"ocm.eventType": "x"}, False, ["'ocm.eventType' is no tag: ocm.event_type is"]),
        ({"ocm_event_type": "x"}, False, ["'ocm_event_type' is no tag on a span: ocm.event_type is"]),
        ({"ocm_course_id": 7}, True, []),
        ({"ocm": {"event_type": "x"}}, False, ["'ocm' is no tag on a span: ocm.event_type is"]),
        ({"ocm": {"eventtype": "x"}}, True, ["ocm has 'eventtype', and no event_type"]),
        ({"ocm.course_id": 7, "ocm.user_id": 8}, False, ["ocm.course_id, ocm.user_id without ocm.event_type"]),
        ({"ocm.event_type": None, "ocm.course_id": 7}, False, ["ocm.event_type is None"]),
        ({"ocm.event_type": None}, True, ["ocm.event_type is None"]),
        ({"http.route": "/", "user.id": 7, "event": "hello"}, True, []),
        ({}, True, []),
    ],
)  # fmt: skip
def test_what_is_said_of_a_record_without_a_type(fields: dict[str, object], line: bool, said: list[str]) -> None:
    """A record that nearly bears a tag is told what would be one, and any other nothing."""
    assert near_misses(fields, line=line) == said


def test_a_record_with_thousands_of_names() -> None:
    """Only the first some hundred attributes are looked at."""
    fields = {f"a{number}": 1 for number in range(10_000)} | {"ocm.eventType": "x"}
    assert near_misses(fields, line=False) == []
