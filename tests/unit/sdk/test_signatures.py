"""Standard Webhooks keys and signatures: the vectors, and what is refused."""

import base64
import subprocess
import sys

import pytest

from posthouse_sdk import (
    HmacKey,
    SecretError,
    SigningKey,
    VerifyingKey,
    generate_hmac_key,
    generate_signing_key,
    parse_secret,
    sign,
    signing_key,
)
from posthouse_sdk.signatures import signed_prefix

MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
HMAC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HMAC_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
ED25519_SIGNATURE = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
PREFIX = signed_prefix(MESSAGE_ID, TIMESTAMP)


def hmac_key(text: str = HMAC_SECRET) -> HmacKey:
    key = parse_secret(text)
    assert isinstance(key, HmacKey)
    return key


def private_key(text: str = PRIVATE) -> SigningKey:
    key = parse_secret(text)
    assert isinstance(key, SigningKey)
    return key


def test_v1_vector() -> None:
    assert sign(MESSAGE_ID, TIMESTAMP, BODY, [hmac_key()]) == HMAC_SIGNATURE
    assert hmac_key().verifies(PREFIX, BODY, [HMAC_SIGNATURE.encode()])


def test_v1a_vector() -> None:
    assert sign(MESSAGE_ID, TIMESTAMP, BODY, [private_key()]) == ED25519_SIGNATURE
    assert private_key().verifying_key.text == PUBLIC
    assert parse_secret(PUBLIC).verifies(PREFIX, BODY, [ED25519_SIGNATURE.encode()])


def test_several_keys_sign_in_their_order() -> None:
    assert sign(MESSAGE_ID, TIMESTAMP, BODY, [private_key(), hmac_key()]) == f"{ED25519_SIGNATURE} {HMAC_SIGNATURE}"


def test_a_key_signs_alike_every_time() -> None:
    key = hmac_key()
    first = key.sign(PREFIX, BODY)
    key.sign(PREFIX, b"something else")
    assert key.sign(PREFIX, BODY) == first


@pytest.mark.parametrize("text", [HMAC_SECRET, PRIVATE, PUBLIC])
def test_text_forms_round_trip(text: str) -> None:
    assert parse_secret(text).text == text
    assert parse_secret(text.rstrip("=")).text == text


def test_generated_keys_come_from_the_bytes_given() -> None:
    assert generate_hmac_key(bytes(range(32))).text == "whsec_" + base64.b64encode(bytes(range(32))).decode()
    key = generate_signing_key(bytes(range(32)))
    assert private_key(key.text).raw == bytes(range(32))


def test_keys_from_raw_bytes() -> None:
    assert isinstance(signing_key("v1", bytes(32)), HmacKey)
    assert isinstance(signing_key("v1a", bytes(32)), SigningKey)
    with pytest.raises(SecretError, match="no signature version 'v2'"):
        signing_key("v2", bytes(32))


def encoded(prefix: str, size: int) -> str:
    return prefix + base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts with whsec_, whsk_ or whpk_"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with whsec_, whsk_ or whpk_"),
        ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with"),
        (encoded("whsec_", 23), "24 to 64 bytes; this one has 23"),
        (encoded("whsec_", 65), "24 to 64 bytes; this one has 65"),
        ("whsec_", "24 to 64 bytes; this one has 0"),
        (encoded("whpk_", 31), "32 bytes; this one has 31"),
        (encoded("whsk_", 32), "64 bytes; this one has 32"),
        (PRIVATE[:-4] + "vA==", "public half"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", "not base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaé", "not base64"),
        ("whsec_MfKQ9r8G KYqrTwjUPD8ILPZIo2LaLaSw", "not base64"),
        ("whsec_MfKQ9r8G=KYqrTwjUPD8ILPZIo2LaLaSw", "not base64"),
        ("whsec_-_-_9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "not base64"),
    ],
)
def test_unusable_secrets_are_refused_without_showing_them(text: str, message: str) -> None:
    with pytest.raises(SecretError, match=message) as caught:
        parse_secret(text)
    assert caught.value.__cause__ is None
    if len(text) > 10:
        assert text[8:] not in str(caught.value)


def test_no_secret_in_a_repr() -> None:
    assert HMAC_SECRET[6:] not in repr(hmac_key())
    assert PRIVATE[5:40] not in repr(private_key())
    assert repr(VerifyingKey(bytes(32))).startswith("VerifyingKey('whpk_")


@pytest.mark.parametrize("message_id", ["", "msg.1", "msg 1", "msg\r\nx", "msg\x00", "é", "m" * 257])
def test_ids_that_could_be_taken_for_something_else_are_not_signed(message_id: str) -> None:
    with pytest.raises(ValueError, match="a message id is"):
        sign(message_id, TIMESTAMP, BODY, [hmac_key()])


def test_only_the_canonical_spelling_of_a_signature_counts() -> None:
    # The last character before the padding holds spare bits: these spellings decode to the same bytes.
    v1 = HMAC_SIGNATURE.replace("1OE=", "1OF=")
    v1a = ED25519_SIGNATURE.replace("TBAg==", "TBAh==")
    assert base64.b64decode(v1[3:]) == base64.b64decode(HMAC_SIGNATURE[3:])
    assert base64.b64decode(v1a[4:]) == base64.b64decode(ED25519_SIGNATURE[4:])
    assert not hmac_key().verifies(PREFIX, BODY, [v1.encode()])
    assert not private_key().verifies(PREFIX, BODY, [v1a.encode()])


def test_importing_the_sdk_does_not_import_cryptography() -> None:
    program = (
        "import sys, posthouse_sdk\n"
        f"posthouse_sdk.Webhook({HMAC_SECRET!r})\n"
        "sys.exit(any(name.split('.')[0] == 'cryptography' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("text", [f"whsk_{'A' * 86}==", f"whpk_{'A' * 43}="])
def test_without_cryptography_an_ed25519_key_says_what_to_install(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    with pytest.raises(SecretError, match=r"pip install 'posthouse-sdk\[ed25519\]'"):
        parse_secret(text)
