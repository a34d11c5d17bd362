"""Platforms of payments and shops: Adyen, Alipay, WeChat Pay, Douyin, Youzan.

Receivers are the platforms' own libraries where there are such, else a few lines written from their documentation. Vectors
are literal ones that others published: where each comes from is said beside it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
import rsa
from Adyen.util import is_valid_hmac_notification
from alipay.aop.api.util.SignatureUtils import get_sign_content, verify_with_rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.messages import NOW, Received, message
from tests.profiles.speaking import (
    CREATED,
    DATA,
    ID,
    PAYLOAD,
    TYPE,
    encryption_of,
    read,
    rsa_key,
    rsa_pem,
    rsa_public_pem,
    sent,
    signed_by,
)
from tests.published import ADYEN_KEY, RFC_7515_A2_INPUT, RFC_7515_A2_N, RFC_7515_A2_SIGNATURE
from wechatpayv3.utils import aes_decrypt, rsa_verify

from posthouse.wire.documents import JsonText
from posthouse_sdk import Decryption

SECRET = "It's a Secret to Everybody"
APIV3_KEY = "0123456789abcdef0123456789ABCDEF"

# Adyen, by Adyen. The vector is its own ("Verify HMAC signatures").

ADYEN_NOTIFICATION = {
    "live": "false",
    "notificationItems": [
        {
            "NotificationRequestItem": {
                "amount": {"value": 1130, "currency": "EUR"},
                "pspReference": "7914073381342284",
                "eventCode": "AUTHORISATION",
                "merchantAccountCode": "TestMerchant",
                "merchantReference": "TestPayment-1407325143704",
                "success": "true",
            }
        }
    ],
}


def item_of(notification: Any) -> Any:
    return notification["notificationItems"][0]["NotificationRequestItem"]


def test_adyen() -> None:
    received = signed_by("adyen", message(JsonText(json.dumps(ADYEN_NOTIFICATION).encode())), hmac_key=ADYEN_KEY)
    assert item_of(read(received.body))["additionalData"] == {
        "hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="
    }

    payment = {
        "merchantReference": "驿站:1",
        "success": "true",
        "originalReference": "P1",
        "additionalData": {"a": "b"},
    }
    payload = json.dumps(read(PAYLOAD) | payment, default=float).encode()
    received = sent(
        "adyen",
        keys={"hmac_key": ADYEN_KEY},
        settings={"merchant_account": "Shop", "live": "false"},
        payload=payload,
        type="AUTHORISATION",
    )
    told = read(received.body)
    assert is_valid_hmac_notification(told, ADYEN_KEY)
    assert not is_valid_hmac_notification(read(received.body), "00" * 32)
    item = item_of(told)
    item["additionalData"].pop("hmacSignature", None)
    assert item == DATA | payment | {
        "eventCode": "AUTHORISATION",
        "eventDate": "2021-02-25T16:02:00+01:00",
        "merchantAccountCode": "Shop",
        "pspReference": ID,
    }
    assert datetime.fromisoformat(item["eventDate"]).timestamp() == int(CREATED)
    for name in ("merchantReference", "amount", "success"):
        other = read(received.body)
        item_of(other)[name] = {"value": 1, "currency": "EUR"} if name == "amount" else "x"
        assert not is_valid_hmac_notification(other, ADYEN_KEY)


def test_adyen_signs_what_is_not_there_as_nothing() -> None:
    received = sent("adyen", keys={"hmac_key": ADYEN_KEY}, payload=b'{"reason":"none"}', type="REPORT_AVAILABLE")
    content = f"{ID}::posthouse::::REPORT_AVAILABLE:".encode()
    signature = base64.b64encode(hmac.digest(bytes.fromhex(ADYEN_KEY), content, "sha256")).decode()
    assert item_of(read(received.body))["additionalData"] == {"hmacSignature": signature}


# Alipay, by alipay-sdk-python. The vector that it is tried with is RFC 7515's, appendix A.2: RSA with SHA-256.


def bare(pem: str) -> str:
    """A public key as Alipay gives it: Base64 without the lines of PEM."""
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


def rsa2_accepts(content: bytes, signature: str, public_key: str) -> bool:
    try:
        return bool(verify_with_rsa(bare(public_key), content, signature))
    except rsa.VerificationError:
        return False


def alipay_accepts(body: bytes, public_key: str) -> dict[str, str] | None:
    """ "Asynchronous notification": drop sign and sign_type, sort the others, join, verify."""
    fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True))
    signature, kind = fields.pop("sign"), fields.pop("sign_type")
    content = get_sign_content(fields)
    return fields if kind == "RSA2" and rsa2_accepts(content.encode(), signature, public_key) else None


def test_the_library_of_alipay_accepts_what_others_signed() -> None:
    n = int.from_bytes(base64.urlsafe_b64decode(RFC_7515_A2_N + "=="), "big")
    public = RSAPublicNumbers(65537, n).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    signature = base64.b64encode(base64.urlsafe_b64decode(RFC_7515_A2_SIGNATURE + "==")).decode()
    assert rsa2_accepts(RFC_7515_A2_INPUT, signature, pem)
    assert not rsa2_accepts(RFC_7515_A2_INPUT + b" ", signature, pem)


def test_alipay() -> None:
    received = sent("alipay", keys={"platform_key": rsa_pem()}, settings={"app_id": "2021"}, type="trade_status_sync")
    fields = alipay_accepts(received.body, rsa_public_pem())
    assert fields is not None
    assert (
        fields.items()
        >= {
            "notify_id": ID,
            "notify_type": "trade_status_sync",
            "notify_time": "2021-02-25 23:02:10",
            "app_id": "2021",
            "charset": "utf-8",
            "version": "1.0",
            "orderId": "驿站 42",
            "rate": "1.50",
        }.items()
    )
    assert "note" not in fields
    assert (read(fields["items"]), read(fields["amount"])) == (DATA["items"], DATA["amount"])
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded; charset=utf-8"
    assert alipay_accepts(received.body.replace(b"app_id=2021", b"app_id=2022"), rsa_public_pem()) is None
    another = generate_private_key(65537, 2048).public_key()
    pem = another.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert alipay_accepts(received.body, pem) is None


# WeChat Pay, by wechatpayv3. The vector is what it has really sent (yansongda/pay, tests/FunctionTest.php).

WECHAT_PAY_VECTOR = json.loads((Path(__file__).parents[1] / "judges" / "wechat_pay.json").read_text("utf-8"))


def wechat_pay_accepts(received: Received, body: bytes) -> bool:
    stamp, nonce = received.headers["Wechatpay-Timestamp"], received.headers["Wechatpay-Nonce"]
    signature = received.headers["Wechatpay-Signature"]
    return bool(rsa_verify(stamp, nonce, body.decode(errors="replace"), signature, rsa_key().public_key()))


def test_wechat_pay() -> None:
    received = sent(
        "wechatpay",
        keys={"apiv3_key": APIV3_KEY, "platform_key": rsa_pem()},
        settings={"serial": "ABC123", "original_type": "refund"},
        type="REFUND.SUCCESS",
    )
    assert received.headers["Wechatpay-Timestamp"] == str(int(NOW))
    assert received.headers["Wechatpay-Serial"] == "ABC123"
    assert received.headers["Wechatpay-Signature-Type"] == "WECHATPAY2-SHA256-RSA2048"
    assert received.headers["Content-Type"] == "application/json"
    assert wechat_pay_accepts(received, received.body)
    assert not wechat_pay_accepts(received, received.body.replace(b"REFUND", b"refund"))
    told = read(received.body)
    resource = told.pop("resource")
    assert told == {
        "id": ID,
        "create_time": "2021-02-25T23:02:00+08:00",
        "event_type": "REFUND.SUCCESS",
        "resource_type": "encrypt-resource",
        "summary": "posthouse",
    }
    sealed = resource.pop("ciphertext"), resource.pop("nonce")
    assert resource == {"algorithm": "AEAD_AES_256_GCM", "associated_data": "refund", "original_type": "refund"}
    assert len(sealed[1]) == 12
    assert aes_decrypt(sealed[1], sealed[0], "refund", APIV3_KEY) == PAYLOAD.decode()
    for key, associated in ((APIV3_KEY.swapcase(), "refund"), (APIV3_KEY, "transaction")):
        with pytest.raises(Exception):  # noqa: B017 - whatever the library raises
            assert aes_decrypt(sealed[1], sealed[0], associated, key) == ""


def test_wechat_pays_own_resource_opens_with_the_profiles_encryption() -> None:
    resource, key = WECHAT_PAY_VECTOR["resource"], WECHAT_PAY_VECTOR["api_v3_key"]
    encryption = encryption_of("wechatpay", {"original_type": resource["associated_data"]})
    opened = Decryption(encryption, [key], content_type="text/plain")(json.dumps({"resource": resource}).encode(), {})
    assert opened.body.startswith(b"-----BEGIN CERTIFICATE-----")
    assert opened.body.decode() == aes_decrypt(
        resource["nonce"], resource["ciphertext"], resource["associated_data"], key
    )


# Douyin and Youzan: rules without vectors. Their receivers are what their documentation says of Go and Java.


def test_douyin() -> None:
    received = sent("douyin", keys={"client_secret": SECRET}, settings={"client_key": "aw1"})
    signature = received.headers["X-Douyin-Signature"]
    assert signature == hashlib.sha1(SECRET.encode() + received.body).hexdigest()
    assert signature != hashlib.sha1(SECRET.encode() + received.body.replace(b"42", b"43")).hexdigest()
    assert signature != hashlib.sha1(b"another" + received.body).hexdigest()
    assert received.headers["Msg-Id"] == ID
    assert read(received.body) == {
        "event": TYPE,
        "client_key": "aw1",
        "from_user_id": "shop:42",
        "content": DATA,
        "log_id": ID,
    }


def test_youzan() -> None:
    received = sent(
        "youzan", keys={"client_secret": SECRET}, settings={"client_id": "client-42"}, type="trade_TradePaid"
    )
    signature = received.headers["Event-Sign"]

    def md5(client: str, body: bytes, secret: str) -> str:
        return hashlib.md5(client.encode() + body + secret.encode()).hexdigest()

    assert signature == md5("client-42", received.body, SECRET)
    assert signature != md5("client-42", received.body.replace(b"42", b"43"), SECRET)
    assert signature != md5("client-42", received.body, "another")
    assert (received.headers["Event-Type"], received.headers["Client-Id"]) == ("trade_TradePaid", "client-42")
    told = read(received.body)
    assert unquote(told.pop("msg"), errors="strict") == PAYLOAD.decode()
    assert told == {
        "msg_id": ID,
        "id": ID,
        "type": "trade_TradePaid",
        "client_id": "client-42",
        "kdt_id": "shop:42",
        "version": int(CREATED * 1000),
        "mode": 1,
        "test": False,
    }
