"""What the emulator answers when it is told to be unwell: a script, one answer for all, or faults by rate and window.

This is a plan, not an actor: it says what the next answer is and leaves giving it to ``api`` and ``wire``. It
knows nothing of requests, and nothing of the rules that a healthy API follows. How a person writes a fault
down is the business of ``faultspec``.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .answers import Answer


@dataclass(frozen=True)
class Fault:
    """An answer for some of the calls: a share of them, in a window of calls or of time.

    Args:
        answer: what these calls get.
        rate: the share of the calls in the window, 0 to 1.
        after: calls that come before the window.
        after_seconds: seconds before the window, from when the plan was made.
        calls: how many calls the window lasts; None for no such end.
        seconds: how long it lasts; None for no such end.
        times: how often it is given at most; None for no such end.
        text: how a person wrote it.
    """

    answer: Answer
    rate: float = 1.0
    after: int = 0
    after_seconds: float = 0.0
    calls: int | None = None
    seconds: float | None = None
    times: int | None = None
    text: str = ""


class _Window:
    """Where one fault stands: not begun, begun at a call and a time, or over; and how often it was given."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.given = 0
        self._began: tuple[int, float] | None = None

    def open(self, number: int, elapsed: float) -> bool:
        """Return whether a call of this number, at this time, is inside."""
        fault = self.fault
        if self._began is None:
            if number < fault.after or elapsed < fault.after_seconds:
                return False
            self._began = (number, elapsed)
        first, since = self._began
        if fault.times is not None and self.given >= fault.times:
            return False
        return (fault.calls is None or number - first < fault.calls) and (
            fault.seconds is None or elapsed - since < fault.seconds
        )


def _answer(given: int | Answer) -> Answer | None:
    if isinstance(given, Answer):
        return given
    return None if given == 200 else Answer(given)


class FaultPlan:
    """Which answer comes next; safe to change from any thread while the emulator runs.

    The script goes first, then the answer for all, then the faults. Of the faults that are open each call
    gets at most one: their rates are shares of one throw of the dice, so 10 % and 5 % are 10 % and 5 % of
    all calls, and an earlier fault goes before a later one where they make more than 100 %. The same seed
    and the same order of calls give the same answers.

    Args:
        latency: seconds before each answer.
        jitter: further seconds at most, thrown for each answer.
        seed: of the dice.
        clock: seconds, for the windows.
    """

    def __init__(
        self, latency: float = 0.0, jitter: float = 0.0, seed: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.latency = latency
        self.jitter = jitter
        self._clock = clock
        self._lock = threading.Lock()
        self._script: deque[Answer | None] = deque()
        self._always: Answer | None = None
        self.seed = seed
        self.replace(())

    def replace(self, faults: Sequence[Fault], seed: int | None = None) -> None:
        """Put these faults in the place of those that were; calls and seconds count from now.

        Args:
            faults: in the order in which they are tried.
            seed: of the dice; None for the one that was.
        """
        with self._lock:
            self.seed = self.seed if seed is None else seed
            self._dice = random.Random(self.seed)
            self._waits = random.Random(f"waits {self.seed}")
            self._windows = [_Window(fault) for fault in faults]
            self._number = -1
            self._since = self._clock()

    def script(self, *answers: int | Answer) -> None:
        """Put answers at the end of the script: one each for the next calls, then as before.

        Args:
            answers: statuses, where 200 means the normal handling of one call, or whole answers.

        Raises:
            ValueError: a status is none that a final answer can have.
        """
        planned = [_answer(given) for given in answers]
        with self._lock:
            self._script.extend(planned)

    def always(self, answer: int | Answer) -> None:
        """Give this answer to every call after the script, until told otherwise.

        Raises:
            ValueError: the status is none that a final answer can have.
        """
        planned = _answer(answer)
        with self._lock:
            self._always = planned

    def normally(self) -> None:
        """Forget the script, the answer for all and the faults; the latency stays."""
        with self._lock:
            self._script.clear()
            self._always = None
            self._windows = []

    def next(self) -> Answer | None:
        """Return the answer for the call at hand, or None when the rules decide."""
        with self._lock:
            window = self._thrown() if self._windows else None
            if self._script:
                return self._script.popleft()
            if self._always is not None or window is None:
                return self._always
            window.given += 1
            return window.fault.answer

    def _thrown(self) -> _Window | None:
        self._number += 1
        elapsed = self._clock() - self._since
        # Thrown for each call, whatever is open: what one call gets does not hang on what others got.
        left = self._dice.random()
        # Each window sees each call: its beginning does not hang on what stands before it.
        for window in [window for window in self._windows if window.open(self._number, elapsed)]:
            left -= window.fault.rate
            if left < 0:
                return window
        return None

    def wait(self) -> float:
        """Return the seconds before the answer at hand."""
        if not self.jitter:
            return self.latency
        with self._lock:
            return self.latency + self.jitter * self._waits.random()

    @property
    def left(self) -> int:
        """How many scripted answers have not been given yet."""
        with self._lock:
            return len(self._script)

    def standing(self) -> list[tuple[Fault, int]]:
        """Return each fault, and how often it was given."""
        with self._lock:
            return [(window.fault, window.given) for window in self._windows]
