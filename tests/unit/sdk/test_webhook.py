"""Receiving: each cause of distrust has its own error."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks

from posthouse_sdk import (
    BodyNotJsonError,
    FutureTimestampError,
    MalformedHeaderError,
    MissingHeaderError,
    NoMatchingSignatureError,
    ParsedBodyError,
    SecretError,
    StaleTimestampError,
    VerificationError,
    Webhook,
    generate_hmac_key,
    generate_signing_key,
)

NOW = 1614265330
HMAC = generate_hmac_key(b"h" * 32).text
OTHER_HMAC = generate_hmac_key(b"o" * 32).text
PAIR = generate_signing_key(b"e" * 32)
BODY = b'{"type":"order.created","data":{"total":1.10}}'


def receiver(*secrets: str, now: float = NOW) -> Webhook:
    return Webhook(list(secrets), clock=lambda: now)


def signed(*secrets: str, body: bytes = BODY, timestamp: int = NOW) -> dict[str, str]:
    return receiver(*secrets).sign("evt_1", timestamp, body)


def test_a_signed_request_is_verified_and_parsed() -> None:
    assert receiver(HMAC).verify(BODY, signed(HMAC)) == {"type": "order.created", "data": {"total": 1.1}}


def test_one_secret_may_be_given_as_a_text() -> None:
    assert Webhook(HMAC, clock=lambda: NOW).verify(BODY.decode(), signed(HMAC)) == json.loads(BODY)


def test_a_public_key_verifies() -> None:
    assert receiver(PAIR.verifying_key.text).verify(BODY, signed(PAIR.text)) == json.loads(BODY)


def test_any_secret_and_any_signature_will_do() -> None:
    receiver(OTHER_HMAC, HMAC).verify(BODY, signed(HMAC))
    receiver(HMAC).verify(BODY, signed(OTHER_HMAC, HMAC))
    receiver(PAIR.verifying_key.text, OTHER_HMAC).verify(BODY, signed(HMAC, PAIR.text))


def test_header_names_are_found_in_any_case() -> None:
    headers = {name.title(): value for name, value in signed(HMAC).items()} | {"Content-Type": "application/json"}
    receiver(HMAC).verify(BODY, headers)


def test_other_versions_are_ignored() -> None:
    headers = signed(HMAC)
    headers["webhook-signature"] = "v2,AAAA v1a,AAAA nonsense , " + headers["webhook-signature"]
    receiver(HMAC).verify(BODY, headers)


def test_a_body_that_is_not_json_can_be_checked() -> None:
    body = b"\xff\x00 raw"
    receiver(HMAC).check(body, signed(HMAC, body=body))
    with pytest.raises(BodyNotJsonError):
        receiver(HMAC).verify(body, signed(HMAC, body=body))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_missing_header(name: str) -> None:
    headers = signed(HMAC)
    del headers[name]
    with pytest.raises(MissingHeaderError, match=name) as caught:
        receiver(HMAC).verify(BODY, headers)
    assert caught.value.header == name
    with pytest.raises(MissingHeaderError):
        receiver(HMAC).verify(BODY, headers | {name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", "evt.1"),
        ("webhook-id", "evt 1"),
        ("webhook-id", "événement"),
        ("webhook-timestamp", "soon"),
        ("webhook-timestamp", "1614265330.0"),
        ("webhook-timestamp", "-1614265330"),
        ("webhook-timestamp", "١٦١٤٢٦٥٣٣٠"),
        ("webhook-timestamp", "9" * 5000),
        ("webhook-signature", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,"),
        ("webhook-signature", " ".join(["v1,AAAA"] * 33)),
    ],
)
def test_malformed_header(name: str, value: str) -> None:
    with pytest.raises(MalformedHeaderError, match=name) as caught:
        receiver(HMAC).verify(BODY, signed(HMAC) | {name: value})
    assert caught.value.header == name


def test_a_header_with_two_values_is_refused() -> None:
    with pytest.raises(MalformedHeaderError, match="came twice"):
        receiver(HMAC).verify(BODY, signed(HMAC) | {"Webhook-Id": "evt_2"})


def test_the_tolerance_holds_in_both_directions() -> None:
    headers = signed(HMAC)
    receiver(HMAC, now=NOW + 300).verify(BODY, headers)
    receiver(HMAC, now=NOW - 300).verify(BODY, headers)
    with pytest.raises(StaleTimestampError, match="signed 301 s ago; at most 300 s"):
        receiver(HMAC, now=NOW + 301).verify(BODY, headers)
    with pytest.raises(FutureTimestampError, match="301 s in the future"):
        receiver(HMAC, now=NOW - 301).verify(BODY, headers)
    Webhook(HMAC, tolerance=3600, clock=lambda: NOW + 3600.0).verify(BODY, headers)


@pytest.mark.parametrize("secret", [OTHER_HMAC, PAIR.verifying_key.text])
def test_the_wrong_secret(secret: str) -> None:
    with pytest.raises(NoMatchingSignatureError):
        receiver(secret).verify(BODY, signed(HMAC))


def test_a_reserialised_body_does_not_match_and_the_error_says_why() -> None:
    with pytest.raises(NoMatchingSignatureError, match="pass the raw bytes"):
        receiver(HMAC).verify(json.dumps(json.loads(BODY)), signed(HMAC))


@pytest.mark.parametrize("body", [{"type": "order.created"}, [1], None, 7])
def test_a_parsed_body_is_refused(body: Any) -> None:
    with pytest.raises(ParsedBodyError, match="pass the raw bytes") as caught:
        receiver(HMAC).verify(body, signed(HMAC))
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, VerificationError)


def test_texts_that_no_codec_takes_are_errors_of_ours() -> None:
    with pytest.raises(NoMatchingSignatureError):
        receiver(HMAC).verify("\ud800", signed(HMAC))
    with pytest.raises(NoMatchingSignatureError):
        receiver(HMAC).verify(BODY, signed(HMAC) | {"webhook-signature": "v1,\ud800 v1a,\ud800"})
    with pytest.raises(NoMatchingSignatureError):
        receiver(PAIR.text).verify(BODY, signed(HMAC) | {"webhook-signature": "v1a,\ud800é v1a,x"})


def test_headers_given_as_bytes_are_named() -> None:
    headers: Any = signed(HMAC) | {"webhook-id": b"evt_1"}
    with pytest.raises(MalformedHeaderError, match="is a bytes"):
        receiver(HMAC).verify(BODY, headers)


def test_signing_takes_secrets_that_can_sign() -> None:
    with pytest.raises(SecretError, match="can only verify"):
        receiver(HMAC, PAIR.verifying_key.text).sign("evt_1", NOW, BODY)
    with pytest.raises(SecretError, match="at least one"):
        Webhook([])


def test_the_reference_library_accepts_what_we_sign() -> None:
    now = int(time.time())
    headers = Webhook([HMAC, PAIR.text]).sign("evt_1", now, BODY)
    assert standardwebhooks.Webhook(HMAC).verify(BODY, headers) == json.loads(BODY)


def test_we_accept_what_the_reference_library_signs() -> None:
    now = int(time.time())
    signature = standardwebhooks.Webhook(HMAC).sign("evt_1", datetime.fromtimestamp(now, UTC), BODY.decode())
    headers = {"webhook-id": "evt_1", "webhook-timestamp": str(now), "webhook-signature": signature}
    assert Webhook(HMAC).verify(BODY, headers) == json.loads(BODY)
