"""The relay's parts: what it sends, where to, and how long it waits."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.cli.follow import BACKOFF_SECONDS, BACKOFF_SECONDS_MAX, Backoff
from posthouse.cli.relay import Outcome, Target, Told, line, row
from posthouse.domain.errors import Invalid, PosthouseError
from posthouse.domain.event import Event
from posthouse.domain.ids import EVENT, EventId, format_id
from posthouse.wire.standard import envelope, timestamp
from posthouse_sdk import SecretError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RAW_ID = EventId(bytes(range(16)))


def told(**fields: object) -> Told:
    made: dict[str, object] = {
        "id": format_id(EVENT, RAW_ID),
        "app": None,
        "type": "order.created",
        "content_type": "application/json",
        "created_at": "2026-01-02T03:04:05.678Z",
    }
    return msgspec.json.decode(msgspec.json.encode(made | fields), type=Told)


@given(
    st.floats(min_value=0, max_value=4_000_000_000),
    st.sampled_from([b"null", b"1.50", b'{ "a":\n1}', b'"\xe9\xa9\xbf"']),
)
def test_the_body_is_the_one_an_endpoint_gets(at: float, payload: bytes) -> None:
    event = Event(
        id=RAW_ID, partition=1, seq=1, app_id=None, type="order.created", payload=payload,
        content_type="application/json", created_at=at, config_version=1,
    )  # fmt: skip
    assert told(created_at=timestamp(at).decode(), data=msgspec.Raw(payload)).body() == envelope(event)
    assert told(created_at=timestamp(at).decode(), data_base64=payload).body() == envelope(event)


def test_what_is_not_json_goes_as_it_was_published() -> None:
    assert told(content_type="text/plain", data_base64=b"\x00\xff").body() == b"\x00\xff"


def test_a_strange_id_is_named() -> None:
    with pytest.raises(PosthouseError, match="evt_strange"):
        told(id="evt_strange").body()


@given(st.floats(min_value=0, max_value=1, exclude_max=True))
def test_waits_grow_to_a_bound_and_start_over(draw: float) -> None:
    backoff = Backoff(lambda: draw)
    waits = [backoff.next() for _ in range(50)]
    assert waits[0] == BACKOFF_SECONDS
    assert waits == sorted(waits)
    assert BACKOFF_SECONDS_MAX / 2 <= waits[-1] <= BACKOFF_SECONDS_MAX
    backoff.reset()
    assert backoff.next() == BACKOFF_SECONDS


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://127.0.0.1:3000/hooks?a=b", "http://127.0.0.1:3000/hooks?a=b"),
        ("localhost:3000", "http://localhost:3000"),
        ("https://[::1]/x", "https://[::1]/x"),
    ],
)
def test_targets(url: str, meant: str) -> None:
    assert Target(url, [SECRET]).url == meant


@pytest.mark.parametrize("url", ["", "http://", "ftp://x/", "http://x:99999/", "http://x:y/", "/hooks"])
def test_what_is_no_target_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="no URL to forward to"):
        Target(url, [SECRET])


def test_a_secret_that_cannot_sign_is_refused() -> None:
    with pytest.raises(SecretError, match="only verify"):
        Target("http://x", ["whpk_" + "A" * 43 + "="])


def test_lines_do_not_drive_the_terminal() -> None:
    shown = line(told(type="a\x1b[31m\nb"), Outcome(None, 0.5, "said \x1b]0;no\x07"))
    assert shown.isprintable()
    assert "failed: said" in shown
    assert "500 ms" in shown
    assert json.loads(json.dumps(row(told(), Outcome(204, 0.0123, None))))["duration_ms"] == 12.3
