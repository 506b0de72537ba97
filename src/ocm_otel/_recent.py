"""The ids of the events that were taken lately: one id is one event, by however many doors it comes.

Only a hash of each is kept, and of so many that memory stays bounded: some three megabytes. There is no lock: to
set a dictionary's default is one step of the interpreter, so of two threads with one id one is the first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Ids that are remembered. The SDK's batch processors hold back 2,048 records at most before a second door sees them.
MOST = 20_000


class Recent:
    """What was told lately.

    Args:
        most: how many ids are remembered; those that were told first are forgotten first.
    """

    __slots__ = ("_known", "_most", "_order")

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: dict[int, object] = {}
        self._order: deque[int] = deque()

    def claim(self, event_id: str) -> bool:
        """Return True the first time that an id comes. Whoever made that claim ends it with `keep` or `forget`."""
        mine = object()
        return self._known.setdefault(hash(event_id), mine) is mine

    def keep(self, event_id: str) -> None:
        """Remember an id whose event was accepted, as one of the newest."""
        self._order.append(hash(event_id))
        if len(self._order) > self._most:
            try:
                self._known.pop(self._order.popleft(), None)
            except IndexError:  # other threads made room in between
                return

    def forget(self, event_id: str) -> None:
        """Give up a claim: the event was not accepted, and may come again."""
        self._known.pop(hash(event_id), None)

    def learn(self, ids: Iterable[str]) -> None:
        """Remember the ids of events that another process accepted and this one delivers."""
        for event_id in ids:
            if self.claim(event_id):
                self.keep(event_id)
