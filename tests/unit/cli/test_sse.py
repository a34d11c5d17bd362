"""Server-sent events, read: whatever pieces they come in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.api import sse as writing
from posthouse.cli import sse
from posthouse.cli.sse import Block, Reader
from posthouse.domain.errors import PosthouseError

STREAM = (
    b": hello\n\n"
    b"retry: 2000\nid: one\n\n"
    b"event: event\r\ndata: {\r\ndata:  1\r\ndata:}\r\nid: two\r\n\r\n"
    b"event: attempt\rdata\rid: bad\0id\runknown: x\r\r"
    b"event: unfinished\ndata: x\n"
)
BLOCKS = [
    Block(id="one"),
    Block("event", b"{\n 1\n}", "two"),
    Block("attempt", b"", None),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_it_does_not_matter_where_the_stream_is_cut(cuts: list[int]) -> None:
    reader = Reader()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [block for a, b in pairwise(edges) for block in reader.feed(STREAM[a:b])]
    assert found == BLOCKS


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20),
    st.binary(max_size=200).map(lambda raw: raw.replace(b"\r", b"")),
    st.none() | st.text("abcABC012-_", min_size=1),
)
def test_what_the_server_writes_is_read_as_it_was_meant(event: str, data: bytes, last: str | None) -> None:
    assert Reader().feed(writing.message(event, data, id=last)) == [Block(event, data, last)]
    assert Reader().feed(writing.KEEP_ALIVE + writing.last_id("x") + b"\n") == [Block(id="x")]


def test_a_message_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "BLOCK_BYTES_MAX", 1000)
    for piece in (b"x" * 600, b"data: " + b"x" * 594 + b"\n"):
        reader = Reader()
        assert reader.feed(piece) == []
        with pytest.raises(PosthouseError, match="over 1000 bytes"):
            reader.feed(piece)
