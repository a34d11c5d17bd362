"""For every message and key: what is signed verifies, and what was touched does not."""

import hashlib
import hmac
from base64 import b64decode
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import assume, example, given
from hypothesis import strategies as st

from posthouse_sdk import (
    HmacKey,
    SignerKey,
    SigningKey,
    VerificationError,
    Webhook,
    generate_hmac_key,
    generate_signing_key,
    parse_secret,
    sign,
)
from posthouse_sdk.signatures import signed_prefix

bodies = st.binary(max_size=400)
message_ids = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="."), min_size=1, max_size=64
)
timestamps = st.integers(min_value=0, max_value=10**11)
hmac_keys = st.binary(min_size=24, max_size=64).map(generate_hmac_key)
pairs = st.binary(min_size=32, max_size=32).map(generate_signing_key)
keys: st.SearchStrategy[SignerKey] = st.one_of(hmac_keys, pairs)


@given(st.lists(keys, min_size=1, max_size=4), message_ids, timestamps, bodies, st.data())
def test_what_is_signed_verifies_with_each_of_the_keys(
    signers: list[SignerKey], message_id: str, timestamp: int, body: bytes, data: st.DataObject
) -> None:
    headers = Webhook([key.text for key in signers]).sign(message_id, timestamp, body)
    one = data.draw(st.sampled_from(signers))
    Webhook(one.text, clock=lambda: timestamp).check(body, headers)
    if isinstance(one, SigningKey):
        Webhook(one.verifying_key.text, clock=lambda: timestamp).check(body, headers)


@given(keys, message_ids, timestamps, st.binary(min_size=1, max_size=200), st.data())
def test_any_flipped_bit_fails(
    key: SignerKey, message_id: str, timestamp: int, body: bytes, data: st.DataObject
) -> None:
    original = {"body": body} | {
        name: value.encode() for name, value in Webhook(key.text).sign(message_id, timestamp, body).items()
    }
    where = data.draw(st.sampled_from(sorted(original)))
    bit = data.draw(st.integers(min_value=0, max_value=len(original[where]) * 8 - 1))
    flipped = bytearray(original[where])
    flipped[bit // 8] ^= 1 << bit % 8
    touched = original | {where: bytes(flipped)}
    headers = {name: value.decode("latin-1") for name, value in touched.items() if name != "body"}
    # The widest tolerance: it must be the signature that refuses.
    receiver = Webhook(key.text, tolerance=10.0**13, clock=lambda: timestamp)
    with pytest.raises(VerificationError):
        receiver.check(touched["body"], headers)


@given(keys, keys, message_ids, timestamps, bodies)
def test_another_key_does_not_verify(
    key: SignerKey, other: SignerKey, message_id: str, timestamp: int, body: bytes
) -> None:
    # HMAC pads a short key with zeros: keys that differ in trailing zeros are one key (RFC 2104, section 2).
    assume(key.version != other.version or key.raw.rstrip(b"\0") != other.raw.rstrip(b"\0"))
    headers = Webhook(key.text).sign(message_id, timestamp, body)
    with pytest.raises(VerificationError):
        Webhook(other.text, clock=lambda: timestamp).check(body, headers)


@given(st.binary(min_size=24, max_size=64), message_ids, timestamps, bodies)
def test_v1_is_hmac_sha256_of_id_timestamp_and_body(raw: bytes, message_id: str, timestamp: int, body: bytes) -> None:
    expected = hmac.digest(raw, b"%b.%d.%b" % (message_id.encode(), timestamp, body), hashlib.sha256)
    assert b64decode(sign(message_id, timestamp, body, [HmacKey(raw)]).removeprefix("v1,")) == expected


@given(
    st.binary(min_size=24, max_size=64),
    message_ids,
    st.integers(min_value=0, max_value=4 * 10**9),
    st.text(max_size=200),
)
def test_v1_agrees_with_the_reference_library(raw: bytes, message_id: str, timestamp: int, body: str) -> None:
    key = generate_hmac_key(raw)
    reference = standardwebhooks.Webhook(key.text).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body)
    assert sign(message_id, timestamp, body.encode(), [key]) == reference


@given(keys, message_ids, timestamps, st.text(st.sampled_from("0123456789."), min_size=3, max_size=30))
def test_the_end_of_an_id_and_the_start_of_a_body_cannot_be_moved(
    key: SignerKey, message_id: str, timestamp: int, tail: str
) -> None:
    """The publisher of raw bytes may choose a body such as `99999.x`: it must not become a timestamp."""
    body = tail.encode()
    headers = Webhook(key.text).sign(message_id, timestamp, body)
    digits, stop, rest = tail.partition(".")
    assume(stop and digits)
    moved = headers | {"webhook-id": f"{message_id}.{timestamp}", "webhook-timestamp": digits}
    with pytest.raises(VerificationError):
        Webhook(key.text, tolerance=10.0**31, clock=lambda: timestamp).check(rest.encode(), moved)


@given(keys)
def test_text_forms_round_trip(key: SignerKey) -> None:
    again = parse_secret(key.text)
    assert again.raw == key.raw
    assert again.text == key.text


@given(st.text(max_size=120))
@example("v1a,AAAA==")
@example("v1," + "A" * 44)
@example("v1a," + "A" * 86 + "==")
def test_no_signature_header_is_an_error_of_another_kind(value: str) -> None:
    pair = generate_signing_key(bytes(32))
    receiver = Webhook([generate_hmac_key(bytes(32)).text, pair.text], clock=lambda: 1000)
    headers = {"webhook-id": "evt_1", "webhook-timestamp": "1000", "webhook-signature": value}
    with pytest.raises(VerificationError):
        receiver.check(b"{}", headers)
    prefix = signed_prefix("evt_1", 1000)
    assert not pair.verifies(prefix, b"{}", [value.encode("utf-8", "surrogatepass")])
