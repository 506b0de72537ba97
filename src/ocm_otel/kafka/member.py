"""A member of the consumer group: it reads records, has them taken, and has committed what is done, all in one thread.

When there is no room the partitions are paused, and polling goes on: the membership is kept, and records wait in Kafka.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from ocm_otel.kafka.hand import Hand, Place
from ocm_otel.kafka.offsets import Offsets
from ocm_otel.kafka.words import Teller, logger, worded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Consumer, KafkaError, TopicPartition

    from ocm_otel.gateway.figures import Figures
    from ocm_otel.kafka.taker import Taker

#: So many records, or bytes of them, are in hand at most when more are read.
_RECORDS, _BYTES = 500, 8 * 1024 * 1024
#: Seconds for which a poll waits; while records are in hand that there is no room for; and for which records are taken
#: before the group is polled again.
_IDLE, _HELD, _WORK = 0.5, 0.1, 1.0


class Lost(Exception):
    """The membership cannot go on; the message says why."""


class Member:
    """One member.

    Args:
        consumer: makes the client, given what to do with its errors.
        topics: what to subscribe to.
        taker: takes records in.
        figures: where is counted what happens.
        spool: the name of our spool.
        where: the brokers and the group, for messages.

    Attributes:
        joined: whether it is in the group.
        held: whether there is no room for records now.
        turned_at: when it last went round, on the monotonic clock.
        stopping: set to True to end it.
    """

    def __init__(
        self,
        consumer: Callable[[Callable[[KafkaError], None]], Consumer],
        topics: Iterable[str],
        taker: Taker,
        figures: Figures,
        spool: str,
        where: tuple[str, str],
    ) -> None:
        self._taker, self._figures, self._where = taker, figures, where
        self._hand = Hand()
        self._paused: set[Place] = set()
        self._fresh: set[Place] = set()  # what was paused once stays so in librdkafka when it goes and comes back
        self._fatal = ""
        self._teller = Teller()
        self.joined = self.held = self.stopping = self._more = False
        self.turned_at = time.monotonic()
        self._consumer = consumer(self._on_error)
        self._offsets = Offsets(self._consumer, self._hand, spool, figures, self._on_error)
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def turn(self) -> None:
        """Go round once: read, take, commit.

        Raises:
            Lost: the membership cannot go on.
        """
        self.turned_at = time.monotonic()
        self._read()
        if self._fatal:
            raise Lost(self._fatal)
        if self._hand or self.held:
            self.held = not self._taker.has_room(again=self.held)
        if self._hand and not self.held:
            self._work()
        else:
            self._more = False
            self._offsets.commit()
        self._pause() if self._hand or self.held else self._resume()

    def close(self) -> None:
        """Take what is in hand if there is room, commit, and leave the group."""
        if self._hand and self._taker.has_room():
            self._work()
        else:
            self._offsets.commit()
        self._consumer.close()

    def lag(self) -> int:
        """Return how many records of our partitions are not done, as far as is known without asking anybody."""
        behind = len(self._hand)
        with suppress(KafkaException):  # a partition that goes in this moment: it is another member's lag
            for one in self._consumer.position(self._consumer.assignment()):
                marks = self._consumer.get_watermark_offsets(one, cached=True)
                if one.offset >= 0 and marks is not None:
                    behind += max(0, marks[1] - one.offset)
        return behind

    # --- reading --------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Poll the group, and take in hand what there is.

        A poll may find that a partition is not ours any more: what was read of it has to be in hand by then, to be
        let go.
        """
        waiting = self.held or self._hand or self._hand.due
        message = self._consumer.poll(0 if self._more else _HELD if waiting else _IDLE)
        many = size = 0
        while message is not None:
            error = message.error()
            if error is not None:
                self._on_error(error)
            else:
                self._hand.add(message)
                many, size = many + 1, size + len(message.value() or b"")
            if many >= _RECORDS or size >= _BYTES:
                break
            message = self._consumer.poll(0)

    def _pause(self) -> None:
        """Let nothing more come of any partition that is ours."""
        ours = self._consumer.assignment()
        if new := [one for one in ours if Place(one.topic, one.partition) not in self._paused]:
            self._consumer.pause(new)
            self._paused = {Place(one.topic, one.partition) for one in ours}
            self._figures.add("pauses")

    def _resume(self) -> None:
        """Let records come again."""
        if wanted := self._paused | self._fresh:
            ours = self._consumer.assignment()
            self._consumer.resume([one for one in ours if Place(one.topic, one.partition) in wanted])
            self._paused, self._fresh = set(), set()

    # --- taking ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Take what is in hand, as far as there is room and time for it, and commit what is done."""
        self._more = False
        if not self._offsets.claim():
            return
        end = time.monotonic() + _WORK
        for place, message in self._hand.records():
            if not self._taker.take(message, in_doubt=self._offsets.in_doubt(place, message.offset())):
                self.held = True
                break
            self._hand.done(place)
            self._more = time.monotonic() > end
            if self._more or not self._taker.has_room():
                break
        self._offsets.commit()

    # --- what the group says ----------------------------------------------------------------------------------

    def _on_assign(self, _: Any, partitions: list[TopicPartition]) -> None:
        self.joined = True
        self._fresh |= {Place(one.topic, one.partition) for one in partitions}
        self._figures.add("rebalances", partitions="assigned")
        logger.info("assigned: %s", ", ".join(f"{one.topic}[{one.partition}]" for one in partitions) or "nothing")

    def _on_revoke(self, _: Any, partitions: list[TopicPartition]) -> None:
        """Commit what is done of partitions that go to another member, and let go of what is not."""
        self._figures.add("rebalances", partitions="revoked")
        self._offsets.commit()
        self._let_go(partitions)

    def _on_lost(self, _: Any, partitions: list[TopicPartition]) -> None:
        """Let go of partitions that are another member's already."""
        self._figures.add("rebalances", partitions="lost")
        self.joined = False
        self._let_go(partitions)

    def _let_go(self, partitions: list[TopicPartition]) -> None:
        places = {Place(one.topic, one.partition) for one in partitions}
        self._hand.drop(places)
        self._paused -= places
        self._fresh -= places
        self._offsets.let_go(places)

    def _on_error(self, error: KafkaError) -> None:
        """Tell of an error of the client's, or of a broker's."""
        text = worded(error, *self._where)
        self._figures.add("errors", kind=error.name())
        if error.fatal():
            self._fatal = text
        self._teller.tell(text.partition(" (")[0], "%s", text)
