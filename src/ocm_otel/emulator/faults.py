"""What the emulator answers when it is told to be unwell: scripted answers, one answer for all, latency.

This is a plan, not an actor: it says what the next answer is and leaves giving it to ``app``. It knows
nothing of requests, and nothing of the rules that a healthy API follows.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from .rules import FORBIDDEN_BODY, NO_TYPE_BODY, OK_BODY

# The gateway's own wordings (AWS API Gateway, "gateway response types"); others get the standard phrase.
_BODIES = {
    200: OK_BODY,
    400: NO_TYPE_BODY,
    403: FORBIDDEN_BODY,
    429: b'{"message":"Too Many Requests"}',
    500: b'{"message":"Internal server error"}',
    502: b'{"message":"Internal server error"}',
    504: b'{"message":"Endpoint request timed out"}',
}


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else f"Status {status}"


@dataclass(frozen=True)
class Answer:
    """One answer that is given whatever the request says.

    Args:
        status: HTTP status, 200 to 599.
        body: the bytes (or text) of the body; None for what the gateway says with that status.
        headers: further response headers, such as ``{"retry-after": "2"}``.
        latency: seconds before this answer; None for the emulator's own latency.
        counted: whether the event counts although this is the answer. None: a 2xx counts, nothing else
            does. A call without a valid key or type never counts.

    Raises:
        ValueError: the status is none that a final answer can have.
    """

    status: int
    body: bytes | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    latency: float | None = None
    counted: bool | None = None

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"status {self.status!r} is no final answer: give a number from 200 to 599")

    @property
    def counts(self) -> bool:
        """Whether a call that the rules accept counts as an event under this answer."""
        return self.status < 300 if self.counted is None else self.counted

    @property
    def content(self) -> bytes:
        """The bytes of the body."""
        if self.status in (204, 304):
            return b""
        if isinstance(self.body, str):
            return self.body.encode("utf-8")
        if self.body is not None:
            return self.body
        default = json.dumps({"message": _phrase(self.status)}, separators=(",", ":")).encode()
        return _BODIES.get(self.status, default)


def _answer(given: int | Answer) -> Answer | None:
    if isinstance(given, Answer):
        return given
    return None if given == 200 else Answer(given)


class FaultPlan:
    """Which answer comes next; safe to change from any thread while the emulator runs.

    Args:
        latency: seconds before each answer.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self._lock = threading.Lock()
        self._script: deque[Answer | None] = deque()
        self._always: Answer | None = None

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
        """Forget the script and the answer for all; the latency stays."""
        with self._lock:
            self._script.clear()
            self._always = None

    def next(self) -> Answer | None:
        """Return the answer for the call at hand, or None when the rules decide."""
        with self._lock:
            return self._script.popleft() if self._script else self._always

    @property
    def left(self) -> int:
        """How many scripted answers have not been given yet."""
        with self._lock:
            return len(self._script)
