"""What well-known platforms sign, made by the server's own code and verified by the receiver's; and every change refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.messages import NOW, Received, message, signed, xml
from tests.messages import signers as read_signers

from posthouse.wire.documents import Form, Gzip, JsonText
from posthouse.wire.message import Message
from posthouse.wire.signing.signers import compile_signers
from posthouse_sdk import (
    FutureTimestampError,
    MalformedBodyError,
    MalformedHeaderError,
    MissingHeaderError,
    NoMatchingSignatureError,
    ProfileError,
    ProfileReceiver,
    StaleTimestampError,
    VerificationError,
)

BODY = '{"type":"order.created","data":{"name":"驿站"},"total":1.50,"old":null}'.encode()
SECRET = "It's a Secret to Everybody"
URL = "https://example.com/webhook"


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed25519_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def private(key: Any) -> str:
    text: str = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return text


def public(key: Any) -> str:
    text: str = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return text


class Case(NamedTuple):
    """A signer, its key at the sender and at the receiver, the message, and what the receiver has to know of the format."""

    signer: dict[str, Any]
    key: str = SECRET
    key_there: str | None = None
    made: Callable[[], Message] = lambda: message(JsonText(BODY))
    format: Any = "raw"


def custom(algorithm: str, *parts: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "custom",
        "algorithm": algorithm,
        "key": "hook",
        "parts": list(parts),
        "signature": {"in": "header", "name": "X-Signature"},
    } | more


def header(name: str, value: str = "") -> dict[str, str]:
    return {"in": "header", "name": name} | ({"value": value} if value else {})


def query(name: str, value: str = "") -> dict[str, str]:
    return {"in": "query", "name": name} | ({"value": value} if value else {})


def field(name: str, value: str = "") -> dict[str, str]:
    return {"in": "field", "name": name} | ({"value": value} if value else {})


def form(*pairs: tuple[str, str], charset: str = "utf-8") -> Callable[[], Message]:
    def made() -> Message:
        built = message(Form(pairs, charset), content_type="application/x-www-form-urlencoded")
        built.charset = charset
        return built

    return made


def compressed() -> Message:
    built = message(JsonText(b'{"data":"%b","encrypt":"abc"}' % (b"x" * 5_000)))
    Gzip().apply(built)
    return built


_SORTED = {
    "order": "sorted",
    "also": [query("timestamp", "{timestamp}"), query("nonce", "{nonce}")],
}
_ITEM = "/notificationItems/0/NotificationRequestItem"
ADYEN_BODY = json.dumps(
    {
        "live": "false",
        "notificationItems": [
            {
                "NotificationRequestItem": {
                    "amount": {"value": 1.10, "currency": "EUR"},
                    "pspReference": "79",
                    "success": "true",
                }
            }
        ],
    }
).encode()

CASES = {
    "github": Case(
        custom(
            "hmac-sha256",
            "{body}",
            signature=header("X-Hub-Signature-256", "sha256={signature}"),
            also=[header("X-GitHub-Event", "{event.type}"), header("X-GitHub-Delivery", "{message.id}")],
        )
    ),
    "stripe": Case(
        custom(
            "hmac-sha256",
            "{timestamp}.{body}",
            signature=header("Stripe-Signature", "t={timestamp},v1={signature}"),
            repeat=",v1={signature}",
        )
    ),
    "slack": Case(
        custom(
            "hmac-sha256",
            "v0:{timestamp}:{body}",
            signature=header("X-Slack-Signature", "v0={signature}"),
            also=[header("X-Slack-Request-Timestamp", "{timestamp}")],
        )
    ),
    "zoom": Case(
        custom(
            "hmac-sha256",
            "v0",
            "{timestamp}",
            "{body}",
            separator=":",
            signature=header("x-zm-signature", "v0={signature}"),
            also=[header("x-zm-request-timestamp", "{timestamp}")],
        )
    ),
    "shopify": Case(custom("hmac-sha256", "{body}", encoding="base64")),
    "square": Case(custom("hmac-sha256", "{url}{body}", encoding="base64")),
    "discord": Case(
        custom(
            "ed25519",
            "{timestamp}{body}",
            key_encoding="hex",
            also=[header("X-Signature-Timestamp", "{timestamp}")],
        ),
        b"naOC0ocQE3shWLAfffVLB1rhYPG7naOC".hex(),
        "d7c362fe78aef81ff23287b493628b5db02a3c4fe30b215e4d19609b5d76673a",
    ),
    "feishu": Case(
        custom(
            "sha256",
            "{timestamp}{nonce}{key}{body}",
            also=[header("X-Lark-Request-Timestamp", "{timestamp}"), header("X-Lark-Request-Nonce", "{nonce}")],
        )
    ),
    "dingtalk": Case(
        custom(
            "sha1",
            "{key}",
            "{timestamp_ms}",
            "{nonce}",
            "{field.encrypt}",
            order="sorted",
            signature=query("signature"),
            also=[query("timestamp", "{timestamp_ms}"), query("nonce", "{nonce}")],
        ),
        made=lambda: message(JsonText(b'{"encrypt":"1a3NBxmC+FwkCJvfo/Q7WhJHB=="}')),
    ),
    "wechat": Case(
        custom(
            "sha1", "{key}", "{timestamp}", "{nonce}", "{field.Encrypt}", signature=query("msg_signature"), **_SORTED
        ),
        made=lambda: message(xml([("ToUserName", "wx58"), ("Encrypt", "P9nAzCzy+/A==")]), url=URL + "?app=1"),
        format={"kind": "xml", "body": {"*": "{data}"}},
    ),
    "alipay": Case(
        custom(
            "rsa-sha256",
            "{pairs}",
            pairs={"exclude": ["sign_type"]},
            encoding="base64",
            signature=field("sign"),
            also=[field("sign_type", "RSA2")],
        ),
        "rsa",
        "rsa",
        form(("subject", "驿站 & a=b"), ("app_id", "2021"), ("body", ""), ("out_trade_no", "+1")),
        {"kind": "form", "body": {"*": "{data}"}},
    ),
    "alipay in GBK": Case(
        custom("rsa-sha256", "{pairs}", pairs={}, encoding="base64", signature=field("sign"), charset="gbk"),
        "rsa",
        "rsa",
        form(("subject", "驿站 & a=b"), ("app_id", "2021"), charset="gbk"),
        {"kind": "form", "charset": "gbk", "body": {"*": "{data}"}},
    ),
    "wechat pay": Case(
        custom(
            "rsa-sha256",
            "{timestamp}\n{nonce}\n{body}\n",
            encoding="base64",
            key_id="5157F09E",
            signature=header("Wechatpay-Signature"),
            also=[
                header("Wechatpay-Timestamp", "{timestamp}"),
                header("Wechatpay-Nonce", "{nonce}"),
                header("Wechatpay-Serial", "{key_id}"),
            ],
        ),
        "rsa",
        "rsa",
    ),
    "wechat pay 2": Case(
        custom("md5", "{pairs}&key={key}", pairs={}, encoding="HEX", signature=field("sign")),
        made=lambda: message(xml([("appid", "wxd9"), ("body", "test"), ("detail", "")])),
        format={"kind": "xml", "body": {"*": "{data}"}},
    ),
    "douyin": Case(custom("sha1", "{key}{body}")),
    "youzan": Case(custom("md5", "client-42", "{body}", "{key}")),
    "adyen": Case(
        custom(
            "hmac-sha256",
            *(
                f"{{field.{_ITEM}/{name}}}"
                for name in ("pspReference", "originalReference?", "amount/value", "amount/currency", "success")
            ),
            separator=":",
            key_encoding="hex",
            encoding="base64",
            signature=field(f"{_ITEM}/additionalData/hmacSignature"),
        ),
        "44782DEF547AAA06C910C43932B1EB0C",
        made=lambda: message(JsonText(ADYEN_BODY)),
    ),
    "a digest of the body": Case(
        custom(
            "hmac-sha512",
            "{method}\n{path}\n{host}\n{content_type}\n{timestamp}\n{body.sha256.base64}",
            encoding="base64url",
            also=[header("X-Digest", "{body.sha256}"), query("t", "{timestamp}")],
            signature=query("sig"),
        ),
        made=lambda: message(JsonText(BODY), url=URL + "?a=%E9%A9%BF&b="),
    ),
    "parameters": Case(
        custom(
            "hmac-sha1",
            "{pairs}",
            pairs={"of": "query", "blank": True},
            signature=query("s"),
            also=[query("t", "{timestamp}")],
        ),
        made=lambda: message(b"{}", url=URL + "?b=%E9%A9%BF+%2B&a=", query=[("c", "1 2&3")]),
    ),
    "a signature in the body that it signs": Case(
        custom("sm3", "{body}", "{key}", "{timestamp}", signature=field("sign"), also=[field("t", "{timestamp}")])
    ),
    "the same in a form": Case(
        custom("sha256", "{body}{key}", signature=field("sign"), also=[field("t", "{timestamp}")]),
        made=form(("a", "1 &"), ("b", "")),
        format={"kind": "form", "body": {"*": "{data}"}},
    ),
    "compressed": Case(custom("hmac-sm3", "{field.encrypt}.{body}"), made=compressed),
    "a key made of another": Case(
        custom(
            "hmac-sha256",
            mac_key="{timestamp}\n{key}",
            encoding="base64",
            signature=field("sign"),
            also=[field("timestamp", "{timestamp}")],
        )
    ),
    "a key of the day": Case(
        custom("hmac-sha512", "{body}", mac_key="{key}{time}", also=[header("X-Time", "{time}")]),
    ),
    "rsa-pss": Case(custom("rsa-pss-sha256", "{body}", encoding="base64"), "rsa", "rsa"),
    "ecdsa": Case(custom("ecdsa-p256-sha256", "{body}", encoding="base64url"), "ec", "ec"),
    "ecdsa in DER": Case(custom("ecdsa-p256-sha256-der", "{body}", encoding="base64"), "ec", "ec"),
    "ed25519 in PEM": Case(custom("ed25519", "{message.id}.{body}", also=[header("X-Id", "{message.id}")]), "ed", "ed"),
    "jwt": Case(
        {
            "kind": "jwt",
            "algorithm": "ES256",
            "key": "hook",
            "key_id": "2026",
            "lifetime_seconds": 300,
            "claims": {"iss": "https://example.com", "jti": "{message.id}", "sha": "{body.sha256}", "n": 1, "b": True},
            "token": header("Authorization", "Bearer {token}"),
        },
        "ec",
        "ec",
    ),
    "jwt with a shared secret": Case(
        {
            "kind": "jwt",
            "algorithm": "HS256",
            "key": "hook",
            "claims": {"u": "{url}", "sha": "{body.md5}"},
            "token": query("jwt"),
        },
        "k" * 32,
    ),
    "standard": Case({"kind": "standard", "key": "hook"}, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    "standard under other names": Case(
        {"kind": "standard", "key": "hook", "prefix": "svix-"},
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
        "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
    ),
}


def key_of(text: str | None, half: Callable[[Any], str]) -> str | None:
    made = {"rsa": rsa_key, "ec": ec_key, "ed": ed25519_key}
    return half(made[text]()) if text in made else text


def received(case: Case, **keys: str) -> Received:
    return signed(case.made(), case.signer, keys={"hook": key_of(case.key, private), **keys})


def receiver(
    case: Case, key: str | list[str] | None = None, *, now: float = NOW, tolerance: float = 300
) -> ProfileReceiver:
    profile = {
        "name": "test",
        "title": "Test",
        "about": "A test.",
        "endpoint": {"format": case.format, "signing": [case.signer]},
    }
    there = key or key_of(case.key_there, public) or case.key
    return ProfileReceiver(profile, {"hook": there}, clock=lambda: now, tolerance=tolerance)


def sent(came: Received) -> tuple[str, str, dict[str, str], bytes]:
    return came.method, came.url, came.headers, came.body


@pytest.mark.parametrize("name", CASES)
def test_what_the_server_signs_is_taken(name: str) -> None:
    case = CASES[name]
    found = receiver(case).receive(*sent(received(case)))
    assert found.event is not None
    assert (found.status, found.handshake) == (200, None)


@pytest.mark.parametrize("name", CASES)
def test_another_key_is_refused(name: str) -> None:
    case = CASES[name]
    others = {
        "rsa": lambda: public(rsa.generate_private_key(65537, 2048)),
        "ec": lambda: public(ec.generate_private_key(ec.SECP256R1())),
        "ed": lambda: public(Ed25519PrivateKey.generate()),
    }
    key = case.key_there or case.key
    if key in others:
        other = others[key]()
    elif key.startswith("whpk_"):
        other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    else:
        other = key[:-2] + {"A": "B", "a": "b", "0": "1"}.get(key[-2], "A") + key[-1]
    with pytest.raises(NoMatchingSignatureError):
        receiver(case, other).receive(*sent(received(case)))
    if "{key}" in str(case.signer) or "standard" in name or case.key_there:
        return
    receiver(case, [other, key]).receive(*sent(received(case)))


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if "body" in str(case.signer) or "standard" in name]
)
@settings(deadline=None)
@given(st.data())
def test_a_changed_body_is_refused(name: str, data: st.DataObject) -> None:
    came, there = _once(name)
    place = data.draw(st.integers(0, len(came.body) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != came.body[place]))
    changed = came.body[:place] + bytes((byte,)) + came.body[place + 1 :]
    if "field" in str(CASES[name].signer) and _same(came.body, changed):
        return  # the signature is of what the fields say, and not of how
    with pytest.raises(VerificationError):
        there.receive(came.method, came.url, came.headers, changed)


@cache
def _once(name: str) -> tuple[Received, ProfileReceiver]:
    return received(CASES[name]), receiver(CASES[name])


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("dingtalk", b"1a3NBxmC", b"1a3NBxmD"),
        ("wechat", b"P9nAzCzy", b"P9nAzCzz"),
        ("alipay", b"app_id=2021", b"app_id=2022"),
        ("alipay", b"body=&", b"body=1&"),
        ("alipay in GBK", b"app_id=2021&", b"app_id=2021&more=1&"),
        ("wechat pay 2", b"<body>test</body>", b"<body>tess</body>"),
        ("wechat pay 2", b"<detail/>", b"<detail>1</detail>"),
        ("adyen", b"1.1", b"1.2"),
        ("adyen", b'"pspReference":"79"', b'"pspReference":"78"'),
        ("a key made of another", b'"timestamp":"1614265330"', b'"timestamp":"1614265331"'),
    ],
)
def test_a_changed_field_is_refused(name: str, old: bytes, new: bytes) -> None:
    came = received(CASES[name])
    assert came.body.count(old) == 1, came.body
    with pytest.raises(NoMatchingSignatureError):
        receiver(CASES[name]).receive(came.method, came.url, came.headers, came.body.replace(old, new))


def _same(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize("name", CASES)
def test_a_changed_signature_is_refused(name: str) -> None:
    case = CASES[name]
    came = received(case)
    place = (
        case.signer.get("signature")
        or case.signer.get("token")
        or header(case.signer.get("prefix", "webhook-") + "signature")
    )
    where = place["name"]
    changed = sent(came)
    if place["in"] == "header":
        value = came.headers[where]
        for index in range(len(value) - 12, len(value) - 6):
            spoiled = value[:index] + ("A" if value[index] != "A" else "B") + value[index + 1 :]
            with pytest.raises((NoMatchingSignatureError, MalformedHeaderError)):
                receiver(case).receive(came.method, came.url, came.headers | {where: spoiled}, came.body)
        without = {name: value for name, value in came.headers.items() if name != where}
        changed = came.method, came.url, without, came.body
    elif place["in"] == "query":
        start, mark, rest = came.url.partition(f"{where}=")
        with pytest.raises((NoMatchingSignatureError, MalformedHeaderError)):
            receiver(case).receive(
                came.method,
                start + mark + rest[:5] + ("a" if rest[5] != "a" else "b") + rest[6:],
                came.headers,
                came.body,
            )
        changed = came.method, start + "x" + mark + rest, came.headers, came.body
    else:
        last = where.rpartition("/")[2].encode()
        changed = came.method, came.url, came.headers, came.body.replace(last, b"x" * len(last))
    with pytest.raises((MissingHeaderError, MalformedHeaderError)):
        receiver(case).receive(*changed)


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if "{timestamp" in str(case.signer) or "jwt" in name]
)
def test_what_was_signed_long_ago_is_refused(name: str) -> None:
    case = CASES[name]
    for now, error in ((NOW + 301, StaleTimestampError), (NOW - 301, FutureTimestampError)):
        with pytest.raises(error):
            receiver(case, now=now).receive(*sent(received(case)))
    receiver(case, now=NOW + 250).receive(*sent(received(case)))


def test_several_keys_sign_during_a_rotation() -> None:
    case = CASES["stripe"]
    came = signed(case.made(), case.signer, keys={"hook": ["new", "old", "older"]})
    for text in ("new", "old", "older"):
        assert receiver(case, text).receive(*sent(came)).event is not None
        assert receiver(case, ["other", text]).receive(*sent(came)).event is not None
    with pytest.raises(NoMatchingSignatureError):
        receiver(case, "other").receive(*sent(came))


def test_of_several_signers_each_holds() -> None:
    configurations = [CASES["github"].signer, CASES["dingtalk"].signer | {"parts": ["{key}{timestamp_ms}{nonce}{url}"]}]
    came = signed(message(JsonText(BODY)), *configurations, keys={"hook": SECRET})
    profile = {"name": "two", "title": "Two", "about": "", "endpoint": {"format": "raw", "signing": configurations}}
    both = ProfileReceiver(profile, {"hook": SECRET}, clock=lambda: NOW)
    assert both.receive(*sent(came)).event is not None
    for spoiled in (came.url.replace("nonce=5", "nonce=6"), came.url.replace("webhook", "webhooks")):
        with pytest.raises(NoMatchingSignatureError):
            both.receive(came.method, spoiled, came.headers, came.body)
    with pytest.raises(NoMatchingSignatureError):
        both.receive(came.method, came.url, came.headers, came.body + b" ")


def test_what_a_signature_is_about_may_stand_in_headers_of_the_endpoint() -> None:
    signer = custom("hmac-sha256", "{message.id}.{event.type}.{time}.{body}")
    headers = {"X-Id": "{message.id}", "X-Type": "type/{event.type}", "X-Time": "{time}", "X-Other": "{app.id}"}
    made = message(JsonText(BODY), values={"event.type": "驿站.created"})
    made.headers = [("X-Id", made.id), ("X-Type", "type/%E9%A9%BF%E7%AB%99.created"), ("X-Time", made.values["time"])]
    came = signed(made, signer, keys={"hook": SECRET})
    profile = {
        "name": "h",
        "title": "H",
        "about": "",
        "endpoint": {"format": "raw", "signing": [signer], "headers": headers},
    }
    there = ProfileReceiver(profile, {"hook": SECRET}, clock=lambda: NOW)
    assert there.receive(*sent(came)).event is not None
    del came.headers["X-Id"]
    with pytest.raises(MissingHeaderError, match="X-Id"):
        there.receive(*sent(came))


def test_the_url_is_the_one_that_the_sender_sees() -> None:
    case = CASES["square"]
    came = received(case)
    behind_a_proxy = receiver(case)
    with pytest.raises(ProfileError, match="url="):
        behind_a_proxy.receive("POST", "/webhook", came.headers, came.body)
    told = ProfileReceiver(behind_a_proxy.profile, {"hook": SECRET}, url="https://EXAMPLE.com:443/webhook")
    assert told.receive("POST", "/inner", came.headers, came.body).event is not None
    assert told.receive("POST", "http://10.0.0.1:8000/", came.headers, came.body).event is not None


def test_a_path_is_never_taken_for_a_host() -> None:
    case = CASES["square"]
    there = ProfileReceiver(receiver(case).profile, {"hook": SECRET}, url="https://example.com/webhook")
    came = received(case)
    assert there.receive("POST", "//other.example/webhook", came.headers, came.body).event is not None
    with pytest.raises(MalformedHeaderError, match="URL"):
        receiver(case).receive("POST", "http://[", came.headers, came.body)


@pytest.mark.parametrize(
    ("form", "zone", "text"),
    [
        ("%Y-%m-%d %H:%M:%S", "Asia/Shanghai", "2021-02-25 23:02:10"),
        ("%d.%m.%Y %H:%M:%S.%L %:z", "UTC", "25.02.2021 16:02:10.250 +01:00"),
        ("seconds", "UTC", "1614265330"),
        ("milliseconds", "UTC", "1614265330250"),
    ],
)
def test_times_are_read_as_the_format_writes_them(form: str, zone: str, text: str) -> None:
    signer = custom("hmac-sha256", "{time}{body}", also=[header("X-Time", "{time}")])
    made = message(JsonText(BODY), values={"time": text})
    came = signed(made, signer, keys={"hook": SECRET})
    format = {"kind": "raw", "time": {"form": form, "zone": zone}}
    there = Case(signer, format=format)
    assert receiver(there, tolerance=2).receive(*sent(came)).event is not None
    with pytest.raises(StaleTimestampError):
        receiver(there, now=NOW + 5, tolerance=2).receive(*sent(came))
    came = signed(message(JsonText(BODY), values={"time": "soon"}), signer, keys={"hook": SECRET})
    with pytest.raises(StaleTimestampError, match="cannot be read"):
        receiver(there).receive(*sent(came))


def test_two_values_of_one_name_are_refused() -> None:
    case = CASES["slack"]
    case = case._replace(signer=case.signer | {"also": [*case.signer["also"], query("t", "{timestamp}")]})
    came = received(case)
    assert receiver(case).receive(*sent(came)).event is not None
    with pytest.raises(NoMatchingSignatureError, match="two values"):
        receiver(case).receive("POST", came.url.replace("t=1614265330", "t=1614265331"), came.headers, came.body)
    doubled = _Pairs([*came.headers.items(), ("x-slack-signature", "v0=00")])
    with pytest.raises(MalformedHeaderError, match="twice"):
        receiver(case).receive("POST", came.url, doubled, came.body)


class _Pairs:
    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def items(self) -> list[tuple[str, str]]:
        return self._pairs


def test_public_keys_in_all_their_forms() -> None:
    key, case = ed25519_key(), CASES["ed25519 in PEM"]
    raw = key.public_key().public_bytes_raw()
    der = rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    b64url = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    jwk = json.dumps({"kty": "OKP", "crv": "Ed25519", "x": b64url})
    for text in (raw.hex(), base64.b64encode(raw).decode(), b64url, jwk, public(key), private(key)):
        assert receiver(case, text).receive(*sent(received(case))).event is not None
    case = CASES["alipay"]
    numbers = rsa_key().public_key().public_numbers()
    n = base64.urlsafe_b64encode(numbers.n.to_bytes(256, "big")).decode().rstrip("=")
    for text in (base64.b64encode(der).decode(), json.dumps({"kty": "RSA", "n": n, "e": "AQAB"})):
        assert receiver(case, text).receive(*sent(received(case))).event is not None
    for text in ("no key", "-----BEGIN PUBLIC KEY-----", "{}", public(ec_key()), ""):
        with pytest.raises(ProfileError):
            receiver(case, [text])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algorithm": "crc32"}, "signing\\[0\\].algorithm: one of"),
        ({"parts": ["{key}"]}, "every signature would be the same"),
        ({"algorithm": "md5"}, "has no key of its own"),
        ({"mac_key": "{timestamp}"}, "makes the key of an HMAC"),
        ({"parts": ["{body"]}, "brace"),
        ({"signature": {"in": "header", "name": "X", "value": "x"}}, "lacks the {signature}"),
        ({"key": "other"}, "takes the key other"),
        ({"color": "red"}, "no such field"),
        ({"parts": ["{body}{event.id}"]}, "which no header and no parameter tells"),
        ({"signature": {"in": "field", "name": "/a/b"}}, "holds its own signature"),
    ],
)
def test_what_is_configured_wrongly_is_told_when_a_receiver_is_made(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        receiver(Case(custom("hmac-sha256", "{body}") | changes))


def test_no_error_holds_a_key() -> None:
    for name in ("github", "alipay", "wechat"):
        with pytest.raises(VerificationError) as error:
            receiver(CASES[name]).receive("POST", URL, {}, b"{}")
        assert SECRET not in str(error.value)


def test_a_body_of_another_kind_is_refused() -> None:
    came = received(CASES["wechat"])
    for body in (b"", b"<xml>", b'<!DOCTYPE x [<!ENTITY a "b">]><xml><Encrypt>&a;</Encrypt></xml>', b"{}", b"\xff"):
        with pytest.raises(MalformedBodyError):
            receiver(CASES["wechat"]).receive("POST", came.url, came.headers, body)


def test_the_cases_are_what_endpoints_take() -> None:
    for case in CASES.values():
        compile_signers(read_signers(case.signer), {"hook": (str(key_of(case.key, private)),)})
