"""Who makes the calls: the worker's thread, over connections of our own, or other threads, where httpx has to.

Which of the two it is, is known when there is a client, and that is made at the first call, for it takes long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ocm_otel._process import importing
from ocm_otel._verdict import Failure, judge_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocm_otel._books import Books
    from ocm_otel._client import Client
    from ocm_otel._courier import Call
    from ocm_otel._poller import Poller
    from ocm_otel._senders import Senders
    from ocm_otel._verdict import Verdict
    from ocm_otel._wires import Wires


class Carrier:
    """Makes calls, several at once. One thread at a time uses it, its driver.

    Args:
        client: makes what the calls have in common; called in the driver's thread.
        poller: what the driver waits with.
        books: where a failure of our own is counted.
        answered: told in the driver's thread what each call meant, and the time, by `time.monotonic`.
        post: has the driver do something, from any thread.
        timeout: seconds that one call may take.
    """

    def __init__(
        self,
        client: Callable[[], Client],
        poller: Poller,
        books: Books,
        answered: Callable[[Call, Verdict, float], object],
        post: Callable[[Callable[[], object]], object],
        *,
        timeout: float,
    ) -> None:
        self._make_client = client
        self._poller = poller
        self._books = books
        self._answered = answered
        self._post = post
        self._timeout = timeout
        self._way: Wires | Senders | None = None
        #: Begins a call, which has until `end` if the driver has to make it itself; told `now`, both `time.monotonic`.
        self.hand_out: Callable[[Call, float, float], object] = self._hand_out_first

    @property
    def earliest(self) -> float:
        """When the time of a call is over, at the earliest, by `time.monotonic`."""
        return math.inf if self._way is None else self._way.earliest

    def _hand_out_first(self, call: Call, end: float, now: float) -> None:
        """Find out who makes the calls, and have them begin this one, and each further one."""
        try:
            self._way = self._made(self._make_client())
        except Exception as error:  # noqa: BLE001 - httpx may be missing or broken; counted, and tried again
            self._books.add("failed_client", type(error).__name__)
            self._books.report("failed_client", "the HTTP client (httpx) cannot be made: %r", error)
            self._answered(call, judge_failure(Failure.MISCONFIGURED), now)
            return
        self.hand_out = self._way.hand_out
        self.hand_out(call, end, now)

    def take_in(self, came: Sequence[tuple[int, int]], end: float, now: float) -> None:
        """Take in what the poller has seen, until `end` at most; it sees again what is left."""
        if self._way is not None:
            self._way.take_in(came, end, now)

    def cut(self, call: Call) -> None:
        """End a call that hangs: what comes of it is not waited for any more."""
        if self._way is not None:
            self._way.cut(call)

    def stop(self) -> None:
        """No more calls will be handed out."""
        if self._way is not None:
            self._way.stop()

    def close(self) -> None:
        """Close what is open; there will be no calls any more."""
        if self._way is not None:
            self._way.close()

    def leave(self) -> None:
        """Give back, in a forked child, the descriptors: what they stand for is the parent's."""
        if self._way is not None:
            self._way.leave()

    def _made(self, client: Client) -> Wires | Senders:
        with importing:
            from ocm_otel._senders import Senders
            from ocm_otel._wires import Wires
        if client.is_ordinary:
            return Wires(client, self._poller, self._books, self._answered, self._post, timeout=self._timeout)
        return Senders(client, self._books, self._answered, self._post, timeout=self._timeout)
