"""What is said of librdkafka's troubles: what to do about each, and not a thousand times.

Brokers that are away make librdkafka say so several times a second, in several ways. Each kind of trouble is told at
once, and then once a minute at most.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError

logger = logging.getLogger("ocm_otel.kafka")

#: Seconds for which a kind of trouble that was told is not told again.
QUIET = 60.0
_MOST_KINDS = 200
#: Kinds of lines that come as errors as well, and are told in our own words.
_TOLD = frozenset(("FAIL", "ERROR"))
_AWAY = "no broker answers at {servers} ({told}): is --bootstrap-servers right, and can they be reached? Tried on"
_SASL = "the brokers do not take these credentials ({told}): see sasl.username and sasl.password of --config"
_TOPIC = "{told}: see --traces-topic and --logs-topic, and whether the Collector has written yet. Waited for"
_RIGHTS = "{told}: the brokers' access rules have to let this user read the topics and use the group {group}"
#: By the names of librdkafka's own codes, which begin with an underscore, and of the protocol's.
_WORDS = {
    "_ALL_BROKERS_DOWN": _AWAY,
    "_TRANSPORT": _AWAY,
    "_RESOLVE": _AWAY,
    "_AUTHENTICATION": _SASL,
    "SASL_AUTHENTICATION_FAILED": _SASL,
    "_SSL": "TLS with the brokers fails ({told}): see ssl.ca.location and security.protocol of --config",
    "_UNKNOWN_TOPIC": _TOPIC,
    "_UNKNOWN_PARTITION": _TOPIC,
    "UNKNOWN_TOPIC_OR_PART": _TOPIC,
    "TOPIC_AUTHORIZATION_FAILED": _RIGHTS,
    "GROUP_AUTHORIZATION_FAILED": _RIGHTS,
    "_MAX_POLL_EXCEEDED": "the group went on without this member, for it was held up too long: it comes back",
}
#: With these a broker says that a partition is not ours any more, or will not be.
NOT_OURS = frozenset((
    "UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "FENCED_INSTANCE_ID", "_ASSIGNMENT_LOST", "REBALANCE_IN_PROGRESS",
))  # fmt: skip


def worded(error: KafkaError, servers: str, group: str) -> str:
    """Return what an error means, and what to do about it."""
    told = error.str().rstrip(".")
    return _WORDS.get(error.name(), "{told}").format(told=told, servers=servers, group=group)


class Quiet:
    """Decides what is said, so that the same is not said too often.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[object, tuple[float, int]] = {}

    def allows(self, kind: object) -> int | None:
        """Return how often a kind was held back since it was told last, None if it is to be held back now."""
        now = self._clock()
        at, held = self._said.get(kind, (-QUIET, 0))
        if now - at < QUIET:
            self._said[kind] = (at, held + 1)
            return None
        if kind not in self._said and len(self._said) >= _MOST_KINDS:
            return None
        self._said[kind] = (now, 0)
        return held


class Teller:
    """Writes to the log, each kind of news once a minute at most.

    Args:
        quiet: decides.
    """

    def __init__(self, quiet: Quiet | None = None) -> None:
        self._quiet = quiet or Quiet()

    def tell(self, kind: object, message: str, *args: object) -> None:
        """Log `message` as a warning, unless its kind was told just now."""
        held = self._quiet.allows(kind)
        if held is not None:
            message = f"{message} ({held} more like it since)" if held else message
            logger.warning(message, *args)


class Lines(logging.Filter):
    """Lets librdkafka's own lines through, each kind once a minute, without what is secret.

    Args:
        covered: takes secrets out of a text.
        quiet: decides.
    """

    def __init__(self, covered: Callable[[str], str], quiet: Quiet | None = None) -> None:
        super().__init__()
        self._covered, self._quiet = covered, quiet or Quiet()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        text = record.getMessage()
        kind = text.partition(" ")[0]
        held = None if kind in _TOLD else self._quiet.allows(kind)
        if held is None:
            return False
        record.msg = self._covered(text) + (f" ({held} more like it since)" if held else "")
        record.args = ()
        return True


def librdkafka(covered: Callable[[str], str]) -> logging.Logger:
    """Return the logger that librdkafka is to write to."""
    found = logging.getLogger("ocm_otel.kafka.librdkafka")
    found.filters[:] = [Lines(covered)]
    return found
