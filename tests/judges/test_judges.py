"""The judges are judged: each by a literal that Posthouse has not made, and by the same with a byte changed.

Where a platform publishes no literal, the value is from its formula, computed with `openssl dgst`; the comment says so.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from tests.judges import asking, enveloped, signed
from tests.judges.asking import Refused

WECHAT_PAY = json.loads((Path(__file__).parent / "wechat_pay.json").read_text("utf-8"))
HOOK = "https://example.com/webhook"


class Case(NamedTuple):
    """A request that its judge must take, and what it tells."""

    judge: Callable[..., Any]
    headers: dict[str, str]
    body: bytes
    secrets: dict[str, str]
    told: Any
    now: float | None = None
    url: str = HOOK


def alipay_notification() -> dict[str, str]:
    """Alipay's own SDK for Node.js, test/alipay.test.ts, "with sign_type arguments verify success": a real notification."""
    return {
        "gmt_create": "2019-08-15 15:56:22",
        "charset": "utf-8",
        "seller_email": "z97-yuquerevenue@service.aliyun.com",
        "subject": "语雀空间 500人规模",
        "sign": (
            "QfTb8tqE1BMhS5qAnXtvsF3/jBkEvu9q9en0pdbBUDDjvKycZhQb7h8GDs4FKfi049PynaNuatxSgLb/nLWZpXyyh0LEWdK2S6Ri7nPwrVgO"
            "s08zugLO20vOQz44y3ti2Ncm8/wZts1Fr2gZ7pShnVX3d1B50hbsXnObT1r/U8ONNQjWXd0HIul4TG+Q3fm3svmSvFEy0WnzuhcyHPX5Gm4E"
            "LNctL6Qd5YniGJFNcc7kopHYtI/XD9YCKCH6Ct02rzUs9i11C9CsadtZn+WhxF26Dqt9sGEFajkJ8cxUTLi8+VCpLHsgPE8P0y095uQcDdK0"
            "YjCh4x7wVSov+lrmOQ=="
        ),
        "buyer_id": "2088102534368455",
        "invoice_amount": "0.10",
        "notify_id": "2019081500222155624068450559358070",
        "fund_bill_list": '[{"amount":"0.10","fundChannel":"ALIPAYACCOUNT"}]',
        "notify_type": "trade_status_sync",
        "trade_status": "TRADE_SUCCESS",
        "receipt_amount": "0.10",
        "buyer_pay_amount": "0.10",
        "sign_type": "RSA2",
        "app_id": "2019073166072302",
        "seller_id": "2088531891668739",
        "gmt_payment": "2019-08-15 15:56:24",
        "notify_time": "2019-08-15 15:56:25",
        "version": "1.0",
        "out_trade_no": "20190815155618536-564-57",
        "total_amount": "0.10",
        "trade_no": "2019081522001468450512505578",
        "auth_app_id": "2019073166072302",
        "buyer_logon_id": "xud***@126.com",
        "point_amount": "0.00",
    }


ALIPAY_KEY = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqObrdC7hrgAVM98tK0nv3hSQRGGKT4lBsQjHiGjeYZjOPIPHR5knm2jnnz/YGIXIofVHkA/t"
    "AlBAd5DrY7YpvI4tP5EONLtZKC2ghBMx7McI2wRD0xiqzxOQr1FuhZGJ8/AUokBzJrzY+aGX2xcOrxFYRlFilvVLTXg4LWjR1tdPkO6+i7wQZAIVMClP"
    "kwVRZEbaERRHlKqTzv2gGv5rDU8gRoe1LeaN+6BlbTqHWkQcNCUNrA8C6l17XAXGKDsm/9TFWwO8EPHHHCaQdjtV5/FdcWIt+L8SR1ss7EXTjYDFtxcK"
    "Vv9rEoY1lX8T4mX+GbXfZHraG5NCF1+XioL5JwIDAQAB\n"
    "-----END PUBLIC KEY-----\n"
)

DISCORD = (
    b'{"application_id":"827290144020496384","id":"995105663481028770","token":"aW50ZXJhY3Rpb246OTk1MTA1NjYzNDgxMDI4NzcwOmlR'
    b"eEtWOXNxMTJWYXF4UlRkc2RyVEp0MDdDMlVyem1na0FTT21xNTZQNHR0MUlORDU1bmNCUTZZdTI5akJkb3FycjBuUDltNVp3VVVJbnA0UUkzMG13cVBG"
    b'WE5qZFQyb1dkZEpqVVFEdmZEcGE2UHV5dFAyTE5rS2c2a2lZNDlx","type":1,"user":{"avatar":"27aeb42cc902f7d8712aa64ff15bfb7d",'
    b'"avatar_decoration":null,"discriminator":"6969","id":"170531778354741248","public_flags":576,"username":"miles"},'
    b'"version":1}'
)

SLACK = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d"
    b"10d2c447fce8b6703c"
)

STRIPE = {
    "id": "evt_123",
    "object": "event",
    "account": "acct_123",
    "api_version": "2017-05-25",
    "created": 1533204620,
    "data": {
        "object": {
            "id": "ii_123",
            "object": "invoiceitem",
            "amount": 1000,
            "currency": "usd",
            "customer": "cus_123",
            "date": 1533204620,
            "description": "Test Invoice Item",
            "discountable": False,
            "invoice": "in_123",
            "livemode": False,
            "metadata": {},
            "period": {"start": 1533204620, "end": 1533204620},
            "plan": None,
            "proration": False,
            "quantity": None,
            "subscription": None,
        }
    },
    "livemode": False,
    "pending_webhooks": 1,
    "request": {"id": "req_123", "idempotency_key": "idempotency-key-123"},
    "type": "invoiceitem.created",
}

WECOM = (
    "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/sYYvuJTs3TUUk"
    "SUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwGc2hgf5gsijff0ekU"
    "NXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rU"
    "PA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+"
    "qN+E7Q=="
)

MINI_PROGRAM = (
    "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR8XGT"
    "740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8Y"
    "L/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04="
)

DINGTALK = (
    "1a3NBxmCFwkCJvfoQ7WhJHB+iX3qHPsc9JbaDznE1i03peOk1LaOQoRz3+nlyGNhwmwJ3vDMG+OzrHMeiZI7gTRWVdUBmfxjZ8Ej23JVYa9VrYeJ5as7"
    "XM/ZpulX8NEQis44w53h1qAgnC3PRzM7Zc/D6Ibr0rgUathB6zRHP8PYrfgnNOS9PhSBdHlegK+AGGanfwjXuQ9+0pZcy0w9lQ=="
)

FEISHU = b'{"encrypt": "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="}'

ADYEN = {
    "pspReference": "7914073381342284",
    "merchantAccountCode": "TestMerchant",
    "merchantReference": "TestPayment-1407325143704",
    "amount": {"value": 1130, "currency": "EUR"},
    "eventCode": "AUTHORISATION",
    "success": "true",
    "additionalData": {"hmacSignature": "Ny9gS2veKo5E4w8/OL6xz1/wvT/hYkAXy1xNc/QvO4I="},
}

CASES = {
    # docs.github.com, "Validating webhook deliveries", "Testing the webhook payload validation"; the body of that example
    # is no JSON, so that the digest alone is compared in the test below. Here the same formula with `openssl dgst`.
    "github": Case(
        signed.verify_github,
        {
            "X-Hub-Signature-256": "sha256=2d7732fbf56843ae2b0e8facdfeccc211e308158eaa6a041f2f62b45deaf3c2b",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": "1",
        },
        rb'{"object":"page","entry":[{"id":"0","name":"\u00e4\u00f6\u00e5"}]}',
        {"secret": "app-secret"},
        {"object": "page", "entry": [{"id": "0", "name": "äöå"}]},
    ),
    # Meta publishes no literal: `printf … | openssl dgst -sha256 -hmac app-secret`. It is GitHub's formula, whose literal
    # is below.
    "meta": Case(
        signed.verify_meta,
        {"x-hub-signature-256": "sha256=2d7732fbf56843ae2b0e8facdfeccc211e308158eaa6a041f2f62b45deaf3c2b"},
        rb'{"object":"page","entry":[{"id":"0","name":"\u00e4\u00f6\u00e5"}]}',
        {"app_secret": "app-secret"},
        {"object": "page", "entry": [{"id": "0", "name": "äöå"}]},
    ),
    # The tests of SQLPage, tests/sql_test_files: hmac of Shopify with base64 output.
    "shopify": Case(
        signed.verify_shopify,
        {"X-Shopify-Hmac-SHA256": "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw="},
        b'{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}',
        {"client_secret": "test-webhook-secret"},
        {"id": 1234567890, "email": "customer@example.com", "total_price": "123.45"},
    ),
    # developer.squareup.com, "Validate notifications", the sample servers' request.
    "square": Case(
        signed.verify_square,
        {"X-Square-HmacSha256-Signature": "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og="},
        b'{"hello":"world"}',
        {"signature_key": "asdf1234"},
        {"hello": "world"},
    ),
    # stripe-dotnet, StripeTests, EventUtilityTest: Stripe's own.
    "stripe": Case(
        signed.verify_stripe,
        {
            "Stripe-Signature": "t=1533204620,v1=f0bdba6d4eacbd8ad8a3bbadd7248e633ec1477f7899c124c51b39405fa36613,"
            "v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
        },
        json.dumps(STRIPE, indent=2).encode() + b"\n",
        {"secret": "webhook_secret"},
        STRIPE,
        1533204720,
    ),
    # docs.slack.dev, "Verifying requests from Slack".
    "slack": Case(
        signed.verify_slack,
        {
            "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            "X-Slack-Request-Timestamp": "1531420618",
        },
        SLACK,
        {"signing_secret": "8f742231b10e8888abcd99yyyzzz85a5"},
        SLACK,
        1531420618,
    ),
    # Zoom publishes no literal of the header: `printf 'v0:…' | openssl dgst -sha256 -hmac secretValueTest`. That the token
    # is the key as it is written, and the digits are in lower case: the challenge of the test below.
    "zoom": Case(
        signed.verify_zoom,
        {
            "x-zm-signature": "v0=b8d8a4462b981ddeae8362a4b4b61db81d045793bd019028c35fc65698541703",
            "x-zm-request-timestamp": "1654503849",
        },
        b'{"event":"meeting.started","payload":{"account_id":"abc"},"event_ts":1654503849680}',
        {"secret_token": "secretValueTest"},
        {"event": "meeting.started", "payload": {"account_id": "abc"}, "event_ts": 1654503849680},
        1654503850,
    ),
    # A ping that Discord sent, in github.com/ssMMiles/discord-interactions, packages/verify-node/tests/data.json.
    "discord": Case(
        signed.verify_discord,
        {
            "X-Signature-Ed25519": (
                "28b4ab5f09cce30c7f7f4ab4b47c311f0ce83dd8fec06d34e402c44d64223be5"
                "016f95339e64bdabcbd395e9147afe3f8cd024868330ab41014ae51b5573a009"
            ),
            "X-Signature-Timestamp": "1657322078",
        },
        DISCORD,
        {"public_key": "c5568d0facd66bddee281dcb9c8ac02e169c5c20741b215b2539a96bb183c5d6"},
        json.loads(DISCORD),
        1657322080,
    ),
    # adyen-php-api-library, tests/Adyen/Util/HmacSignatureTest.php: Adyen's own.
    "adyen": Case(
        signed.verify_adyen,
        {},
        json.dumps({"live": "false", "notificationItems": [{"NotificationRequestItem": ADYEN}]}).encode(),
        {"hmac_key": "DFB1EB5485895CFA84146406857104ABB4CBCABDC8AAF103A624C8F6A3EAAB00"},
        [ADYEN],
    ),
    # Douyin shows this body in its documentation, but neither secret nor digest: `openssl dgst -sha1`.
    "douyin": Case(
        signed.verify_douyin,
        {"X-Douyin-Signature": "431073aae15feacddb4264f6badfa9d2c3ec2692"},
        b'{"event":"verify_webhook","client_key":"abc","content":{"challenge":12345}}',
        {"client_secret": "client-secret"},
        {"event": "verify_webhook", "client_key": "abc", "content": {"challenge": 12345}},
    ),
    # Youzan publishes no literal: `openssl dgst -md5`.
    "youzan": Case(
        signed.verify_youzan,
        {"Event-Sign": "5287f645448b41565e61a618c3d8696b"},
        b'{"id":"E20260101","msg":"%7B%22status%22%3A%22PAID%22%7D","type":"trade_TradePaid"}',
        {"client_id": "client-id", "client_secret": "client-secret"},
        {"id": "E20260101", "msg": "%7B%22status%22%3A%22PAID%22%7D", "type": "trade_TradePaid"},
    ),
    "alipay": Case(
        signed.verify_alipay,
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        urlencode(alipay_notification()).encode(),
        {"alipay_public_key": ALIPAY_KEY},
        {name: value for name, value in alipay_notification().items() if name not in ("sign", "sign_type")},
    ),
    # pay.weixin.qq.com/wiki/doc/api, 安全规范, 签名算法: the example of the page.
    "wechat-pay-v2": Case(
        signed.verify_wechat_pay_v2,
        {},
        (
            b"<xml><appid>wxd930ea5d5a258f4f</appid><mch_id>10000100</mch_id><device_info>1000</device_info>"
            b"<body>test</body><nonce_str>ibuaiVcKdpRxkhJA</nonce_str><sign>9A0A8659F005D6984697E2CA0A9CF3B7</sign></xml>"
        ),
        {"key": "192006250b4c09247ec02edce69f6a2d"},
        {
            "appid": "wxd930ea5d5a258f4f",
            "mch_id": "10000100",
            "device_info": "1000",
            "body": "test",
            "nonce_str": "ibuaiVcKdpRxkhJA",
        },
    ),
    # The ciphertext is of open.feishu.cn, 事件解密 (`test key`, `hello world`). Feishu publishes no literal of the signature:
    # `printf '1677254849533226633test key{"encrypt": …}' | openssl dgst -sha256`.
    "feishu": Case(
        enveloped.verify_feishu,
        {
            "X-Lark-Request-Timestamp": "1677254849",
            "X-Lark-Request-Nonce": "533226633",
            "X-Lark-Signature": "0e9a176f24cc2647f34f260cf4c5cc1b20006047795a8bf39b63b6beab854376",
        },
        FEISHU,
        {"encrypt_key": "test key"},
        b"hello world",
        1677254849,
    ),
    # open.dingtalk.com, 回调接口, 调试工具: the request that DingTalk gives to try one's receiver with.
    "dingtalk": Case(
        enveloped.verify_dingtalk,
        {},
        json.dumps({"encrypt": DINGTALK}).encode(),
        {
            "token": "123456",
            "aes_key": "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij",
            "owner_key": "suite4xxxxxxxxxxxxxxx",
        },
        {"EventType": "check_create_suite_url", "Random": "LPIdSnlF", "TestSuiteKey": "suite4xxxxxxxxxxxxxxx"},
        1445827045,
        HOOK + "?signature=5a65ceeef9aab2d149439f82dc191dd6c5cbe2c0&timestamp=1445827045067&nonce=nEXhMP4r",
    ),
    # The sample that comes with WeCom's libraries (Sample.php, 使用示例二).
    "wechat": Case(
        enveloped.verify_wechat,
        {},
        (
            "<xml><ToUserName><![CDATA[wx5823bf96d3bd56c7]]></ToUserName>"
            f"<Encrypt><![CDATA[{WECOM}]]></Encrypt><AgentID><![CDATA[218]]></AgentID></xml>"
        ).encode(),
        {
            "token": "QDG6eK",
            "encoding_aes_key": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
            "receive_id": "wx5823bf96d3bd56c7",
        },
        {
            "ToUserName": "wx5823bf96d3bd56c7",
            "FromUserName": "mycreate",
            "CreateTime": "1409659813",
            "MsgType": "text",
            "Content": "hello",
            "MsgId": "4561255354251345929",
            "AgentID": "218",
        },
        1409659813,
        HOOK + "?msg_signature=477715d11cdb4164915debcba66cb864d751f3e6&timestamp=1409659813&nonce=1372623149",
    ),
    # developers.weixin.qq.com, 消息推送, 消息解密方式为安全模式 (数据格式 JSON).
    "wechat-json": Case(
        enveloped.verify_wechat,
        {},
        json.dumps({"ToUserName": "gh_97417a04a28d", "Encrypt": MINI_PROGRAM}).encode(),
        {"token": "AAAAA", "encoding_aes_key": "A" * 43, "receive_id": "wxba5fad812f8e6fb9"},
        {
            "ToUserName": "gh_97417a04a28d",
            "FromUserName": "o9AgO5Kd5ggOC-bXrbNODIiE3bGY",
            "CreateTime": 1714112445,
            "MsgType": "event",
            "Event": "debug_demo",
            "debug_str": "hello world",
        },
        1714112445,
        HOOK + "?signature=6c5c811b55cc85e0e1b54100749188c20beb3f5d&timestamp=1714112445&nonce=415670741"
        "&openid=o9AgO5Kd5ggOC-bXrbNODIiE3bGY&encrypt_type=aes&msg_signature=046e02f8204d34f8ba5fa3b1db94908f3df2e9b3",
    ),
}
TIMED = ("stripe", "slack", "zoom", "discord", "feishu", "dingtalk", "wechat", "wechat-json")


def judge(case: Case, **changed: Any) -> Any:
    case = case._replace(**changed)
    return case.judge("POST", case.url, case.headers, case.body, case.secrets, case.now)


@pytest.mark.parametrize("name", CASES)
def test_a_judge_takes_what_was_published(name: str) -> None:
    assert judge(CASES[name]) == CASES[name].told


@pytest.mark.parametrize("name", CASES)
def test_a_judge_refuses_another_byte_another_secret_another_method(name: str) -> None:
    case = CASES[name]
    vouched = {
        "adyen": b"1130",
        "wechat-pay-v2": b"ibuaiVcKdpRxkhJA",
        "wechat": WECOM.encode(),
        "wechat-json": MINI_PROGRAM.encode(),
    }.get(name, case.body)  # what of the body the signature is about
    start = case.body.index(vouched)
    for at in range(start, start + len(vouched)):
        body = case.body[:at] + bytes([case.body[at] ^ 1]) + case.body[at + 1 :]
        with pytest.raises((Refused, ValueError)):
            judge(case, body=body)
    if name not in ("alipay", "discord"):
        for key, value in case.secrets.items():
            other = value[:3] + ("B" if value[3] == "A" else "A") + value[4:]
            with pytest.raises(Refused):
                judge(case, secrets=case.secrets | {key: other})
    for key in case.headers:
        with pytest.raises(Refused):
            judge(case, headers={k: v for k, v in case.headers.items() if k != key})
    with pytest.raises(Refused):
        case.judge("PUT", case.url, case.headers, case.body, case.secrets, case.now)


@pytest.mark.parametrize("name", TIMED)
def test_a_judge_refuses_what_is_late(name: str) -> None:
    now = CASES[name].now
    assert now is not None
    with pytest.raises(Refused, match="too old"):
        judge(CASES[name], now=now + 1000)


def test_the_published_digests_that_are_no_requests() -> None:
    # docs.github.com, "Testing the webhook payload validation"
    github = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signed.mac("It's a Secret to Everybody", b"Hello, World!").hex() == github
    # elastic/beats, http_endpoint: `validate_CRC_request` of Zoom, with the token of Zoom's documentation
    zoom = "70c1f2e2e6ca2d39297490d1f9142c7d701415ea8e6151f6562a08fa657a40ff"
    assert signed.mac("secretValueTest", b"qgg8vlvZRS6UYooatFL8Aw").hex() == zoom
    # developers.weixin.qq.com, 消息推送, 发起验证
    assert enveloped.sorted_sha1("AAAAA", "1714036504", "1514711492") == "f464b24fc39322e44b38aa78f5edd27bd1441696"


def test_wechat_pay_with_what_it_has_really_sent() -> None:
    """An answer of WeChat Pay and the certificate, encrypted, that vouches for it: yansongda/pay, tests/FunctionTest.php."""
    certificate = enveloped.wechat_pay_resource(WECHAT_PAY["resource"], WECHAT_PAY).decode()
    assert certificate.startswith("-----BEGIN CERTIFICATE-----")
    headers, body = WECHAT_PAY["headers"], WECHAT_PAY["body"].encode()
    secrets = {"platform_key": certificate, "serial": headers["Wechatpay-Serial"]}
    told = enveloped.verify_wechat_pay_signature(headers, body, secrets, 1626444144)
    assert told == {
        "h5_url": "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb"
        "?prepay_id=wx16220223998099f898c5b24eed5c320000&package=4049184564"
    }
    for changed in (
        (headers, body + b" ", secrets, None),
        (headers | {"Wechatpay-Nonce": "x"}, body, secrets, None),
        (headers, body, secrets | {"serial": "1"}, None),
        (headers, body, secrets, 1626444144 + 301),
    ):
        with pytest.raises(Refused):
            enveloped.verify_wechat_pay_signature(*changed)
    for key, value in (("associated_data", "transaction"), ("nonce", "4196a5b75277"), ("algorithm", "AES")):
        with pytest.raises(Refused):
            enveloped.wechat_pay_resource(WECHAT_PAY["resource"] | {key: value}, WECHAT_PAY)
    with pytest.raises(Refused, match="no id"):
        enveloped.verify_wechat_pay("POST", HOOK, headers, body, secrets)


def test_what_is_ambiguous_is_refused() -> None:
    case = CASES["dingtalk"]
    with pytest.raises(Refused, match="twice"):
        judge(case, url=case.url + "&nonce=x")
    with pytest.raises(Refused, match="twice"):
        judge(CASES["alipay"], body=CASES["alipay"].body + b"&version=1.0")
    with pytest.raises(Refused, match="empty"):
        judge(CASES["alipay"], body=CASES["alipay"].body + b"&note=")
    with pytest.raises(Refused, match="no number"):
        asking.fresh("١٢", None)
    with pytest.raises(Refused, match="base64"):
        enveloped.unbase64("a b")
    with pytest.raises(Refused, match="padding"):
        enveloped.cbc(bytes(32), bytes(16), base64.b64decode("P37w+VZImNgPEO1RBhJ6Rg=="), 16)
