"""What confirms under each profile: answers of the platforms' receivers, some by their own libraries, before the judge with the
expressions' own language."""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator

import pytest
from tests.fakes import an_event, answer
from tests.profiles.speaking import config_of, endpoint_of, rsa_pem, shipped
from wechatpy.crypto import WeChatCrypto
from wechatpy.enterprise.crypto import WeChatCrypto as WeComCrypto

from posthouse.adapters.cel.expressions import CelExpressions, CelLimits
from posthouse.domain.exchange import Answer
from posthouse.send.judge import Judge
from posthouse.wire.encryption.answers import opener_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dingtalk.crypto import DingTalkCrypto

AES_KEY = "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij"
KEYS = {"token": "123456", "aes_key": AES_KEY}
SETTINGS = {
    "dingtalk": {"owner_key": "suite4"},
    "wechat": {"app_id": "wx1"},
    "wecom": {"corp_id": "ww1"},
    "youzan": {"client_id": "c1"},
}
REPLY = "<xml><ToUserName>o1</ToUserName><MsgType>text</MsgType><Content>驿站</Content></xml>"


def dingtalk(text: str, *, token: str = "123456", owner: str = "suite4") -> bytes:
    """As DingTalk's receivers answer."""
    return json.dumps(DingTalkCrypto(token, AES_KEY, owner).encrypt_message(text)).encode()


def passive(crypto: type, owner: str) -> bytes:
    """A message to the user, as receivers of WeChat and WeCom encrypt it."""
    encrypted: str = crypto("123456", AES_KEY, owner).encrypt_message(REPLY, "n0nce", "1614265330")
    return encrypted.encode()


def json_of(body: bytes, status: int = 200) -> Answer:
    return answer(status, (b"content-type", b"application/json"), body=body)


NO_RETRY = (b"x-slack-no-retry", b"1")
ANSWERS: list[tuple[str, Answer, str]] = [
    ("standard", answer(204), "confirmed"),
    ("standard", answer(410), "gone"),
    ("github", answer(202), "confirmed"),
    ("slack", answer(200), "confirmed"),
    ("slack", answer(200, NO_RETRY), "confirmed"),
    ("slack", answer(500), "http_status"),
    ("slack", answer(500, NO_RETRY), "rule_give_up"),
    ("slack", answer(500, (b"x-slack-no-retry", b"0")), "http_status"),
    ("slack", answer(302, NO_RETRY), "rule_give_up"),
    ("discord", answer(204), "confirmed"),
    ("discord", answer(200), "not_acknowledged"),
    ("adyen", answer(body=b"[accepted]"), "confirmed"),
    ("adyen", answer(202), "not_acknowledged"),
    ("adyen", answer(500, body=b"[accepted]"), "http_status"),
    ("graph", answer(202), "confirmed"),
    ("graph", answer(503), "http_status"),
    ("feishu", json_of(b"{}"), "confirmed"),
    ("feishu", answer(204), "not_acknowledged"),
    ("dingtalk", json_of(dingtalk("success")), "confirmed"),
    ("dingtalk", json_of(dingtalk("fail")), "not_acknowledged"),
    ("dingtalk", answer(body=b"success"), "ack_failed"),
    ("dingtalk", json_of(dingtalk("success", owner="suite5")), "ack_failed"),
    ("wechat", answer(body=b"success"), "confirmed"),
    ("wechat", answer(), "confirmed"),
    ("wechat", answer(body=b"fail"), "not_acknowledged"),
    ("wechat", answer(500, body=b"success"), "http_status"),
    ("wechat", answer(body=REPLY.encode()), "confirmed"),
    ("wechat", answer(body=passive(WeChatCrypto, "wx1")), "confirmed"),
    ("wecom", answer(), "confirmed"),
    ("wecom", answer(body=passive(WeComCrypto, "ww1")), "confirmed"),
    ("wecom", answer(body=b"error"), "not_acknowledged"),
    ("alipay", answer(body=b"success"), "confirmed"),
    ("alipay", answer(body=b"fail"), "not_acknowledged"),
    ("alipay", answer(body=b"Success"), "not_acknowledged"),
    ("wechatpay", answer(204), "confirmed"),
    ("wechatpay", json_of(b'{"code":"SUCCESS"}'), "confirmed"),
    ("wechatpay", json_of(b'{"code":"FAIL"}', 500), "http_status"),
    ("wechatpay", answer(201), "not_acknowledged"),
    ("youzan", json_of(b'{"code":0,"msg":"success"}'), "confirmed"),
    ("youzan", json_of(b'{"code":1,"msg":"no"}'), "not_acknowledged"),
    ("youzan", answer(body=b"ok"), "ack_failed"),
]


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    expressions = CelExpressions(CelLimits(workers=1, seconds=5.0))
    yield Judge(expressions)
    await expressions.close()


@pytest.mark.parametrize(("name", "came", "reason"), ANSWERS)
async def test_what_confirms(judge: Judge, name: str, came: Answer, reason: str) -> None:
    keys = KEYS | {"platform_key": rsa_pem(), "apiv3_key": "0" * 32}
    endpoint = endpoint_of(config_of(shipped(name), SETTINGS.get(name)), keys)
    opener = opener_of(endpoint)
    result = came if opener is None else opener(came)
    assert (await judge.judge(endpoint, an_event(), result, 1)).reason == reason
