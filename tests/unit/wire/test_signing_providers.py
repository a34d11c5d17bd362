"""What well-known platforms sign, by configuration alone, and their receivers.

Receivers are the platforms' own libraries where there are such, else a few lines written from their documentation. Vectors
are literal ones that others published: where each comes from is said beside it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
import stripe
from Adyen.util import is_valid_hmac_notification, is_valid_hmac_payload
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from gidgethub import ValidationFailure
from gidgethub.sansio import validate_event
from tests.messages import NONCE, NOW, Received, message, signed, xml
from tests.published import (
    ADYEN_KEY,
    RFC_7515_A2_INPUT,
    RFC_7515_A2_N,
    RFC_7515_A2_SIGNATURE,
    SLACK_BODY,
    SLACK_SECRET,
    discord_accepts,
    slack_verifier,
)
from wechatpayv3.utils import rsa_verify

from posthouse.wire.documents import Bytes, Form, JsonText

BODY = '{"type":"order.created","data":{"name":"驿站"}}'.encode()
SECRET = "It's a Secret to Everybody"

GITHUB = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "hook",
    "parts": ["{body}"],
    "signature": {"in": "header", "name": "X-Hub-Signature-256", "value": "sha256={signature}"},
    "also": [
        {"in": "header", "name": "X-GitHub-Event", "value": "{event.type}"},
        {"in": "header", "name": "X-GitHub-Delivery", "value": "{message.id}"},
    ],
}
STRIPE = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "hook",
    "parts": ["{timestamp}.{body}"],
    "signature": {"in": "header", "name": "Stripe-Signature", "value": "t={timestamp},v1={signature}"},
    "repeat": ",v1={signature}",
}
SLACK = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "hook",
    "parts": ["v0:{timestamp}:{body}"],
    "signature": {"in": "header", "name": "X-Slack-Signature", "value": "v0={signature}"},
    "also": [{"in": "header", "name": "X-Slack-Request-Timestamp", "value": "{timestamp}"}],
}
ZOOM = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "hook",
    "parts": ["v0", "{timestamp}", "{body}"],
    "separator": ":",
    "signature": {"in": "header", "name": "x-zm-signature", "value": "v0={signature}"},
    "also": [{"in": "header", "name": "x-zm-request-timestamp", "value": "{timestamp}"}],
}
SHOPIFY = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "hook",
    "parts": ["{body}"],
    "encoding": "base64",
    "signature": {"in": "header", "name": "X-Shopify-Hmac-SHA256"},
}
SQUARE = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "hook",
    "parts": ["{url}{body}"],
    "encoding": "base64",
    "signature": {"in": "header", "name": "x-square-hmacsha256-signature"},
}
DISCORD = {
    "kind": "custom",
    "algorithm": "ed25519",
    "key": "hook",
    "key_encoding": "hex",
    "parts": ["{timestamp}{body}"],
    "signature": {"in": "header", "name": "X-Signature-Ed25519"},
    "also": [{"in": "header", "name": "X-Signature-Timestamp", "value": "{timestamp}"}],
}
FEISHU = {
    "kind": "custom",
    "algorithm": "sha256",
    "key": "hook",
    "parts": ["{timestamp}{nonce}{key}{body}"],
    "signature": {"in": "header", "name": "X-Lark-Signature"},
    "also": [
        {"in": "header", "name": "X-Lark-Request-Timestamp", "value": "{timestamp}"},
        {"in": "header", "name": "X-Lark-Request-Nonce", "value": "{nonce}"},
    ],
}
DINGTALK = {
    "kind": "custom",
    "algorithm": "sha1",
    "key": "hook",
    "parts": ["{key}", "{timestamp_ms}", "{nonce}", "{field.encrypt}"],
    "order": "sorted",
    "signature": {"in": "query", "name": "signature"},
    "also": [
        {"in": "query", "name": "timestamp", "value": "{timestamp_ms}"},
        {"in": "query", "name": "nonce", "value": "{nonce}"},
    ],
}
WECHAT = {
    "kind": "custom",
    "algorithm": "sha1",
    "key": "hook",
    "parts": ["{key}", "{timestamp}", "{nonce}", "{field.Encrypt}"],
    "order": "sorted",
    "signature": {"in": "query", "name": "msg_signature"},
    "also": [
        {"in": "query", "name": "timestamp", "value": "{timestamp}"},
        {"in": "query", "name": "nonce", "value": "{nonce}"},
    ],
}
ALIPAY = {
    "kind": "custom",
    "algorithm": "rsa-sha256",
    "key": "hook",
    "parts": ["{pairs}"],
    "pairs": {"exclude": ["sign_type"]},
    "encoding": "base64",
    "signature": {"in": "field", "name": "sign"},
    "also": [{"in": "field", "name": "sign_type", "value": "RSA2"}],
}
WECHAT_PAY = {
    "kind": "custom",
    "algorithm": "rsa-sha256",
    "key": "hook",
    "key_id": "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
    "parts": ["{timestamp}\n{nonce}\n{body}\n"],
    "encoding": "base64",
    "signature": {"in": "header", "name": "Wechatpay-Signature"},
    "also": [
        {"in": "header", "name": "Wechatpay-Timestamp", "value": "{timestamp}"},
        {"in": "header", "name": "Wechatpay-Nonce", "value": "{nonce}"},
        {"in": "header", "name": "Wechatpay-Serial", "value": "{key_id}"},
    ],
}
WECHAT_PAY_V2 = {
    "kind": "custom",
    "algorithm": "md5",
    "key": "hook",
    "parts": ["{pairs}&key={key}"],
    "pairs": {},
    "encoding": "HEX",
    "signature": {"in": "field", "name": "sign"},
}
DOUYIN = {
    "kind": "custom",
    "algorithm": "sha1",
    "key": "hook",
    "parts": ["{key}{body}"],
    "signature": {"in": "header", "name": "X-Douyin-Signature"},
}
YOUZAN = {
    "kind": "custom",
    "algorithm": "md5",
    "key": "hook",
    "parts": ["client-42", "{body}", "{key}"],
    "signature": {"in": "header", "name": "Event-Sign"},
}
_ITEM = "field./notificationItems/0/NotificationRequestItem"
ADYEN = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "hook",
    "key_encoding": "hex",
    "parts": [
        f"{{{_ITEM}/{name}}}"
        for name in (
            "pspReference",
            "originalReference?",
            "merchantAccountCode",
            "merchantReference",
            "amount/value",
            "amount/currency",
            "eventCode",
            "success",
        )
    ],
    "separator": ":",
    "encoding": "base64",
    "signature": {
        "in": "field",
        "name": "/notificationItems/0/NotificationRequestItem/additionalData/hmacSignature",
    },
}
ADYEN_HEADER = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "hook",
    "key_encoding": "hex",
    "parts": ["{body}"],
    "encoding": "base64",
    "signature": {"in": "header", "name": "HmacSignature"},
    "also": [{"in": "header", "name": "Protocol", "value": "HmacSHA256"}],
}


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


# GitHub and Meta, by gidgethub. The vector is GitHub's own ("Validating webhook deliveries").


def test_github() -> None:
    received = signed(message(b"Hello, World!"), GITHUB, keys={"hook": SECRET})
    assert received.headers["X-Hub-Signature-256"] == (
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )
    assert received.headers["X-GitHub-Event"] == "order.created"
    received = signed(message(BODY), GITHUB, keys={"hook": SECRET})
    validate_event(BODY, signature=received.headers["X-Hub-Signature-256"], secret=SECRET)
    with pytest.raises(ValidationFailure):
        validate_event(BODY + b" ", signature=received.headers["X-Hub-Signature-256"], secret=SECRET)


def test_meta_escapes_what_it_signs_and_that_is_the_body() -> None:
    body = BODY.decode().encode("ascii", "backslashreplace")
    received = signed(message(body), GITHUB, keys={"hook": SECRET})
    validate_event(received.body, signature=received.headers["X-Hub-Signature-256"], secret=SECRET)


# Stripe, by stripe


def test_stripe_with_an_old_and_a_new_secret() -> None:
    received = signed(message(BODY), STRIPE, keys={"hook": ["whsec_new", "whsec_old"]})
    header = received.headers["Stripe-Signature"]
    assert re.fullmatch(r"t=1614265330,v1=[0-9a-f]{64},v1=[0-9a-f]{64}", header)
    for secret in ("whsec_new", "whsec_old"):
        assert stripe.WebhookSignature.verify_header(BODY.decode(), header, secret, tolerance=None)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(BODY.decode(), header, "whsec_other", tolerance=None)
    alone = signed(message(BODY), STRIPE, keys={"hook": "whsec_new"}).headers["Stripe-Signature"]
    assert alone == stripe.WebhookSignature.generate_signature_header(BODY.decode(), "whsec_new", int(NOW))


# Slack and Zoom, by slack_sdk. The vector is Slack's own ("Verifying requests from Slack").


def test_slack() -> None:
    received = signed(message(SLACK_BODY, now=1531420618), SLACK, keys={"hook": SLACK_SECRET})
    assert received.headers["X-Slack-Signature"] == (
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    )
    received = signed(message(BODY), SLACK, keys={"hook": SLACK_SECRET})
    verifier = slack_verifier(SLACK_SECRET)
    assert verifier.is_valid_request(BODY, received.headers)
    assert not verifier.is_valid_request(BODY + b" ", received.headers)


def test_zoom_signs_as_slack_does_under_names_of_its_own() -> None:
    received = signed(message(BODY), ZOOM, keys={"hook": SLACK_SECRET})
    stamp, signature = received.headers["x-zm-request-timestamp"], received.headers["x-zm-signature"]
    assert slack_verifier(SLACK_SECRET).is_valid(BODY, stamp, signature)


# Shopify. The vector is a test of SQLPage's (tests/sql_test_files/…hmac_shopify).


def shopify_accepts(received: Received, secret: str) -> bool:
    expected = base64.b64encode(hmac.new(secret.encode(), received.body, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(expected, received.headers["X-Shopify-Hmac-SHA256"])


def test_shopify() -> None:
    body = b'{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}'
    received = signed(message(body), SHOPIFY, keys={"hook": "test-webhook-secret"})
    assert received.headers["X-Shopify-Hmac-SHA256"] == "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw="
    assert shopify_accepts(received, "test-webhook-secret")
    assert not shopify_accepts(received, "another")


# Square. The vector is Square's own ("Verify and Validate an Event Notification").


def test_square() -> None:
    received = signed(message(b'{"hello":"world"}'), SQUARE, keys={"hook": "asdf1234"})
    assert received.url == "https://example.com/webhook"
    assert received.headers["x-square-hmacsha256-signature"] == "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og="


# Discord. The vector is from the documentation of Tencent's QQ bots, which sign the same way under the same names.


FEISHU_ROBOT = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "robot",
    "mac_key": "{timestamp}\n{key}",
    "encoding": "base64",
    "signature": {"in": "field", "name": "sign"},
    "also": [{"in": "field", "name": "timestamp", "value": "{timestamp}"}],
}
DINGTALK_ROBOT = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "robot",
    "parts": ["{timestamp_ms}\n{key}"],
    "encoding": "base64",
    "signature": {"in": "query", "name": "sign"},
    "also": [{"in": "query", "name": "timestamp", "value": "{timestamp_ms}"}],
}


def test_a_robot_of_feishu_signs_nothing_with_a_key_that_is_new_each_second() -> None:
    """The time is that of Feishu's documentation; two projects test with the signature that its code makes of it."""
    made = message(JsonText(b'{"msg_type":"text"}'), now=1599360473.0)
    received = signed(made, FEISHU_ROBOT, keys={"robot": "demo"})
    assert json.loads(received.body) == {
        "msg_type": "text",
        "timestamp": "1599360473",
        "sign": "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=",
    }


def test_a_robot_of_dingtalk_signs_the_time_and_its_secret() -> None:
    received = signed(message(b"{}", query=[("access_token", "a")]), DINGTALK_ROBOT, keys={"robot": "SECdemo"})
    time = received.query["timestamp"]
    assert time == "1614265330250"
    mac = hmac.new(b"SECdemo", f"{time}\nSECdemo".encode(), hashlib.sha256).digest()
    assert base64.b64decode(received.query["sign"]) == mac
    assert not set("+/ ") & set(received.url.partition("sign=")[2]), "encoded as a URL wants it"


def test_discord() -> None:
    seed = b"naOC0ocQE3shWLAfffVLB1rhYPG7naOC".hex()
    public = "d7c362fe78aef81ff23287b493628b5db02a3c4fe30b215e4d19609b5d76673a"
    body = b'{\n  "op": 0,\n  "d": {},\n  "t": "GATEWAY_EVENT_NAME"\n}'
    received = signed(message(body, now=1725442341), DISCORD, keys={"hook": seed})
    assert received.headers["X-Signature-Ed25519"] == (
        "865ad13a61752ca65e26bde6676459cd36cf1be609375b37bd62af366e1dc25a"
        "8dc789ba7f14e017ada3d554c671a911bfdf075ba54835b23391d509579ed002"
    )
    assert discord_accepts(received, public)
    received.body += b" "
    assert not discord_accepts(received, public)


# Feishu: its documentation gives the rule and no vector ("Encrypt Key encryption and signature verification").


def feishu_accepts(received: Received, encrypt_key: str) -> bool:
    stamp, nonce = received.headers["X-Lark-Request-Timestamp"], received.headers["X-Lark-Request-Nonce"]
    content = (stamp + nonce + encrypt_key).encode() + received.body
    return hashlib.sha256(content).hexdigest() == received.headers["X-Lark-Signature"]


def test_feishu_signs_what_is_sent_though_it_is_encrypted() -> None:
    made = message(JsonText(b'{"encrypt":"P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="}'))
    made.plain = b"hello world"
    received = signed(made, FEISHU, keys={"hook": "test key"})
    assert feishu_accepts(received, "test key")
    assert not feishu_accepts(received, "test Key")


# DingTalk and WeChat. The vectors are their own: DingTalk's demo of encrypted callbacks, and WeCom's of its URL check.


def sorted_sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()


def test_dingtalk() -> None:
    encrypted = (
        "1a3NBxmCFwkCJvfoQ7WhJHB+iX3qHPsc9JbaDznE1i03peOk1LaOQoRz3+nlyGNhwmwJ3vDMG+OzrHMeiZI7gTRWVdUBmfxjZ8Ej23JVYa9V"
        "rYeJ5as7XM/ZpulX8NEQis44w53h1qAgnC3PRzM7Zc/D6Ibr0rgUathB6zRHP8PYrfgnNOS9PhSBdHlegK+AGGanfwjXuQ9+0pZcy0w9lQ=="
    )
    made = message(JsonText(json.dumps({"encrypt": encrypted}).encode()), now=1445827045.067, nonce="nEXhMP4r")
    received = signed(made, DINGTALK, keys={"hook": "123456"})
    assert received.query == {
        "timestamp": "1445827045067",
        "nonce": "nEXhMP4r",
        "signature": "5a65ceeef9aab2d149439f82dc191dd6c5cbe2c0",
    }
    query = dict(parse_qsl(received.url.partition("?")[2]))
    assert query["signature"] == sorted_sha1("123456", query["timestamp"], query["nonce"], encrypted)


def test_wechat() -> None:
    encrypted = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
    made = message(
        xml([("ToUserName", "wx5823bf96d3bd56c7"), ("Encrypt", encrypted)]),
        url="https://example.com/wechat?app=1",
        now=1409659589,
        nonce="263014780",
    )
    received = signed(made, WECHAT, keys={"hook": "QDG6eK"})
    assert received.query["msg_signature"] == "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"
    assert received.url.startswith("https://example.com/wechat?app=1&timestamp=1409659589&nonce=263014780&msg_sig")


# Alipay and WeChat Pay v3: RSA with SHA-256. The vector that the verifier is checked with is RFC 7515's, appendix A.2.


def rsa2_accepts(content: bytes, signature: bytes, public: rsa.RSAPublicKey) -> bool:
    try:
        public.verify(signature, content, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_verifier_of_rsa2_accepts_what_others_signed() -> None:
    n = int.from_bytes(from_base64url(RFC_7515_A2_N), "big")
    public = rsa.RSAPublicNumbers(65537, n).public_key()
    assert rsa2_accepts(RFC_7515_A2_INPUT, from_base64url(RFC_7515_A2_SIGNATURE), public)
    assert not rsa2_accepts(RFC_7515_A2_INPUT + b" ", from_base64url(RFC_7515_A2_SIGNATURE), public)


def alipay_accepts(body: bytes, public: rsa.RSAPublicKey, charset: str = "utf-8") -> bool:
    """Alipay, "Asynchronous notification": drop sign and sign_type, sort the others, join, verify."""
    fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, encoding=charset))
    signature, kind = fields.pop("sign"), fields.pop("sign_type")
    content = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
    return kind == "RSA2" and rsa2_accepts(content.encode(charset), base64.b64decode(signature), public)


@pytest.mark.parametrize("charset", ["utf-8", "gbk"])
def test_alipay(rsa_key: rsa.RSAPrivateKey, charset: str) -> None:
    form = Form(
        [("subject", "驿站 & a=b"), ("app_id", "2021"), ("charset", charset), ("body", ""), ("out_trade_no", "+1")],
        charset,
    )
    received = signed(message(form), ALIPAY | {"charset": charset}, keys={"hook": pem(rsa_key)})
    assert alipay_accepts(received.body, rsa_key.public_key(), charset)
    assert not alipay_accepts(received.body.replace(b"2021", b"2022"), rsa_key.public_key(), charset)


def test_alipay_keys_are_base64_without_the_lines_of_pem(rsa_key: rsa.RSAPrivateKey) -> None:
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        bare = base64.b64encode(rsa_key.private_bytes(Encoding.DER, form, NoEncryption())).decode()
        received = signed(message(Form([("a", "1")])), ALIPAY | {"key_encoding": "base64"}, keys={"hook": bare})
        assert alipay_accepts(received.body, rsa_key.public_key())


def test_wechat_pay_v3(rsa_key: rsa.RSAPrivateKey) -> None:
    received = signed(message(BODY), WECHAT_PAY, keys={"hook": pem(rsa_key)})
    headers = received.headers
    assert headers["Wechatpay-Serial"] == "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
    told = headers["Wechatpay-Timestamp"], headers["Wechatpay-Nonce"]
    assert told == ("1614265330", NONCE)
    public = rsa_key.public_key()
    assert rsa_verify(*told, BODY.decode(), headers["Wechatpay-Signature"], public)
    assert not rsa_verify(*told, BODY.decode() + " ", headers["Wechatpay-Signature"], public)
    assert public.public_bytes(Encoding.DER, PublicFormat.PKCS1)


# WeChat Pay v2. The vector is its own ("Signature algorithm"), for MD5 and HMAC-SHA256.


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("md5", "9A0A8659F005D6984697E2CA0A9CF3B7"),
        ("hmac-sha256", "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"),
    ],
)
def test_wechat_pay_v2(algorithm: str, expected: str) -> None:
    fields = [
        ("appid", "wxd930ea5d5a258f4f"),
        ("mch_id", "10000100"),
        ("device_info", "1000"),
        ("body", "test"),
        ("nonce_str", "ibuaiVcKdpRxkhJA"),
        ("detail", ""),
        ("sign", "what was there"),
    ]
    keys = {"hook": "192006250b4c09247ec02edce69f6a2d"}
    received = signed(message(xml(fields)), WECHAT_PAY_V2 | {"algorithm": algorithm}, keys=keys)
    assert f"<sign>{expected}</sign>".encode() in received.body
    assert received.body.count(b"<sign>") == 1


# Douyin and Youzan: rules without vectors.


def test_douyin() -> None:
    received = signed(message(BODY), DOUYIN, keys={"hook": "client-secret"})
    assert received.headers["X-Douyin-Signature"] == hashlib.sha1(b"client-secret" + BODY).hexdigest()


def test_youzan() -> None:
    received = signed(message(BODY), YOUZAN, keys={"hook": "client-secret"})
    assert received.headers["Event-Sign"] == hashlib.md5(b"client-42" + BODY + b"client-secret").hexdigest()


# Adyen, by its library. The vector is its own ("Verify HMAC signatures").


def adyen_notification(**fields: Any) -> bytes:
    item = {
        "amount": {"value": 1130, "currency": "EUR"},
        "pspReference": "7914073381342284",
        "eventCode": "AUTHORISATION",
        "merchantAccountCode": "TestMerchant",
        "merchantReference": "TestPayment-1407325143704",
        "success": "true",
    }
    return json.dumps({"live": "false", "notificationItems": [{"NotificationRequestItem": item | fields}]}).encode()


def test_adyen_in_the_body() -> None:
    received = signed(message(JsonText(adyen_notification())), ADYEN, keys={"hook": ADYEN_KEY})
    told = json.loads(received.body)
    item = told["notificationItems"][0]["NotificationRequestItem"]
    assert item["additionalData"] == {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="}
    assert is_valid_hmac_notification(told, ADYEN_KEY)

    kept = {
        "additionalData": {"cardSummary": "7777"},
        "originalReference": "1",
        "amount": {"value": 1.10, "currency": "X"},
    }
    received = signed(message(JsonText(adyen_notification(**kept))), ADYEN, keys={"hook": ADYEN_KEY})
    told = json.loads(received.body)
    assert told["notificationItems"][0]["NotificationRequestItem"]["additionalData"]["cardSummary"] == "7777"
    assert is_valid_hmac_notification(told, ADYEN_KEY)
    told["notificationItems"][0]["NotificationRequestItem"]["amount"]["value"] = 2
    assert not is_valid_hmac_notification(told, ADYEN_KEY)


def test_adyen_in_a_header() -> None:
    received = signed(message(Bytes(BODY)), ADYEN_HEADER, keys={"hook": ADYEN_KEY})
    assert is_valid_hmac_payload(received.headers["HmacSignature"], ADYEN_KEY, received.body)
    assert not is_valid_hmac_payload(received.headers["HmacSignature"], ADYEN_KEY, received.body + b" ")
    assert len(binascii.a2b_base64(received.headers["HmacSignature"])) == 32
