"""The books as OpenTelemetry metrics, through the application's own meter provider.

All instruments but one are observed when the application's reader asks, so nothing is lost in the order in
which zero-code set-ups make their providers, and a number costs nothing until somebody looks; that holds for
capacities, too, which do not change. The one that cannot be observed is the histogram of delivery lag; it is
recorded as events are delivered.

Names: our events are neither spans nor log records, so OpenTelemetry's ``otel.sdk.*`` names do not fit what
is counted here; they are ``ocm.events.*``, with ``error.type`` for a reason, as the semantic conventions
have it. The switch is the SDK's own, ``OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakSet, ref

from opentelemetry.metrics import Observation, get_meter_provider

from ocm_otel._variables import metrics_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider

    from ocm_otel._books import Books

#: Counters by the column of the books that they show.
COUNTERS = {
    "accepted": "Events taken for delivery.",
    "adopted": "Events taken over from a process that died.",
    "delivered": "Events that the API has counted.",
    "refused": "Events that the API would not have, by reason; they are kept.",
    "dropped": "Events that were accepted and given up, by reason.",
    "turned_away": "Events that were not accepted, by reason.",
    "ambiguous": "Calls that may have counted although no answer says so, by verdict.",
    "retried": "Calls that had to be made again, by verdict.",
}

#: How full it is, as name, unit and description. Gauges: all processes of an account see the same room on disk, so
#: that adding them up would be wrong. In memory, what is used is what waits.
ROOM = (
    ("ocm.spool.used", "By", "Room that waiting events take on disk, those of all processes of the account."),
    ("ocm.spool.capacity", "By", "Room that they may take."),
    ("ocm.events.capacity", "{event}", "How many events may wait in memory, where none wait on disk."),
)


class Observed(Protocol):
    """Something that keeps books."""

    books: Books

    def oldest(self) -> float | None:
        """Return when the event that waits longest was accepted, seconds since 1970."""


class _Shown(NamedTuple):
    provider: ref[MeterProvider]
    was_global: bool
    outboxes: WeakSet[Observed]
    lag: Histogram


#: Each provider has one set of instruments, which shows all outboxes that live. (logfire's provider has no hash.)
_observed: list[_Shown] = []


def observe(outbox: Observed, meter_provider: MeterProvider | None = None) -> None:
    """Show the books of `outbox` in the application's metrics, as long as the outbox lives.

    Args:
        outbox: whose books; those of several are added up.
        meter_provider: where to; if left out the global one, provided that OpenTelemetry's own metrics are wanted.
    """
    if meter_provider is None and not metrics_wanted():
        return
    outboxes, lag = _instruments(get_meter_provider() if meter_provider is None else meter_provider)
    outboxes.add(outbox)

    def record(seconds: float) -> None:
        lag.record(max(0.0, seconds))

    outbox.books.on_lag = record


def _instruments(provider: MeterProvider) -> tuple[WeakSet[Observed], Histogram]:
    """Return the outboxes that a provider's instruments show, and the instrument that is recorded.

    Before the application sets its provider, the global one is OpenTelemetry's own stand-in, and what it makes
    becomes real when the other is set: they are the same one, and its instruments are not made twice.
    """
    is_global = provider is get_meter_provider()
    _observed[:] = [shown for shown in _observed if shown.provider() is not None]
    for shown in _observed:
        if shown.provider() is provider or (is_global and shown.was_global):
            return shown.outboxes, shown.lag
    outboxes, lag = _make_instruments(provider.get_meter("ocm_otel"))
    _observed.append(_Shown(ref(provider), is_global, outboxes, lag))
    return outboxes, lag


def _make_instruments(meter: Meter) -> tuple[WeakSet[Observed], Histogram]:
    """Make the instruments; returns the outboxes that they show, none yet, and the one that is recorded."""
    outboxes: WeakSet[Observed] = WeakSet()
    for column, description in COUNTERS.items():
        meter.create_observable_counter(
            f"ocm.events.{column}", [_column(outboxes, column)], unit="{event}", description=description
        )
    meter.create_observable_up_down_counter(
        "ocm.events.waiting",
        [_number(outboxes, lambda all_: sum(one.books.snapshot().waiting for one in all_))],
        unit="{event}",
        description="Events that are accepted and not settled.",
    )
    meter.create_observable_gauge(
        "ocm.events.oldest.age",
        [_number(outboxes, _age)],
        unit="s",
        description="How long the event that waits longest has been waiting.",
    )
    for name, unit, description in ROOM:
        meter.create_observable_gauge(name, [_room(outboxes, name, unit)], unit=unit, description=description)
    description = "From the acceptance of an event to the API's answer."
    return outboxes, meter.create_histogram("ocm.events.lag", unit="s", description=description)


def _column(outboxes: WeakSet[Observed], column: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Return what reads one column: by reason where there are reasons, else as one number."""

    def read(_: CallbackOptions) -> Iterable[Observation]:
        counts: dict[str, int] = {}
        for outbox in list(outboxes):
            now = outbox.books.snapshot()
            for reason, number in (now.reasons.get(column) or {"": getattr(now, column)}).items():
                counts[reason] = counts.get(reason, 0) + number
        return [
            Observation(number, {"error.type": reason} if reason else {})
            for reason, number in counts.items()
            if reason or number or len(counts) == 1
        ]

    return read


def _number(
    outboxes: WeakSet[Observed], value: Callable[[list[Observed]], float]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Return what reads one number."""

    def read(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value(list(outboxes)))]

    return read


def _room(outboxes: WeakSet[Observed], name: str, unit: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Return what reads how full it is, where that is counted in this unit."""

    def read(_: CallbackOptions) -> Iterable[Observation]:
        rooms = [room for outbox in list(outboxes) if (room := outbox.books.room()) is not None and room.unit == unit]
        number = sum(room.most if name.endswith("capacity") else room.used for room in rooms)
        return [Observation(number)] if rooms else []

    return read


def _age(outboxes: list[Observed]) -> float:
    """Return the seconds that the oldest event has been waiting; 0 if none waits."""
    oldest = [at for outbox in outboxes if (at := outbox.oldest()) is not None]
    return max(0.0, time.time() - min(oldest)) if oldest else 0.0
