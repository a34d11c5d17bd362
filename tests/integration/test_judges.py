"""Each platform's endpoint, set up by what the guides say, before a receiver written from that platform's documentation."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.fakes import until
from tests.judges import enveloped, signed
from tests.judges.asking import Refused
from tests.serving import ask, call, serving
from tests.targets import answer_ok, target

from posthouse import bootstrap

RSA = generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SEED = Ed25519PrivateKey.generate()

ITEM = "/notificationItems/0/NotificationRequestItem"
DATA: dict[str, Any] = {
    "name": "灯 & 笼=+%",
    "live": "false",
    "notificationItems": [
        {
            "NotificationRequestItem": {
                "pspReference": "7914073381342284",
                "merchantAccountCode": "TestMerchant",
                "merchantReference": "Bestellung-äöü",
                "amount": {"value": 1130, "currency": "EUR"},
                "eventCode": "AUTHORISATION",
                "success": "true",
                "additionalData": {"cardSummary": "7777"},
            }
        }
    ],
}
PAYLOAD = {"kind": "json", "body": "{data}"}
AES_KEY = "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij"


def custom(algorithm: str, *parts: str, name: str, place: str = "header", **fields: Any) -> dict[str, Any]:
    value = fields.pop("value", None)
    signature = {"in": place, "name": name} | ({"value": value} if value else {})
    return {"kind": "custom", "algorithm": algorithm, "key": "hook", "parts": parts, "signature": signature} | fields


def versioned(signature: str, timestamp: str) -> dict[str, Any]:
    also = [{"in": "header", "name": timestamp, "value": "{timestamp}"}]
    return custom("hmac-sha256", "v0:{timestamp}:{body}", name=signature, value="v0={signature}", also=also)


def sorted_in_query(signature: str, timestamp: str, encrypted: str) -> dict[str, Any]:
    return custom(
        "sha1",
        "{key}",
        timestamp,
        "{nonce}",
        encrypted,
        name=signature,
        place="query",
        order="sorted",
        also=[
            {"in": "query", "name": "timestamp", "value": timestamp},
            {"in": "query", "name": "nonce", "value": "{nonce}"},
        ],
    )


def alipay(charset: str) -> Platform:
    return Platform(
        signed.verify_alipay,
        {"alipay_public_key": PUBLIC},
        {
            "keys": {"hook": PRIVATE},
            "format": {
                "kind": "form",
                "nesting": "json",
                "charset": charset,
                "body": {"notify_id": "{event.id}", "charset": charset, "app_id": "2019", "*": "{data}"},
            },
            "signing": [
                custom(
                    "rsa-sha256",
                    "{pairs}",
                    name="sign",
                    place="field",
                    pairs={"exclude": ["sign_type"]},
                    charset=charset,
                    encoding="base64",
                    also=[{"in": "field", "name": "sign_type", "value": "RSA2"}],
                )
            ],
        },
        told=lambda told: (
            told["name"] == DATA["name"] and json.loads(told["notificationItems"]) == DATA["notificationItems"]
        ),
    )


class Platform(NamedTuple):
    """A receiver and what it knows, the endpoint's fields, and a part of the body that the signature is about."""

    judge: Callable[..., Any]
    secrets: dict[str, str]
    fields: dict[str, Any]
    told: Callable[[Any], bool] = DATA.__eq__
    vouched: Callable[[bytes], bytes] = bytes  # all of it


PLATFORMS: dict[str, Platform] = {
    "github": Platform(
        signed.verify_github,
        {"secret": "It's a Secret to Everybody"},
        {
            "keys": {"hook": "It's a Secret to Everybody"},
            "format": PAYLOAD,
            "headers": {"X-GitHub-Event": "{event.type}", "X-GitHub-Delivery": "{event.id}"},
            "signing": [custom("hmac-sha256", "{body}", name="X-Hub-Signature-256", value="sha256={signature}")],
        },
    ),
    "meta": Platform(
        signed.verify_meta,
        {"app_secret": "app-secret"},
        {
            "keys": {"hook": "app-secret"},
            "format": PAYLOAD,
            "signing": [custom("hmac-sha256", "{body}", name="X-Hub-Signature-256", value="sha256={signature}")],
        },
    ),
    "shopify": Platform(
        signed.verify_shopify,
        {"client_secret": "hush"},
        {
            "keys": {"hook": "hush"},
            "format": PAYLOAD,
            "signing": [custom("hmac-sha256", "{body}", name="X-Shopify-Hmac-SHA256", encoding="base64")],
        },
    ),
    "square": Platform(
        signed.verify_square,
        {"signature_key": "asdf1234"},
        {
            "keys": {"hook": "asdf1234"},
            "format": PAYLOAD,
            "signing": [custom("hmac-sha256", "{url}{body}", name="x-square-hmacsha256-signature", encoding="base64")],
        },
    ),
    "stripe": Platform(
        signed.verify_stripe,
        {"secret": "whsec_literally"},
        {
            "keys": {"hook": "whsec_literally"},
            "format": PAYLOAD,
            "signing": [
                custom(
                    "hmac-sha256",
                    "{timestamp}.{body}",
                    name="Stripe-Signature",
                    value="t={timestamp},v1={signature}",
                    repeat=",v1={signature}",
                )
            ],
        },
    ),
    "slack": Platform(
        signed.verify_slack,
        {"signing_secret": "8f742231b10e8888abcd99yyyzzz85a5"},
        {
            "keys": {"hook": "8f742231b10e8888abcd99yyyzzz85a5"},
            "format": PAYLOAD,
            "signing": [versioned("X-Slack-Signature", "X-Slack-Request-Timestamp")],
        },
        told=lambda told: bool(json.loads(told) == DATA),
    ),
    "zoom": Platform(
        signed.verify_zoom,
        {"secret_token": "secretValueTest"},
        {
            "keys": {"hook": "secretValueTest"},
            "format": PAYLOAD,
            "signing": [versioned("x-zm-signature", "x-zm-request-timestamp")],
        },
    ),
    "discord": Platform(
        signed.verify_discord,
        {"public_key": SEED.public_key().public_bytes_raw().hex()},
        {
            "keys": {"hook": SEED.private_bytes_raw().hex()},
            "format": PAYLOAD,
            "signing": [
                custom(
                    "ed25519",
                    "{timestamp}{body}",
                    name="X-Signature-Ed25519",
                    key_encoding="hex",
                    also=[{"in": "header", "name": "X-Signature-Timestamp", "value": "{timestamp}"}],
                )
            ],
        },
    ),
    "adyen": Platform(
        signed.verify_adyen,
        {"hmac_key": "DFB1EB5485895CFA84146406857104ABB4CBCABDC8AAF103A624C8F6A3EAAB00"},
        {
            "keys": {"hook": "DFB1EB5485895CFA84146406857104ABB4CBCABDC8AAF103A624C8F6A3EAAB00"},
            "format": PAYLOAD,
            "signing": [
                custom(
                    "hmac-sha256",
                    f"{{field.{ITEM}/pspReference}}",
                    f"{{field.{ITEM}/originalReference?}}",
                    f"{{field.{ITEM}/merchantAccountCode}}",
                    f"{{field.{ITEM}/merchantReference}}",
                    f"{{field.{ITEM}/amount/value}}",
                    f"{{field.{ITEM}/amount/currency}}",
                    f"{{field.{ITEM}/eventCode}}",
                    f"{{field.{ITEM}/success}}",
                    name=f"{ITEM}/additionalData/hmacSignature",
                    place="field",
                    key_encoding="hex",
                    separator=":",
                    encoding="base64",
                )
            ],
        },
        told=lambda told: [each["merchantReference"] for each in told] == ["Bestellung-äöü"],
        vouched=lambda body: b"Bestellung-",
    ),
    "douyin": Platform(
        signed.verify_douyin,
        {"client_secret": "client-secret"},
        {
            "keys": {"hook": "client-secret"},
            "format": PAYLOAD,
            "signing": [custom("sha1", "{key}{body}", name="X-Douyin-Signature")],
        },
    ),
    "youzan": Platform(
        signed.verify_youzan,
        {"client_id": "client-id", "client_secret": "client-secret"},
        {
            "keys": {"hook": "client-secret"},
            "format": PAYLOAD,
            "signing": [custom("md5", "client-id", "{body}", "{key}", name="Event-Sign")],
        },
    ),
    "alipay": alipay("utf-8"),
    "alipay-gbk": alipay("gbk"),
    "feishu": Platform(
        enveloped.verify_feishu,
        {"encrypt_key": "test key", "verification_token": "v-token"},
        {
            "keys": {"hook": "test key"},
            "format": {
                "kind": "json",
                "body": {
                    "schema": "2.0",
                    "header": {"event_id": "{event.id}", "event_type": "{event.type}", "token": "v-token"},
                    "event": "{data}",
                },
            },
            "encryption": {"kind": "envelope", "key": "hook", "cipher": "aes-256-cbc", "derive": "sha256"},
            "signing": [
                custom(
                    "sha256",
                    "{timestamp}{nonce}{key}{body}",
                    name="X-Lark-Signature",
                    also=[
                        {"in": "header", "name": "X-Lark-Request-Timestamp", "value": "{timestamp}"},
                        {"in": "header", "name": "X-Lark-Request-Nonce", "value": "{nonce}"},
                    ],
                )
            ],
        },
        told=lambda told: told["event"] == DATA and told["header"]["event_type"] == "order.created",
    ),
    "dingtalk": Platform(
        enveloped.verify_dingtalk,
        {"token": "123456", "aes_key": AES_KEY, "owner_key": "suite4xxxxxxxxxxxxxxx"},
        {
            "keys": {"hook": "123456", "aes": AES_KEY},
            "format": PAYLOAD,
            "encryption": {
                "kind": "envelope",
                "key": "aes",
                "key_encoding": "base64",
                "cipher": "aes-256-cbc",
                "iv": "key",
                "padding": 32,
                "frame": {"owner": "suite4xxxxxxxxxxxxxxx"},
            },
            "signing": [sorted_in_query("signature", "{timestamp_ms}", "{field.encrypt}")],
        },
    ),
    "wecom": Platform(
        enveloped.verify_wechat,
        {"token": "QDG6eK", "encoding_aes_key": AES_KEY, "receive_id": "ww5823bf96d3bd56c7"},
        {
            "keys": {"hook": "QDG6eK", "aes": AES_KEY},
            "format": {
                "kind": "xml",
                "root": "xml",
                "text": "cdata",
                "types": False,
                "declaration": False,
                "content_type": "text/xml",
                "body": {"ToUserName": "ww5823bf96d3bd56c7", "CreateTime": "{timestamp:number}", "*": "{data}"},
            },
            "encryption": {
                "kind": "envelope",
                "key": "aes",
                "key_encoding": "base64",
                "cipher": "aes-256-cbc",
                "iv": "key",
                "padding": 32,
                "frame": {"owner": "ww5823bf96d3bd56c7"},
                "body": {"kind": "xml", "elements": {"ToUserName": "ww5823bf96d3bd56c7", "Encrypt": "{ciphertext}"}},
            },
            "signing": [sorted_in_query("msg_signature", "{timestamp}", "{field.Encrypt}")],
        },
        told=lambda told: told["name"] == DATA["name"] and told["CreateTime"].isdecimal(),
        vouched=lambda body: body[body.index(b"Encrypt><![CDATA[") + 17 : body.index(b"]]></Encrypt>")],
    ),
    "wechat-pay": Platform(
        enveloped.verify_wechat_pay,
        {"platform_key": PUBLIC, "serial": "5157F09E", "api_v3_key": "53D67FCB97E68F9998CBD17ED7A8D1E2"},
        {
            "keys": {"hook": PRIVATE, "apiv3": "53D67FCB97E68F9998CBD17ED7A8D1E2"},
            "format": PAYLOAD,
            "encryption": {
                "kind": "envelope",
                "key": "apiv3",
                "cipher": "aes-256-gcm",
                "iv": "beside",
                "iv_encoding": "text",
                "associated_data": "transaction",
                "body": {
                    "kind": "json",
                    "template": {
                        "id": "{event.id}",
                        "create_time": "{event.time}",
                        "event_type": "TRANSACTION.SUCCESS",
                        "resource_type": "encrypt-resource",
                        "summary": "支付成功",
                        "resource": {
                            "algorithm": "AEAD_AES_256_GCM",
                            "ciphertext": "{ciphertext}",
                            "nonce": "{iv}",
                            "associated_data": "transaction",
                            "original_type": "transaction",
                        },
                    },
                },
            },
            "signing": [
                custom(
                    "rsa-sha256",
                    "{timestamp}\n{nonce}\n{body}\n",
                    name="Wechatpay-Signature",
                    key_id="5157F09E",
                    encoding="base64",
                    also=[
                        {"in": "header", "name": "Wechatpay-Timestamp", "value": "{timestamp}"},
                        {"in": "header", "name": "Wechatpay-Nonce", "value": "{nonce}"},
                        {"in": "header", "name": "Wechatpay-Serial", "value": "{key_id}"},
                    ],
                )
            ],
        },
    ),
}


class Received(NamedTuple):
    """A request as its receiver reads it."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def read(raw: bytes, port: int) -> Received:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    return Received(method, f"http://127.0.0.1:{port}{path}", headers, body)


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        await call(running.port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        yield running


async def test_every_platforms_receiver_takes_what_the_guides_configure(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(answer_ok) as served:
        for name, platform in PLATFORMS.items():
            url = f"http://127.0.0.1:{served.port}/{name}"
            await call(port, "POST", "/v1/apps/acme/endpoints", {"uid": name, "url": url} | platform.fields)
        await call(port, "PUT", "/v1/apps/acme/endpoints/stripe/keys/hook", {"value": "whsec_the-next"})
        await call(port, "POST", "/v1/apps/acme/events", {"type": "order.created", "data": DATA})
        await until(lambda: len(served.requests) >= len(PLATFORMS), "every request")
        told = [read(raw, served.port) for raw in served.requests]
    arrived = {got.url.split("/")[3].partition("?")[0]: got for got in told}
    assert sorted(arrived) == sorted(PLATFORMS)
    now = time.time()
    for name, platform in PLATFORMS.items():
        got = arrived[name]
        assert platform.told(platform.judge(*got, platform.secrets, now)), name
        vouched = platform.vouched(got.body)
        start = got.body.index(vouched)
        for at in range(start, start + len(vouched), 11):
            body = got.body[:at] + bytes([got.body[at] ^ 1]) + got.body[at + 1 :]
            with pytest.raises((Refused, ValueError)):
                platform.judge(*got._replace(body=body), platform.secrets, now)
        with pytest.raises(Refused):
            platform.judge(*got._replace(method="PUT"), platform.secrets, now)
    stripe = arrived["stripe"]
    assert signed.verify_stripe(*stripe, {"secret": "whsec_the-next"}, now) == DATA, "the new secret beside the old one"
    square = arrived["square"]
    with pytest.raises(Refused):
        signed.verify_square(*square._replace(url=square.url + "?"), PLATFORMS["square"].secrets)
    for name in ("feishu", "dingtalk", "wecom", "wechat-pay"):
        assert "灯".encode() not in arrived[name].body
        assert b"Bestellung" not in arrived[name].body


async def test_what_a_platforms_receiver_could_not_be_told_is_refused_by_name(server: bootstrap.Posthouse) -> None:
    fields = PLATFORMS["wecom"].fields
    twice = [*fields["signing"], custom("sha1", "{key}", "{timestamp}", "{nonce}", name="signature", place="query")]
    reply = await ask(
        server.port,
        "POST",
        "/v1/apps/acme/endpoints",
        fields | {"url": "https://example.com/", "signing": twice},
    )
    print(reply)
    assert reply.status == 422
