"""An event and its ids: what is taken, how it is written, and what is said of what is not."""

from __future__ import annotations

import copy
import dataclasses
import enum
import pickle
import uuid
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocm_otel._clean import MAX_ENCODED_BYTES, InvalidEvent
from ocm_otel._event import Event
from ocm_otel._shown import show

NAME = "Maximiliane-Musterfrau@example.test"


class Kind(str, enum.Enum):
    SAVE = "course-save"


class Level(enum.IntEnum):
    SEVEN = 7


class Index:
    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("given_id", "sent"),
    [
        (7, "7"), (-7, "-7"), (0, "0"), (7.0, "7"), (-0.0, "0"), ("7", "7"), (" 7 ", "7"), ("007", "007"),
        (2**60, str(2**60)),
        (Decimal("7.00"), "7"), (Level.SEVEN, "7"), (Index(), "7"), (Kind.SAVE, "course-save"),
        ("Ünï/cödé?&=#+%", "Ünï/cödé?&=#+%"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"), ("a b", "a b"), ("😀", "😀"), ("%41", "%41"),
    ],
)  # fmt: skip
def test_what_is_an_id(given_id, sent):
    """A whole number in any shape or a text is an id, and arrives as one text."""
    event = Event("a", course_id=given_id, user_id=given_id, entity_id=given_id, event_id=given_id)
    assert (event.course_id, event.user_id, event.entity_id, event.event_id) == (sent,) * 4
    assert {type(value) for value in (event.course_id, event.user_id)} == {str}
    assert dict(parse_qsl(event.query())) == {"type": "a", "course_id": sent, "user_id": sent, "entity_id": sent}


BAD = {
    "true": True, "false": False, "list": [1], "tuple": (1,), "dict": {"a": 1}, "set": {1}, "bytes": b"7",
    "empty": "", "blank": " \t ", "nan": float("nan"), "inf": float("inf"), "fraction": 1.5, "vague": 2.0**60,
    "long": "x" * 50_000, "long-encoded": "é" * 400, "huge": 10**2_000, "nul": "a\x00b", "newline": "a\nb",
    "crlf": "a\r\nx-evil: 1", "delete": "a\x7f", "c1": "a\x85b", "separator": "a\u2028b", "surrogate": "a\ud800",
    "decimal-nan": Decimal("NaN"), "decimal-snan": Decimal("sNaN"), "decimal-inf": Decimal("Infinity"),
    "decimal-huge": Decimal("1E+999999"), "decimal-tiny": Decimal("1E-999999"), "object": object(), "complex": 1j,
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("field", ["course_id", "user_id", "entity_id", "event_id"])
def test_what_is_no_id(bad, field):
    """Each bad id has a message that names the key, shows the value shortened, and says the rule."""
    with pytest.raises(InvalidEvent) as caught:
        Event("a", **{field: bad})
    fault = caught.value
    assert fault.key == f"ocm.{field}"
    assert str(fault) == f"ocm.{field} = {fault.shown}: {fault.rule}"
    assert len(str(fault)) < 200
    assert str(fault).isprintable()


@pytest.mark.parametrize("bad", [*BAD.values(), None, 7, 7.0, uuid.UUID(int=1)])
def test_what_is_no_type(bad):
    """Only a text that can be sent is a type."""
    with pytest.raises(InvalidEvent, match=r"^ocm\.event_type = "):
        Event(bad)


def test_a_name_is_never_shown():
    """Of a text that may be somebody's name no more than the beginning reaches a message."""
    with pytest.raises(InvalidEvent) as caught:
        Event("a", user_id=NAME * 100)
    assert NAME[:4] not in str(caught.value)
    assert NAME[:3] in str(caught.value)


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc", "Zs", "Ll"])) | st.integers() | st.floats())
def test_an_id_is_refused_or_arrives_as_it_is(value):
    """Whatever the text: either it is refused, or it can be read back from the query exactly."""
    try:
        event = Event("a", user_id=value)
    except InvalidEvent:
        return
    query = event.query()
    assert query.isascii()
    assert query.isprintable()
    assert not set(" #\"'<>") & set(query)
    assert len(query) <= len("type=a&user_id=") + MAX_ENCODED_BYTES
    assert parse_qsl(query) == [("type", "a"), ("user_id", event.user_id)]
    if isinstance(value, str):
        assert event.user_id == value.strip()


@given(st.text(min_size=1))
def test_a_type_is_refused_or_arrives_as_it_is(value):
    """A type is encoded like an id."""
    try:
        event = Event(value)
    except InvalidEvent:
        return
    assert parse_qsl(event.query()) == [("type", value.strip())]


@given(st.recursive(st.none() | st.text() | st.binary() | st.floats() | st.decimals(), st.lists))
def test_anything_can_be_shown(value):
    """Whatever the value, what is shown of it is short and fits on one line."""
    assert len(show(value)) < 100
    assert show(value).isprintable()


def test_an_event_is_a_value():
    """Two events with the same ids are equal, and none can be changed."""
    assert Event("a", user_id=7) == Event("a", user_id="7")
    assert len({Event("a", user_id=7), Event("a", user_id="7")}) == 1
    with pytest.raises(AttributeError):
        Event("a").type = "b"


def test_which_event_lacks_a_course():
    """A course event without a course is known for it; other events need none."""
    lacking = [Event(kind, course_id=course).lacks_course for kind in ("course-save", "menu") for course in (None, 7)]
    assert lacking == [True, False, False, False]


def test_the_identity_stays_at_home():
    """The event's own id never reaches the API."""
    assert "e-1" not in Event("a", user_id=7, event_id="e-1").query()


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event)), dataclasses.replace],
    ids=["copy", "deepcopy", "pickle", "replace"],
)
def test_a_copy_is_the_same_event(again):
    """A copy of an event, from another process too, equals it and is sent as it is; its fields are its five values."""
    event = Event("course-save", course_id=7, user_id="a b", event_id="e1")
    same = again(event)
    assert (same, hash(same), same.query(), same.event_id) == (event, hash(event), event.query(), "e1")
    assert list(dataclasses.asdict(same)) == ["type", "course_id", "user_id", "entity_id", "event_id"]
