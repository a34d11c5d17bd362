"""Each profile before the receiver that was written from its platform's documentation alone (`tests/judges`), and the requests
that others have published, signed by the profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.judges import enveloped, signed
from tests.judges.asking import Refused
from tests.judges.test_judges import CASES
from tests.messages import NOW, message
from tests.profiles.speaking import PAYLOAD, rsa_pem, rsa_public_pem, sent, signed_by

HEX = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
AES_KEY = "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij"
APIV3_KEY = "53D67FCB97E68F9998CBD17ED7A8D1E2"
SEED = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(HEX))
NO_EMPTY = PAYLOAD.replace(b',"note":""', b"")


class Platform(NamedTuple):
    """A receiver, what it knows, and what the endpoint does."""

    judge: Callable[..., Any]
    secrets: dict[str, str]
    keys: dict[str, str]
    settings: dict[str, str] = {}  # noqa: RUF012


PLATFORMS = {
    "github": Platform(signed.verify_github, {"secret": "abc"}, {"secret": "abc"}),
    "meta": Platform(signed.verify_meta, {"app_secret": "abc"}, {"app_secret": "abc", "verify_token": "v"}),
    "shopify": Platform(signed.verify_shopify, {"client_secret": "abc"}, {"client_secret": "abc"}),
    "square": Platform(signed.verify_square, {"signature_key": "abc"}, {"signature_key": "abc"}),
    "stripe": Platform(signed.verify_stripe, {"secret": "abc"}, {"endpoint_secret": "abc"}),
    "slack": Platform(signed.verify_slack, {"signing_secret": "abc"}, {"signing_secret": "abc"}),
    "zoom": Platform(signed.verify_zoom, {"secret_token": "abc"}, {"secret_token": "abc"}),
    "discord": Platform(
        signed.verify_discord, {"public_key": SEED.public_key().public_bytes_raw().hex()}, {"private_key": HEX}
    ),
    "adyen": Platform(signed.verify_adyen, {"hmac_key": HEX}, {"hmac_key": HEX}),
    "douyin": Platform(signed.verify_douyin, {"client_secret": "abc"}, {"client_secret": "abc"}),
    "youzan": Platform(
        signed.verify_youzan,
        {"client_id": "c1", "client_secret": "abc"},
        {"client_secret": "abc"},
        {"client_id": "c1"},
    ),
    "alipay": Platform(signed.verify_alipay, {"alipay_public_key": rsa_public_pem()}, {"platform_key": rsa_pem()}),
    "feishu": Platform(
        enveloped.verify_feishu, {"encrypt_key": "abc"}, {"encrypt_key": "abc", "verification_token": "v"}
    ),
    "dingtalk": Platform(
        enveloped.verify_dingtalk,
        {"token": "abc", "aes_key": AES_KEY, "owner_key": "suite4"},
        {"token": "abc", "aes_key": AES_KEY},
        {"owner_key": "suite4"},
    ),
    "wechat": Platform(
        enveloped.verify_wechat,
        {"token": "abc", "encoding_aes_key": AES_KEY, "receive_id": "wx1"},
        {"token": "abc", "aes_key": AES_KEY},
        {"app_id": "wx1"},
    ),
    "wecom": Platform(
        enveloped.verify_wechat,
        {"token": "abc", "encoding_aes_key": AES_KEY, "receive_id": "ww1"},
        {"token": "abc", "aes_key": AES_KEY},
        {"corp_id": "ww1"},
    ),
    "wechatpay": Platform(
        enveloped.verify_wechat_pay,
        {"platform_key": rsa_public_pem(), "serial": "5157F09E", "api_v3_key": APIV3_KEY},
        {"platform_key": rsa_pem(), "apiv3_key": APIV3_KEY},
        {"serial": "5157F09E"},
    ),
}


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_profile_before_its_judge(name: str) -> None:
    judge, secrets, keys, settings = PLATFORMS[name]
    received = sent(name, keys=keys, settings=settings, payload=NO_EMPTY)
    judge("POST", received.url, received.headers, received.body, secrets, NOW)
    vouched = next(
        each for each in (b"1130", b"Encrypt><![CDATA[", b'encrypt":"', b'ciphertext":"') if each in received.body
    )
    at = received.body.index(vouched) + len(vouched) + (-1 if vouched == b"1130" else 40)
    changed = received.body[:at] + bytes([received.body[at] ^ 1]) + received.body[at + 1 :]
    with pytest.raises((Refused, ValueError)):
        judge("POST", received.url, received.headers, changed, secrets, NOW)
    for secret, text in secrets.items():
        if "public" not in secret and name != "wechatpay":
            with pytest.raises((Refused, ValueError)):
                judge("POST", received.url, received.headers, received.body, secrets | {secret: "0" + text[1:]}, NOW)


# What was published, the key that signed it, and what is compared: the profile makes the very same.
PUBLISHED = {
    "github": ("secret", "X-Hub-Signature-256"),
    "shopify": ("client_secret", "X-Shopify-Hmac-SHA256"),
    "square": ("signature_key", "x-square-hmacsha256-signature"),
    "slack": ("signing_secret", "X-Slack-Signature"),
    "zoom": ("secret_token", "x-zm-signature"),
    "douyin": ("client_secret", "X-Douyin-Signature"),
    "youzan": ("client_secret", "Event-Sign"),
    "feishu": ("encrypt_key", "X-Lark-Signature"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_profile_signs_what_was_published_as_it_was_signed_then(name: str) -> None:
    key, header = PUBLISHED[name]
    case = CASES[name]
    told = {name.lower(): value for name, value in case.headers.items()}
    now = next((float(value) for name, value in told.items() if name.endswith("-timestamp")), NOW)
    made = message(case.body, url=case.url, now=now, nonce=told.get("x-lark-request-nonce", ""))
    settings = {"client_id": case.secrets["client_id"]} if "client_id" in case.secrets else {}
    received = signed_by(name, made, settings, **{key: case.secrets[key]})
    assert received.headers[header] == told[header.lower()]
