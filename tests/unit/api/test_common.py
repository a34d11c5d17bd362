"""What all models share."""

from __future__ import annotations

import pytest

from posthouse.api.models.common import optional_time, text_or_base64, time_of


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    assert time_of(1_767_323_045.6789) == "2026-01-02T03:04:05.678Z"
    assert optional_time(None) is None
    assert optional_time(0.0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("raw", "text", "base64"),
    [
        (b"", "", None),
        (b"hello", "hello", None),
        ("驿站".encode(), "驿站", None),
        ("驿站".encode()[:-1], "驿", None),  # cut in the middle of a character
        (b"\xff\x00", None, "/wA="),
        (b"\xe9", None, "6Q=="),
    ],
)
def test_bytes_are_text_where_they_can_be(raw: bytes, text: str | None, base64: str | None) -> None:
    assert text_or_base64(raw) == (text, base64)
