"""Each platform's endpoint, set up by what the guides say, before a receiver written from that platform's documentation."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.fakes import until
from tests.judges import enveloped, signed
from tests.judges.asking import Refused
from tests.serving import call, serving
from tests.targets import answer_ok, target

from posthouse import bootstrap

GUIDES = Path(__file__).parents[2] / "docs" / "en" / "guides"
RSA = generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SEED = Ed25519PrivateKey.generate()

DATA: dict[str, Any] = {
    "name": "灯 & 笼=+%",
    "live": "false",
    "notificationItems": [
        {
            "NotificationRequestItem": {
                "pspReference": "7914073381342284",
                "merchantAccountCode": "TestMerchant",
                "merchantReference": "Bestellung-ü-灯",
                "amount": {"value": 1130, "currency": "EUR"},
                "eventCode": "AUTHORISATION",
                "success": "true",
                "additionalData": {"cardSummary": "7777"},
            }
        }
    ],
}
SUBJECT = "shop: 灯 & <笼> ]]>"
PAYLOAD = {"kind": "json", "body": "{data}"}
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
ADYEN_KEY = "DFB1EB5485895CFA84146406857104ABB4CBCABDC8AAF103A624C8F6A3EAAB00"
AES_KEY = "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij"
API_V3_KEY = "53D67FCB97E68F9998CBD17ED7A8D1E2"


def shown(page: str) -> list[dict[str, Any]]:
    """The configurations that a guide shows, as blocks and in tables."""
    text = (GUIDES / f"{page}.md").read_text("utf-8")
    found = re.findall(r"```json\n(.*?)```|`(\{\"kind\".*?\})` \|", text, re.DOTALL)
    return [json.loads(block or cell) for block, cell in found]


def signer(name: str, algorithm: str = "", **changed: Any) -> dict[str, Any]:
    """The guide's signer whose signature has this name, with the key `hook`."""
    (found,) = [
        each
        for each in shown("signatures")
        if each.get("signature", {}).get("name") == name and algorithm in each["algorithm"]
    ]
    return found | {"key": "hook"} | changed


def envelope(field: str, **changed: Any) -> dict[str, Any]:
    """The guide's envelope that has this field and, if it is not `body`, none of its own."""
    (found,) = [
        each
        for each in shown("encryption")
        if each.get("kind") == "envelope" and field in each and (field == "body") == ("body" in each)
    ]
    return found | {"key": "envelope"} | changed


def custom(algorithm: str, *parts: str, name: str, **changed: Any) -> dict[str, Any]:
    """A signer that the guide tells of in words."""
    signature = {"in": "header", "name": name}
    return {"kind": "custom", "algorithm": algorithm, "key": "hook", "parts": parts, "signature": signature} | changed


class Platform(NamedTuple):
    """A receiver and what it knows, the endpoint's fields, and a part of the body that the signature is about."""

    judge: Callable[..., Any]
    secrets: dict[str, str]
    keys: dict[str, str]
    signer: dict[str, Any]
    fields: Mapping[str, Any] = MappingProxyType({})
    told: Callable[[Any], bool] = DATA.__eq__
    vouched: Callable[[bytes], bytes] = bytes  # all of it


def alipay(charset: str) -> Platform:
    return Platform(
        signed.verify_alipay,
        {"alipay_public_key": PUBLIC},
        {"hook": PRIVATE},
        signer("sign", "rsa") | ({"charset": charset} if charset != "utf-8" else {}),
        {
            "format": {
                "kind": "form",
                "nesting": "json",
                "charset": charset,
                "body": {"notify_id": "{event.id}", "charset": charset, "*": "{data}"},
            }
        },
        lambda told: (told["name"], json.loads(told["notificationItems"])) == (DATA["name"], DATA["notificationItems"]),
    )


def wechat(**fields: Any) -> Platform:
    """ "The same with `{timestamp}`, `{field.Encrypt}` and `msg_signature`", and the envelope "the same with …"."""
    also = [{"in": "query", "name": name, "value": f"{{{name}}}"} for name in ("timestamp", "nonce")]
    changed: dict[str, Any] = {"parts": ["{key}", "{timestamp}", "{nonce}", "{field.Encrypt}"], "also": also}
    return Platform(
        enveloped.verify_wechat,
        {"token": "QDG6eK", "encoding_aes_key": AES_KEY, "receive_id": "ww5823bf96d3bd56c7"},
        {"hook": "QDG6eK", "envelope": AES_KEY},
        signer("signature", signature={"in": "query", "name": "msg_signature"}, **changed),
        fields,
        lambda told: told["name"] == DATA["name"] and int(told["CreateTime"]) > 0,
        lambda body: max(re.findall(rb"[A-Za-z0-9+/=]+", body), key=len),
    )


PLATFORMS: dict[str, Platform] = {
    "github": Platform(
        signed.verify_github,
        {"secret": "It's a Secret to Everybody"},
        {"hook": "It's a Secret to Everybody"},
        signer("X-Hub-Signature-256"),
        {"headers": {"X-GitHub-Event": "{event.type}", "X-GitHub-Delivery": "{event.id}"}},
    ),
    "meta": Platform(
        signed.verify_meta, {"app_secret": "app-secret"}, {"hook": "app-secret"}, signer("X-Hub-Signature-256")
    ),
    "shopify": Platform(
        signed.verify_shopify,
        {"client_secret": "hush"},
        {"hook": "hush"},
        custom("hmac-sha256", "{body}", name="X-Shopify-Hmac-SHA256", encoding="base64"),
    ),
    "square": Platform(
        signed.verify_square,
        {"signature_key": "asdf1234"},
        {"hook": "asdf1234"},
        custom("hmac-sha256", "{url}{body}", name="x-square-hmacsha256-signature", encoding="base64"),
    ),
    "stripe": Platform(
        signed.verify_stripe, {"secret": "whsec_literally"}, {"hook": "whsec_literally"}, signer("Stripe-Signature")
    ),
    "slack": Platform(
        signed.verify_slack,
        {"signing_secret": SLACK_SECRET},
        {"hook": SLACK_SECRET},
        signer("X-Slack-Signature"),
        told=lambda told: bool(json.loads(told) == DATA),
    ),
    "zoom": Platform(
        signed.verify_zoom,
        {"secret_token": "secretValueTest"},
        {"hook": "secretValueTest"},
        signer(
            "X-Slack-Signature",
            signature={"in": "header", "name": "x-zm-signature", "value": "v0={signature}"},
            also=[{"in": "header", "name": "x-zm-request-timestamp", "value": "{timestamp}"}],
        ),
    ),
    "discord": Platform(
        signed.verify_discord,
        {"public_key": SEED.public_key().public_bytes_raw().hex()},
        {"hook": SEED.private_bytes_raw().hex()},
        signer("X-Signature-Ed25519"),
    ),
    "adyen": Platform(
        signed.verify_adyen,
        {"hmac_key": ADYEN_KEY},
        {"hook": ADYEN_KEY},
        signer("/notificationItems/0/NotificationRequestItem/additionalData/hmacSignature"),
        told=lambda told: [each["merchantReference"] for each in told] == ["Bestellung-ü-灯"],
        vouched=lambda body: b"Bestellung-",
    ),
    "douyin": Platform(
        signed.verify_douyin,
        {"client_secret": "client-secret"},
        {"hook": "client-secret"},
        custom("sha1", "{key}{body}", name="X-Douyin-Signature"),
    ),
    "youzan": Platform(
        signed.verify_youzan,
        {"client_id": "client-id", "client_secret": "client-secret"},
        {"hook": "client-secret"},
        custom("md5", "client-id", "{body}", "{key}", name="Event-Sign"),
    ),
    "alipay": alipay("utf-8"),
    "alipay-gbk": alipay("gbk"),
    "wechat-pay-v2": Platform(
        signed.verify_wechat_pay_v2,
        {"key": "192006250b4c09247ec02edce69f6a2d"},
        {"hook": "192006250b4c09247ec02edce69f6a2d"},
        signer("sign", "md5"),
        {
            "format": {
                "kind": "xml",
                "root": "xml",
                "text": "cdata",
                "types": False,
                "declaration": False,
                "body": {
                    "appid": "wx1",
                    "nonce_str": "{nonce}",
                    "attach": "{event.subject}",
                    "time_end": "{timestamp}",
                },
            }
        },
        lambda told: told["attach"] == SUBJECT and len(told["nonce_str"]) == 32,
        lambda body: SUBJECT[:4].encode(),
    ),
    "feishu": Platform(
        enveloped.verify_feishu,
        {"encrypt_key": "test key", "verification_token": "v-token"},
        {"hook": "test key", "envelope": "test key"},
        signer("X-Lark-Signature"),
        {
            "format": {
                "kind": "json",
                "body": {
                    "schema": "2.0",
                    "header": {"event_id": "{event.id}", "event_type": "{event.type}", "token": "v-token"},
                    "event": "{data}",
                },
            },
            "encryption": envelope("derive"),
        },
        lambda told: (told["event"], told["header"]["event_type"]) == (DATA, "order.created"),
    ),
    "dingtalk": Platform(
        enveloped.verify_dingtalk,
        {"token": "123456", "aes_key": AES_KEY, "owner_key": "suite4xxxxxxxxxxxxxxx"},
        {"hook": "123456", "envelope": AES_KEY},
        signer("signature"),
        {"encryption": envelope("frame", frame={"owner": "suite4xxxxxxxxxxxxxxx"})},
    ),
    "wecom": wechat(
        format={
            "kind": "xml",
            "root": "xml",
            "text": "cdata",
            "types": False,
            "declaration": False,
            "content_type": "text/xml",
            "body": {"ToUserName": "gh_1", "CreateTime": "{timestamp:number}", "*": "{data}"},
        },
        encryption=envelope(
            "frame",
            frame={"owner": "ww5823bf96d3bd56c7"},
            body={"kind": "xml", "elements": {"ToUserName": "ww5823bf96d3bd56c7", "Encrypt": "{ciphertext}"}},
        ),
    ),
    "wechat-json": wechat(
        format={"kind": "json", "body": {"ToUserName": "gh_1", "CreateTime": "{timestamp:number}", "*": "{data}"}},
        encryption=envelope(
            "frame",
            frame={"owner": "ww5823bf96d3bd56c7"},
            body={"kind": "json", "template": {"ToUserName": "gh_1", "Encrypt": "{ciphertext}"}},
        ),
        query={"openid": "o9AgO5Kd5ggOC-bXrbNODIiE3bGY", "encrypt_type": "aes"},
    ),
    "wechat-pay": Platform(
        enveloped.verify_wechat_pay,
        {"platform_key": PUBLIC, "serial": "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", "api_v3_key": API_V3_KEY},
        {"hook": PRIVATE, "envelope": API_V3_KEY},
        signer("Wechatpay-Signature"),
        {
            "format": PAYLOAD | {"time": {"form": "%Y-%m-%dT%H:%M:%S%:z", "zone": "Asia/Shanghai"}},
            "encryption": envelope("body"),
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
            speaking = {"format": PAYLOAD, "keys": platform.keys, "signing": [platform.signer], **platform.fields}
            await call(port, "POST", "/v1/apps/acme/endpoints", {"uid": name, "url": url} | speaking)
        await call(port, "PUT", "/v1/apps/acme/endpoints/stripe/keys/hook", {"value": "whsec_the-next"})
        await call(port, "POST", "/v1/apps/acme/events", {"type": "order.created", "data": DATA, "subject": SUBJECT})
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
    for name in ("feishu", "dingtalk", "wecom", "wechat-json", "wechat-pay"):
        assert "灯".encode() not in arrived[name].body
        assert b"Bestellung" not in arrived[name].body
