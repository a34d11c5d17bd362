"""Receivers of encrypted webhooks: verified, then opened, then handed on."""

from __future__ import annotations

import builtins
import json
import sys
from typing import Any, Final

import pytest
from tests.encrypting import BODY, encrypted, private_jwk, private_pem, public_pem, sent

from posthouse_sdk import (
    Decrypted,
    Decryption,
    DecryptionError,
    NoMatchingSignatureError,
    ReceivedEvent,
    Receiver,
    ReceiverError,
    Webhook,
)

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
JWE: Final = {"kind": "jwe", "key": "k", "algorithm": "RSA-OAEP-256"}
FEISHU: Final = {"kind": "envelope", "key": "k", "cipher": "aes-256-cbc", "derive": "sha256"}
WECOM: Final[dict[str, Any]] = {
    "kind": "envelope",
    "key": "k",
    "key_encoding": "base64",
    "cipher": "aes-256-cbc",
    "iv": "key",
    "padding": 32,
    "frame": {"owner": "wx5823bf96d3bd56c7"},
    "body": {"kind": "xml", "elements": {"ToUserName": "{{}}", "Encrypt": "{ciphertext}"}},
}
WECOM_KEY: Final = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"


def signed(body: bytes, headers: dict[str, str]) -> dict[str, str]:
    import time

    return headers | Webhook(SECRET).sign("evt_1", int(time.time()), body)


@pytest.mark.parametrize(
    ("configuration", "key", "own"),
    [(JWE, public_pem("rsa"), private_pem("rsa")), (FEISHU, "test key", "test key"), (WECOM, WECOM_KEY, WECOM_KEY)],
)
def test_a_receiver_hands_on_what_was_encrypted(configuration: dict[str, Any], key: str, own: str) -> None:
    body, headers = sent(encrypted(configuration, key))
    receiver = Receiver(SECRET, decrypt=Decryption(configuration, own))
    got: list[ReceivedEvent[Any]] = []
    receiver.on("order.created")(got.append)
    receiver.fallback(lambda event: pytest.fail("of another type"))
    assert receiver.handle(body, signed(body, headers)).status == 200
    (event,) = got
    assert (event.id, event.data) == ("evt_1", {"id": 1, "name": "驿"})
    assert Webhook(SECRET, decrypt=Decryption(configuration, own)).verify(body, signed(body, headers)) == json.loads(
        BODY
    )


def test_a_cloudevent_is_read_as_what_it_was() -> None:
    event = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":7}'
    body, headers = sent(encrypted(JWE, public_pem("rsa"), event, content_type="application/cloudevents+json"))
    webhook = Webhook(SECRET, decrypt=Decryption(JWE, private_pem("rsa")))
    unwrapped = webhook.unwrap(body, {name.upper(): value for name, value in signed(body, headers).items()})
    assert (unwrapped.type, unwrapped.source, unwrapped.data) == ("t", "/s", 7)


def test_the_signature_comes_first() -> None:
    """What nobody signed is not decrypted: CBC would tell its padding to those who ask often enough."""

    def never(body: bytes, headers: Any) -> Decrypted:
        pytest.fail("decrypted before it was verified")

    body, headers = sent(encrypted(FEISHU, "test key"))
    with pytest.raises(NoMatchingSignatureError):
        Webhook(SECRET, decrypt=never).unwrap(body[:-1] + b" }", signed(body, headers))


def test_what_does_not_open_is_our_own_fault_and_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    body, headers = sent(encrypted(FEISHU, "test key"))
    receiver = Receiver(SECRET, decrypt=Decryption(FEISHU, "another key"), fallback=lambda event: None)
    answer = receiver.handle(body, signed(body, headers))
    assert answer.status == 500
    assert "does not open" in answer.reason
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "key" not in caplog.text.replace("keys given here", "")
    plain = b'{"type":"t","data":1}'
    assert receiver.handle(plain, signed(plain, {})).status == 500


@pytest.mark.parametrize(
    ("configuration", "keys", "own"),
    [
        (FEISHU, ["new", "old"], ["older", "old", "new"]),
        (JWE, [public_pem("rsa", 1)], [private_pem("rsa"), private_jwk("rsa", 1)]),
        ({"kind": "hybrid", "key": "k"}, [public_pem("rsa", 1)], [private_pem("rsa"), private_pem("rsa", 1)]),
    ],
)
def test_while_keys_are_rotated_any_of_them_opens(
    configuration: dict[str, Any], keys: list[str], own: list[str]
) -> None:
    body, headers = sent(encrypted(configuration, keys))
    assert Decryption(configuration, own)(body, headers).body == BODY


def test_a_wrong_key_that_happens_to_fit_the_padding_does_not_pass_for_the_right_one() -> None:
    """CBC without a frame: one wrong key in 256 gives something. It is no JSON."""
    body, headers = sent(encrypted(FEISHU, "test key"))
    fitting = None
    for number in range(10_000):
        try:
            Decryption(FEISHU, f"wrong {number}", content_type="application/octet-stream")(body, headers)
        except DecryptionError:
            continue
        fitting = f"wrong {number}"
        break
    assert fitting is not None
    with pytest.raises(DecryptionError):
        Decryption(FEISHU, fitting)(body, headers)
    assert Decryption(FEISHU, [fitting, "test key"])(body, headers).body == BODY


def test_another_owners_message_is_refused() -> None:
    body, headers = sent(encrypted(WECOM, WECOM_KEY))
    with pytest.raises(DecryptionError):
        Decryption(WECOM | {"frame": {"owner": "wx5823bf96d3bd56c8"}}, WECOM_KEY)(body, headers)


def test_an_answer_may_be_encrypted_too() -> None:
    """DingTalk wants `success` back in the envelope that its own messages come in."""
    configuration = {name: value for name, value in WECOM.items() if name != "body"}
    decryption = Decryption(configuration, WECOM_KEY)
    answer = json.dumps({"encrypt": decryption.encrypted(b"success")["ciphertext"]}).encode()
    assert Decryption(configuration, WECOM_KEY, content_type="text/plain")(answer, {}).body == b"success"
    with pytest.raises(ReceiverError, match="of kind envelope"):
        Decryption(JWE, private_pem("rsa")).encrypted(b"success")


def test_xml_with_a_document_type_is_refused_whatever_is_in_it() -> None:
    """With it come entities that grow, or reach outside."""
    body, headers = sent(encrypted(WECOM, WECOM_KEY))
    decryption = Decryption(WECOM, WECOM_KEY)
    assert decryption(b"<?xml version='1.0'?><!-- c -->" + body, headers).body == BODY
    for document_type in (
        b"<!DOCTYPE xml>",
        b"<!DOCTYPE xml [<!ENTITY a 'aa'>]>",
        b"<!DOCTYPE xml SYSTEM 'file:///x'>",
    ):
        with pytest.raises(DecryptionError):
            decryption(document_type + body, headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<xml>",
        b"<other><Encrypt>x</Encrypt></other>",
        b"<xml><Encrypt>x</Encrypt><Encrypt>y</Encrypt></xml>",
        b"<xml><ToUserName/></xml>",
        b"<!DOCTYPE xml [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><xml><Encrypt>&b;</Encrypt></xml>",
        b"<?xml version='1.0' encoding='x-unknown'?><xml><Encrypt>x</Encrypt></xml>",
        b"\xff\xfe",
    ],
)
def test_xml_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(DecryptionError, match="does not open"):
        Decryption(WECOM, WECOM_KEY)(body, {})


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"7", b'{"encrypt":7}', b'{"encrypt":"!"}', b'{"encrypt":""}', b"[" * 100_000, b'{"encrypt":"YQ"}'],
)
def test_json_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(DecryptionError, match="does not open"):
        Decryption(FEISHU, "test key")(body, {})


@pytest.mark.parametrize(
    "body", [b"", b"a.b.c", b"....", b"{}", b"e30.e30.e30.e30.e30", b"\xff", b"eyJhbGciOiJub25lIn0.e30.e30.e30.e30"]
)
def test_what_is_no_jwe_is_refused(body: bytes) -> None:
    for more in ({}, {"serialization": "flattened"}, {"serialization": "general"}):
        with pytest.raises(DecryptionError, match="does not open"):
            Decryption(JWE | more, private_pem("rsa"))(body, {})


def test_a_jwe_chooses_neither_its_algorithm_nor_to_be_unpacked() -> None:
    from jwcrypto import jwe as judge
    from jwcrypto.jwk import JWK

    for header in ({"alg": "RSA-OAEP", "enc": "A256GCM"}, {"alg": "RSA-OAEP-256", "enc": "A256GCM", "zip": "DEF"}):
        token = judge.JWE(BODY, json.dumps(header))
        token.add_recipient(JWK.from_pem(public_pem("rsa").encode()))
        with pytest.raises(DecryptionError):
            Decryption(JWE, private_pem("rsa"))(token.serialize(compact=True).encode(), {})


@pytest.mark.parametrize(
    ("configuration", "keys", "reason"),
    [
        ({}, "k", "kind: this is needed"),
        ({"kind": "envelope"}, "k", "key: this is needed"),
        (FEISHU | {"derive": "sha512"}, "k", "derive: one of none, sha256, md5"),
        (FEISHU | {"nope": 1}, "k", "nope: there is no such field"),
        (FEISHU | {"body": {"kind": "text", "x": 1}}, "k", "body.x: there is no such field"),
        (FEISHU | {"body": []}, "k", "body: this is an object"),
        (FEISHU | {"fields": "x"}, "k", "fields: this is a list of texts"),
        (FEISHU | {"headers": {"a": 1}}, "k", "headers: this is an object of texts"),
        (FEISHU | {"headers": {f"a{n}": "" for n in range(65)}}, "k", "headers: at most 64 members"),
        (WECOM | {"body": WECOM["body"] | {"cdata": "yes"}}, WECOM_KEY, "body.cdata: this is true or false"),
        (FEISHU | {"body": {"kind": "json", "template": {1: "{ciphertext}"}}}, "k", "members are texts"),
        (FEISHU | {"body": {"kind": "json", "template": {"a": object()}}}, "k", "a template is JSON"),
        (FEISHU, [], "takes 1 to 16 keys"),
        (FEISHU, ["k"] * 17, "takes 1 to 16 keys"),
        ({"kind": "envelope", "key": "k"}, "short", "a key of 32 bytes"),
        (JWE, "short", "no private key"),
        (JWE, public_pem("rsa"), "no private key"),
        (JWE, private_pem("p256"), "does not take a key of this kind"),
        ({"kind": "hybrid", "key": "k"}, private_pem("p256"), "takes an RSA key"),
        ({"kind": "hybrid", "key": "k"}, '{"kty":"RSA","n":"AQAB","e":"AQAB"}', "this is a public key"),
    ],
)
def test_what_cannot_be_used_is_told(configuration: dict[str, Any], keys: Any, reason: str) -> None:
    with pytest.raises(ReceiverError, match=reason):
        Decryption(configuration, keys)


def test_it_tells_nothing_of_its_keys() -> None:
    assert repr(Decryption(FEISHU, "the secret")) == "Decryption(kind='envelope', keys=<hidden>)"


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def lacking(name: str, *more: Any) -> Any:
        if name.startswith(("cryptography", "joserfc")):
            raise ModuleNotFoundError(name)
        return imported(name, *more)

    for name in list(sys.modules):
        if name in ("posthouse_sdk.encryption.sealing", "posthouse_sdk.encryption.jose"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("posthouse_sdk.encryption.sealing", raising=False)
    monkeypatch.delattr("posthouse_sdk.encryption.jose", raising=False)
    monkeypatch.setattr(builtins, "__import__", lacking)
    for configuration in (FEISHU, JWE):
        with pytest.raises(ReceiverError, match=r"pip install 'posthouse-sdk\[encryption\]'"):
            Decryption(configuration, "test key")


def test_padding_is_looked_at_whole() -> None:
    from posthouse_sdk.encryption.ciphers import pad, unpad
    from posthouse_sdk.encryption.errors import UnopenedError

    for size in (16, 32):
        for length in range(70):
            assert unpad(pad(b"x" * length, size), size) == b"x" * length
    assert pad(b"x" * 16, 32) == b"x" * 16 + b"\x10" * 16
    for wrong in (b"", b"x" * 15 + b"\0", b"x" * 13 + b"\2\3\3", b"x" * 15 + b"\x11", b"\1", b"\x20" * 16):
        with pytest.raises(UnopenedError):
            unpad(wrong, 16)


def test_bytes_have_one_spelling_each() -> None:
    from posthouse_sdk.encryption.ciphers import as_text, from_text
    from posthouse_sdk.encryption.errors import UnopenedError

    for encoding, text in (("base64", "+/8="), ("base64url", "-_8"), ("hex", "fbff")):
        assert from_text(text, encoding) == b"\xfb\xff"
        assert as_text(b"\xfb\xff", encoding) == text
    assert from_text("FBFF", "hex") == b"\xfb\xff"
    for encoding, text in (
        ("base64", "+/9="),  # its last bits are not nought
        ("base64", "+/8"),
        ("base64", "-_8="),
        ("base64", "+/8=\n"),
        ("base64url", "-_8="),
        ("base64url", "+/8"),
        ("hex", "fb ff"),
        ("hex", "fbf"),
    ):
        with pytest.raises(UnopenedError):
            from_text(text, encoding)
