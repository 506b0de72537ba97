"""What the broker is told: what is about to be taken, before it is taken, and what is done, when it is on disk.

A commit that the broker does not take, because the partition is another member's by now, keeps records from being
taken at all. Only this room commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition

from ocm_otel.kafka.claims import Past
from ocm_otel.kafka.hand import Place
from ocm_otel.kafka.words import NOT_OURS, logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from confluent_kafka import Consumer, KafkaError

    from ocm_otel.gateway.figures import Figures
    from ocm_otel.kafka.hand import Hand

#: Seconds for which the broker's answer about an offset is waited for.
_ANSWER = 10.0


class Offsets:
    """The committed offsets of the partitions that are ours, and what is written beside them.

    Args:
        consumer: the client.
        hand: what is in hand.
        spool: the name of our spool.
        figures: where commits are counted.
        on_error: told of errors that are news.
    """

    def __init__(
        self, consumer: Consumer, hand: Hand, spool: str, figures: Figures, on_error: Callable[[KafkaError], None]
    ) -> None:
        self._consumer, self._hand, self._spool = consumer, hand, spool
        self._figures, self._on_error = figures, on_error
        self._pasts: dict[Place, Past] = {}

    def in_doubt(self, place: Place, offset: int) -> bool:
        """Return whether a record that was claimed may have been taken on another machine."""
        return self._pasts[place].in_doubt(offset)

    def claim(self) -> bool:
        """Tell the broker that what is in hand is about to be taken; False if that cannot be done now."""
        wanted = self._hand.unclaimed()
        try:
            self._learn([place for place in wanted if place not in self._pasts])
        except KafkaException as error:
            self._refused(error.args[0])
            return False
        done = self._written({place: (first, end) for place, (first, end) in wanted.items()})
        for place in done:
            self._hand.claimed[place] = wanted[place][1]
        return len(done) == len(wanted)

    def commit(self) -> None:
        """Tell the broker what is done, if there is anything that it does not know."""
        progress = self._hand.progress()
        for place in self._written(progress):
            self._hand.committed(place, *progress[place])

    def let_go(self, places: Collection[Place]) -> None:
        """Forget partitions that are not ours any more."""
        for place in places:
            self._pasts.pop(place, None)

    def _learn(self, places: list[Place]) -> None:
        """Ask what is written beside the committed offsets of partitions that are new to us."""
        if not places:
            return
        asked = [TopicPartition(place.topic, place.partition) for place in places]
        for found in self._consumer.committed(asked, timeout=_ANSWER):
            if found.error is not None:
                raise KafkaException(found.error)
            place, first = Place(found.topic, found.partition), max(0, found.offset)
            past = self._pasts[place] = Past(found.metadata, self._spool)
            if past.end > first:
                logger.warning(
                    "up to %d records of %s[%d], from offset %d on, may have been taken on another machine that broke "
                    "off: their events are ambiguous", past.end - first, place.topic, place.partition, first,
                )  # fmt: skip

    def _written(self, wanted: dict[Place, tuple[int, int | None]]) -> list[Place]:
        """Commit offsets, with what is written beside them; returns for which partitions the broker took it."""
        if not wanted:
            return []
        offsets = [
            TopicPartition(place.topic, place.partition, offset, self._pasts[place].text(offset, end))
            for place, (offset, end) in wanted.items()
        ]
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False) or []
        except KafkaException as error:
            self._refused(error.args[0])
            return []
        for one in answers:
            if one.error is not None:
                self._refused(one.error)
        self._figures.add("commits", became="done")
        return [Place(one.topic, one.partition) for one in answers if one.error is None]

    def _refused(self, error: KafkaError) -> None:
        """Count what the broker did not do; that the partition is not ours any more is no trouble."""
        self._figures.add("commits", became="refused")
        if error.name() not in NOT_OURS:
            self._on_error(error)
