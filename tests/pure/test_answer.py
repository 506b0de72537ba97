"""What the bytes of an answer say, however they are cut into pieces, and that nothing in them does any harm."""

from __future__ import annotations

import contextlib
import gzip

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocm_otel._answer import MOST_BODY, MOST_HEAD, Answer, NotHTTP, unpacked


def read(data, *, ended=False, piece=None):
    """Return the answer that some bytes make, fed at once or in pieces."""
    answer = Answer()
    pieces = [data] if piece is None else [data[at : at + piece] for at in range(0, len(data), piece)]
    for one in pieces:
        if answer.feed(one):
            return answer
    if ended:
        answer.end()
    return answer


# what came, and whether the connection ended then: status, body, complete, reusable
ANSWERS = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", False, (200, b"hi", True, True)),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", False, (200, b"", True, True)),
    "an empty reason": (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", False, (200, b"", True, True)),
    "bare line feeds": (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi", False, (200, b"hi", True, True)),
    "spaces around": (b"HTTP/1.1 200 OK\r\ncontent-length:  2\t\r\n\r\nhi", False, (200, b"hi", True, True)),
    "the same length twice": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi", False, (200, b"hi", True, True),
    ),
    "less than the length": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", False, (200, b"hi", False, True)),
    "cut off": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", True, (200, b"hi", True, False)),
    "surplus": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 503", False, (200, b"hi", True, False)),
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\nhi", True, (200, b"hi", True, False)),
    "until the end, not yet": (b"HTTP/1.1 200 OK\r\n\r\nhi", False, (200, b"hi", False, False)),
    "close": (b"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n", False, (200, b"", True, False)),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", False, (200, b"hi", True, False)),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", False, (204, b"", True, True)),
    "not modified": (b"HTTP/1.1 304 N\r\ncontent-length: 5\r\n\r\n", False, (304, b"", True, True)),
    "another protocol": (b"HTTP/1.1 101 Switching\r\n\r\n", False, (101, b"", True, False)),
    "hints before": (
        b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nlink: x\r\n\r\nHTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
        False, (503, b"", True, True),
    ),
    "only hints": (b"HTTP/1.1 100 Continue\r\n\r\n", False, (0, b"", False, False)),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nhi", True, (200, b"hi", True, False),
    ),
    "a length that is none": (b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nhi", True, (200, b"hi", True, False)),
    "chunks": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n",
        False, (200, b"hi", True, True),
    ),
    "chunks and a trailer": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n\r\n",
        False, (200, b"hi", True, False),
    ),
    "chunks and a length": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        False, (200, b"hi", True, False),
    ),
    "a chunk that is none": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\nxyz\r\n", False, (200, b"hi", True, False),
    ),
    "a chunk longer than it said": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi2\r\nxx\r\n0\r\n\r\n",
        False, (200, b"hi", True, False),
    ),
    "a chunk of a negative size": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\nhi", False, (200, b"", True, False),
    ),
    "chunks, cut off": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhi", True, (200, b"hi", True, False),
    ),
    "another coding": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\nhi", True, (200, b"hi", True, False),
    ),
    "an odd status": (b"HTTP/1.1 999 ?\r\ncontent-length: 0\r\n\r\n", False, (999, b"", True, True)),
}  # fmt: skip


@pytest.mark.parametrize("piece", [None, 1, 3])
@pytest.mark.parametrize("case", ANSWERS)
def test_what_an_answer_says(case, piece):
    """Status, body, whether it is complete, and whether the connection may be kept, at once or byte by byte."""
    data, ended, wanted = ANSWERS[case]
    answer = read(data, ended=ended, piece=piece)
    # Byte by byte nobody has seen the surplus yet when the answer is complete: the next call finds it.
    kept = answer.reusable if piece is None or case not in ("surplus", "chunks and a trailer") else False
    if case == "chunks" and piece is not None:  # the last line came by itself: the connection is given up, no more
        kept = True
    assert (answer.status, answer.body, answer.complete, kept) == wanted


NO_ANSWERS = {
    "another protocol": b"220 smtp.example.test ESMTP\r\n",
    "binary": b"\x00\x01\x02\xff" * 10,
    "a version of its own": b"HTTP/2 200\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a short status": b"HTTP/1.1 20\r\n\r\n",
    "a long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of noughts": b"HTTP/1.1 000 OK\r\n\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (MOST_HEAD // 6 + 1),
    "endless hints": b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_HEAD // 25 + 2),
}


@pytest.mark.parametrize("case", NO_ANSWERS)
def test_what_is_no_answer(case):
    """What cannot become an answer is said to be none, as soon as that is seen."""
    with pytest.raises(NotHTTP):
        read(NO_ANSWERS[case])


@pytest.mark.parametrize("data", [b"HTT", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-le"])
def test_an_end_within_the_head(data):
    """A connection that ends before the status was said gave no answer."""
    with pytest.raises(NotHTTP):
        read(data, ended=True)


def test_an_end_before_anything():
    """A connection that ends without a word is complete for nobody."""
    assert read(b"", ended=True).complete is False


def test_headers_that_matter():
    """The first Retry-After and the coding of the body are kept, whatever their letters."""
    answer = read(b"HTTP/1.1 429 No\r\nRETRY-AFTER: 7\r\nretry-after: 9\r\nContent-Encoding: GZIP\r\n\r\n")
    assert (answer.retry_after, answer.encoding) == ("7", "gzip")


@pytest.mark.parametrize("coding", [b"content-length: 999999999", b"transfer-encoding: chunked", b"x: y"])
def test_a_body_is_kept_up_to_a_bound(coding):
    """Past the bound the answer is complete, and its connection is not used again."""
    chunk = b"%x\r\n" % (4 * MOST_BODY) if b"chunked" in coding else b""
    answer = Answer()
    assert answer.feed(b"HTTP/1.1 200 OK\r\n" + coding + b"\r\n\r\n" + chunk) is False
    assert answer.feed(b" " * (2 * MOST_BODY)) is True
    assert (len(answer.body), answer.reusable) == (MOST_BODY, False)


def test_a_line_between_chunks_is_bounded():
    """A chunk's line that never ends is given up."""
    answer = read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"0" * (MOST_HEAD + 1))
    assert (answer.complete, answer.reusable) == (True, False)


def test_empty_lines_between_chunks_are_bounded():
    """Nothing but empty lines after a chunk is given up, too."""
    answer = read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx" + b"\r\n" * MOST_HEAD)
    assert (answer.complete, answer.reusable) == (True, False)


@given(st.binary(max_size=200), st.integers(1, 50))
@example(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n\r\n", 1)
def test_anything_can_come(data, piece):
    """No bytes raise anything but that they are no answer."""
    with contextlib.suppress(NotHTTP):
        read(data, ended=True, piece=piece)


BEGINNINGS = st.sampled_from([data for data, _, _ in ANSWERS.values()])


@given(BEGINNINGS, st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3)), max_size=4), st.integers(1, 50))
def test_anything_can_become_of_an_answer(data, changes, piece):
    """Mutated answers raise nothing else either, and say the same in pieces as at once."""
    for at, new in changes:
        data = data[:at] + new + data[at + 1 :]
    seen = []
    for cut in (None, piece):
        try:
            answer = read(data, ended=True, piece=cut)
            seen.append((answer.status, answer.retry_after, answer.encoding, answer.body))
        except NotHTTP:
            seen.append("no answer")
    assert seen[0] == seen[1]


@given(
    status=st.sampled_from([200, 202, 400, 403, 429, 500, 503]),
    bodies=st.lists(st.binary(min_size=1, max_size=300), max_size=4),
    chunked=st.booleans(),
    hints=st.integers(0, 2),
    piece=st.integers(1, 400),
)
def test_as_another_writer_says_it(status, bodies, chunked, hints, piece):
    """What h11 writes, we read: status, body, and a connection that can be kept."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    while server.next_event() is not h11.PAUSED and server.their_state is not h11.DONE:
        continue
    length = ("transfer-encoding", "chunked") if chunked else ("content-length", str(sum(map(len, bodies))))
    data = b"".join(
        server.send(h11.InformationalResponse(status_code=103, headers=[("link", "x")])) for _ in range(hints)
    )
    data += server.send(h11.Response(status_code=status, headers=[length, ("retry-after", "3")]))
    data += b"".join(server.send(h11.Data(data=body)) for body in bodies) + server.send(h11.EndOfMessage())
    at_once, in_pieces = read(data), read(data, piece=piece)
    assert (at_once.status, at_once.body, at_once.complete, at_once.reusable) == (status, b"".join(bodies), True, True)
    assert (in_pieces.status, in_pieces.body, in_pieces.retry_after) == (status, b"".join(bodies), "3")


def test_a_packed_body_is_unpacked_up_to_the_bound():
    """A bomb gives no more than the bound; what is not packed stays as it is."""
    assert unpacked(gzip.compress(b"x" * 10 * MOST_BODY)) == b"x" * MOST_BODY
    assert unpacked(b'{"status":"OK"}') == b'{"status":"OK"}'
