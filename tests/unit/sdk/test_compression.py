"""Receivers of compressed webhooks: verified as they came, then unpacked, then opened."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any, Final

import pytest
from tests.encrypting import encrypted, sent

from posthouse_sdk import (
    BodyTooLargeError,
    Decryption,
    MalformedBodyError,
    NoMatchingSignatureError,
    Receiver,
    UnknownEncodingError,
    VerificationError,
    Webhook,
)
from posthouse_sdk.receiving import ignore

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY: Final = b'{"type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":{"id":1}}'
PACKED: Final = gzip.compress(BODY, mtime=0)
FEISHU: Final = {"kind": "envelope", "key": "k", "cipher": "aes-256-cbc", "derive": "sha256"}


def signed(body: bytes, encoding: str = "gzip", **headers: str) -> dict[str, str]:
    return headers | {"Content-Encoding": encoding} | Webhook(SECRET).sign("evt_1", int(time.time()), body)


def test_a_compressed_body_is_verified_and_unpacked() -> None:
    webhook = Webhook(SECRET)
    headers = signed(PACKED)
    webhook.check(PACKED, headers)
    assert webhook.verify(PACKED, headers) == json.loads(BODY)
    for name in ("content-encoding", "CONTENT-ENCODING"):
        told = {name if key == "Content-Encoding" else key: value for key, value in headers.items()}
        assert webhook.unwrap(PACKED, told).data == {"id": 1}


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_an_encoding_that_says_nothing_changes_nothing(encoding: str) -> None:
    assert Webhook(SECRET).unwrap(BODY, signed(BODY, encoding)).data == {"id": 1}


def test_what_is_encrypted_and_then_compressed_is_unpacked_and_then_opened() -> None:
    body, headers = sent(encrypted(FEISHU, "test key"))
    packed = gzip.compress(body, mtime=0)
    webhook = Webhook(SECRET, decrypt=Decryption(FEISHU, "test key"))
    assert webhook.unwrap(packed, signed(packed, **headers)).data == {"id": 1, "name": "驿"}
    assert webhook.verify(packed, signed(packed, **headers))["data"] == {"id": 1, "name": "驿"}


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "deflate, gzip", "x-gzip", "zstd"])
def test_another_encoding_is_an_error_that_names_it(encoding: str) -> None:
    with pytest.raises(UnknownEncodingError, match=f"'{encoding}': only gzip"):
        Webhook(SECRET).unwrap(PACKED, signed(PACKED, encoding))
    assert Receiver(SECRET, fallback=ignore).handle(PACKED, signed(PACKED, encoding)).status == 415


@pytest.mark.parametrize(
    "body", [b"", BODY, PACKED[:-1], PACKED[:20], PACKED + b"\0", PACKED + PACKED, PACKED[:-6] + b"\0" * 6, PACKED[:10]]
)
def test_what_is_no_gzip_is_an_error_and_no_event(body: bytes) -> None:
    with pytest.raises(MalformedBodyError, match="gzip"):
        Webhook(SECRET).unwrap(body, signed(body))
    assert Receiver(SECRET, fallback=ignore).handle(body, signed(body)).status == 400


def test_no_more_is_unpacked_than_is_taken() -> None:
    exact = Webhook(SECRET, unpacked_bytes_max=len(BODY))
    assert exact.unwrap(PACKED, signed(PACKED)).data == {"id": 1}
    with pytest.raises(BodyTooLargeError, match=f"more than {len(BODY) - 1} bytes"):
        Webhook(SECRET, unpacked_bytes_max=len(BODY) - 1).unwrap(PACKED, signed(PACKED))
    bomb = gzip.compress(bytes(64 * 1024 * 1024), 1)
    assert len(bomb) < 400_000
    with pytest.raises(BodyTooLargeError):
        Webhook(SECRET).unwrap(bomb, signed(bomb))
    receiver = Receiver(SECRET, fallback=ignore, body_bytes_max=len(BODY) - 1)
    assert receiver.handle(PACKED, signed(PACKED)).status == 413


def test_nothing_is_unpacked_that_nobody_signed() -> None:
    with pytest.raises(NoMatchingSignatureError):
        Webhook(SECRET).unwrap(PACKED[:-1], signed(PACKED))


def test_a_body_that_was_unpacked_on_its_way_is_told_of() -> None:
    with pytest.raises(NoMatchingSignatureError, match="unpacked it on its way here"):
        Webhook(SECRET).unwrap(BODY, signed(PACKED))


def test_an_encoding_that_was_lost_on_its_way_gives_no_event() -> None:
    headers: dict[str, Any] = signed(PACKED)
    del headers["Content-Encoding"]
    with pytest.raises(VerificationError):
        Webhook(SECRET).unwrap(PACKED, headers)
