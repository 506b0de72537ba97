"""How the worker gives way: a table of turns and rests."""

from __future__ import annotations

import pytest

from ocm_otel._courtesy import Courtesy


def test_alone_it_goes_on():
    """Nobody else wants the interpreter: long turns, and no rest."""
    courtesy = Courtesy()
    assert courtesy.turn(10.0) >= 10.004
    assert courtesy.rest(10.0, 10.005, 0) == 0.0


def test_with_others_it_works_in_short_turns():
    """Once it was put to sleep in the middle of a turn, turns are short and rests are longer than they."""
    courtesy = Courtesy()
    rest = courtesy.rest(10.0, 10.003, 1)
    assert courtesy.turn(10.003) - 10.003 == pytest.approx(0.0001)
    assert rest >= 3 * 0.0001
    assert rest < 0.001


def test_it_forgets():
    """A third of a second without anybody, and it goes on as fast as it can; not before."""
    courtesy = Courtesy()
    courtesy.rest(10.0, 10.003, 2)
    assert courtesy.rest(10.2, 10.2001, 0) > 0
    assert courtesy.rest(10.4, 10.405, 0) == 0.0
    assert courtesy.turn(10.405) > 10.409
