"""Courier, pace and journal in virtual time against a simple model, through thousands of histories with faults.

The model knows of each event only whether it is settled, how often it is under way, and what was said of it. It
shares no arithmetic with the rooms that it watches.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocm_otel._books import Books
from ocm_otel._concert import SharedPace
from ocm_otel._courier import Courier
from ocm_otel._event import Event
from ocm_otel._journal import MemoryJournal
from ocm_otel._outlook import State
from ocm_otel._pace import MOST_PROBES, Pace
from ocm_otel._verdict import Failure, Fate, judge, judge_failure

from .slate import Slate

if TYPE_CHECKING:
    from ocm_otel._courier import Call
    from ocm_otel._verdict import Verdict

VERDICTS = {
    "good": judge(200, b"{}"),
    "refused": judge(400, b'{"error":"NO-TYPE-PARAMETER"}'),
    "refused with 200": judge(200, b'{"error":"NO-TYPE-PARAMETER"}'),
    "500": judge(500),
    "503 in 2": judge(503, retry_after="2"),
    "504": judge(504),
    "429": judge(429),
    "429 in 0": judge(429, retry_after="0"),
    "429 in 3": judge(429, retry_after="3"),
    "429 in 40": judge(429, retry_after="40"),
    "403": judge(403, b'{"message":"Forbidden"}'),
    "404": judge(404),
    "redirect": judge(302),
    **{failure.value: judge_failure(failure) for failure in Failure},
}
#: A capacity that histories reach.
CAPACITY = 30
TINY = 1e-6
#: Seconds for which a process may not know yet what another one has just heard.
A_GLANCE = 0.005 + TINY


@dataclass
class Known:
    """What the model knows of one event."""

    home: Process
    calls: int = 0
    out: int = 0
    settled: str = ""
    doubtful: bool = False
    alone: bool = False  # it failed while the API was open: it has a wait of its own


class Process:
    """The rooms of one process, which deliver its events."""

    def __init__(self, history: History, number: int) -> None:
        self._history = history
        self.books = Books()
        self.journal = MemoryJournal(CAPACITY)
        options = {"careful": history.discard, "random": random.Random(history.seed + number).random}
        if history.many == 1:
            self.pace = Pace(history.most, history.rate, **options)
        else:
            self.pace = SharedPace(history.slate, history.most, history.rate, **options)
        self.courier = Courier(self.journal, self.pace, self.books, discard=history.discard)
        self.ambiguous = 0

    def owed(self) -> list[str]:
        """Return the events that are not settled."""
        return [name for name, known in self._history.events.items() if known.home is self and not known.settled]

    def check(self) -> None:
        """See that the rooms and the model agree."""
        books = self.books.snapshot()
        events = [known for known in self._history.events.values() if known.home is self]
        settled = Counter(known.settled for known in events)
        assert books.balanced
        assert books.accepted == len(events)
        assert (books.delivered, books.refused, books.dropped) == (
            settled["delivered"], settled["refused"], settled["dropped"],
        )  # fmt: skip
        assert books.waiting == self.journal.waiting() == settled[""]
        assert books.ambiguous == self.ambiguous
        answered, out = sum(known.calls - known.out for known in events), sum(known.out for known in events)
        assert books.retried == answered - sum(settled.values()) + settled[""]
        assert self.courier.under_way == out
        if settled[""] > 0 and not out:
            assert self.courier.sleep(self._history.now) < math.inf, "nobody would ever wake up"


@dataclass
class History:
    """One history: the rooms, the model beside them, and what may never be.

    Args:
        discard: the policy for ambiguous calls.
        most: calls under way at most.
        rate: calls in a second at most, None for no limit.
        seed: of the jitter.
        many: processes of one account; each delivers its own events.
    """

    discard: bool
    most: int
    rate: float | None
    seed: int = 0
    many: int = 1
    now: float = 0.0
    events: dict[str, Known] = field(default_factory=dict)
    out: list = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    told: float = -math.inf  # no call comes before
    latest: float = -math.inf  # the same, with the tenth that keeps processes from coming all at once
    told_at: float = -math.inf
    asked: list[Call] = field(default_factory=list)  # probes since the way was open
    marks: list[tuple[set[str], list[bool]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slate = Slate()
        self.processes = [Process(self, number) for number in range(self.many)]

    def put(self, process: int = 0) -> None:
        """Put one event in; only a full journal turns it away."""
        home = self.processes[process % self.many]
        name = f"e{len(self.events)}"
        query = Event("course-click", user_id=name).query()
        reason = home.journal.append(query, self.now, lambda: home.books.add("accepted"))
        assert (reason == "queue-full") == (len(home.owed()) >= CAPACITY)
        if not reason:
            self.events[name] = Known(home)

    def owed(self) -> int:
        """Return how many events are not settled."""
        return sum(not known.settled for known in self.events.values())

    def start(self, most: int = 1000, process: int | None = None) -> None:
        """Start the calls that are due; each has to be one that may be made now."""
        for home in self.processes if process is None else [self.processes[process % self.many]]:
            self.give_up(home)
            for _ in range(most):
                call = home.courier.due(self.now, self.now)
                if call is None:
                    assert home.courier.sleep(self.now) > 0
                    break
                self.started(home, call)

    def started(self, home: Process, call: Call) -> None:
        """See that a call is one that may be made now."""
        name = call[0].query.rpartition("=")[2]
        known = self.events[name]
        assert not known.settled
        assert known.home is home
        assert known.out == 0
        assert not (self.discard and known.doubtful), "it may have counted"
        assert self.now >= self.told - TINY or self.now <= self.told_at + A_GLANCE, "earlier than told"
        assert (call[1][1] > 0) == (home.pace.state is not State.OPEN)
        known.calls += 1
        known.out += 1
        self.out.append((call, name))
        self.starts.append(self.now)
        assert sum(self.events[name].home is home for _, name in self.out) <= 2 * self.most + MOST_PROBES
        if call[1][1]:
            self.asked.append(call)
            lease = 12.0 if self.discard else 0.85  # past it, whoever asked may be stopped, or dead
            patient = [one for one in self.asked if one[1][0] > self.now - lease]
            assert sum(one is call for one, _ in self.out for call in patient) <= 1, "one probe at a time"
        if self.rate:
            lately = sum(start > self.now - 1 + TINY for start in self.starts)
            assert lately <= self.rate * 1.1 + 1

    def give_up(self, home: Process) -> None:
        """Let a process give up the calls that hang; what comes of them later changes nothing."""
        for call in home.courier.late(self.now, self.now):
            (name,) = (name for one, name in self.out if one is call)
            assert self.now >= call[1][0] + 1.2 - TINY
            self.out.remove((call, name))
            self.learn(name, VERDICTS["silence"], home)
            home.courier.answered(call, VERDICTS["good"], self.now, self.now)

    def answer(self, number: int, said: str) -> None:
        """Answer one of the calls that are under way."""
        call, name = self.out.pop(number % len(self.out))
        home, verdict = self.events[name].home, VERDICTS[said]
        home.courier.answered(call, verdict, self.now, self.now)
        self.learn(name, verdict, home)
        if verdict.wait is not None and verdict.fate in (Fate.RETRY, Fate.THROTTLED):
            if self.now + verdict.wait > self.told:
                self.told, self.told_at = self.now + verdict.wait, self.now
            self.latest = max(self.latest, self.now + verdict.wait * 1.1)

    def learn(self, name: str, verdict: Verdict, home: Process) -> None:
        """Take note of what a call meant for its event."""
        known = self.events[name]
        known.out -= 1
        home.ambiguous += verdict.ambiguous
        known.doubtful = known.doubtful or verdict.ambiguous
        if verdict.fate in (Fate.DELIVERED, Fate.REFUSED):
            known.settled = verdict.fate.value
        elif verdict.ambiguous and self.discard:
            known.settled = "dropped"
        elif home.pace.state is State.OPEN:
            known.alone = True
        if home.pace.state is State.OPEN:
            self.asked.clear()

    def mark(self) -> None:
        """Wait for all that each process owes now, as a flush does."""
        for home in self.processes:
            fired: list[bool] = []
            self.marks.append((set(home.owed()), fired))
            home.courier.mark(lambda fired=fired: fired.append(True))

    def check(self) -> None:
        """See that the rooms and the model agree, and that nobody was forgotten."""
        for home in self.processes:
            home.check()
        for waited, fired in self.marks:
            done = all(self.events[name].settled for name in waited)
            assert fired == [True] * done

    def sleep(self) -> float:
        """Return the seconds until one of the processes may have something to do."""
        return min(home.courier.sleep(self.now) for home in self.processes)

    def recover(self) -> None:
        """The API is back for good: all that has no wait of its own is delivered within 2 s, the rest in time."""
        states = {home.pace.state for home in self.processes}
        while self.out:
            self.answer(0, "good")
        back = self.now
        others = {name for name, known in self.events.items() if not known.settled and not known.alone}
        longest = max({State.LOCKED_OUT: 60.0, State.THROTTLED: 10.0}.get(state, 1.5) for state in states)
        queue = self.many * CAPACITY / self.rate if self.rate else 0.0
        patience = max(longest, self.latest - back) + 0.5 + queue
        for _ in range(6000):
            self.start()
            late = [name for name in others if not self.events[name].settled]
            assert not late or self.now <= back + patience, (self.now - back, states, late)
            wait = 0.01 if self.out else self.sleep()
            if wait == math.inf:
                break
            self.now += max(wait, TINY)
            while self.out:
                self.answer(0, "good")
        assert self.owed() == 0
        assert self.now <= back + patience + 60
        self.check()


class Machine(RuleBasedStateMachine):
    """Lets hypothesis write histories, and make those that fail short."""

    @initialize(
        discard=st.booleans(),
        most=st.sampled_from([1, 2, 4, 16]),
        rate=st.sampled_from([None, None, 1.0, 20.0]),
        seed=st.integers(0, 3),
        many=st.sampled_from([1, 1, 2, 3]),
    )
    def begin(self, discard, most, rate, seed, many):
        self.history = History(discard, most, rate, seed, many)

    @rule(count=st.integers(1, 8), process=st.integers(0, 2))
    def put(self, count, process):
        for _ in range(count):
            self.history.put(process)

    @rule(most=st.sampled_from([1, 1000]), process=st.sampled_from([None, 0, 1, 2]))
    def start(self, most, process):
        self.history.start(most, process)

    @precondition(lambda self: self.history.out)
    @rule(number=st.integers(0, 15), said=st.sampled_from(["good", *VERDICTS]))
    def answer(self, number, said):
        self.history.answer(number, said)

    @precondition(lambda self: self.history.out)
    @rule(said=st.sampled_from(["good", *VERDICTS]))
    def answer_all(self, said):
        while self.history.out:
            self.history.answer(0, said)

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.2, 1.0, 5.0, 60.0]))
    def wait(self, seconds):
        self.history.now += seconds

    @rule()
    def sleep_as_told(self):
        wait = self.history.sleep()
        self.history.now += wait if wait < math.inf else 0.0

    @rule()
    def mark(self):
        self.history.mark()

    @invariant()
    def agree(self):
        if hasattr(self, "history"):
            self.history.check()

    def teardown(self):
        if hasattr(self, "history"):
            self.history.recover()


class TestModel(Machine.TestCase):
    """Histories by hypothesis."""

    settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def live(history: History, chance: random.Random, steps: int) -> None:
    """Let a history take its course: moods of the API that last for a while, and events all the time."""
    mood = ["good"]
    for step in range(steps):
        if step % 15 == 0:
            mood = chance.choice([["good"], ["good", *VERDICTS], chance.choices(list(VERDICTS), k=2)])
        for _ in range(chance.choice([0, 0, 1, 3])):
            history.put(chance.randrange(3))
        history.start(chance.choice([1, 1000]), chance.choice([None, 0, 1]))
        for _ in range(chance.randint(0, len(history.out))):
            history.answer(chance.randrange(99), chance.choice(mood))
        if chance.random() < 0.1:
            history.mark()
        wait = history.sleep()
        history.now += min(wait, chance.choice([0.0, 0.01, 0.3, 2.0, 70.0]))
        history.check()


@pytest.mark.parametrize("block", range(4))
def test_histories_with_moods(block):
    """Seven hundred histories a block: each event once, never too early, one probe, and all there soon after."""
    for seed in range(block * 700, block * 700 + 700):
        chance = random.Random(seed)
        most, rate = chance.choice([1, 2, 16]), chance.choice([None, None, 5.0])
        history = History(chance.random() < 0.4, most, rate, seed, chance.choice([1, 1, 2, 3]))
        live(history, chance, 30)
        history.recover()
