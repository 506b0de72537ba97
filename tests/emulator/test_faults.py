"""The plan of answers: what comes next, and what an answer says when it is given by number alone."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocm_otel.emulator import Answer
from ocm_otel.emulator.faults import FaultPlan


def test_the_script_comes_first_then_the_answer_for_all_then_the_rules():
    """Scripted answers are given once each, the answer for all until told otherwise."""
    plan = FaultPlan()
    plan.always(403)
    plan.script(503, 200, Answer(429, headers={"retry-after": "1"}))
    given = [plan.next() for _ in range(5)]
    assert [answer and answer.status for answer in given] == [503, None, 429, 403, 403]
    plan.script(500)
    assert plan.left == 1
    plan.normally()
    assert (plan.next(), plan.left) == (None, 0)


def test_no_scripted_answer_is_given_twice():
    """Threads that ask at the same time each get an answer of their own."""
    plan = FaultPlan()
    plan.script(*(Answer(500, body=str(number)) for number in range(400)))
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: plan.next(), range(400)))
    assert {answer.content for answer in given if answer} == {str(n).encode() for n in range(400)}


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (Answer(200), True),
        (Answer(204), True),
        (Answer(302), False),
        (Answer(503), False),
        (Answer(503, counted=True), True),
        (Answer(200, counted=False), False),
    ],
)
def test_a_2xx_counts_unless_told_otherwise(answer, counts):
    """Whether a planned answer counts follows its status, or what the plan says."""
    assert answer.counts is counts


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "Forbidden"),
        (404, "Not Found"),
        (429, "Too Many Requests"),
        (500, "Internal server error"),
        (503, "Service Unavailable"),
        (504, "Endpoint request timed out"),
        (599, "Status 599"),
    ],
)
def test_a_bare_status_has_the_words_of_the_gateway(status, message):
    """Without a body of its own an answer says what the gateway says."""
    assert json.loads(Answer(status).content) == {"message": message}


@pytest.mark.parametrize("status", [0, 100, 199, 600, -1, True])
def test_a_status_that_ends_no_call_is_refused(status):
    """A plan with a status that cannot be a final answer fails where it is written."""
    with pytest.raises(ValueError, match="final answer"):
        FaultPlan().script(status)
