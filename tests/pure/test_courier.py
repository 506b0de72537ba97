"""The courier in virtual time, against APIs of every mood: each event once, books that balance, nobody blocked."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import random
from collections import Counter
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocm_otel._books import Books
from ocm_otel._courier import Courier
from ocm_otel._event import Event
from ocm_otel._journal import Entry, MemoryJournal
from ocm_otel._outlook import State
from ocm_otel._pace import MOST_PROBES, Pace
from ocm_otel._verdict import Failure, Fate, judge, judge_failure

GOOD = judge(200, b"{}")
GONE = judge_failure(Failure.NO_CONNECTION)
SILENT = judge_failure(Failure.SILENCE)


def sent(entry):
    """Return the event that an entry holds."""
    fields = dict(parse_qsl(entry.query))
    return Event(fields.pop("type"), **fields)


class World:
    """A courier, its driver and an API, in virtual time; the books are checked at every step.

    Args:
        api: from the world and an event to (verdict, whether it counted, seconds).
    """

    def __init__(self, api, *, most=16, rate=None, discard=False, seed=0, capacity=100_000):
        self.chance = random.Random(seed)
        self.books = Books()
        self.journal = MemoryJournal(capacity)
        self.pace = Pace(most, rate, careful=discard, random=self.chance.random)
        self.courier = Courier(self.journal, self.pace, self.books, discard=discard)
        self.api, self.most = api, most
        self.now = 0.0
        self.counted = Counter()
        self.calls = []
        self.turns = 0
        self._order = itertools.count()
        self._agenda = []
        self._out = set()

    def put(self, name, type="course-click"):
        event = Event(type, user_id=name)
        return self.journal.append(event.query(), self.now, lambda: self.books.add("accepted")) == ""

    def at(self, time, action):
        heapq.heappush(self._agenda, (time, next(self._order), action))

    def run(self, until=math.inf):
        """Let time go on until nothing happens any more, or until `until`."""
        while True:
            for call in self.courier.late(self.now, 0.0):
                self._out.remove(call[0].number)
            while call := self.courier.due(self.now):
                self._hand_out(call)
            self.check()
            wait = self.courier.sleep(self.now)
            assert wait > 0
            upcoming = min(self._agenda[0][0] if self._agenda else math.inf, self.now + wait)
            if upcoming > until or upcoming == math.inf:
                self.now = max(self.now, min(until, upcoming if self._agenda else self.now))
                return
            self.turns += 1
            assert self.turns < 200_000
            self.now = max(upcoming, math.nextafter(self.now, math.inf))
            while self._agenda and self._agenda[0][0] <= self.now:
                heapq.heappop(self._agenda)[2]()
                self.check()

    def _hand_out(self, call):
        assert call[0].number not in self._out
        self._out.add(call[0].number)
        assert len(self._out) == self.courier.under_way <= 2 * self.most + MOST_PROBES
        event = sent(call[0])
        verdict, counted, latency = self.api(self, event)
        self.calls.append((self.now, event))
        if counted:
            self.counted[event.user_id] += 1
        self.at(self.now + latency, lambda: self._answer(call, verdict))

    def _answer(self, call, verdict):
        given_up = self.courier._out.get(call[0].number) is not call
        if not given_up:
            self._out.remove(call[0].number)
        self.courier.answered(call, verdict, self.now, 0.0)

    def check(self):
        now = self.books.snapshot()
        assert now.balanced
        assert now.waiting == self.journal.waiting()

    @property
    def away(self):
        return self.pace.state is not State.OPEN


def well(world, event):
    return GOOD, True, 0.02


def scripted(statuses):
    left = list(statuses)

    def api(world, event):
        status = left.pop(0) if left else 200
        return judge(status), status == 200, 0.02

    return api


@pytest.mark.parametrize("statuses", list(itertools.permutations([503, 503, 200])))
def test_two_bad_answers_among_three(statuses):
    """`[503, 503, 200]` over three events, in any order: each counts once."""
    world = World(scripted(statuses))
    for name in "abc":
        world.put(name)
    world.run()
    assert world.counted == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("statuses", list(itertools.permutations([200, 200, 503])))
def test_one_bad_answer_among_three(statuses):
    """`[200, 200, 503]` over three events, in any order: each counts once."""
    world = World(scripted(statuses))
    for name in "abc":
        world.put(name)
    world.run()
    assert world.counted == {"a": 1, "b": 1, "c": 1}
    assert world.books.snapshot().retried == 1


CLEAR = [
    (judge(503), False), (judge(500), False), (judge(503, b"", "2"), False), (judge(429), False),
    (judge(429, b"", "1"), False), (judge(429, b"", "0"), False), (judge(403), False), (judge(404), False),
    (judge(302), False), (judge(408), False), (GONE, False), (judge_failure(Failure.CUT_OFF), False),
    (judge_failure(Failure.MISCONFIGURED), False),
]  # fmt: skip
MURKY = [(SILENT, True), (SILENT, False), (judge(504), True), (judge_failure(Failure.NO_ANSWER), False)]


def moody(moods, sick):
    """An API that is ill for a time, each answer by chance, and well after that."""

    def api(world, event):
        latency = world.chance.random() * 0.2
        if world.now < sick and world.chance.random() < 0.8:
            verdict, counted = world.chance.choice(moods)
            return verdict, counted, latency
        return GOOD, True, latency

    return api


@pytest.mark.parametrize("seed", range(300))
def test_each_event_counts_once_when_every_answer_is_clear(seed):
    """Any mixture of clear answers, any moment of arrival: what was accepted counts once, and all end."""
    chance = random.Random(seed)
    moods = chance.sample(CLEAR, chance.randint(1, 6))
    rate = chance.choice([None, None, 20.0, 500.0])
    world = World(moody(moods, chance.uniform(0, 20)), most=chance.randint(1, 16), seed=seed, rate=rate)
    names = [str(number) for number in range(chance.randint(1, 120))]
    for name in names:
        world.at(chance.choice([0.0, chance.uniform(0, 25)]), lambda name=name: world.put(name))
    world.run()
    assert world.counted == dict.fromkeys(names, 1)
    assert world.books.snapshot().delivered == len(names)
    assert world.courier.under_way == 0


@pytest.mark.parametrize("discard", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_what_no_answer_can_tell(seed, discard):
    """With ambiguous answers, `retry` loses nothing and `discard` doubles nothing."""
    world = World(moody(CLEAR + MURKY * 3, 10), seed=seed, discard=discard)
    names = [str(number) for number in range(60)]
    for name in names:
        world.put(name)
    world.run()
    now = world.books.snapshot()
    assert now.waiting == 0
    if discard:
        assert max(world.counted.values()) == 1
        assert now.dropped == now.reasons.get("dropped", {}).get("ambiguous", 0) == now.ambiguous
        assert now.delivered + now.dropped == len(names)
    else:
        assert set(world.counted) == set(names)
        assert (now.delivered, now.dropped) == (len(names), 0)
        assert sum(world.counted.values()) <= len(names) + now.ambiguous


def poisoned(world, event):
    """An API that always fails on one type, and is well otherwise."""
    return (judge(500), False, 0.02) if event.type == "poison" else (GOOD, True, 0.02)


@pytest.mark.parametrize("poison", [1, 3, 10, 40, 100])
@pytest.mark.parametrize("place", ["before", "among"])
def test_events_that_always_fail_block_nobody(poison, place):
    """However many events fail for ever, wherever they stand: the others get through."""
    world = World(poisoned)
    for number in range(poison):
        world.put(f"p{number}", "poison")
        if place == "among":
            world.put(str(number))
    for number in range(poison if place == "among" else 0, 500):
        world.put(str(number))
    # Forty in a row look like an outage at first, and some probes have to find out.
    world.run(until=20 if place == "among" or poison <= 10 else 1_000)
    assert len(world.counted) == 500
    assert set(world.counted.values()) == {1}
    assert world.books.snapshot().waiting == poison


def test_one_event_that_always_fails_does_not_slow_those_that_come_later():
    """Once an event is known to fail by itself, a new one is under way at once."""
    world = World(poisoned)
    world.put("p", "poison")
    for number in range(20):
        world.at(30 + 10 * number, lambda number=number: world.put(str(number)))
    world.run(until=300)
    sent = {event.user_id: time for time, event in world.calls}
    late = [sent[str(number)] - (30 + 10 * number) for number in range(20)]
    assert late[0] <= 1.5
    assert max(late[1:]) < 0.05
    assert 5 < sum(event.user_id == "p" for _, event in world.calls) < 60


@pytest.mark.parametrize("trouble", [judge(503), GONE, judge(500)], ids=["503", "gone", "500"])
@pytest.mark.parametrize("number", [1, 10, 5_000])
@pytest.mark.parametrize("length", [3, 600])
def test_all_get_through_soon_after_an_outage(trouble, number, length):
    """Two seconds after the API is back all that waited is handed out, and the outage was not a storm of calls."""

    def api(world, event):
        return (trouble, False, 0.001) if world.now < length else (GOOD, True, 0.001)

    world = World(api, seed=number)
    for name in range(number):
        world.put(str(name))
    world.run()
    during = [time for time, _ in world.calls if time < length]
    assert max(time for time, _ in world.calls) <= length + 2
    assert len(during) <= 20 + length / 1.1
    assert set(world.counted.values()) == {1}
    assert len(world.counted) == number


def test_what_is_on_loan_in_an_outage_is_bounded():
    """In a day without an API hardly anything but the probes leaves the journal."""
    world = World(lambda world, event: (judge(503), False, 0.01), seed=3)
    for name in range(50_000):
        world.put(str(name))
    world.run(until=3600)
    assert len(world.courier._later) < 500
    assert world.courier.under_way <= 1


def test_a_lock_out_waits_and_goes_on():
    """With a wrong key a handful of calls a minute is made; mended, everything arrives within a minute."""
    mended = 240.0

    def api(world, event):
        return (judge(403), False, 0.01) if world.now < mended else (GOOD, True, 0.01)

    world = World(api)
    for name in range(200):
        world.put(str(name))
    world.run()
    assert sum(time < 60 for time, _ in world.calls) <= 4 + 6
    assert sum(time < mended for time, _ in world.calls) <= 4 + 12
    assert max(time for time, _ in world.calls) <= mended + 62
    assert len(world.counted) == 200


@pytest.mark.parametrize("status", [429, 503])
def test_all_wait_as_told(status):
    """After a Retry-After no call starts before its time, whatever else is under way."""

    def api(world, event):
        if event.user_id == "3":
            return judge(status, b"", "5"), False, 0.01
        return (GOOD, True, 0.02) if world.now > 1 or event.user_id != "5" else (GONE, False, 0.03)

    world = World(api, most=8)
    for name in range(50):
        world.put(str(name))
    world.at(5.01, lambda: setattr(world, "api", well))
    world.run()
    assert not [time for time, _ in world.calls if 0.031 < time < 5.01]
    assert set(world.counted.values()) == {1}
    assert len(world.counted) == 50


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_mark_fires_when_its_events_are_settled(data):
    """A flush is over neither before the last of what was put earlier is settled nor long after."""
    seed = data.draw(st.integers(0, 10_000))
    world = World(moody(CLEAR[:6], 3), seed=seed)
    settled, early, fired = {}, [], Counter()
    put = []

    def one():
        put.append(str(len(put)))
        world.put(put[-1])

    def mark(number):
        owed = list(put)

        def done():
            fired[number] += 1
            settled[number] = world.now
            early.extend(name for name in owed if world.counted[name] == 0)
            lent = {sent(entry).user_id for entry in world.journal._ready}
            early.extend(name for name in owed if name in lent)

        world.courier.mark(done)

    for number in range(data.draw(st.integers(1, 5))):
        for _ in range(data.draw(st.integers(0, 20))):
            world.at(data.draw(st.floats(0, 5)), one)
        world.at(data.draw(st.floats(0, 5)), lambda number=number: mark(number))
    world.run()
    assert early == []
    assert set(fired.values()) == {1}
    assert not world.courier.awaited


def test_a_mark_with_nothing_to_wait_for_fires_at_once():
    """A flush of an empty outbox is over."""
    world, fired = World(well), []
    world.courier.mark(lambda: fired.append(1))
    assert fired == [1]


def test_a_mark_does_not_wait_for_later_events():
    """What is put after the flush began is not waited for."""

    def api(world, event):
        return (GOOD, True, 0.02) if event.user_id == "first" else (judge(500), False, 0.02)

    world, fired = World(api), []
    world.put("first")
    world.courier.mark(lambda: fired.append(world.now))
    world.put("later")
    world.run(until=5)
    assert fired == [0.02]


def test_a_mark_of_writers_that_overtook_each_other():
    """Of two threads in `put`, the later number may be offered first: a flush waits for both all the same."""
    world, fired = World(well), []
    first, second = (Entry(number, Event("a", user_id=str(number)).query(), 0.0) for number in (1, 2))
    world.books.add("accepted")
    world.journal._ready.append(second)

    def overtaken():
        world.books.add("accepted")
        world.journal._ready.append(first)
        world.courier.mark(lambda: fired.append(world.counted["1"]))

    world.journal._last = 2
    world.at(1.0, overtaken)
    world.run()
    assert world.counted == {"1": 1, "2": 1}
    assert fired == [1]


def test_refused_events_are_kept_with_their_reason():
    """A refusal ends its event alone, and the event can be looked at."""

    def api(world, event):
        return (judge(400, b"NO-TYPE-PARAMETER"), False, 0.01) if event.user_id == "b" else (GOOD, True, 0.01)

    world = World(api)
    for name in "abc":
        world.put(name)
    world.run()
    kept = world.journal.refused()
    assert [(one.query, one.reason, one.attempts) for one in kept] == [
        ("type=course-click&user_id=b", "no-type-parameter", 1)
    ]
    assert world.counted == {"a": 1, "c": 1}
    assert world.books.snapshot().reasons["refused"] == {"no-type-parameter": 1}


def test_a_full_journal_takes_no_more():
    """What was accepted is bounded, what is on loan included."""
    world = World(lambda world, event: (GONE, False, 0.01), capacity=10)
    assert [world.put(str(name)) for name in range(12)] == [True] * 10 + [False] * 2
    world.run(until=30)
    assert world.put("late") is False
    assert world.journal.waiting() == 10


def test_two_lines_an_outage(caplog):
    """An outage is told at its beginning and its end, with its reason; probes are not told."""
    caplog.set_level(logging.WARNING, "ocm_otel")
    world = World(lambda world, event: (GONE, False, 0.01) if world.now < 300 else (GOOD, True, 0.01))
    for name in range(100):
        world.put(str(name))
    world.run()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "no-connection" in told[0]
    assert "go on" in told[1]


def test_an_api_that_flaps_is_not_told_each_time(caplog):
    """An API that comes and goes each second makes some lines a minute, not some a second."""
    caplog.set_level(logging.WARNING, "ocm_otel")
    world = World(lambda world, event: (GONE, False, 0.01) if world.now % 1 < 0.5 else (GOOD, True, 0.01))
    for number in range(1_200):
        world.at(number / 10, lambda number=number: world.put(str(number)))
    world.run()
    assert set(world.counted.values()) == {1}
    assert len(caplog.records) <= 6


def test_fates_are_all_known():
    """The histories above meet every fate that a verdict can have."""
    assert {verdict.fate for verdict, _ in CLEAR} | {Fate.DELIVERED, Fate.REFUSED} == set(Fate)


def waiting_courier(*, at, in_doubt=False, **options):
    """Return a courier over one event that was accepted at `at`, its journal and its books."""
    books, journal = Books(), MemoryJournal(10)
    journal.append(Event("course-save", course_id=7, user_id="ann").query(), at, lambda: books.add("accepted"))
    entry = journal.take()
    assert entry is not None
    entry.in_doubt = in_doubt
    journal._ready.append(entry)  # what a journal on disk lends out when it has taken over a dead process's ledger
    journal._lent -= 1
    return Courier(journal, Pace(4), books, **options), journal, books


@pytest.mark.parametrize(("age", "goes"), [(59.9, True), (60.1, False)])
def test_what_grew_too_old_is_refused_and_kept(age, goes):
    """An event that waited longer than the limit is not sent; it stands in the refused file with its reason."""
    courier, journal, books = waiting_courier(at=1000.0, max_age=60.0)
    call = courier.due(0.0, 1000.0 + age)
    assert (call is not None) is goes
    if not goes:
        (refused,) = journal.refused()
        assert (refused.reason, refused.query) == ("too-old", "type=course-save&course_id=7&user_id=ann")
        assert books.snapshot().reasons["refused"] == {"too-old": 1}
        assert books.snapshot().balanced
        assert courier.sleep(0.0) == math.inf


@pytest.mark.parametrize("discard", [False, True])
def test_what_a_dead_process_had_sent_is_ambiguous(discard):
    """An entry taken over in doubt is counted as ambiguous once, then sent again or given up, as is asked."""
    courier, _, books = waiting_courier(at=0.0, in_doubt=True, discard=discard)
    call = courier.due(0.0)
    assert (call is None) is discard
    if call is not None:
        courier.answered(call, GOOD, 0.1, 0.1)
    now = books.snapshot()
    assert (now.ambiguous, now.reasons["ambiguous"]) == (1, {"left-behind": 1})
    assert (now.delivered, now.dropped, now.balanced) == ((0, 1, True) if discard else (1, 0, True))
