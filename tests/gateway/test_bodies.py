"""Bodies are decompressed within their bounds, whatever they claim to be."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ocm_otel.gateway.bodies import NotDecodable, TooLarge, UnknownEncoding, decompress

TEXT = b"ocm.event_type " * 1000


def bare(data: bytes) -> bytes:
    """Return `data` deflated without zlib's header."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "GZIP ": gzip.compress(TEXT[:5000]) + gzip.compress(TEXT[5000:]),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "zstd": zstandard.compress(TEXT),
    "identity": TEXT,
    "": TEXT,
}


@pytest.mark.parametrize("encoding", PACKED)
def test_each_encoding_that_senders_use(encoding: str) -> None:
    """What was compressed comes back, several gzip members and any case of the name included."""
    assert decompress(PACKED[encoding], encoding, len(TEXT)) == TEXT


def test_deflate_without_its_header() -> None:
    """Some senders' deflate is the bare one; it is understood."""
    assert decompress(bare(TEXT), "deflate", len(TEXT)) == TEXT


@pytest.mark.parametrize("encoding", PACKED)
def test_one_byte_too_many(encoding: str) -> None:
    """A body that is larger than allowed once decompressed is too large, by one byte as by a million."""
    with pytest.raises(TooLarge):
        decompress(PACKED[encoding], encoding, len(TEXT) - 1)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_never_in_memory(encoding: str) -> None:
    """Of a body that would be fifty times as large as allowed no more than the bound is ever unpacked."""
    most = 1_000_000
    bomb = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress}[encoding](bytes(50 * most))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decompress(bomb, encoding, most)
        assert tracemalloc.get_traced_memory()[1] < 4 * most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_cut_body(encoding: str) -> None:
    """A compressed body without its end is not decodable."""
    for length in (0, 1, 5, len(PACKED[encoding]) - 3):
        with pytest.raises(NotDecodable):
            decompress(PACKED[encoding][:length], encoding, 1 << 20)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "snappy", "\x00"])
def test_other_encodings_are_unknown(encoding: str) -> None:
    """An encoding that cannot be read, or more than one, is said to be unknown."""
    with pytest.raises(UnknownEncoding):
        decompress(b"x", encoding, 100)


@given(st.sampled_from(["gzip", "deflate", "zstd"]), st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(encoding: str, data: bytes) -> None:
    """Random bytes raise nothing but what the room promises."""
    try:
        assert len(decompress(data, encoding, 1000)) <= 1000
    except (NotDecodable, TooLarge):
        return
