"""What a set of attributes says: tables, and properties over anything at all."""

from __future__ import annotations

import uuid
from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocm_otel._clean import MAX_ENCODED_BYTES
from ocm_otel._event import Event
from ocm_otel._reading import read, usual_query
from ocm_otel._tags import COURSE, ENTITY, EVENT, TYPE, USER, find, tags

ALL = {TYPE: "course-save", COURSE: 7, USER: "ann", ENTITY: "north", EVENT: "e1"}

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Lu"]))
    | st.binary()
    | st.uuids()
    | st.text(min_size=1).map(lambda text: text * 3_000)
    | st.integers(min_value=1).map(lambda number: 10 ** (number % 5_000)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
names = st.sampled_from(
    [TYPE, COURSE, USER, ENTITY, EVENT, "ocm_event_type", "ocm_user_id", "ocm", "event", "http.route"]
)


class Hostile:
    """A value of the application's whose own code raises."""

    def __index__(self) -> int:
        raise ZeroDivisionError

    def __len__(self) -> int:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise ZeroDivisionError


def test_tags_are_the_attributes():
    """`tags` gives the flat names, with the values as they are."""
    assert tags("course-save", course_id=7, user_id="ann", entity_id="north", event_id="e1") == ALL


def test_tags_leaves_out_what_is_none():
    """What is None is no attribute."""
    assert tags("menu-click") == {TYPE: "menu-click"}
    assert tags(None) == {}


@given(anything, anything)
def test_tags_judges_nothing(kind, user):
    """Whatever it is given, `tags` raises nothing; the door judges."""
    made = tags(kind, user_id=user)
    assert made.get(TYPE) is kind
    assert made.get(USER) is user


NESTED = {
    "event_type": "course-save",
    "course_id": 7,
    "user_id": "ann",
    "entity_id": "north",
    "event_id": "e1",
}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, None),
        ({"event": "saved", "level": "info"}, None),
        (ALL, ALL),
        ({"event": "saved", **ALL}, ALL),
        ({key.replace(".", "_"): value for key, value in ALL.items()}, ALL),
        ({"ocm": NESTED}, ALL),
        ({"ocm": MappingProxyType(NESTED)}, ALL),
        ({TYPE: "a", "ocm_event_type": "b", "ocm": {"event_type": "c"}}, {TYPE: "a"}),
        ({"ocm_event_type": "b", "ocm": {"event_type": "c"}}, {TYPE: "b"}),
        (
            {TYPE: "a", "ocm_course_id": 1, "ocm": {"course_id": 2, "user_id": 3}},
            {TYPE: "a", COURSE: 1, USER: 3},
        ),
        ({"ocm": {"event_type": "a"}, USER: "flat"}, {TYPE: "a", USER: "flat"}),
        ({TYPE: None, "ocm_event_type": "b"}, {TYPE: "b"}),
        ({TYPE: "a", USER: None, "ocm_user_id": "u"}, {TYPE: "a", USER: "u"}),
        ({TYPE: None}, None),
        ({"ocm": {"event_type": None}}, None),
        ({"ocm": {"user_id": 7}}, None),
        ({"ocm": "course-save"}, None),
        ({"ocm": ["event_type"]}, None),
        ({"ocm": {"ocm.event_type": "a"}}, None),
        ({COURSE: 7, "ocm_user_id": 8}, None),
        ({TYPE: ""}, {TYPE: ""}),
        ({TYPE: 7}, {TYPE: 7}),
    ],
)
def test_find(fields, found):
    """Flat wins over keywords over nested, tag by tag; a line without a type has no tags."""
    assert find(fields) == found


class Counting(dict):
    """A mapping that counts how often it is asked."""

    asked = 0

    def __contains__(self, key: object) -> bool:
        self.asked += 1
        return super().__contains__(key)

    def get(self, key, default=None):
        self.asked += 1
        return super().get(key, default)


def test_an_untagged_line_costs_three_look_ups():
    """A line without any tag is asked three times and left alone."""
    line = Counting(event="saved", user="ann", level="info")
    assert find(line) is None
    assert line.asked == 3


def test_read_makes_the_event():
    """All tags together make the event, ids as texts."""
    assert read(ALL) == (
        Event("course-save", course_id="7", user_id="ann", entity_id="north", event_id="e1"),
        (),
    )


@pytest.mark.parametrize("same", [7, "7", 7.0, " 7 ", Decimal(7), Decimal("7.0")])
def test_one_id_in_many_shapes(same):
    """`7`, `"7"` and `7.0` are one id."""
    assert read({TYPE: "course-save", COURSE: same}) == read({TYPE: "course-save", COURSE: 7})
    assert read({TYPE: "course-save", COURSE: same}).event.course_id == "7"


@given(st.integers(min_value=-(2**53), max_value=2**53))
def test_any_whole_number_is_one_id(number):
    """A whole number, its text and its float are one id."""
    made = {read({TYPE: "a", USER: shape}).event.user_id for shape in (number, str(number), float(number))}
    assert made == {str(number)}


@pytest.mark.parametrize(
    "bad",
    [
        True, False, [1], (1,), {"a": 1}, "", "  ", "\n", float("nan"), float("inf"), 1.5, b"7", 10**2_500,
        "x" * 50_000, "é" * 1_000, "a\x00b", "a\nb", "\x7f", "\ud800", "a\u2028b",
        Decimal("sNaN"), Decimal("NaN"), object(), Hostile(),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
@pytest.mark.parametrize("key", [COURSE, USER, ENTITY, EVENT])
def test_a_bad_id_is_left_out(key, bad):
    """What is no id is left out and told; the rest of the event is as it would be."""
    event, faults = read({**ALL, key: bad})
    assert event == read({name: value for name, value in ALL.items() if name != key}).event
    assert [fault.key for fault in faults] == [key]
    assert len(str(faults[0])) < 300


@pytest.mark.parametrize(
    "bad",
    [None, 7, True, ["course-save"], "", " ", "a\nb", "x" * 50_000, "\ud800", uuid.UUID(int=1), Hostile()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_bad_type_is_no_event(bad):
    """Without a usable type there is no event, and one fault that says why."""
    event, faults = read({**ALL, TYPE: bad, USER: True})
    assert event is None
    assert [fault.key for fault in faults] == [TYPE]


def test_every_bad_id_is_told():
    """Each id that is none has its own fault."""
    event, faults = read({TYPE: "course-save", COURSE: True, USER: "", ENTITY: []})
    assert event == Event("course-save")
    assert [fault.key for fault in faults] == [COURSE, USER, ENTITY]


@pytest.mark.parametrize(
    ("own", "expected", "faults"),
    [(None, "record", 0), ("mine", "mine", 0), (8, "8", 0), (True, "record", 1), ("", "record", 1)],
)
def test_whose_identity(own, expected, faults):
    """The tag wins over the record's identity; a tag that is no id gives way to it."""
    made = read({TYPE: "menu-click", EVENT: own}, event_id="record")
    assert made.event.event_id == expected
    assert len(made.faults) == faults


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ({TYPE: "course-save", COURSE: 7, USER: "ann"}, "type=course-save&course_id=7&user_id=ann"),
        ({TYPE: "course-save", COURSE: "7", ENTITY: 12}, "type=course-save&course_id=7&entity_id=12"),
        ({TYPE: "a&b", ENTITY: "n th", EVENT: None}, "type=a%26b&entity_id=n%20th"),
        ({TYPE: " menu-click ", COURSE: " 7"}, "type=menu-click&course_id=7"),
        ({TYPE: "course-save", USER: "ann"}, ""),
        ({TYPE: " course-save"}, ""),
        ({TYPE: "menu-click", EVENT: "e1"}, ""),
        ({TYPE: "menu-click", COURSE: True}, ""),
        ({TYPE: "menu-click", COURSE: 1.0}, ""),
        ({TYPE: "menu-click", ENTITY: False}, ""),
        ({TYPE: "menu-click", USER: 7}, ""),
        ({TYPE: "menu-click", USER: "ann b"}, ""),
        ({TYPE: "menu-click", USER: "a" * MAX_ENCODED_BYTES}, ""),
        ({TYPE: "menu-click", COURSE: ""}, ""),
        ({TYPE: None}, ""),
        ({}, ""),
    ],
)
def test_what_is_as_usual(fields, query):
    """Texts and whole numbers make a query without an event; for whatever needs a look or a word there is none."""
    usual_query({TYPE: "menu-click", COURSE: 1, ENTITY: 0})  # equal to a boolean, and known from now on
    assert usual_query(fields) == query


usual = st.sampled_from(
    [None, "course-save", " course-save ", "ann", "a b", "é", "", 0, 1, 7, 10**5000, True, 1.0, "1", b"1"]
)


@given(st.dictionaries(names, usual | anything))
def test_the_short_way_says_what_the_long_one_says(fields):
    """The query of usual tags is that of the event, of which there is nothing to tell."""
    if query := usual_query(fields):
        event, faults = read(fields)
        assert (event.query(), event.lacks_course, list(faults), fields.get(EVENT)) == (query, False, [], None)
        assert Event.from_query(query) == event


@given(st.dictionaries(names | st.text(), anything))
def test_anything_can_be_read(fields):
    """Any mapping of anything: nothing is raised, and what becomes an event can be sent."""
    for event, faults in (read(fields), read(find(fields) or {})):
        assert event is not None or [fault.key for fault in faults] == [TYPE]
        if event is not None:
            query = event.query()
            assert query.isascii()
            assert query.isprintable()
            assert " " not in query
            assert len(query) <= 4 * (MAX_ENCODED_BYTES + len("&course_id="))
        assert all(len(str(fault)) < 300 for fault in faults)
