"""Locks on single bytes of a file, which end with the process that has them, whatever its death.

They belong to the open file (Linux, ``fcntl`` with ``F_OFD_SETLK``): closing another handle of the same file does not
release them, as it would with POSIX's own, and two users in one process exclude each other as two processes do.
"""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux: type, whence, start, length, pid


class Locks:
    """The locks of one open file.

    Args:
        handle: the file; its owner closes it.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def take(self, byte: int, *, wait: bool = False) -> bool:
        """Lock a byte; False if somebody else has it, and that is not to be waited for."""
        how = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
        try:
            fcntl.fcntl(self._handle, how, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self, byte: int) -> None:
        """Unlock a byte."""
        fcntl.fcntl(self._handle, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, byte, 1, 0))

    def is_taken(self, byte: int) -> bool:
        """Return whether somebody else has a byte; not to be asked of one's own, which would be lost by it."""
        if not self.take(byte):
            return True
        self.release(byte)
        return False
