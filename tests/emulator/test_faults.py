"""The plan of answers: what comes next, and what an answer says when it is given by number alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocm_otel.emulator import Answer
from ocm_otel.emulator.faults import FaultPlan
from ocm_otel.emulator.faultspec import apply, describe, parse, parse_all


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


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def labels(plan, calls):
    """Return what so many calls get, by name."""
    return [answer.label if (answer := plan.next()) else "-" for _ in range(calls)]


def test_the_same_seed_gives_the_same_answers():
    """What each call gets hangs on the seed and its place alone; another seed gives other answers."""
    lines = ["503 rate=10%", "reset-after rate=5%", "429 retry-after=2 rate=5%"]
    runs = []
    for seed in (1, 1, 2):
        plan = FaultPlan(seed=seed)
        plan.replace(parse_all(lines))
        runs.append(labels(plan, 2000))
    assert runs[0] == runs[1] != runs[2]


def test_the_rates_are_shares_of_all_calls():
    """10 % and 5 % are 10 % and 5 % of all calls, and are counted as given."""
    plan = FaultPlan(seed=3)
    plan.replace(parse_all(["503 rate=10%", "reset-after rate=0.05"]))
    given = Counter(labels(plan, 20_000))
    assert 1800 < given["503"] < 2200
    assert 850 < given["reset-after"] < 1150
    assert [count for _, count in plan.standing()] == [given["503"], given["reset-after"]]


def test_a_window_opens_and_closes_by_calls():
    """After two calls three get the fault, and the fault that stands behind it takes over."""
    plan = FaultPlan()
    plan.replace(parse_all(["500 after=2 for=3", "key-refused after=4 for=2"]))
    assert labels(plan, 8) == ["-", "-", "500", "500", "500", "key-refused", "-", "-"]


def test_times_is_how_often_a_fault_is_given():
    """Two faults that are given once each go to two calls, one after the other."""
    plan = FaultPlan()
    plan.replace(parse_all(["500 times=1", "reset-after times=2"]))
    assert labels(plan, 4) == ["500", "reset-after", "reset-after", "-"]


def test_a_window_opens_and_closes_by_time():
    """After ten seconds the fault is there for five, however many calls come."""
    clock = Clock()
    plan = FaultPlan(clock=clock)
    plan.replace(parse_all(["502 after=10s for=5s"]))
    found = []
    for clock.now in (0, 9.9, 10, 14.9, 15, 100):
        found += labels(plan, 2)
    assert found == ["-"] * 4 + ["502"] * 4 + ["-"] * 4


def test_a_window_after_calls_lasts_for_its_time():
    """The time of a window that calls opened begins with the first call in it."""
    clock = Clock()
    plan = FaultPlan(clock=clock)
    plan.replace(parse_all(["500 after=1 for=5s"]))
    found = []
    for clock.now in (50, 100, 104.9, 105):
        found += labels(plan, 1)
    assert found == ["-", "500", "500", "-"]


def test_jitter_stays_in_its_bounds_and_comes_from_the_seed():
    """Each wait lies between the latency and the latency with the whole jitter."""
    first, second = (FaultPlan(0.1, 0.2, seed=5) for _ in range(2))
    waits = [first.wait() for _ in range(200)]
    assert all(0.1 <= wait <= 0.3 for wait in waits)
    assert len(set(waits)) > 100
    assert waits == [second.wait() for _ in range(200)]


def test_retry_after_is_a_number_or_a_date():
    """A 429 says how long to wait, in seconds or as a moment."""
    seconds, date, none = (parse(f"429{word}").answer for word in (" retry-after=1500ms", " retry-after=date:60s", ""))
    assert seconds.lines(0)["retry-after"] == "2"
    assert date.lines(1_700_000_000)["retry-after"] == "Tue, 14 Nov 2023 22:14:20 GMT"
    assert "retry-after" not in none.lines(0)


@pytest.mark.parametrize(
    ("line", "status", "counts", "says"),
    [
        ("504", 504, False, b"Endpoint request timed out"),
        ("quota retry-after=5s", 429, False, b"Limit Exceeded"),
        ("key-refused", 403, False, b'{"message":"Forbidden"}'),
        ("address-refused", 403, False, b"is not authorized to access this resource with an explicit deny"),
        ("redirect to=https://example.test/", 302, False, b""),
        ("wrong-json", 200, True, b'{"status":"O'),
        ("slow-body over=1s", 200, True, b'{"status":"OK"}'),
        ("split-body", 200, True, b'{"status":"OK"}'),
        ("black-hole", 200, False, b""),
        ("black-hole counted=yes", 200, True, b""),
        ("reset-before", 200, False, b""),
        ("reset-after", 200, True, b""),
        ("503 counted=yes", 503, True, b""),
    ],
)
def test_each_fault_has_its_answer(line, status, counts, says):
    """A name stands for a status, for whether the event counts, and for the gateway's own words."""
    fault = parse(line)
    assert (fault.answer.status, fault.answer.counts) == (status, counts)
    assert says in fault.answer.content
    assert fault.text == line


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "there is no fault ''"),
        ("teapot", "take one of a status such as 503, quota, key-refused"),
        ("199", "there is no fault '199'"),
        ("503 rate=0", "no share"),
        ("503 rate=101%", "no share"),
        ("503 rate=5% rate=6%", "does not go with 503: it takes rate=…"),
        ("503 over=5s", "does not go with 503"),
        ("503 rate", "does not go with 503"),
        ("503 for=soon", "neither calls nor time: write 100, or 5s"),
        ("503 after=2d", "neither calls nor time"),
        ("503 times=-1", "times='-1' is no number"),
        ("503 counted=maybe", "write yes or no"),
        ("200 latency=long", "latency='long' is no length of time"),
        ("429 retry-after=next", "no length of time"),
        ("slow-body over=2000m", "a day at most"),
        ("redirect to=\u00e9", "no address"),
    ],
)
def test_a_line_that_is_no_fault_says_what_would_be(line, says):
    """The word that is wrong is named, and what to write instead."""
    with pytest.raises(ValueError, match=re.escape(says)):
        parse(line)


def test_a_fault_may_be_late_by_itself():
    """One answer may wait while the others do not; what else it says stays as it was."""
    late, usual = parse("200 latency=1.5s rate=1%"), parse("200")
    assert (late.answer.latency, usual.answer.latency) == (1.5, None)
    assert (late.answer.status, late.answer.counts, late.text) == (200, True, "200 latency=1.5s rate=1%")


def test_a_plan_is_a_document_that_comes_back():
    """What GET shows is what PUT takes, whole or not at all."""
    plan = FaultPlan()
    apply(plan, '{"faults": ["503 rate=10%", "reset-after for=1"], "seed": 7, "latency_ms": 20, "jitter_ms": 5.5}')
    found = describe(plan)
    assert found.pop("given") == [0, 0]
    assert found == {"faults": ["503 rate=10%", "reset-after for=1"], "seed": 7, "latency_ms": 20, "jitter_ms": 5.5}
    for wrong in (
        '{"faults": ["oops"], "latency_ms": 1}',
        '{"seed": -1}',
        '{"jitter_ms": true}',
        "[]",
        '{"fault": []}',
    ):
        with pytest.raises(ValueError, match=r"fault|number|object"):
            apply(plan, wrong)
        assert {**found, "given": [0, 0]} == describe(plan)
    with pytest.raises(ValueError, match="no JSON"):
        apply(plan, "503 rate=10%")
    apply(plan, '{"faults": []}')
    assert describe(plan)["seed"] == 7
