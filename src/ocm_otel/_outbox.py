"""The outbox: put an event in, and it gets delivered. All doors meet here.

`put` writes the event to the journal and wakes the worker; everything else happens in the background.
This room also owns what happens to a process: its forks and its end.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from ocm_otel._account import Account
from ocm_otel._books import Books
from ocm_otel._courier import Courier
from ocm_otel._journal import MemoryJournal
from ocm_otel._pace import Pace
from ocm_otel._settings import Settings, SettingsError
from ocm_otel._spool import Spool
from ocm_otel._worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import httpx

    from ocm_otel._client import Client
    from ocm_otel._event import Event
    from ocm_otel._journal import Journal


#: Seconds without an event turned away after which the journal is said to have room again.
_CALM = 1.0


class Outbox:
    """Delivers each event that is put into it to the events API, once and soon, in the background.

    Nothing runs until the first event. May be used from any thread, from signal handlers and finalizers,
    and after a fork: the child starts with an empty outbox of the same settings.

    Args:
        settings: what to do; read from the environment if left out.
        journal: where events wait; in memory if left out.
        transport: an httpx transport to make the calls through, for tests and for set-ups of your own.
        pace: makes the pace, for tests.

    Attributes:
        settings: what it was made with.
        books: the counters.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        journal: Journal | None = None,
        transport: httpx.BaseTransport | None = None,
        pace: Callable[[], Pace] | None = None,
    ) -> None:
        said: list[str] = []
        self.settings = Settings.from_env(report=said.append) if settings is None else settings
        self._given = journal
        self._transport = transport
        self._pace = pace or (lambda: Pace(self.settings.max_concurrency, self.settings.max_rate))
        self._closed = ""
        self._set_up(said)
        _outboxes.add(self)

    def _set_up(self, said: list[str]) -> None:
        """Make all that each process has of its own."""
        self.books = Books()
        for text in said:
            self.books.report(text, "%s", text)
        self._full_at = 0.0
        self._spent = 0.0
        try:
            self._key = self.settings.key()
        except SettingsError as error:
            self._key, self._closed = "", "no-key"
            self.books.report("no-key", "%s. Until then no event is accepted.", error)
        if self.settings.in_the_clear:
            text = "the endpoint is a plain http:// address of another machine: key and ids travel unencrypted"
            self.books.report("in-the-clear", text)
        self._open()
        if self._journal.has_neighbours():
            self._worker.start()  # some of them may be dead, and have left events behind

    def _open(self) -> None:
        """Open the journal, and make what works on it; nothing runs yet."""
        self._journal = self._given or self._open_journal()
        self._courier = Courier(
            self._journal,
            self._pace(),
            self.books,
            discard=self.settings.on_ambiguous == "discard",
            max_age=(self.settings.max_age or 0) / 1000,
        )
        self._worker = Worker(
            self._courier,
            self._journal,
            self._make_client,
            self.books,
            timeout=self.settings.timeout / 1000,
            delay=self.settings.schedule_delay / 1000,
        )

    def _open_journal(self) -> Journal:
        """Return the journal that the settings ask for; the one in memory if the disk cannot be used."""
        if self._closed or self.settings.durability == "memory":
            return MemoryJournal(self.settings.max_queue_size)
        try:
            account = Account(self.settings.spool(), self.settings.endpoint, self._key)
        except (OSError, SettingsError) as error:
            self.books.report(
                "no-spool",
                "no spool on disk: %s. Events wait in memory and end with the process; set "
                "OTEL_EXPORTER_OCM_SPOOL_DIR to a directory that only this user can write to.",
                error,
            )
            return MemoryJournal(self.settings.max_queue_size)
        sync = self.settings.durability == "fsync"
        return Spool(account, self.books, most_bytes=self.settings.spool_max_bytes, sync=sync)

    def _make_client(self) -> Client:
        """Return the client; the import of httpx is paid here, in the background, at the first event."""
        with _importing:
            from ocm_otel._client import Client  # noqa: PLC0415 - see above

            client = Client(self.settings, self._key, self._transport)
            client.prepare()
            return client

    def put(self, event: Event) -> bool:
        """Accept `event` for delivery; never waits for the network, never raises.

        Returns:
            False if the event is not accepted: the queue is full, there is no key, or the outbox is closed.
            It is then counted in the books as turned away, with the reason.
        """
        if self._closed:
            self.books.add("turned_away", self._closed)
            return False
        reason = self._journal.append(event, time.time(), self._accepted)
        if reason:
            self._turn_away(reason)
            return False
        if self._full_at:
            self._make_room()
        self._worker.wake()
        return True

    def _accepted(self) -> None:
        """Book an event that the journal has."""
        self.books.add("accepted")

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was accepted before is settled.

        Args:
            timeout: seconds to wait at most. Left out: the shutdown timeout of the settings, of which time
                that was waited in vain is spent only once, until a flush succeeds; so a process that ends
                in several steps is held up by one timeout, not by one a step.

        Returns:
            True if all is settled, False if the time was up first.
        """
        if self._journal.waiting() == 0:
            return True
        started = time.monotonic()
        if timeout is not None:
            return self._worker.settled(started + timeout)
        settled = self._worker.settled(started + max(0.0, self.settings.shutdown_timeout / 1000 - self._spent))
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
        lost = self._journal.abandon()
        for _ in range(lost):
            self.books.add("dropped", "closed")
        if lost:
            self.books.tell("%s with %d events not delivered, and they are given up", why, lost)
        elif waiting > 0:
            text = "%s with %d events not delivered; they wait on disk for the next process, or `ocm-otel spool drain`"
            self.books.tell(text, why, waiting)

    def __enter__(self) -> Outbox:
        """Return the outbox itself; it is closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the outbox."""
        self.close()

    def __repr__(self) -> str:
        """Return where it delivers to, and its books."""
        now = self.books.snapshot()
        return f"<Outbox {self.settings.endpoint} accepted={now.accepted} waiting={now.waiting}>"

    def _turn_away(self, reason: str) -> None:
        """Count an event that the journal could not take, and tell when that begins."""
        self.books.add("turned_away", reason)
        if not self._full_at:
            waiting = self._journal.waiting()
            self.books.tell("no event is accepted for now (%s); %d events wait", reason, waiting)
        self._full_at = time.monotonic()

    def _make_room(self) -> None:
        """Tell that events are accepted again, once that has lasted for a moment."""
        if time.monotonic() - self._full_at > _CALM:
            self._full_at = 0.0
            self.books.tell("events are accepted again; %d were turned away", self.books.snapshot().turned_away)

    def _end(self) -> None:
        """End with the process: as `close`, within what is left of one shutdown timeout.

        A provider that shuts down after us may still hand over events, so we can be used again.
        """
        if self._closed:
            return
        settled = self.flush()
        self._worker.stop(time.monotonic() + (0.05 if settled else 0.0))
        self._abandon("the process ended")
        self._open()

    def _after_fork(self) -> None:
        """Begin anew in a child: what waits, the threads and the connections are the parent's."""
        self._journal.after_fork()
        self._set_up([])


# --- the process's outboxes -------------------------------------------------------------------------------

_outboxes: weakref.WeakSet[Outbox] = weakref.WeakSet()
_shared: dict[Settings, Outbox] = {}
_named: dict[str, Outbox] = {}
_importing = threading.Lock()


def shared(**options: object) -> Outbox:
    """Return the process's outbox, made from the environment at first use.

    Args:
        options: fields of `Settings` that win over the environment; equal settings share one outbox. What
            is no setting, or has a bad value, is reported and left out.
    """
    name = repr(sorted(options.items()))
    found = _named.get(name)
    if found is None:
        said: list[str] = []
        settings = Settings.from_env(report=said.append, **options)
        # Two threads may come here at once: both make one, without threads yet, and one of them stays.
        known = _shared.get(settings)
        found = _named.setdefault(name, known or _shared.setdefault(settings, Outbox(settings)))
        for text in said:
            found.books.report(text, "%s", text)
    return found


def existing(**options: object) -> Outbox | None:
    """Return what `shared` would return, if it has been made already."""
    return _named.get(repr(sorted(options.items())))


def _before_fork() -> None:
    """Let an import in the background end: a child would inherit its lock, and nobody to release it."""
    _importing.acquire()


def _after_fork_in_child() -> None:
    """Give every outbox of a forked child a life of its own."""
    global _importing  # noqa: PLW0603 - the lock is held by the parent's thread, and is no use here
    _importing = threading.Lock()
    for outbox in list(_outboxes):
        outbox._after_fork()  # noqa: SLF001 - our own class


def _at_exit() -> None:
    """Deliver what waits before the interpreter ends, and say what becomes of the rest."""
    for outbox in list(_outboxes):
        outbox._end()  # noqa: SLF001 - our own class


def _after_fork_in_parent() -> None:
    """Let imports go on; the lock is looked up now, for a child that forks again has another."""
    _importing.release()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
# Registered when this module is imported, which is when the first door is: before most providers are made, so
# that it runs after their own shutdown has handed over what they still had.
atexit.register(_at_exit)
