"""The memory of ids: what is in it, what is given up, and that it has an end."""

from __future__ import annotations

import sys

from ocm_otel._recent import MOST, Recent


def test_an_id_is_claimed_once():
    """The first to come has the id; after it is given up, the next one has it."""
    recent = Recent()
    assert [recent.claim("a"), recent.claim("a"), recent.claim("b")] == [True, False, True]
    recent.forget("a")
    assert [recent.claim("a"), recent.claim("a")] == [True, False]


def test_the_oldest_is_forgotten_first():
    """Of more ids than are remembered, those that came last are known."""
    recent = Recent(3)
    for name in "abcde":
        assert recent.claim(name)
        recent.keep(name)
    assert [recent.claim(name) for name in "edc"] == [False] * 3
    assert [recent.claim(name) for name in "ab"] == [True, True]


def test_what_was_not_accepted_takes_no_place():
    """Ids that are given up push none out, however many they are."""
    recent = Recent(3)
    recent.learn(["kept"])
    for number in range(100):
        assert recent.claim(str(number))
        recent.forget(str(number))
    assert not recent.claim("kept")
    assert len(recent._known) == 1


def test_memory_is_bounded():
    """Whatever the ids are, and however many come, the memory takes a few megabytes."""
    recent = Recent()
    for number in range(3 * MOST):
        name = f"{number}-{'x' * 500}"
        assert recent.claim(name)
        recent.keep(name)
    assert len(recent._known) == len(recent._order) == MOST
    each = sys.getsizeof(hash("a")) + sys.getsizeof(object())
    assert sys.getsizeof(recent._known) + sys.getsizeof(recent._order) + MOST * each < 4_000_000
