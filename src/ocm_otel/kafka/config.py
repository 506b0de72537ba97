"""What the member is told when it starts: which brokers and topics, in which group, and its bounds.

How librdkafka talks to the brokers (SASL, TLS, buffers) is in a file of its own properties. That file has the secrets:
its values are never shown, and a word of it in a message of librdkafka is covered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ocm_otel._settings import LOOPBACK
from ocm_otel.gateway.config import BadConfig
from ocm_otel.kafka.records import ENCODINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
#: Properties that decide when an offset counts as done, or from where it is read: ours, or events would be lost.
_OURS = {
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "earliest",
}
#: Where the file does not say otherwise. A topic that comes after us is seen within ten seconds, not five minutes.
_DEFAULTS = {
    "client.id": "ocm-otel",
    "partition.assignment.strategy": "cooperative-sticky",
    "queued.max.messages.kbytes": "16384",
    "log.connection.close": "false",
    "topic.metadata.refresh.interval.ms": "10000",
}
_SECRET = re.compile(r"password|secret|\.key|\.pem|token|jaas|oauthbearer|keytab|kinit", re.IGNORECASE)
_LEAST_COVERED = 3


@dataclass(frozen=True, kw_only=True)
class Config:
    """How the member is to run; each field is an option of `ocm-otel kafka`. Times are in seconds.

    Attributes:
        bootstrap_servers: the first brokers to ask, ``host:port`` parted by commas.
        config: a file of librdkafka's properties.
        group_id: the consumer group.
        traces_topics: topics of export requests of spans.
        logs_topics: topics of export requests of log records.
        encoding: one of `ENCODINGS`.
        max_waiting: with so many events waiting for the API, no more records are read.
        aside_bytes: how much of what cannot be read is kept.
        known_ids: how many ids are remembered.
        stop_timeout: how long events that are under way hold up the end.
        host: the address of health and metrics.
        port: the TCP port of health and metrics; None for none, 0 for one that is free.
        tokens: a file of bearer tokens for the metrics.
        unprotected: show metrics beyond this machine without tokens.
    """

    bootstrap_servers: str | None = None
    config: str | None = None
    group_id: str = "ocm-otel"
    traces_topics: tuple[str, ...] = ("otlp_spans",)
    logs_topics: tuple[str, ...] = ("otlp_logs",)
    encoding: str = "auto"
    max_waiting: int = 10_000
    aside_bytes: int = 64 * 1024 * 1024
    known_ids: int = 1_000_000
    stop_timeout: float = 10.0
    host: str = "127.0.0.1"
    port: int | None = None
    tokens: str | None = None
    unprotected: bool = False
    properties: Mapping[str, str] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse what could not work.

        Raises:
            BadConfig: with what to change.
        """
        for name in ("traces_topics", "logs_topics"):
            object.__setattr__(self, name, tuple(topic for topic in getattr(self, name) if topic))
        topics = [*self.traces_topics, *self.logs_topics]
        if not topics:
            raise BadConfig("there is no topic: give --traces-topic or --logs-topic")
        for topic in topics:
            if not _TOPIC.fullmatch(topic):
                raise BadConfig(f"{topic!r} is no name of a topic: it has letters, digits, dots, _ and - only")
            if topics.count(topic) > 1:
                raise BadConfig(f"the topic {topic} is given twice: a topic has spans or log records, not both")
        if self.encoding not in ENCODINGS:
            raise BadConfig(f"--encoding is one of {', '.join(ENCODINGS)}, not {self.encoding!r}")
        if self.port is not None and not (LOOPBACK.fullmatch(self.host) or self.tokens or self.unprotected):
            raise BadConfig(
                f"{self.host} can be reached from other machines: give --tokens, "
                "or --unprotected if something else protects it"
            )
        object.__setattr__(self, "properties", self._properties())

    @property
    def topics(self) -> dict[str, str]:
        """The signal of each topic."""
        return dict.fromkeys(self.traces_topics, "traces") | dict.fromkeys(self.logs_topics, "logs")

    def covered(self, text: str) -> str:
        """Return a text of librdkafka's without what is secret in the file of properties."""
        for name, value in self.properties.items():
            if _SECRET.search(name) and len(value) >= _LEAST_COVERED:
                text = text.replace(value, "***")
        return text

    def _properties(self) -> dict[str, str]:
        """Return librdkafka's properties: the file's, and ours."""
        given = read_properties(self.config) if self.config else {}
        for name, ours in _OURS.items():
            if given.get(name, ours) != ours:
                raise BadConfig(f"{self.config}: {name} is {ours} here, or events would be lost: take the line out")
        named = {"bootstrap.servers": self.bootstrap_servers} if self.bootstrap_servers else {}
        found = {**_DEFAULTS, "group.id": self.group_id, **given, **named, **_OURS}
        if not found.get("bootstrap.servers"):
            raise BadConfig("no brokers are given: --bootstrap-servers HOST:PORT, or bootstrap.servers in --config")
        return found


def read_properties(path: str) -> dict[str, str]:
    """Return the properties in a file: ``name=value`` in a line; empty lines and those that begin with # do not count.

    Raises:
        BadConfig: it cannot be read, or a line is none; what is in the line is not shown.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path} cannot be read ({type(error).__name__})") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.partition("=")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not equals or not re.fullmatch(r"[a-z0-9._]+", name.strip()):
            raise BadConfig(
                f"{path}, line {number}: a property of librdkafka is name=value, such as security.protocol=SSL"
            )
        found[name.strip()] = value.strip()
    return found
