"""Platforms that encrypt: Feishu, DingTalk, WeChat, WeCom.

Receivers are their own libraries and those that are known best; vectors are literal ones that others published, and where each
comes from is said beside it.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.judges.enveloped import elements
from tests.messages import NOW, Received, message, xml
from tests.profiles.speaking import CREATED, DATA, ID, TYPE, encryption_of, read, sent, signed_by
from wechatpy.crypto import WeChatCrypto
from wechatpy.enterprise.crypto import WeChatCrypto as WeComCrypto
from wechatpy.enterprise.exceptions import InvalidCorpIdException
from wechatpy.exceptions import InvalidAppIdException, InvalidSignatureException
from wechatpy.utils import check_signature

from posthouse.wire.documents import JsonText
from posthouse_sdk import Decryption

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dingtalk.core.exceptions import InvalidCorpIdOrSuiteKeyException
    from dingtalk.core.exceptions import InvalidSignatureException as DingTalkInvalidSignature
    from dingtalk.crypto import DingTalkCrypto
    from lark_oapi import EventDispatcherHandler
    from lark_oapi.core.model import RawRequest
    from lark_oapi.ws import client as lark_websocket

lark_websocket.loop.close()  # it makes one as it is imported
asyncio.set_event_loop(None)

KEYS = {"encrypt_key": "test key", "verification_token": "v3rify"}
AES_KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
DINGTALK_KEY = "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij"

# Feishu, by lark-oapi. The vector of the encryption is Feishu's own; it publishes none of the signature.


def lark(received: Received, *, body: bytes | None = None, **keys: str) -> tuple[int | None, list[Any]]:
    """What Feishu's own library makes of a request: the status that it answers, and the events that it hands on."""
    events: list[Any] = []
    handler = (
        EventDispatcherHandler.builder(*(KEYS | keys).values())
        .register_p2_customized_event(TYPE, events.append)
        .build()
    )
    request = RawRequest()
    request.uri, request.body, request.headers = "/hook", body or received.body, received.headers
    return handler.do(request).status_code, events


def test_feishu() -> None:
    decrypt = Decryption(encryption_of("feishu"), ["test key"], content_type="text/plain")
    assert decrypt(b'{"encrypt":"P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="}', {}).body == b"hello world"

    received = sent("feishu", keys=KEYS, settings={"app_id": "cli_1", "tenant_key": "t1"})
    assert set(read(received.body)) == {"encrypt"}
    status, (event,) = lark(received)
    assert status == 200
    assert vars(event.header) == {
        "event_id": ID,
        "event_type": TYPE,
        "create_time": str(int(CREATED * 1000)),
        "token": "v3rify",
        "tenant_key": "t1",
        "app_id": "cli_1",
    }
    assert event.event == json.loads(json.dumps(DATA, default=float))
    other = read(received.body)
    other["encrypt"] = sent("feishu", keys=KEYS, type="another").body.decode()[12:-2]
    for changed in (
        lark(received, body=json.dumps(other).encode()),
        lark(received, encrypt_key="test kez"),
        lark(received, verification_token="v3rifz"),
    ):
        assert changed == (500, [])


# DingTalk, by dingtalk-sdk. The vector is the request that DingTalk gives to try one's receiver with.

DINGTALK = (
    "1a3NBxmCFwkCJvfoQ7WhJHB+iX3qHPsc9JbaDznE1i03peOk1LaOQoRz3+nlyGNhwmwJ3vDMG+OzrHMeiZI7gTRWVdUBmfxjZ8Ej23JVYa9V"
    "rYeJ5as7XM/ZpulX8NEQis44w53h1qAgnC3PRzM7Zc/D6Ibr0rgUathB6zRHP8PYrfgnNOS9PhSBdHlegK+AGGanfwjXuQ9+0pZcy0w9lQ=="
)
SUITE = {"owner_key": "suite4xxxxxxxxxxxxxxx"}


def dingtalk(
    received: Received, *, token: str = "123456", owner: str = SUITE["owner_key"], name: str = "signature"
) -> Any:
    crypto = DingTalkCrypto(token, DINGTALK_KEY, owner)
    query = received.query
    return json.loads(crypto.decrypt_message(received.body, query[name], query["timestamp"], query["nonce"]))


def test_dingtalk() -> None:
    made = message(JsonText(json.dumps({"encrypt": DINGTALK}).encode()), now=1445827045.067, nonce="nEXhMP4r")
    received = signed_by("dingtalk", made, SUITE, token="123456")
    assert received.query == {
        "timestamp": "1445827045067",
        "nonce": "nEXhMP4r",
        "signature": "5a65ceeef9aab2d149439f82dc191dd6c5cbe2c0",
        "msg_signature": "5a65ceeef9aab2d149439f82dc191dd6c5cbe2c0",
    }
    opened = {"EventType": "check_create_suite_url", "Random": "LPIdSnlF", "TestSuiteKey": "suite4xxxxxxxxxxxxxxx"}
    assert dingtalk(received) == opened
    assert read(Decryption(encryption_of("dingtalk", SUITE), [DINGTALK_KEY])(received.body, {}).body) == opened

    received = sent(
        "dingtalk", keys={"token": "123456", "aes_key": DINGTALK_KEY}, settings=SUITE | {"corp_id": "ding1"}
    )
    told = dingtalk(received)
    assert told == dingtalk(received, name="msg_signature")
    assert told == {
        "EventType": TYPE,
        "TimeStamp": int(CREATED * 1000),
        "CorpId": "ding1",
        "EventId": ID,
    } | json.loads(json.dumps(DATA, default=float))
    with pytest.raises(DingTalkInvalidSignature):
        dingtalk(received, token="123457")
    with pytest.raises(InvalidCorpIdOrSuiteKeyException):
        dingtalk(received, owner="another")
    received.body = received.body.replace(b'"encrypt":"', b'"encrypt":"A')
    with pytest.raises(DingTalkInvalidSignature):
        dingtalk(received)


# WeChat and WeCom, by wechatpy. The vectors are of the samples that come with WeCom's libraries.

WECOM_ECHO = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
OWNER = "wx5823bf96d3bd56c7"
PLATFORMS: dict[str, tuple[Any, dict[str, str], type[Exception]]] = {
    "wechat": (WeChatCrypto, {"app_id": OWNER}, InvalidAppIdException),
    "wecom": (WeComCrypto, {"corp_id": OWNER}, InvalidCorpIdException),
}


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_vector_of_wechat_and_wecom(name: str) -> None:
    made = message(xml([("ToUserName", OWNER), ("Encrypt", WECOM_ECHO)]), now=1409659589, nonce="263014780")
    received = signed_by(name, made, PLATFORMS[name][1], token="QDG6eK")
    assert received.query["msg_signature"] == "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"
    decrypt = Decryption(encryption_of(name, PLATFORMS[name][1]), [AES_KEY], content_type="text/plain")
    assert decrypt(received.body, {}).body == b"1616140317555161061"


@pytest.mark.parametrize("name", PLATFORMS)
def test_wechat_and_wecom(name: str) -> None:
    crypto, settings, another_owner = PLATFORMS[name]
    received = sent(name, keys={"token": "QDG6eK", "aes_key": AES_KEY}, settings=settings)
    query = received.query

    def opened(token: str = "QDG6eK", owner: str = OWNER, body: bytes = received.body) -> Any:
        return crypto(token, AES_KEY, owner).decrypt_message(
            body.decode(), query["msg_signature"], query["timestamp"], query["nonce"]
        )

    root = ElementTree.fromstring(opened())
    told = {child.tag: child.text for child in root}
    assert (told["MsgType"], told["Event"], told["EventId"]) == ("event", TYPE, ID)
    assert told["CreateTime"] == str(int(CREATED))
    assert (told["orderId"], told["rate"], told["big"]) == ("驿站 42", "1.50", "12345678901234567890")
    assert (root.findtext("items/sku"), root.findtext("items/count")) == ('a<b>&"c"', "2")
    assert (root.findtext("amount/value"), root.findtext("amount/currency")) == ("1130", "EUR")
    if name == "wechat":
        assert (told["ToUserName"], told["FromUserName"]) == ("gh_posthouse", "shop:42")
        assert (query["openid"], query["encrypt_type"]) == ("shop:42", "aes")
        check_signature("QDG6eK", query["signature"], query["timestamp"], query["nonce"])
        with pytest.raises(InvalidSignatureException):
            check_signature("QDG6eL", query["signature"], query["timestamp"], query["nonce"])
    else:
        assert (told["ToUserName"], told["FromUserName"], told["AgentID"]) == (OWNER, "sys", "1000002")
    assert query["timestamp"] == str(int(NOW))
    assert elements(received.body).keys() >= {"ToUserName", "Encrypt"}
    with pytest.raises(InvalidSignatureException):
        opened(token="QDG6eL")
    with pytest.raises(InvalidSignatureException):
        opened(body=received.body.replace(b"<Encrypt><![CDATA[", b"<Encrypt><![CDATA[A"))
    with pytest.raises(another_owner):
        opened(owner="wx0000000000000000")
