"""The outbox: put an event in, and it gets delivered. All doors meet here.

`put` writes the event to the journal and wakes the worker; everything else happens in the background.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ocm_otel._books import Books
from ocm_otel._courier import Courier
from ocm_otel._diversion import diverted, opened
from ocm_otel._event import Event
from ocm_otel._journals import open_journal, open_pace, usable_key
from ocm_otel._meters import observe
from ocm_otel._process import here, importing, on_sigterm, register
from ocm_otel._recent import Recent
from ocm_otel._settings import Settings
from ocm_otel._threads import hindrances
from ocm_otel._worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import MeterProvider

    from ocm_otel._client import Client
    from ocm_otel._httpx import Transport
    from ocm_otel._journal import Journal, Refused
    from ocm_otel._pace import Pace

#: Seconds of the shutdown timeout, a quarter of it at most, that are not waited but kept for putting things away.
_PUTTING_AWAY = 0.25


class Outbox:
    """Delivers each event that is put into it to the events API, once and soon, in the background.

    Nothing runs until the first event. May be used from any thread, from signal handlers and finalizers,
    and after a fork: the child starts with an empty outbox of the same settings.

    Args:
        settings: what to do; read from the environment if left out.
        journal: where events wait; in memory if left out.
        transport: an httpx transport or client to make the calls through, for set-ups of your own and for tests.
        pace: makes the pace, for tests.
        meter_provider: where to show the books as metrics; the global provider if left out and
            ``OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED`` is true, else nowhere.
        recent: the ids that were told lately; kept for this outbox alone if left out.
        said: what there is to say of settings that could not be used.

    Attributes:
        settings: what it was made with.
        books: the counters.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        journal: Journal | None = None,
        transport: Transport | None = None,
        pace: Callable[[], Pace] | None = None,
        meter_provider: MeterProvider | None = None,
        recent: Recent | None = None,
        said: Sequence[str] = (),
    ) -> None:
        said = list(said)
        self.settings = Settings.from_env(report=said.append) if settings is None else settings
        self._given, self._transport, self._pace = journal, transport, pace
        self._closed = ""
        self._recent, self._meter_provider = recent or Recent(), meter_provider
        self._set_up(said)
        register(self)

    def _set_up(self, said: list[str]) -> None:
        """Make all that each process has of its own."""
        self.books = Books()
        self._accepted = self.books.counter("accepted")
        for text in [*said, *hindrances()]:
            self.books.report(text, "%s", text)
        self._spent, self._veil = 0.0, self.settings.user_id_hash_key or ""
        self._key = usable_key(self.settings, self.books, said, real=self._transport is None)
        self._closed = self._closed or ("" if self._key else "no-key")
        observe(self, self._meter_provider)
        self._open()
        if self._journal.has_neighbours():
            self._worker.start()  # some of them may be dead, and have left events behind

    def _open(self) -> None:
        """Open the journal, and make what works on it; nothing runs yet."""
        self._journal = self._given or open_journal(self.settings, self._key, self.books, self._recent.learn)
        discard, max_age = self.settings.on_ambiguous == "discard", (self.settings.max_age or 0) / 1000
        pace = self._pace() if self._pace else open_pace(self.settings, self._journal, self.books)
        self._courier = Courier(self._journal, pace, self.books, discard=discard, max_age=max_age)
        timeout, delay = self.settings.timeout / 1000, self.settings.schedule_delay / 1000
        self._worker = Worker(self._courier, self._journal, self._make_client, self.books, timeout=timeout, delay=delay)

    def _make_client(self) -> Client:
        """Return the client; its import is paid here, in the background, at the first event."""
        with importing:
            from ocm_otel._client import Client

            client = Client(self.settings, self._key, self._transport)
            client.prepare()
            return client

    def put(self, event: Event) -> bool:
        """Accept `event` for delivery; never waits for the network, never raises.

        Returns:
            True as well if an event with its `event_id` was accepted lately: that one is delivered, and a note
            in the books counts this one. False if the event is not accepted: the queue is full, there is no key,
            or the outbox is closed. It is then counted in the books as turned away, with the reason.
        """
        try:
            return self.accept(event.query(), event.event_id)
        except Exception as error:  # noqa: BLE001 - the border to the application: what is no event, say
            return self._turned_away(f"failed-{type(error).__name__}")

    def accept(self, query: str, event_id: str | None) -> bool:
        """Do as `put` with an event of which only `Event.query` and its id are at hand, as in a door."""
        here()
        if opened and (instead := diverted(self)) is not None:
            return instead.take(Event.from_query(query, event_id))
        if self._veil:
            query = Event.from_query(query).veiled(self._veil).query()
        if event_id is not None and not self._recent.claim(event_id):
            self.books.add("duplicate", "event_id")
            return True
        reason = "failed"
        try:
            reason = self._closed or self._journal.append(query, time.time(), self._accepted, event_id)
        except Exception as error:  # noqa: BLE001 - the border to the application
            reason = f"failed-{type(error).__name__}"
        finally:
            if event_id is not None:
                self._recent.forget(event_id) if reason else self._recent.keep(event_id)
        if reason:
            return self._turned_away(reason)
        if self.books.turning_away:
            self.books.has_room()
        self._worker.wake()
        return True

    def _turned_away(self, reason: str) -> bool:
        """Book an event that is not accepted; returns False."""
        self.books.turn_away(reason, None if self._closed else self._journal.waiting())
        return False

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was accepted before is settled.

        Args:
            timeout: seconds to wait at most. Left out: the shutdown timeout of the settings, spent in vain only
                once until a flush succeeds; so a process that ends in several steps waits for one timeout.

        Returns:
            True if all is settled, False if the time was up first.
        """
        here()
        if opened and (instead := diverted(self)) is not None and not instead.flush(timeout):
            return False
        if self._journal.waiting() == 0:
            return True
        started = time.monotonic()
        if timeout is not None:
            return self._worker.settled(started + timeout)
        limit = self.settings.shutdown_timeout / 1000
        settled = self._worker.settled(started + max(0.0, limit - min(_PUTTING_AWAY, limit / 4) - self._spent))
        self._spent = 0.0 if settled else self._spent + time.monotonic() - started
        return settled

    def close(self, timeout: float | None = None) -> bool:
        """Deliver what waits, then stop; what is put in later is not accepted.

        Args:
            timeout: seconds to wait at most; the shutdown timeout of the settings if left out.

        Returns:
            True if all was settled in time. What was not is given up, counted and told.
        """
        limit = self.settings.shutdown_timeout / 1000 if timeout is None else timeout
        end = time.monotonic() + limit
        self._closed = self._closed or "closed"
        settled = self.flush(limit)
        self._worker.stop(end + 0.05)
        self._abandon("the outbox was closed")
        return settled

    def _abandon(self, why: str) -> None:
        """Let go of the journal; say what stays on disk, and book and say what ends with it."""
        waiting = self._journal.waiting()
        self._courier.abandon()
        self.books.end(why, self._journal.abandon(), waiting)

    async def aflush(self, timeout: float | None = None) -> bool:
        """Do as `flush` does, without holding up the event loop."""
        from asyncio import to_thread  # most applications have no loop, and need not load one

        return await to_thread(self.flush, timeout)

    def flush_on_sigterm(self) -> None:
        """When SIGTERM comes, deliver what waits, then do what would have been done without us.

        Only for those who want it: on disk nothing is lost without it, and the next process delivers.
        To be called from the main thread, after other handlers are set.
        """
        on_sigterm(self.flush)

    def oldest(self) -> float | None:
        """Return when the event that waits longest was accepted, seconds since 1970; None if none waits."""
        return self._courier.oldest()

    def refused(self) -> Sequence[Refused]:
        """Return the events that the API would not have, the oldest first; on disk, of all processes."""
        return self._journal.refused()

    def __enter__(self) -> Outbox:
        """Return the outbox itself; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the outbox."""
        self.close()

    def __repr__(self) -> str:
        """Return where it delivers to, and its books."""
        now = self.books.snapshot()
        return f"<Outbox {self.settings.endpoint} accepted={now.accepted} waiting={now.waiting}>"

    def at_exit(self, spent: float) -> None:
        """End with the process: as `close`, within what is left of one shutdown timeout.

        A provider that shuts down after us may still hand over events, so we can be used again.
        """
        if self._closed:
            return
        self._spent += spent
        settled = self.flush()
        self._worker.stop(time.monotonic() + (0.05 if settled else 0.0))
        self._abandon("the process ended")
        self._open()

    def after_fork(self) -> None:
        """Begin anew in a child: what waits, the threads and the connections are the parent's."""
        self._journal.after_fork()
        self._worker.leave()
        self._set_up([])
