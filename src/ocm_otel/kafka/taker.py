"""From a record to the journal: what it says is on disk before the record counts as done.

A record that cannot be read is kept aside and counts as done, so that it is in nobody's way. One that there is no room
for is to be given again, as is one whose ids somebody else is taking in this moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ocm_otel.gateway.facts import Malformed
from ocm_otel.kafka.records import Position, looks_misplaced, numbered, read
from ocm_otel.kafka.words import Teller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ocm_otel._outbox import Outbox
    from ocm_otel.gateway.facts import Batch
    from ocm_otel.gateway.figures import Figures
    from ocm_otel.gateway.intake import Intake
    from ocm_otel.kafka.aside import Aside


class Bounds(NamedTuple):
    """What is read, and until when.

    Attributes:
        topics: the signal of each topic.
        encoding: how its records are encoded.
        max_waiting: with so many events waiting for the API, no more records are taken.
    """

    topics: Mapping[str, str]
    encoding: str
    max_waiting: int


class Taker:
    """Takes records in.

    Args:
        bounds: what is read, and until when.
        outbox: where events go.
        intake: how they get there once.
        aside: where records go that cannot be read.
        figures: where they are counted.
    """

    def __init__(self, bounds: Bounds, outbox: Outbox, intake: Intake, aside: Aside, figures: Figures) -> None:
        self._bounds, self._outbox, self._intake = bounds, outbox, intake
        self._aside, self._figures, self._teller = aside, figures, Teller()
        self._discard = outbox.settings.on_ambiguous == "discard"

    def has_room(self, *, again: bool = False) -> bool:
        """Return whether more records may be taken.

        Args:
            again: whether there was none: then there is some when half of what waited is delivered.
        """
        most = self._bounds.max_waiting // 2 if again else self._bounds.max_waiting
        return self._intake.has_room and self._outbox.books.snapshot().waiting < max(1, most)

    def take(self, message: Any, *, in_doubt: bool = False) -> bool:
        """Take a record in; True when it is done, False if it is to be given again.

        Args:
            message: a record of confluent-kafka's.
            in_doubt: whether it may have been taken on another machine.
        """
        topic, value = message.topic(), message.value()
        signal = self._bounds.topics[topic]
        position = Position(topic, message.partition(), message.offset(), message.timestamp()[1])
        if value is None:  # what deletes a key from a compacted topic
            return self._count(topic, "empty")
        try:
            batch = read(signal, self._bounds.encoding, value)
        except Malformed as error:
            return self._put_aside(position, str(error), value)
        except Exception as error:  # noqa: BLE001 - what came from outside must not stop us; it is kept, counted and told
            return self._put_aside(position, f"it could not be read ({type(error).__name__})", value)
        if looks_misplaced(batch, value):
            self._outbox.books.report(
                ("kafka", topic), "the records of topic %s bear the names of tags, and no %s has one: is it read as %s"
                " by mistake?", topic, "span" if signal == "traces" else "log record", signal,
            )  # fmt: skip
        if in_doubt and batch.facts and self._discard:
            self._figures.add("ambiguous", len(batch.facts), door=signal)
            return self._count(topic, "discarded")
        return self._put(position, numbered(batch, position, value), signal, value, in_doubt=in_doubt)

    def _put(self, position: Position, batch: Batch, signal: str, value: bytes, *, in_doubt: bool) -> bool:
        """Put the events of a record into the journal."""
        try:
            outcome = self._intake.take(batch)
        except OSError as error:  # of the file of known ids: it may pass
            self._teller.tell("unknown", "the known ids cannot be used (%s): tried on", type(error).__name__)
            return False
        except Exception as error:  # noqa: BLE001 - as above
            return self._put_aside(position, f"it could not be taken in ({type(error).__name__})", value)
        if outcome.retry:
            return False
        for name, many in (
            ("records", batch.records),
            ("events", outcome.events),
            ("duplicates", outcome.duplicates),
            ("ambiguous", in_doubt * (outcome.events - outcome.duplicates)),
            ("rejected", outcome.rejected),
        ):
            if many:
                self._figures.add(name, many, door=signal)
        return self._count(position.topic, "taken")

    def _put_aside(self, position: Position, reason: str, value: bytes) -> bool:
        """Keep a record aside, and say so."""
        try:
            self._aside.keep(position, reason, value)
        except OSError as error:
            why = error.strerror or type(error).__name__
            self._teller.tell(("aside", why), "a record could not be kept aside (%s), %s: %s", why, reason, position)
            return self._count(position.topic, "lost_aside")
        self._teller.tell(reason, "a record was put aside, %s: %s; see %s", reason, position, self._aside.path)
        return self._count(position.topic, "aside")

    def _count(self, topic: str, became: str) -> bool:
        self._figures.add("messages", topic=topic, became=became)
        return True
