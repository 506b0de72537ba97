"""How long the worker may go on in one go, so that the application does not feel it.

Only one thread at a time runs Python. A worker with a backlog lets go of the interpreter for microseconds only. That is
too short for a thread that wakes up to take it, so that thread waits for the interpreter's whole switch interval, 5 ms.
Where nobody else wants it the worker goes on as fast as it can; where somebody does, it works in short turns and rests
in between. That somebody does is seen by this: the worker was put to sleep in the middle of its work.

Pure: the clock and the count of sleeps come in.
"""

from __future__ import annotations

import math

#: Seconds of one turn while others want the interpreter, and while they do not.
_SHORT, _LONG = 0.000_1, 0.005
#: How many times as long as its turn the worker then rests.
_RESTS = 4.0
#: Seconds for which others are thought to be there after they were last noticed.
_REMEMBERED = 0.3


class Courtesy:
    """Notices that others want the interpreter, and says what is fair."""

    def __init__(self) -> None:
        self._until = -math.inf

    def turn(self, now: float) -> float:
        """Return until when a turn that begins now may last."""
        return now + (_SHORT if now < self._until else _LONG)

    def rest(self, began: float, now: float, sleeps: int) -> float:
        """Return the seconds to rest after a turn, 0 for none.

        Args:
            began: when it began.
            now: when it ended.
            sleeps: how often the thread was put to sleep in it.
        """
        if sleeps > 0:
            self._until = now + _REMEMBERED
        return _RESTS * min(now - began, _SHORT) if now < self._until else 0.0
