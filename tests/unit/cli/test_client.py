"""Where a command asks, with which key, and what it says where that is none or no server of ours."""

from __future__ import annotations

import pytest
from tests.answering import Answer, answering

from posthouse.cli.client import Client, key_given, url_given
from posthouse.domain.errors import Invalid, StoreUnavailable, Unauthorised


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("https://posthouse.example/", "https://posthouse.example"),
        (None, "http://127.0.0.1:8080"),
    ],
)
def test_where_the_server_is(given: str | None, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTHOUSE_URL", raising=False)
    assert url_given(given) == asked


@pytest.mark.parametrize("given", ["postgresql://x", "nowhere"])
def test_an_address_of_something_else(given: str) -> None:
    with pytest.raises(Invalid, match=f"is like https://posthouse[.]example, and not '{given}'"):
        url_given(given)


@pytest.mark.parametrize("key", ["ph_…", "ph_a b", "ph_a\x00b"])
def test_a_key_that_was_not_copied_well_is_not_shown(key: str) -> None:
    with pytest.raises(Unauthorised, match="other characters that no key has") as refused:
        Client("http://127.0.0.1:9", key)
    assert key not in str(refused.value)


def test_what_stands_around_a_key_in_its_file_is_left_out() -> None:
    assert key_given(" ph_secret\n") == "ph_secret"


@pytest.mark.parametrize("body", [b"", b"<html>"], ids=["empty", "a page"])
def test_a_server_that_is_none_of_ours(body: bytes) -> None:
    with answering(Answer(200, body)) as other, pytest.raises(StoreUnavailable, match="is no Posthouse server"):
        Client(other.url, "ph_x").get("apps")
