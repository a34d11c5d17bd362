"""Cursors: only those that were given out open, and only where they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.api.pages import Cursors, PageQuery
from posthouse.domain.errors import Invalid
from posthouse.manage.access import NEWEST

CURSORS = Cursors(b"installation")
ID = bytes(range(16))


def refused(cursors: Cursors, scope: str, text: str) -> None:
    with pytest.raises(Invalid) as caught:
        cursors.open(scope, text)
    assert caught.value.code == "invalid_cursor"
    assert caught.value.path == "?cursor"


@given(st.binary(max_size=200), st.text(max_size=20))
def test_a_cursor_opens_where_it_was_given_out(position: bytes, scope: str) -> None:
    text = CURSORS.seal(scope, position)
    assert text.isascii()
    assert not set(text) & set("+/= ")
    assert CURSORS.open(scope, text) == position


@given(st.integers(min_value=0, max_value=37), st.sampled_from("ABab01-_=. \n\0é"))
def test_a_cursor_with_any_other_character_does_not_open(at: int, character: str) -> None:
    text = CURSORS.seal("apps", ID)
    altered = text[:at] + character + text[at + 1 :]
    if altered != text:
        refused(CURSORS, "apps", altered)


@pytest.mark.parametrize("text", ["", "a", "====", "x" * 38, "%00", "驿站", "a" * 10_000])
def test_made_up_cursors_do_not_open(text: str) -> None:
    refused(CURSORS, "apps", text)


def test_a_cursor_is_of_one_list_of_one_installation() -> None:
    text = CURSORS.seal("events/shop", ID)
    refused(CURSORS, "events/other", text)
    refused(CURSORS, "attempts/shop", text)
    refused(Cursors(b"another"), "events/shop", text)
    refused(CURSORS, "events/shop", text + "=")


def test_a_page_has_a_next_one_only_where_more_was_found() -> None:
    query = PageQuery(limit=2)
    assert CURSORS.before("apps", query) == NEWEST
    assert CURSORS.next("apps", [b"3"], query, bytes) is None
    assert CURSORS.next("apps", [b"3", b"2"], query, bytes) is None
    following = CURSORS.next("apps", [b"3", b"2", b"1"], query, bytes)
    assert following is not None
    assert CURSORS.before("apps", PageQuery(cursor=following)) == b"2"
