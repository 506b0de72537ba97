"""The ids that were taken lately, kept in a file that all workers of a gateway share and that outlives them.

A sender that got no answer sends again: to the worker that took the events, to its sibling, or to the one that was
started in its place. So an id is *claimed* in the file before its event goes to the journal, and *kept* afterwards. A
claim whose worker died in between is looked up in the ledgers, where each record bears its id; and whoever takes a
ledger over tells its ids here before it delivers anything of it. There is no moment in which an event that was accepted
is known in neither place.

The file is a table of fixed size, allocated before it is used, so that no full disk can turn a write into a crash. An
id has eight places where it may stand; the oldest that is kept gives way. Only hashes of ids are in it.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

from ocm_otel.gateway.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

_HEAD = struct.Struct("<24sQ")
_MAGIC = b"ocm-otel known ids 1\n\0\0\0"
_START = 64
_ID, _AT, _BY, _MARK, _SIZE = 0, 16, 20, 22, 24  # where the parts of one place begin; the last byte is spare
_PLACE = struct.Struct("<16sIH")
_WAYS = 8
_FREE, _CLAIMED, _KEPT = range(3)
_MOST_WORKERS = 10_000


class Busy(Exception):
    """An id is being taken by somebody else in this moment: whether it counts is known soon."""


class UnusableFile(OSError):
    """The file is not one of this version."""


class Known:
    """The ids that were taken lately.

    Args:
        path: the file; it is made if it is not there.
        in_ledgers: returns the ids of all events that are in ledgers, settled or not.
        most: how many ids a new file has room for.

    Raises:
        OSError: the file cannot be made or opened, or is another's.
    """

    def __init__(self, path: Path, in_ledgers: Callable[[], Iterable[str]], most: int = 1_000_000) -> None:
        self._in_ledgers = in_ledgers
        self._inside = threading.RLock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._locks = Locks(self._file)
        try:
            with self._locked():
                self._buckets = self._prepared(path, max(1, -(-most // _WAYS)))
                self._map = mmap.mmap(self._file, _START + self._buckets * _WAYS * _SIZE)
                self._me = self._number()
        except BaseException:
            os.close(self._file)
            raise

    def _prepared(self, path: Path, buckets: int) -> int:
        """Make the file if it is new; returns how many buckets it has."""
        size = os.fstat(self._file).st_size
        if size:
            magic, buckets = _HEAD.unpack(os.pread(self._file, _HEAD.size, 0).ljust(_HEAD.size, b"\0"))
            if magic != _MAGIC or size != _START + buckets * _WAYS * _SIZE:
                raise UnusableFile(0, f"{path} was not written by this version: stop the gateway and delete it")
            return int(buckets)
        os.posix_fallocate(self._file, 0, _START + buckets * _WAYS * _SIZE)
        os.pwrite(self._file, _HEAD.pack(_MAGIC, buckets), 0)
        return buckets

    @contextmanager
    def claim(self, ids: Sequence[str | None]) -> Iterator[list[int | None]]:
        """Claim ids; those that were not kept in the block are free again at its end.

        Args:
            ids: None where an event has none.

        Yields:
            For each id its place, to be kept by `keep`; 0 where there is none, None where the id is taken already.

        Raises:
            Busy: one of them is just being claimed by somebody else; none is claimed then.
        """
        places: list[int | None] = []
        mine: set[int] = set()
        try:
            with self._locked():
                for event_id in ids:
                    place = 0 if event_id is None else self._claimed(_hash(event_id), mine)
                    places.append(place)
                    if place:
                        mine.add(place)
            yield places
        finally:
            for place in mine:
                if self._map[place + _MARK] == _CLAIMED:
                    self._map[place + _MARK] = _FREE

    def keep(self, place: int) -> None:
        """Remember an id whose event is in the journal."""
        if place:
            self._map[place + _MARK] = _KEPT

    def learn(self, ids: Iterable[str]) -> None:
        """Remember the ids of events that another process accepted."""
        with self._locked():
            for event_id in ids:
                digest = _hash(event_id)
                place = self._find(digest)
                if place is None:
                    place = self._room(digest)
                    self._write(place, digest)
                self._map[place + _MARK] = _KEPT

    def sync(self) -> None:
        """Return when the medium has the file."""
        self._map.flush()

    def close(self) -> None:
        """Let go of the file, and so of its locks; a map has a hold on them, too."""
        self._map.close()
        os.close(self._file)

    # --- the table ----------------------------------------------------------------------------------------

    def _claimed(self, digest: bytes, mine: set[int]) -> int | None:
        """Return the place where an id was claimed; None if it is taken."""
        place = self._find(digest)
        if place is not None and self._map[place + _MARK] == _CLAIMED and place not in mine:
            by = int.from_bytes(self._map[place + _BY : place + _BY + 2], "little")
            if by == self._me or self._locks.is_taken(by):
                raise Busy
            self._look_after_the_dead()
            place = self._find(digest)
        if place is not None:
            return None
        place = self._room(digest)
        self._write(place, digest)
        self._map[place + _MARK] = _CLAIMED
        return place

    def _bucket(self, digest: bytes) -> int:
        return _START + int.from_bytes(digest[:8], "little") % self._buckets * _WAYS * _SIZE

    def _find(self, digest: bytes) -> int | None:
        """Return the place of an id, None if it has none."""
        start = self._bucket(digest)
        bucket = self._map[start : start + _WAYS * _SIZE]
        at = bucket.find(digest)
        while at >= 0:
            if at % _SIZE == 0 and bucket[at + _MARK] != _FREE:
                return start + at
            at = bucket.find(digest, at + 1)
        return None

    def _room(self, digest: bytes) -> int:
        """Return a place for an id: a free one, or that of the one that was kept first.

        Raises:
            Busy: all of its places are claimed.
        """
        start = self._bucket(digest)
        bucket = self._map[start : start + _WAYS * _SIZE]
        kept = []
        for at in range(0, _WAYS * _SIZE, _SIZE):
            if bucket[at + _MARK] == _FREE:
                return start + at
            if bucket[at + _MARK] == _KEPT:
                kept.append((bucket[at + _AT : at + _BY][::-1], start + at))
        if not kept:
            raise Busy
        return min(kept)[1]

    def _write(self, place: int, digest: bytes) -> None:
        """Write an id; who is killed in the middle of it leaves the place free."""
        self._map[place + _MARK] = _FREE
        self._map[place : place + _MARK] = _PLACE.pack(digest, int(time.time()) & 0xFFFFFFFF, self._me)

    # --- the workers --------------------------------------------------------------------------------------

    def _look_after_the_dead(self) -> None:
        """Find out what became of the claims of workers that died: in a ledger is taken, anywhere else is not."""
        marks = self._map[_START + _MARK :: _SIZE]
        claims: dict[bytes, int] = {}
        at = marks.find(_CLAIMED)
        while at >= 0:
            place = _START + at * _SIZE
            digest, _, by = _PLACE.unpack(self._map[place : place + _MARK])
            if by != self._me and not self._locks.is_taken(by):
                claims[digest] = place
            at = marks.find(_CLAIMED, at + 1)
        if not claims:
            return
        for event_id in self._in_ledgers():
            place = claims.pop(_hash(event_id), 0)
            self.keep(place)
        for place in claims.values():
            self._map[place + _MARK] = _FREE

    def _number(self) -> int:
        """Return a number that no other living worker has; it is ours until our death."""
        for number in range(1, _MOST_WORKERS):
            if self._locks.take(number):
                # One that had it before us may have died with claims, which would now look like ours.
                self._me = 0
                self._locks.release(number)
                self._look_after_the_dead()
                self._locks.take(number)
                return number
        raise UnusableFile(0, "there are too many workers")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._inside:
            self._locks.take(0, wait=True)
            try:
                yield
            finally:
                self._locks.release(0)


def _hash(event_id: str) -> bytes:
    return blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
