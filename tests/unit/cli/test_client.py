"""Where a command asks, with which key, and what it says where that is none or no server of ours."""

from __future__ import annotations

import pytest
from tests.answering import Answer, answering

from posthouse.cli.client import Client, NotOurs, key_given, url_given
from posthouse.cli.follow import Follower
from posthouse.cli.main import exit_code
from posthouse.config import BadSettings
from posthouse.domain.errors import InDoubt, Invalid, Overloaded, PosthouseError, SetupError, TooLarge, Unauthorised


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
    with answering(Answer(200, body)) as other, pytest.raises(NotOurs, match="is no Posthouse server"):
        Client(other.url, "ph_x").get("apps")


@pytest.mark.parametrize(
    "answer", [Answer(404, b"<html>"), Answer(401, b""), Answer(200, b"<html>")], ids=["404", "401", "200"]
)
def test_a_stream_of_a_server_that_is_none_of_ours(answer: Answer) -> None:
    def take(block: object) -> None:
        raise AssertionError(block)

    with (
        answering(answer) as other,
        pytest.raises(NotOurs, match=f"what answers at {other.url} is no Posthouse server"),
    ):
        Follower(Client(other.url, "ph_x"), {}, take, lost="is not shown").run()


@pytest.mark.parametrize(
    ("status", "error"), [(413, TooLarge), (429, Overloaded), (502, Overloaded), (503, Overloaded), (504, Overloaded)]
)
def test_what_a_proxy_says_of_a_server_of_ours(status: int, error: type[PosthouseError]) -> None:
    with answering(Answer(status, b"<html>")) as other, pytest.raises(error, match=f"the server answered {status}"):
        Client(other.url, "ph_x").get("apps")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotOurs("x"), 7),
        (InDoubt("x"), 7),
        (Invalid("x"), 2),
        (BadSettings("x"), 2),
        (SetupError("x"), 1),
        (OSError(), 1),
    ],
)
def test_the_exit_code_of_an_error(error: Exception, code: int) -> None:
    assert exit_code(error) == code
