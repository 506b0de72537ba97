"""One answer of HTTP/1.1, read as it comes in: bytes become a status, what matters of the head, and a bounded body.

The rules are RFC 9112's, sections 4 to 7, as far as a caller needs them who sends one GET at a time and reads three
things of the answer. Whatever is unusual costs the connection, never the answer: once the status has been said it
counts, whatever becomes of the body.

Pure: bytes come in, no socket, no clock.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from ocm_otel._head import BODILESS, NotHTTP, read_head

if TYPE_CHECKING:
    from ocm_otel._head import Head

#: How much of a body is read: an answer of the API has some hundred bytes.
MOST_BODY = 64 * 1024
#: How much of heads is read, those of 1xx answers included, and of the lines between chunks.
MOST_HEAD = 64 * 1024

_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_EMPTY_LINE = re.compile(rb"\r?\n\r?\n")


class Answer:
    """Takes in the bytes of one answer.

    Attributes:
        status: the HTTP status, 0 as long as it has not been said.
        retry_after: the header of that name, as it came.
        encoding: the header ``content-encoding``, empty without one.
        body: what came of the body, up to `MOST_BODY`.
        complete: True once nothing more is wanted of the connection.
        reusable: True if the connection may be used for another call: the answer ended where it said.
    """

    status = 0
    retry_after: str | None = None
    encoding = ""
    body = b""
    complete = False
    reusable = False
    _rest = b""
    _heads = 0
    _left: int | None = None  # bytes of the body (or of its chunk) still to come; None: until the end
    _chunked = False
    _between = False  # the end of a chunk is to come

    def feed(self, data: bytes) -> bool:
        """Take in what came; returns whether the answer is complete.

        Raises:
            NotHTTP: what came cannot be the beginning of an answer.
        """
        if not self._rest and not self.status and (end := data.find(b"\r\n\r\n")) >= 0:
            status, keeps, length, _, _, retry_after, encoding, plain = read_head(data[:end])
            if plain and end + 4 + (length or 0) == len(data) < MOST_BODY and length is not None:
                # All of it came in one piece, as usual.
                self.status, self.reusable, self.body, self.complete = status, keeps, data[end + 4 :], True
                if retry_after is not None or encoding:
                    self.retry_after, self.encoding = retry_after, encoding
                return True
        self._rest = data if not self._rest else self._rest + data
        while not self.status:
            if not self._take_head():
                return False
        if not self.complete:
            if self._chunked:
                self._take_chunks()
            else:
                self._take_body()
        return self.complete

    def end(self) -> None:
        """Note that the connection ended.

        Raises:
            NotHTTP: before a status had been said, and what came is none.
        """
        if not self.status:
            if self._rest:
                msg = "the connection ended within the head of the answer"
                raise NotHTTP(msg)
            return
        self.complete, self.reusable = True, False

    # --- the head -----------------------------------------------------------------------------------------

    def _take_head(self) -> bool:
        """Take in one head, a 1xx's or the answer's own; returns False if more must come first."""
        rest = self._rest
        end = rest.find(b"\r\n\r\n")
        after = end + 4
        if end < 0:
            found = _EMPTY_LINE.search(rest)
            if found is None:
                if not b"HTTP/1.".startswith(rest[:7]) or self._heads + len(rest) > MOST_HEAD:
                    raise NotHTTP
                return False
            end, after = found.span()
        self._heads += after
        head = read_head(rest[:end])
        if self._heads > MOST_HEAD:
            raise NotHTTP
        self._rest = rest[after:]
        if not 100 <= head.status < 200 or head.status == 101:
            self._take(head)
        return True

    def _take(self, head: Head) -> None:
        """Take what matters of the answer's head: how long its body is, and what the verdict needs."""
        status, self.retry_after, self.encoding = head.status, head.retry_after, head.encoding
        self.status = status
        self.reusable = head.keeps
        if head.length is not None and head.plain:
            self._left = head.length
        elif status in BODILESS:
            self._finish(bodiless=status != 101)
        elif head.coding:
            self._chunked = head.coding == b"chunked"
            self._left = 0 if self._chunked else None
            self.reusable = self.reusable and self._chunked and not head.measured
        else:
            self.reusable = False

    # --- the body -----------------------------------------------------------------------------------------

    def _take_body(self) -> None:
        """Take in a body of known length, or one that lasts as long as the connection."""
        rest = self._rest
        if self._left is None:
            self._keep(rest)
            self._rest = b""
            return
        part = rest[: self._left]
        self._rest = rest[self._left :]
        self._left -= len(part)
        self._keep(part)
        if not self._left:
            self._finish()

    def _take_chunks(self) -> None:
        """Take in the chunks that are there; a chunk that is none ends the body."""
        while not self.complete:
            if self._left:
                part = self._rest[: self._left]
                if not part:
                    return
                self._rest = self._rest[len(part) :]
                self._left -= len(part)
                self._keep(part)
                continue
            line, found, rest = self._rest.partition(b"\n")
            if not found:
                if len(line) > MOST_HEAD:
                    self._break()
                return
            self._heads += len(line) + 1
            self._take_line(line.rstrip(b"\r"), rest)

    def _take_line(self, line: bytes, rest: bytes) -> None:
        """Take in a line between the chunks: the end of one, or the size of the next."""
        size = None if self._between else _CHUNK.fullmatch(line)
        if self._heads > MOST_HEAD or (line if self._between else size is None):
            self._break()
        elif size is None or int(size[1], 16):
            self._rest, self._left, self._between = rest, int(size[1], 16) if size else 0, size is not None
        else:
            # What follows is a trailer or an empty line: it is not waited for, and not read if it is longer.
            self._rest = b"" if rest in (b"\r\n", b"\n") else b"?"
            self._finish()

    def _keep(self, part: bytes) -> None:
        """Keep a part of the body, up to the bound; past it the rest is not worth its reading."""
        self.body = part if not self.body else self.body + part
        if len(self.body) >= MOST_BODY:
            self.body = self.body[:MOST_BODY]
            self._break()

    def _finish(self, *, bodiless: bool = True) -> None:
        """The answer ended where it said; what came after it, nobody asked for."""
        self.complete = True
        self.reusable = self.reusable and bodiless and not self._rest

    def _break(self) -> None:
        """No more of this body, and no more of this connection."""
        self.complete, self.reusable = True, False


def unpacked(body: bytes) -> bytes:
    """Return what a gzip or deflate body says, up to a bound; any other body as it is."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MOST_BODY)
    except zlib.error:
        return body
