"""How many calls at once the API serves best: found by trying, for nobody knows it beforehand.

More calls under way bring more answers as long as each still takes about as long as when there were few; past that
point they only wait for each other. So the limit doubles from round trip to round trip until answers take twice as long
as at best. From then on it follows from what is measured: so many answers come in a second, and each takes so many
seconds at best, hence so many calls keep the API busy (Little's law); twice as many may be under way.

Pure: the times come in.
"""

from __future__ import annotations

import math

#: The limit after the first good answer, and after an outage.
_FIRST = 4.0
#: Answers that take so many times as long as at best, and a moment more, have waited for others.
_CROWDED, _MOMENT = 2.0, 0.002
#: Rounds after which the best is measured anew, with fewer calls: what was best an hour ago need not be so now.
_ERA = 40


class Limit:
    """How many calls may be under way at once.

    Args:
        most: more are never allowed.

    Attributes:
        value: the limit; its whole part counts.
    """

    def __init__(self, most: float) -> None:
        self.value = 1.0  # until the first good answer: a wrong key is to cost one call, not four
        self._most = most
        self._least = min(_FIRST, most)
        self._found = False  # the point past which calls only wait for each other
        self._best = math.inf
        self._rounds = 0
        self._begin(-math.inf)

    def restart(self) -> None:
        """Begin anew with few calls at once: the API was away."""
        self.__init__(self._most)  # type: ignore[misc]
        self.value = self._least

    def halve(self) -> None:
        """The API asks to go slower."""
        self.value = max(1.0, self.value / 2.0)
        self._found = True

    def good(self, took: float, now: float, *, used: bool) -> None:
        """Take in a good answer.

        Args:
            took: seconds from the start of its call.
            now: when it came, seconds of any clock.
            used: whether as many calls were under way as may be; else a higher limit would change nothing.
        """
        if self.value < self._least and not self._found:
            self.value = self._least
        elif not used:
            self._answers, self._took, self._began = 0, 0.0, now
            return
        elif not self._found:
            self.value = min(self._most, self.value + 1.0)
        self._answers += 1
        self._took += took
        if self._answers >= max(_FIRST, self._full):
            if self._began > -math.inf and now > self._began:
                self._conclude(self._took / self._answers, self._answers / (now - self._began))
            self._begin(now)

    def _begin(self, now: float) -> None:
        """Begin a round: about as many answers as there are calls under way."""
        self._answers, self._took, self._began, self._full = 0, 0.0, now, self.value

    def _conclude(self, took: float, rate: float) -> None:
        """Draw the conclusion from a round: how long an answer took, and how many came in a second."""
        self._rounds += 1
        if self._rounds <= 0:
            return  # these calls began when there were more
        self._best = min(self._best, took)
        crowded = took > _CROWDED * self._best + _MOMENT
        self._found = self._found or crowded
        busy = rate * self._best
        if self._rounds >= _ERA:
            self._rounds = 0
            if self._found and took > 1.2 * self._best:
                self._rounds, self._best = -3, math.inf
                self.value = max(self._least, min(self.value, busy))
        elif crowded:
            self.value = max(self._least, min(self.value, 2.0 * busy))
        elif self._found and took <= _CROWDED * self._best:
            self.value = min(self._most, self.value + max(1.0, self.value / 8.0))
