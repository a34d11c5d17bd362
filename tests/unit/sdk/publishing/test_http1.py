"""HTTP/1.1 answers, however they are cut up on the way."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse_sdk.publishing.http1 import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    Answer,
    AnswerReader,
    MalformedAnswer,
    request_bytes,
)

LENGTH = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nRetry-After: 7\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
TO_THE_END = b"HTTP/1.0 503 Busy\r\n\r\nhello"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + LENGTH
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def read(data: bytes, cuts: list[int], *, end: bool) -> Answer:
    reader = AnswerReader()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, stop in pairwise(places):
        assert reader.answer is None, "it said that it was done before it was"
        reader.feed(data[start:stop])
    if end:
        reader.end()
    assert reader.answer is not None
    return reader.answer


@given(cuts=st.lists(st.integers(0, 500), max_size=8))
def test_answers_are_read_wherever_they_are_cut(cuts: list[int]) -> None:
    assert read(LENGTH, cuts, end=False) == (202, {"content-length": "5", "retry-after": "7"}, b"hello", True)
    assert read(CHUNKED, cuts, end=False)[2:] == (b"hello", True)
    assert read(TO_THE_END, cuts, end=True) == (503, {}, b"hello", False)
    assert read(INTERIM, cuts, end=False)[0::2] == (202, b"hello")
    assert read(EMPTY, cuts, end=False)[0::2] == (204, b"")


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK", False),
    ],
)
def test_a_connection_is_used_again_where_it_may_be(head: bytes, reusable: bool) -> None:
    assert read(head, [], end=False).reusable is reusable


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n Folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES_MAX,
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        AnswerReader().feed(data)


def test_a_body_without_end_is_refused() -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    reader.feed(b"x" * BODY_BYTES_MAX)
    with pytest.raises(MalformedAnswer, match="over"):
        reader.feed(b"x")


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", LENGTH[:-1], CHUNKED[:-2]])
def test_an_answer_that_ends_too_early_is_none(data: bytes) -> None:
    reader = AnswerReader()
    reader.feed(data)
    with pytest.raises(MalformedAnswer, match="ended within"):
        reader.end()


def test_a_header_cannot_break_a_request() -> None:
    assert request_bytes("POST", "/x", "h", {"A": "b"}, b"body") == (
        b"POST /x HTTP/1.1\r\nHost: h\r\nA: b\r\nContent-Length: 4\r\n\r\nbody"
    )
    with pytest.raises(ValueError, match="line break"):
        request_bytes("POST", "/x", "h", {"A": "b\r\nC: d"}, b"")
