"""Judges of platforms that sign what they send, and send it in the clear."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .asking import Headers, Refused, Secrets, decoded, fresh, header, posted, rsa, same


def mac(key: str, message: bytes) -> bytes:
    return hmac.new(key.encode(), message, hashlib.sha256).digest()


def unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refused("the signature is no base64") from None


def verify_github(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """docs.github.com, "Validating webhook deliveries": the digest is a HMAC in hexadecimal and always starts with `sha256=`.

    "Webhook events and payloads", "Delivery headers": `X-GitHub-Event` and `X-GitHub-Delivery` come with it.
    """
    posted(method)
    same("sha256=" + mac(secrets["secret"], body).hex(), header(headers, "X-Hub-Signature-256"))
    if not (header(headers, "X-GitHub-Event") and header(headers, "X-GitHub-Delivery")):
        raise Refused("an empty header")
    return decoded(body)


def verify_meta(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """developers.facebook.com, "Webhooks", "Validating Payloads": SHA256 with the app's secret, after `sha256=`.

    Meta itself escapes what is not ASCII (`\\u00e4`) and signs that, in lower case: those are the bytes that it sends.
    """
    posted(method)
    same("sha256=" + mac(secrets["app_secret"], body).hex(), header(headers, "X-Hub-Signature-256"))
    return decoded(body)


def verify_shopify(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """shopify.dev, "Verify HTTPS webhooks": base64 of the HMAC of the raw body, with the app's client secret."""
    posted(method)
    ours = base64.b64encode(mac(secrets["client_secret"], body)).decode()
    same(ours, header(headers, "X-Shopify-Hmac-SHA256"))
    return decoded(body)


def verify_square(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """developer.squareup.com, "Validate notifications": the notification URL and the raw body, nothing between them."""
    posted(method)
    ours = base64.b64encode(mac(secrets["signature_key"], url.encode() + body)).decode()
    same(ours, header(headers, "x-square-hmacsha256-signature"))
    return decoded(body)


def verify_stripe(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """docs.stripe.com, "Verify webhook signatures manually": `t=…,v1=…`; any `v1` may fit, other schemes are ignored.

    The secret is used as it is written, with its `whsec_`.
    """
    posted(method)
    elements = [element.partition("=") for element in header(headers, "Stripe-Signature").split(",")]
    times = [value for name, _, value in elements if name == "t"]
    signatures = [value for name, _, value in elements if name == "v1"]
    if len(times) != 1:
        raise Refused("not one timestamp")
    fresh(times[0], now)
    ours = mac(secrets["secret"], f"{times[0]}.".encode() + body).hex()
    if not any(hmac.compare_digest(ours, each) for each in signatures):
        raise Refused("none of the signatures")
    return decoded(body)


def verify_slack(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> bytes:
    """docs.slack.dev, "Verifying requests from Slack": `v0:timestamp:body`. What is told is a form as often as JSON."""
    posted(method)
    timestamp = header(headers, "X-Slack-Request-Timestamp")
    fresh(timestamp, now)
    ours = mac(secrets["signing_secret"], f"v0:{timestamp}:".encode() + body).hex()
    same("v0=" + ours, header(headers, "X-Slack-Signature"))
    return body


def verify_zoom(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """developers.zoom.us, "Verify with Zoom's header": `v0:timestamp:body`, and `v0=` with hexadecimal digits."""
    posted(method)
    timestamp = header(headers, "x-zm-request-timestamp")
    fresh(timestamp, now)
    ours = mac(secrets["secret_token"], f"v0:{timestamp}:".encode() + body).hex()
    same("v0=" + ours, header(headers, "x-zm-signature"))
    return decoded(body)


def verify_discord(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """discord.com, "Validating Security Request Headers": ed25519 over timestamp and body, key and signature in hex."""
    posted(method)
    timestamp = header(headers, "X-Signature-Timestamp")
    fresh(timestamp, now)
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(secrets["public_key"]))
    try:
        key.verify(bytes.fromhex(header(headers, "X-Signature-Ed25519")), timestamp.encode() + body)
    except (InvalidSignature, ValueError):
        raise Refused("the signature is another one") from None
    return decoded(body)


def verify_adyen(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """docs.adyen.com, "Verify HMAC signatures": eight fields with colons between them; what is missing is an empty text.

    The signature is in each item's `additionalData.hmacSignature`; the key is written in hexadecimal. Returns the items.
    """
    posted(method)
    items = [each["NotificationRequestItem"] for each in decoded(body)["notificationItems"]]
    for item in items:
        signed = ":".join(
            str(value)
            for value in (
                item.get("pspReference", ""),
                item.get("originalReference", ""),
                item.get("merchantAccountCode", ""),
                item.get("merchantReference", ""),
                item.get("amount", {}).get("value", ""),
                item.get("amount", {}).get("currency", ""),
                item.get("eventCode", ""),
                item.get("success", ""),
            )
        )
        theirs = item.get("additionalData", {}).get("hmacSignature")
        if not isinstance(theirs, str):
            raise Refused("an item without a signature")
        key = bytes.fromhex(secrets["hmac_key"])
        same(base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode(), theirs)
    return items


def verify_douyin(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """developer.open-douyin.com, Webhooks, 消息来源验证: SHA-1 of the client secret and the body, in hexadecimal."""
    posted(method)
    ours = hashlib.sha1(secrets["client_secret"].encode() + body).hexdigest()
    same(ours, header(headers, "X-Douyin-Signature"))
    return decoded(body)


def verify_youzan(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """doc.youzanyun.com, 消息推送: `Event-Sign` is the MD5 of client id, the body as it was read, and client secret."""
    posted(method)
    signed = secrets["client_id"].encode() + body + secrets["client_secret"].encode()
    same(hashlib.md5(signed).hexdigest(), header(headers, "Event-Sign"))
    return decoded(body)


def verify_alipay(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> dict[str, str]:
    """opendocs.alipay.com, 异步通知验签: every parameter but `sign` and `sign_type`, decoded, in the order of the names.

    RSA2 is SHA256withRSA with Alipay's public key; the texts are signed in the notification's `charset`.
    "空值的参数是不会存在和出现的": no parameter is without a value; Alipay's own SDKs disagree on whether they sign one.
    """
    posted(method)
    if not header(headers, "Content-Type").lower().startswith("application/x-www-form-urlencoded"):
        raise Refused("no form")
    charset = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True)).get("charset", "utf-8").lower()
    if charset not in ("utf-8", "gbk"):
        raise Refused("another charset")
    fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, encoding=charset)
    told = dict(fields)
    if len(told) != len(fields):
        raise Refused("a field comes twice")
    if told.get("sign_type") != "RSA2" or "sign" not in told:
        raise Refused("not signed with RSA2")
    if not all(told.values()):
        raise Refused("a field is empty")
    signed = "&".join(f"{name}={told[name]}" for name in sorted(told) if name not in ("sign", "sign_type"))
    rsa(secrets["alipay_public_key"], unbase64(told["sign"]), signed.encode(charset))
    return {name: value for name, value in told.items() if name not in ("sign", "sign_type")}


def verify_wechat_pay_v2(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> dict[str, str]:
    """pay.weixin.qq.com/wiki/doc/api, 安全规范: what has a value, sorted, with `&key=` after it; MD5 in upper case."""
    posted(method)
    try:
        told = {child.tag: child.text or "" for child in ElementTree.fromstring(body)}
    except ElementTree.ParseError:
        raise Refused("no XML") from None
    text = "&".join(f"{name}={told[name]}" for name in sorted(told) if name != "sign" and told[name])
    same(hashlib.md5(f"{text}&key={secrets['key']}".encode()).hexdigest().upper(), told.get("sign", ""))
    return {name: value for name, value in told.items() if name != "sign"}
