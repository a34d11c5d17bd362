"""The standard envelope."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EventId
from posthouse.wire.standard import envelope, timestamp


def event(payload: bytes, *, type: str = "order.created", content_type: str = "application/json") -> Event:
    return Event(
        id=EventId(bytes(16)),
        partition=0,
        seq=1,
        app_id=AppId(bytes(16)),
        type=type,
        payload=payload,
        content_type=content_type,
        created_at=1767323045.678,
        config_version=1,
    )


def test_the_payload_is_inserted_byte_for_byte() -> None:
    payload = b'{"total": 1.10,\n "id":12345678901234567890, "name":"\xe9\xa9\xbf"}'
    assert envelope(event(payload)) == (
        b'{"type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":' + payload + b"}"
    )


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"text"', b"1e400"])
def test_any_json_value_is_data(payload: bytes) -> None:
    assert list(json.loads(envelope(event(payload)))) == ["type", "timestamp", "data"]


def test_the_type_is_escaped() -> None:
    assert json.loads(envelope(event(b"1", type='a"\\\n驿')))["type"] == 'a"\\\n驿'


def test_other_content_is_sent_as_it_was_published() -> None:
    assert envelope(event(b"<order/>", content_type="application/xml")) == b"<order/>"


@pytest.mark.parametrize(
    ("unix_seconds", "text"),
    [
        (0.0, b"1970-01-01T00:00:00.000Z"),
        (1767323045.678999, b"2026-01-02T03:04:05.678Z"),
        (1767323045.9999999, b"2026-01-02T03:04:06.000Z"),
        (1767323045.001, b"2026-01-02T03:04:05.001Z"),
        (-31129142400.0, b"0983-07-23T00:00:00.000Z"),
    ],
)
def test_timestamps(unix_seconds: float, text: bytes) -> None:
    assert timestamp(unix_seconds) == text


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_timestamps_keep_the_milliseconds_of_a_database_time(microseconds: int) -> None:
    exact = datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
    expected = exact.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert timestamp(microseconds / 1_000_000) == expected.encode()
