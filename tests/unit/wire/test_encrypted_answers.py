"""Answers that are encrypted as their requests are: DingTalk's own, and what receivers write from the documentation."""

from __future__ import annotations

import json
import os
import struct
from base64 import b64decode, b64encode
from typing import Any, Final

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from tests.encrypting import settings
from tests.fakes import an_endpoint, answer, failure
from tests.unit.wire.test_encryption import DINGTALK, DINGTALK_KEY, FEISHU, WECOM, WECOM_KEY

from posthouse.domain.encryption import DecryptAnswer
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Answer, Result
from posthouse.domain.named_keys import NamedKeys
from posthouse.wire.encryption.answers import Opener, check_decrypt_answer, opener_of

OLD_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
RAW: Final[dict[str, Any]] = FEISHU | {"output": "raw", "body": {"kind": "text", "template": "{ciphertext}"}}
SUITE: Final = "suite4xxxxxxxxxxxxxxx"
# The answer to `check_create_suite_url` in DingTalk's documentation, of which the text is the event's `Random`.
PUBLISHED: Final = "ClskN5PFdfuTOlfWVp8GEuUrBf1Uagiu+29aimRYpB8CkFKVLJV0+IXkYWoUIQ1gXaICQ4GxL8E5Ry9Ie+MsUw=="


def sealed(encoding_aes_key: str, owner: str, text: str) -> str:
    """As a receiver makes it, from DingTalk's and WeChat's documentation."""
    key = b64decode(encoding_aes_key + "=")
    plain = os.urandom(16) + struct.pack(">I", len(text.encode())) + text.encode() + owner.encode()
    more = 32 - len(plain) % 32
    machine = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return b64encode(machine.update(plain + bytes([more]) * more) + machine.finalize()).decode()


def dingtalk(text: str = "success", key: str = DINGTALK_KEY, owner: str = SUITE) -> bytes:
    return json.dumps(
        {"msg_signature": "5a65", "timeStamp": "1783610513", "nonce": "123456", "encrypt": sealed(key, owner, text)}
    ).encode()


def wecom(text: str = "success") -> bytes:
    encrypt = sealed(WECOM_KEY, "wx5823bf96d3bd56c7", text)
    return (
        f"<xml><Encrypt><![CDATA[{encrypt}]]></Encrypt><MsgSignature><![CDATA[5a65]]></MsgSignature>"
        "<TimeStamp>1409659813</TimeStamp><Nonce><![CDATA[1372623149]]></Nonce></xml>"
    ).encode()


def opener(config: dict[str, Any], *keys: str, required: bool = False) -> Opener:
    read = opener_of(
        an_endpoint(
            encryption=settings(config),
            decrypt_answer=DecryptAnswer.REQUIRED if required else DecryptAnswer.OPTIONAL,
            keys=NamedKeys({"k": keys}),
        )
    )
    assert read is not None
    return read


def test_dingtalks_own_answer_opens() -> None:
    body = b'{"msg_signature":"x","timeStamp":"1783610513","nonce":"123456","encrypt":"%b"}' % PUBLISHED.encode()
    assert opener(DINGTALK, DINGTALK_KEY).opened(answer(body=body)) == b"LPIdSnlF"


@pytest.mark.parametrize(
    ("config", "key", "body"),
    [(DINGTALK, DINGTALK_KEY, dingtalk("成功")), (WECOM, WECOM_KEY, wecom("成功"))],
)
def test_the_text_is_seen_and_not_what_it_came_in(config: dict[str, Any], key: str, body: bytes) -> None:
    came = answer(200, (b"content-type", b"application/json"), (b"x-shop", b"7"), body=body)
    read = opener(config, key)(came)
    assert isinstance(read, Answer)
    assert (read.body.decode(), read.headers, read.sealed) == ("成功", ((b"x-shop", b"7"),), False)
    assert (came.body, read.status, read.timings) == (body, 200, came.timings)


@pytest.mark.parametrize("keys", [(DINGTALK_KEY,), (DINGTALK_KEY, OLD_KEY), (OLD_KEY, DINGTALK_KEY)])
def test_each_live_key_opens(keys: tuple[str, ...]) -> None:
    assert opener(DINGTALK, *keys).opened(answer(body=dingtalk())) == b"success"


@given(st.text(min_size=1, max_size=50), st.integers(1, 4))
def test_a_wrong_key_before_the_right_one_never_has_the_last_word(text: str, wrong: int) -> None:
    """Without a frame one wrong key in 256 leaves good padding."""
    from posthouse_sdk import Decryption

    body = json.dumps({"encrypt": Decryption(FEISHU, "right").encrypted(text.encode())["ciphertext"]}).encode()
    found = opener(FEISHU, *[f"wrong {n}" for n in range(wrong)], "right").opened(answer(body=body))
    assert found is not None
    assert len(text.encode()) < 16 or found.decode() == text


UNREADABLE: Final = {
    "text": answer(body=b"success"),
    "empty": answer(),
    "json": answer(body=b'{"errcode":0}'),
    "not-a-text": answer(body=b'{"encrypt":7}'),
    "not-base64": answer(body=b'{"encrypt":"\xe6\x88\x90"}'),
    "short": answer(body=b'{"encrypt":"AAAA"}'),
    "deep": answer(body=b"[" * 60_000),
    "bytes": answer(body=bytes(range(256))),
    "key": answer(body=dingtalk(key=OLD_KEY)),
    "owner": answer(body=dingtalk(owner="suite5")),
    "cut": msgspec.structs.replace(answer(body=dingtalk()), truncated=True),
}


@pytest.mark.parametrize("came", UNREADABLE.values(), ids=UNREADABLE)
def test_what_does_not_open_is_taken_as_it_came_or_not_believed_at_all(came: Answer) -> None:
    assert opener(DINGTALK, DINGTALK_KEY)(came) is came
    refused = opener(DINGTALK, DINGTALK_KEY, required=True)(came)
    assert isinstance(refused, Answer)
    assert (refused.sealed, refused.body, refused.status) == (True, b"", came.status)


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE xml [<!ENTITY a 'x'>]>" + wecom(),
        wecom().replace(b"</xml>", b""),
        wecom().replace(b"xml>", b"html>"),
        wecom().replace(b"<xml>", b"<xml><Encrypt>x</Encrypt>"),
    ],
)
def test_xml_that_is_not_quite_that_does_not_open(body: bytes) -> None:
    assert opener(WECOM, WECOM_KEY).opened(answer(body=wecom())) == b"success"
    assert opener(WECOM, WECOM_KEY).opened(answer(body=body)) is None


@given(st.binary(max_size=200))
def test_it_raises_nothing_whatever_comes(body: bytes) -> None:
    for config, key in ((DINGTALK, DINGTALK_KEY), (WECOM, WECOM_KEY), (RAW, "x")):
        result: Result = opener(config, key)(answer(body=body))
        assert isinstance(result, Answer)


def test_what_did_not_come_is_not_opened() -> None:
    came = failure()
    assert opener(DINGTALK, DINGTALK_KEY, required=True)(came) is came


def test_answers_are_taken_as_they_come_where_nothing_else_is_said() -> None:
    assert opener_of(an_endpoint(encryption=settings(DINGTALK), keys=NamedKeys({"k": (DINGTALK_KEY,)}))) is None


@pytest.mark.parametrize("keys", [(), ("too short",)])
def test_what_could_open_nothing_is_refused(keys: tuple[str, ...]) -> None:
    with pytest.raises(Invalid):
        opener(DINGTALK, *keys)


JWE: Final = {"kind": "jwe", "algorithm": "dir", "key": "k"}
HYBRID: Final = {"kind": "hybrid", "key": "k"}


@pytest.mark.parametrize(
    ("encryption", "words"),
    [
        (None, "there is none"),
        (JWE, "kind envelope"),
        (HYBRID, "kind envelope"),
        ({"kind": "envelope", "key": "k", "fields": ["/data"]}, "no fields of encryption"),
    ],
)
def test_a_setting_that_could_open_nothing_is_refused_with_the_field_that_was_given(
    encryption: dict[str, Any] | None, words: str
) -> None:
    config = EndpointConfig(
        url="https://example.com/",
        encryption=None if encryption is None else settings(encryption),
        decrypt_answer=DecryptAnswer.OPTIONAL,
    )
    for given_fields, path in (
        ({"decrypt_answer": DecryptAnswer.OPTIONAL}, "decrypt_answer"),
        ({"encryption": config.encryption}, "decrypt_answer" if encryption is None else "encryption"),
    ):
        with pytest.raises(Invalid, match=words) as caught:
            check_decrypt_answer(config, given_fields)
        assert caught.value.path == path
    check_decrypt_answer(msgspec.structs.replace(config, decrypt_answer=DecryptAnswer.NEVER), {})


def test_a_setting_that_opens_is_not_refused() -> None:
    for config in (DINGTALK, WECOM, FEISHU):
        whole = EndpointConfig(
            url="https://example.com/", encryption=settings(config), decrypt_answer=DecryptAnswer.REQUIRED
        )
        check_decrypt_answer(whole, {})
