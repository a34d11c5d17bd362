"""A head that is known is read as the parser would read it, and what is not the same is not read at all."""

from __future__ import annotations

from typing import NamedTuple

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.api.known_head import HEAD_BYTES_MAX, known_head

KEY = b"a key"


class Parsed(NamedTuple):
    method: bytes
    url: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    keeps_alive: bool
    messages: int


class Reader:
    """What the parser makes of some bytes."""

    def __init__(self) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.begun = self.complete = 0
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def parsed(data: bytes) -> Parsed | None:
    """The one request that these bytes are; None where they are something else."""
    reader = Reader()
    try:
        reader.parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    if not reader.begun == reader.complete == 1:
        return None
    parser = reader.parser
    keeps = parser.should_keep_alive() and parser.get_http_version() == "1.1"
    return Parsed(parser.get_method(), reader.url, reader.headers, reader.body, keeps, reader.complete)


def request(
    body: bytes = b"{}",
    *,
    url: bytes = b"/v1/events",
    more: bytes = b"",
    after: bytes = b"",
    length: bytes = b"Content-Length: %d\r\n",
) -> bytes:
    sized = length % len(body) if b"%d" in length else length
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b%b%b\r\n%b" % (url, more, sized, after, body)


def learnt(data: bytes) -> tuple[bytes, bytes] | None:
    read = parsed(data)
    known = None if read is None else known_head(data, read.headers, KEY)
    return None if known is None else known.read(data)


HEADERS = st.sampled_from(
    [
        b"Authorization: Bearer x\r\n",
        b"content-type: application/json\r\n",
        b"X-Content-Length: 7\r\n",
        b"Accept-Language: zh\r\n",
        b"X-Odd:\t content-length: 3 \r\n",
        b"Connection: keep-alive\r\n",
    ]
)
URLS = st.sampled_from([b"/v1/events", b"/v1/apps/app_1/events", b"/v1/apps/shop%2F7/events", b"/v1/events?a=b"])
BODIES = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"{}", b"\r\n\r\n", b"POST /v1/events HTTP/1.1\r\n\r\n", b"x" * 1_000])
)


@given(st.lists(HEADERS, max_size=4), st.lists(HEADERS, max_size=3), URLS, URLS, BODIES, BODIES)
def test_the_next_request_with_the_same_head_is_read_as_the_parser_reads_it(
    more: list[bytes], after: list[bytes], url: bytes, other_url: bytes, body: bytes, other_body: bytes
) -> None:
    form = {"more": b"".join(more), "after": b"".join(after)}
    first, second = request(body, url=url, **form), request(other_body, url=other_url, **form)
    read = parsed(first)
    assert read is not None
    known = known_head(first, read.headers, KEY)
    assert known is not None
    assert known.credential is KEY
    assert known.read(first) == (url, body)
    assert known.read(second) == (other_url, other_body)
    again = parsed(second)
    assert again is not None
    assert (again.url, again.body) == (other_url, other_body)
    assert [h for h in again.headers if h[0] != b"content-length"] == [
        h for h in read.headers if h[0] != b"content-length"
    ]


@given(st.data())
def test_whatever_is_read_the_parser_reads_too(data: st.DataObject) -> None:
    more, after = b"".join(data.draw(st.lists(HEADERS, max_size=2))), b"".join(data.draw(st.lists(HEADERS, max_size=2)))
    first = request(data.draw(BODIES), more=more, after=after)
    read = parsed(first)
    assert read is not None
    known = known_head(first, read.headers, KEY)
    assert known is not None
    other = bytearray(request(data.draw(BODIES), url=data.draw(URLS), more=more, after=after))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(other)))
        put = data.draw(
            st.sampled_from([b"", b" ", b"0", b"9", b"\r", b"\n", b"\r\n", b":", b"+", b"-", b"\xd9\xa3", b"x"])
        )
        other[at : at + data.draw(st.integers(0, 2))] = put
    changed = bytes(other)
    found = known.read(changed)
    if found is None:
        return
    url, body = found
    again = parsed(changed)
    if again is None:
        assert not _is_url(url), "only in the URL may there be what the parser would not read: no app has such a name"
        return
    assert (again.method, again.url, again.body) == (b"POST", url, body)
    assert again.keeps_alive is read.keeps_alive
    assert [h for h in again.headers if h[0] != b"content-length"] == [
        h for h in read.headers if h[0] != b"content-length"
    ]


def _is_url(url: bytes) -> bool:
    return url.startswith(b"/") and all(0x21 <= byte <= 0x7E for byte in url)


@pytest.mark.parametrize(
    "data",
    [
        request(b"", length=b"Transfer-Encoding: chunked\r\n") + b"2\r\n{}\r\n0\r\n\r\n",
        request(b"", length=b""),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request().replace(b"POST", b"PUT"),
        request(more=b"X-Long: %b\r\n" % (b"x" * HEAD_BYTES_MAX)),
        request(length=b"Content-Length: 2 \r\n"),
        request(length=b"Content-Length: 0000000002\r\n"),
    ],
)
def test_what_cannot_be_known_again_is_not(data: bytes) -> None:
    assert parsed(data) is not None
    assert learnt(data) is None


def test_a_length_is_known_however_it_is_written() -> None:
    data = request(length=b"content-LENGTH:\t%d\r\n")
    assert learnt(data) == (b"/v1/events", b"{}")


def test_a_request_that_is_not_whole_or_not_alone_is_not_read() -> None:
    first = request()
    read = parsed(first)
    assert read is not None
    known = known_head(first, read.headers, KEY)
    assert known is not None
    for data in (
        first[:-1],
        first + first,
        first + b"\r\n",
        first[:30],
        b"",
        b"POST ",
        first[1:],
        request(more=b"X: y\r\n"),
    ):
        assert known.read(data) is None
