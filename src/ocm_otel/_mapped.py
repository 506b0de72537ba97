"""A file of fixed size that is memory: allocated before it is used, so that no full disk turns a write into a crash.

A write to it costs no system call, is in the kernel's hands at once, and survives any death of the process.

A map is let go of by forgetting it, never by closing it: another thread may just be writing to it.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class MappedFile:
    """A file, and the memory that it is mapped into as long as it is needed.

    Args:
        path: the file.
        size: its bytes, or how many of them are wanted at most.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._map: mmap.mmap | None = None

    def _make(self, head: bytes) -> None:
        """Make the file, with every byte of it allocated, and `head` at its beginning.

        Raises:
            OSError: it cannot be made; a full disk says so here, and never later.
        """
        handle = os.open(self.path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(handle, 0, self.size)
            self._map = mmap.mmap(handle, self.size)
            self._map[: len(head)] = head
        except BaseException:
            self.path.unlink()
            raise
        finally:
            os.close(handle)

    def _mapped(self, most: int) -> mmap.mmap:
        """Return the map, of at most `most` bytes; make it if there is none. A file that was cut is shorter.

        Raises:
            OSError: it cannot be mapped; FileNotFoundError if it is not there any more, or nothing is left in it.
        """
        if (data := self._map) is not None:
            return data
        handle = os.open(self.path, _FLAGS)
        try:
            self.size = min(most, os.fstat(handle).st_size)
            if self.size == 0:
                raise FileNotFoundError(errno.ENOENT, "nothing is left in it", str(self.path))
            self._map = data = mmap.mmap(handle, self.size)
        except ValueError as error:  # it was cut between two lines of ours
            raise OSError(errno.EIO, str(error), str(self.path)) from error
        finally:
            os.close(handle)
        return data

    def unmap(self) -> None:
        """Give back its memory and its file descriptor; it is mapped again when it is needed."""
        self._map = None

    def rest(self) -> None:
        """As `unmap`, unless the file was deleted and the map is all there is of it."""
        if self.path.exists():
            self.unmap()

    def remove(self) -> None:
        """Delete the file.

        Raises:
            OSError: it cannot be deleted.
        """
        self.unmap()
        self.path.unlink(missing_ok=True)
