"""The body of a request: read within its bounds, and decompressed within them.

What comes is bounded before it is kept: its size on the way, its size after decompression, and the time that it takes.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

#: What `Accept-Encoding` says of requests, where another encoding was tried (RFC 9110, section 15.5.16).
ENCODINGS = "gzip, deflate, zstd, identity"
_WINDOW = 8 * 1024 * 1024  # RFC 9659: what a decoder has to support, and no more


class TooLarge(ValueError):
    """The body is larger than it may be."""


class NotDecodable(ValueError):
    """The body is not what its content encoding says."""


class UnknownEncoding(ValueError):
    """The content encoding is none that can be read."""


def decompress(data: bytes, encoding: str, most: int) -> bytes:
    """Return a body as it was before it was compressed.

    Args:
        data: what came.
        encoding: the header ``content-encoding``, empty without one.
        most: how many bytes it may have.

    Raises:
        UnknownEncoding: there is no such encoding here, or there are several.
        NotDecodable: it is damaged or cut.
        TooLarge: it has more than `most` bytes; no more than that is ever in memory.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        found = data
    elif name in ("gzip", "x-gzip"):
        found = _inflate(data, 31, most)
    elif name == "deflate":  # zlib's form, as it should be, or the bare one, as some send it
        found = _inflate(data, 15 if data[:1] and data[0] & 15 == 8 and _fits(data) else -15, most)
    elif name == "zstd":
        found = _unzstd(data, most)
    else:
        raise UnknownEncoding("the content encoding is none of: " + ENCODINGS)
    if len(found) > most:
        raise TooLarge(f"the body has more than {most} bytes")
    return found


def _fits(data: bytes) -> bool:
    """Return whether it begins with a header of zlib's form (RFC 1950, section 2.2)."""
    return len(data) >= 2 and (data[0] * 256 + data[1]) % 31 == 0


def _inflate(data: bytes, form: int, most: int) -> bytes:
    """Return what was deflated; several gzip members follow each other as one (RFC 1952, section 2.2)."""
    parts: list[bytes] = []
    room = most + 1
    while True:
        stream = zlib.decompressobj(form)
        try:
            parts.append(stream.decompress(data, room))
        except zlib.error:
            raise NotDecodable("the body cannot be decompressed") from None
        room -= len(parts[-1])
        if room <= 0:
            raise TooLarge(f"the body has more than {most} bytes when it is decompressed")
        if not stream.eof:
            raise NotDecodable("the compressed body is cut")
        if not stream.unused_data:
            return b"".join(parts)
        if form != 31:
            raise NotDecodable("something follows the compressed body")
        data = stream.unused_data


def _unzstd(data: bytes, most: int) -> bytes:
    try:
        known = zstandard.get_frame_parameters(data).content_size
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(data, read_across_frames=True) as stream:
            found = stream.read(most + 1)
    except zstandard.ZstdError:
        raise NotDecodable("the body cannot be decompressed") from None
    if known not in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR) and len(found) < min(known, most):
        raise NotDecodable("the compressed body is cut")
    return found


class Budget:
    """How many bytes of bodies may be in memory at once, those of all requests together."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """Reserve room; False if there is none."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Give room back."""
        self._left += size


class Body:
    """Collects one body.

    Args:
        most: how many bytes it may have as it comes.
        budget: the room of all bodies.
        full: makes what is raised when there is no room for it now.
    """

    def __init__(self, most: int, budget: Budget, full: Callable[[], Exception]) -> None:
        self._most, self._budget, self._full = most, budget, full
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Take in what came.

        Raises:
            TooLarge: it is too much.
        """
        if self._size + len(part) > self._most:
            raise TooLarge(f"the body has more than {self._most} bytes")
        if not self._budget.take(len(part)):
            raise self._full()
        self._size += len(part)
        self._parts.append(part)

    def whole(self) -> bytes:
        """Return all of it."""
        return b"".join(self._parts)

    def close(self) -> None:
        """Give its room back."""
        self._budget.give(self._size)
        self._size, self._parts = 0, []
