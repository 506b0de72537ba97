"""Who makes the calls: the worker itself over connections of our own, or threads where httpx has to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ocm_otel._senders import Senders
from ocm_otel._wires import Wires

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel._books import Books
    from ocm_otel._client import Client
    from ocm_otel._courier import Call
    from ocm_otel._poller import Poller
    from ocm_otel._verdict import Verdict


class Carrier(Protocol):
    """Makes calls, several at once. One thread at a time uses it, its driver."""

    def hand_out(self, call: Call, end: float) -> None:
        """Begin a call, which has until `end` if the driver has to make it itself."""

    def wait(self, seconds: float, most: int) -> None:
        """Wait for answers, or for the bell, for `seconds` at most; take in `most` answers at most."""

    def cut(self, call: Call) -> None:
        """End a call that hangs: what comes of it is not waited for any more."""

    def stop(self) -> None:
        """No more calls will be handed out."""

    def close(self) -> None:
        """Close what is open; there will be no calls any more."""

    def leave(self) -> None:
        """Give back, in a forked child, the descriptors: what they stand for is the parent's."""


def carrier(
    client: Client,
    poller: Poller,
    books: Books,
    answered: Callable[[Call, Verdict], object],
    post: Callable[[Callable[[], object]], object],
    *,
    timeout: float,
) -> Carrier:
    """Return what makes the calls of a client.

    Args:
        client: what they have in common.
        poller: what the driver waits with.
        books: where a failure of our own is counted.
        answered: told in the driver's thread what each call meant.
        post: has the driver do something, from any thread.
        timeout: seconds that one call may take.
    """
    kind = Wires if client.is_ordinary else Senders
    return kind(client, poller, books, answered, post, timeout=timeout)
