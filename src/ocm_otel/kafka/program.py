"""One process of the group, put together: an outbox, the known ids, a member, and its health."""

from __future__ import annotations

import os
import secrets
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaException

from ocm_otel._account import Account
from ocm_otel.gateway.config import BadConfig
from ocm_otel.gateway.figures import Board, Figures
from ocm_otel.gateway.guard import Secrets
from ocm_otel.gateway.intake import Intake
from ocm_otel.gateway.shared_spool import open_known, open_outbox
from ocm_otel.kafka.aside import Aside
from ocm_otel.kafka.health import Pages, Server
from ocm_otel.kafka.member import Member
from ocm_otel.kafka.taker import Bounds, Taker
from ocm_otel.kafka.words import librdkafka

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from ocm_otel._books import Snapshot
    from ocm_otel._settings import Settings
    from ocm_otel.kafka.config import Config

SPOOL_NAME = "spool-name"
_FIGURES_EVERY = 1.0
_PREFIX = "ocm_kafka_"
_HELP = {
    "messages": "Records of Kafka, by topic and what became of them.",
    "records": "Spans and log records in records that were taken, by signal.",
    "events": "Events of records that were taken: they are in the journal, by signal.",
    "duplicates": "Events among these that were there before, by signal.",
    "ambiguous": "Events that may have been taken on another machine before, by signal.",
    "rejected": "Records of telemetry whose tags make no event, by signal.",
    "commits": "Commits of offsets, by whether the broker took them.",
    "rebalances": "Changes of the group, by what became of partitions of ours.",
    "pauses": "Times that the partitions were paused, for there was no room.",
    "errors": "Errors of brokers and of the client, by kind.",
    "held": "1 while there is no room for records, else 0.",
    "lag": "Records of our partitions that are not done.",
    "outbox": "Events by what became of them; waiting is a level, the others only grow.",
}
_LEVELS = ("held", "lag", "outbox")


def spool_name(directory: Path) -> str:
    """Return the name of a spool, by which members on other machines know it; it is made with the first look.

    Raises:
        OSError: it cannot be made or read.
    """
    path, mine = directory / SPOOL_NAME, directory / f"{SPOOL_NAME}.{os.getpid()}"
    if not path.exists():
        mine.unlink(missing_ok=True)
        handle = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(8))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster
            os.link(mine, path)
        mine.unlink()
    found = path.read_text(encoding="ascii").strip()
    if len(found) != 16 or set(found) - set("0123456789abcdef"):
        raise OSError(0, f"{path} has no name in it: delete it")
    return found


class Program:
    """One process.

    Args:
        config: how to run.
        settings: those of the outbox.
        listener: where health and metrics are asked for; None for nowhere.

    Raises:
        BadConfig, SettingsError, NoSecrets, OSError: it cannot be started like this; the message says why.
    """

    def __init__(self, config: Config, settings: Settings, listener: socket.socket | None = None) -> None:
        tokens = Secrets.from_file(config.tokens) if config.tokens else None
        self._config, known = config, open_known(settings, config.known_ids)
        directory = Account(settings.spool(), settings.endpoint, settings.key()).path
        name = spool_name(directory)
        self._outbox = open_outbox(settings, known)
        self._figures = Figures(Board(), _PREFIX, _HELP, _LEVELS)
        aside = Aside(directory, config.aside_bytes, sync=settings.durability == "fsync")
        bounds = Bounds(config.topics, config.encoding, config.max_waiting)
        taker = Taker(bounds, self._outbox, Intake(self._outbox, known), aside, self._figures)
        where = (config.properties["bootstrap.servers"], config.properties["group.id"])
        self._member = Member(self._consumer, config.topics, taker, self._figures, name, where)
        self._server = Server(Pages(self._member, self._figures, tokens), listener) if listener is not None else None
        self._shown_at = 0.0

    def run(self, ready: Callable[[], object]) -> Snapshot:
        """Read and take until SIGTERM or SIGINT, then end what is under way; returns the books.

        Args:
            ready: called when it begins.

        Raises:
            Lost: the membership cannot go on.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self._member, "stopping", True))
        ready()
        try:
            while not self._member.stopping:
                self._member.turn()
                self._show()
        finally:
            self._member.stopping = True
            try:
                self._member.close()
            finally:
                self._outbox.close(self._config.stop_timeout)
                if self._server is not None:
                    self._server.close()
        return self._outbox.books.snapshot()

    def _show(self) -> None:
        """Show the figures, now and then."""
        now = time.monotonic()
        if now - self._shown_at < _FIGURES_EVERY:
            return
        self._shown_at = now
        self._figures.set("held", int(self._member.held))
        self._figures.set("lag", self._member.lag())
        self._figures.show(self._outbox.books.snapshot())

    def _consumer(self, on_error: Callable[..., None]) -> Consumer:
        """Return the client.

        Raises:
            BadConfig: librdkafka does not take these properties.
        """
        properties: dict[str, Any] = {**self._config.properties, "error_cb": on_error}
        try:
            return Consumer(properties, logger=librdkafka(self._config.covered))
        except (KafkaException, ValueError, TypeError) as error:
            told = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise BadConfig(f"librdkafka does not take this (see --config): {self._config.covered(told)}") from None
