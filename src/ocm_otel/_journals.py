"""Which key, journal and pace the settings ask for, and what to do where they cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocm_otel._account import Account
from ocm_otel._books import Room
from ocm_otel._concert import SharedPace
from ocm_otel._journal import MemoryJournal
from ocm_otel._pace import Pace
from ocm_otel._pacefile import PaceFile
from ocm_otel._spool import Spool
from ocm_otel._tallies import fold
from ocm_otel._tally import Tally
from ocm_otel._values import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ocm_otel._books import Books
    from ocm_otel._journal import Journal
    from ocm_otel._settings import Settings


def usable_key(settings: Settings, books: Books, said: Sequence[str], *, real: bool) -> str:
    """Return the key of the account, an empty text if there is none; what is wrong with it is told, but not twice.

    Args:
        settings: where the key is, and where it goes.
        books: where it is told.
        said: what was told of the settings already.
        real: False if no call reaches the network; see `Settings.key`.
    """
    if settings.in_the_clear:
        text = "the endpoint is a plain http:// address of another machine: key and ids travel unencrypted"
        books.report("in-the-clear", text)
    try:
        return settings.key(real=real)
    except SettingsError as error:
        if not any("api_key" in text.partition(":")[0].lower() for text in said):
            books.report("no-key", "%s. Until then no event is accepted.", error)
        return ""


def open_journal(settings: Settings, key: str, books: Books, learn: Callable[[Iterable[str]], object]) -> Journal:
    """Return the journal on disk, or the one in memory if that is asked for or the disk cannot be used.

    Args:
        settings: durability, directory and bounds.
        key: the key of the account; without one nothing is accepted, and nothing is kept on disk.
        books: where it is told that there is no spool on disk.
        learn: told the ids of the events that dead processes left behind.
    """
    if not key or settings.durability == "memory":
        return _in_memory(settings, books)
    try:
        account = Account(settings.spool(), settings.endpoint, key)
    except (OSError, SettingsError) as error:
        books.add("failed_spool", type(error).__name__)
        books.report(
            "no-spool",
            "no spool on disk: %s. Events wait in memory and end with the process; set "
            "OTEL_EXPORTER_OCM_SPOOL_DIR to a directory that only this user can write to.",
            error,
        )
        return _in_memory(settings, books)
    books.room = lambda: Room(account.bytes_used(), settings.spool_max_bytes, "By")
    tally, sync = Tally(account.path, books, fold=fold), settings.durability == "fsync"
    return Spool(account, books, most_bytes=settings.spool_max_bytes, sync=sync, learn=learn, tally=tally)


def open_pace(settings: Settings, journal: Journal, books: Books) -> Pace:
    """Return the pace of a journal's events: on disk, that of all processes of the account; in memory, our own.

    Args:
        settings: concurrency, rate, timeout, and what is done without an answer.
        journal: where the events wait.
        books: where it is counted that the processes cannot meet.
    """
    timeout, careful = settings.timeout / 1000, settings.on_ambiguous == "discard"
    most, rate = settings.max_concurrency, settings.max_rate
    if isinstance(journal, Spool):
        return SharedPace(PaceFile(journal.path, books), most, rate, timeout=timeout, careful=careful)
    return Pace(most, rate, timeout=timeout, careful=careful)


def _in_memory(settings: Settings, books: Books) -> MemoryJournal:
    journal = MemoryJournal(settings.max_queue_size)
    books.room = lambda: Room(journal.waiting(), settings.max_queue_size, "{event}")
    return journal
