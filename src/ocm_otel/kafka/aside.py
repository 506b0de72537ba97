"""Records that cannot be read, kept aside with the reason, to be looked at; they are in nobody's way.

One file a spool, a JSON object a line, beside the ledgers, readable by its owner alone. It is bounded: when it is
half full it becomes the older of two, and the one before that is gone. A record that is not kept any more is still in
Kafka, at the position that the log names, as long as the topic keeps it.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ocm_otel.kafka.records import Position

NAME = "kafka-aside.jsonl"
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class Aside:
    """The file.

    Args:
        directory: that of the account.
        most: how many bytes it and the older one may have together.
        sync: wait until the medium has each record.
    """

    def __init__(self, directory: Path, most: int, *, sync: bool = False) -> None:
        self.path = directory / NAME
        self._most, self._sync = most // 2, sync

    def keep(self, position: Position, reason: str, value: bytes) -> None:
        """Keep a record; returns when it is in the file.

        Raises:
            OSError: it cannot be written, or is larger than the file may be.
        """
        said = {
            "topic": position.topic,
            "partition": position.partition,
            "offset": position.offset,
            "timestamp": position.timestamp,
            "kept_at": round(time.time(), 3),
            "reason": reason,
            "value": base64.b64encode(value).decode(),
        }
        line = json.dumps(said).encode() + b"\n"
        if len(line) > self._most:
            raise OSError(0, "it is larger than --aside-bytes allows")
        with self._locked():
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _FLAGS, 0o600)
            try:
                size = os.fstat(handle).st_size
                if size + len(line) > self._most:
                    self.path.replace(self.path.with_suffix(".old"))
                    os.close(handle)
                    handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _FLAGS, 0o600)
                    size = 0
                self._write(handle, size, line)
            finally:
                os.close(handle)

    def _write(self, handle: int, size: int, line: bytes) -> None:
        """Write a line whole or not at all."""
        if size and os.pread(handle, 1, size - 1) != b"\n":  # who wrote the last one was killed at it
            line = b"\n" + line
        try:
            if os.write(handle, line) != len(line):
                raise OSError(0, "the disk is full")
            if self._sync:
                os.fsync(handle)
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, size)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one who writes; the lock is beside the file, for the file itself is replaced."""
        handle = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
