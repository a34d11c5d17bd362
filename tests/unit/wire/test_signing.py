"""Signers among each other: the order they work in, rotation, where things go; and what is refused, when and where."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import random
import string
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import RSAKey
from standardwebhooks import Webhook as Reference
from tests.messages import NOW, message, signed, signers, xml
from tests.rsa_keys import larger_rsa

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import SIGNED_PARTS_MAX, SIGNERS_MAX
from posthouse.domain.named_keys import KeyEncoding
from posthouse.domain.signing import Algorithm, Place, Signer
from posthouse.wire.documents import Form, Gzipped, JsonText
from posthouse.wire.message import Unsendable
from posthouse.wire.signing.keys import Keys
from posthouse.wire.signing.signers import compile_signers, header_names
from posthouse.wire.template import REQUEST_VALUES
from posthouse_sdk import Webhook

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_WHSEC = "whsec_" + "b2xk" * 11
WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="


def custom(**more: Any) -> dict[str, Any]:
    return {
        "kind": "custom",
        "algorithm": "hmac-sha256",
        "key": "k",
        "parts": ["{body}"],
        "signature": {"in": "header", "name": "X-Signature"},
    } | more


def http(**more: Any) -> dict[str, Any]:
    return {"kind": "http", "algorithm": "hmac-sha256", "key": "k"} | more


def token(**more: Any) -> dict[str, Any]:
    return {"kind": "jwt", "algorithm": "HS256", "key": "long", "token": {"in": "header", "name": "T"}} | more


def at(place: str, name: str, value: str = "") -> dict[str, Any]:
    return {"in": place, "name": name, "value": value}


def pem(key: Any, *, passphrase: bytes | None = None, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    sealed = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return str(key.private_bytes(Encoding.PEM, form, sealed).decode())


# Standard Webhooks as one of several. The vectors are those of its specification.


@pytest.mark.parametrize("prefix", ["webhook-", "svix-"])
def test_standard_webhooks_under_any_prefix(prefix: str) -> None:
    made = message(id="msg_p5jXN8AQM9LWM0D4loKWxJek")
    received = signed(
        made, {"kind": "standard", "key": "hook", "prefix": prefix}, keys={"hook": [WHSK, WHSEC, OLD_WHSEC]}
    )
    assert received.headers[f"{prefix}id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert received.headers[f"{prefix}timestamp"] == "1614265330"
    v1a, v1, old = received.headers[f"{prefix}signature"].split(" ")
    assert v1 == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert v1a == "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    headers = {f"webhook-{name}": received.headers[f"{prefix}{name}"] for name in ("id", "timestamp")}
    Webhook(OLD_WHSEC, clock=lambda: NOW).check(received.body, headers | {"webhook-signature": old})


def test_standard_webhooks_is_what_its_library_verifies() -> None:
    made = message(now=time.time())
    received = signed(made, {"kind": "standard", "key": "hook"}, keys={"hook": [WHSEC, OLD_WHSEC]})
    for secret in (WHSEC, OLD_WHSEC):
        assert Reference(secret).verify(received.body, received.headers) == {"test": 2432232314}


# Order


def test_signers_work_in_the_order_that_leaves_nothing_changed_after_it_was_signed() -> None:
    configurations: list[dict[str, Any]] = [
        {"kind": "http", "algorithm": "hmac-sha256", "key": "k", "components": ["@query", "webhook-signature"]},
        {"kind": "standard", "key": "hook"},
        custom(parts=["{url}"], signature={"in": "query", "name": "sig"}),
        custom(parts=["{pairs}"], pairs={}, signature={"in": "field", "name": "sign"}),
    ]
    keys = {"k": "secret", "hook": WHSEC}
    for order in (configurations, configurations[::-1]):
        received = signed(message(JsonText(b'{"a":1,"b":"x"}')), *order, keys=keys)
        body = json.loads(received.body)
        assert body["sign"] == hmac.new(b"secret", b"a=1&b=x", hashlib.sha256).hexdigest()
        assert received.query["sig"] == hmac.new(b"secret", b"https://example.com/webhook", hashlib.sha256).hexdigest()
        Webhook(WHSEC, clock=lambda: NOW).check(received.body, received.headers)
        base = (
            f'"@query": ?sig={received.query["sig"]}\n'
            f'"webhook-signature": {received.headers["webhook-signature"]}\n'
            f'"@signature-params": ("@query" "webhook-signature");created=1614265330'
        )
        expected = hmac.new(b"secret", base.encode(), hashlib.sha256).digest()
        assert received.headers["Signature"] == f"sig1=:{base64.b64encode(expected).decode()}:"


def test_what_goes_along_is_there_before_it_is_signed() -> None:
    received = signed(
        message(JsonText(b'{"a":"1"}')),
        custom(
            parts=["{body}|{url}|{pairs}"],
            pairs={"pair": "{name}{value}", "separator": ""},
            signature={"in": "field", "name": "sign"},
            also=[
                {"in": "header", "name": "X-Digest", "value": "{body.md5.base64}"},
                {"in": "query", "name": "at", "value": "{timestamp_ms}"},
                {"in": "field", "name": "n", "value": "{nonce}"},
            ],
        ),
        keys={"k": "secret"},
    )
    body = json.loads(received.body)
    unsigned = json.dumps({k: v for k, v in body.items() if k != "sign"}, separators=(",", ":"))
    content = f"{unsigned}|https://example.com/webhook?at=1614265330250|a1n{body['n']}"
    assert body["sign"] == hmac.new(b"secret", content.encode(), hashlib.sha256).hexdigest()
    assert hashlib.md5(unsigned.encode()).digest() == base64.b64decode(received.headers["X-Digest"])


def test_one_key_signs_unless_there_is_room_for_several() -> None:
    alone = signed(message(), custom(), keys={"k": ["new", "old"]}).headers["X-Signature"]
    both = signed(message(), custom(repeat=" {signature}"), keys={"k": ["new", "old"]}).headers["X-Signature"]
    body = message().document.encoded()
    new, old = (hmac.new(key, body, hashlib.sha256).hexdigest() for key in (b"new", b"old"))
    assert (alone, both) == (new, f"{new} {old}")


def test_what_is_signed_before_and_after_encryption() -> None:
    made = message(JsonText(b'{"encrypt":"c2VjcmV0"}'))
    made.plain = b'{"name":"john"}'
    received = signed(made, custom(parts=["{plain}|{body}|{plain.sha1}"]), keys={"k": "secret"})
    content = b'{"name":"john"}|{"encrypt":"c2VjcmV0"}|' + hashlib.sha1(made.plain).hexdigest().encode()
    assert received.headers["X-Signature"] == hmac.new(b"secret", content, hashlib.sha256).hexdigest()


def test_names_of_the_headers_that_signers_add() -> None:
    configurations = signers(
        {"kind": "standard", "key": "k", "prefix": "svix-"},
        custom(
            also=[{"in": "header", "name": "X-Time", "value": "{time}"}, {"in": "query", "name": "q", "value": "1"}]
        ),
        {"kind": "http", "algorithm": "ed25519", "key": "k"},
    )
    assert header_names(configurations) == {
        "svix-id",
        "svix-timestamp",
        "svix-signature",
        "x-signature",
        "x-time",
        "signature",
        "signature-input",
        "content-digest",
    }


@pytest.mark.parametrize("path", ["/hook", "/hook?b=2", "/hook?", "/hook?b&"])
def test_the_url_that_is_signed_is_the_one_that_is_sent(path: str) -> None:
    made = message(url=f"https://example.com:8443{path}", query=[("a", "1 &2"), ("ü", "+")])
    received = signed(made, custom(parts=["{url}"]), keys={"k": "secret"})
    assert received.url.startswith("https://example.com:8443/hook?")
    expected = hmac.new(b"secret", received.url.encode(), hashlib.sha256).hexdigest()
    assert received.headers["X-Signature"] == expected


def test_what_is_compressed_is_signed_as_it_is_sent() -> None:
    document = JsonText(json.dumps({"a": {"b": "x" * 5000}}).encode())
    digest = {
        "kind": "http",
        "algorithm": "hmac-sha256",
        "key": "k",
        "components": ["content-digest", "content-encoding"],
    }
    made = message(Gzipped(document))
    received = signed(made, custom(signature=at("field", "/a/c")), digest, keys={"k": "secret"})
    assert received.headers["Content-Encoding"] == "gzip"
    expected = base64.b64encode(hashlib.sha256(received.body).digest()).decode()
    assert received.headers["Content-Digest"] == f"sha-256=:{expected}:"
    assert set(json.loads(gzip.decompress(received.body))["a"]) == {"b", "c"}
    with pytest.raises(Unsendable, match="content-encoding"):
        signed(message(), digest, keys={"k": "secret"})
    with pytest.raises(Unsendable, match="belongs into the body"):
        signed(message(Gzipped(Form([("a", "1")]))), custom(signature=at("field", "/b/c")), keys={"k": "secret"})


# Fields


def test_who_takes_the_signature_out_of_a_body_has_what_was_signed() -> None:
    document = JsonText(b'{ "a": 1.50,\n "b": {"c":  [] } }')
    received = signed(message(document), custom(signature=at("field", "sign")), keys={"k": "secret"})
    expected = hmac.new(b"secret", b'{"a":1.50,"b":{"c":  [] }}', hashlib.sha256).hexdigest()
    assert received.body == b'{"a":1.50,"b":{"c":  [] },"sign":"%b"}' % expected.encode()


def test_fields_that_lie_deeper() -> None:
    body = b'{"a":{"b/c":[{"d":1.50},{"d":null},{"d":"x"},true]},"t":"text"}'
    parts = ["{field./a/b~1c/0/d},{field./a/b~1c/1/d},{field./a/b~1c/2/d},{field./a/b~1c/3},{field./t},{field.none?}"]
    configuration = custom(parts=parts, signature={"in": "field", "name": "/a/b~1c/1/d"})
    received = signed(message(JsonText(body)), configuration, keys={"k": "secret"})
    signature = json.loads(received.body)["a"]["b/c"][1]["d"]
    assert signature == hmac.new(b"secret", b"1.50,,x,true,text,", hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("document", "configuration", "reason"),
    [
        (b"bytes", custom(parts=["{field.a}"]), "fields of the body: the body has no fields"),
        (b"bytes", custom(parts=["{pairs}"], pairs={}), "fields of the body: the body has no fields"),
        (b"bytes", custom(signature={"in": "field", "name": "a"}), "belongs into the body: the body has no fields"),
        (JsonText(b"{}"), custom(parts=["{field.a}"]), "the field a, which this body does not have"),
        (JsonText(b'{"a":1}'), custom(parts=["{field./a/b}"]), "the field a/b, which this body does not have"),
        (JsonText(b'{"a":[]}'), custom(signature={"in": "field", "name": "/a/0"}), "no place /a/0 for the signature"),
        (JsonText(b'{"a":1}'), custom(signature={"in": "field", "name": "/a/b"}), "no place /a/b for the signature"),
        (Form([("a", "1")]), custom(signature={"in": "field", "name": "/a/b"}), "belongs into a JSON body"),
        (xml([("a", "1")]), custom(signature={"in": "field", "name": "/a/b"}), "belongs into a JSON body"),
        (Form([("a", "é")]), custom(parts=["{field.a}"], charset="gbk"), None),
        (Form([("a", "😀")]), custom(parts=["{field.a}"], charset="gbk"), "a character that gbk cannot write"),
    ],
)
def test_bodies_that_cannot_be_signed_this_way(
    document: Any, configuration: dict[str, Any], reason: str | None
) -> None:
    if reason is None:
        assert signed(message(document), configuration, keys={"k": "secret"})
        return
    with pytest.raises(Unsendable, match=reason):
        signed(message(document), configuration, keys={"k": "secret"})


# What must not get through


EVIL = ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\x85"]


@pytest.mark.parametrize("place", ["query", "field"])
@pytest.mark.parametrize("evil", EVIL)
def test_control_characters_of_an_event_are_sent_nowhere(place: str, evil: str) -> None:
    along = at(place, "X-Type", "{event.type}")
    with pytest.raises(Unsendable) as refused:
        signed(message(JsonText(b"{}"), values={"event.type": evil}), custom(also=[along]), keys={"k": "secret"})
    assert "evil" not in str(refused.value).lower()
    proof = token(token=at(place, "T", "{event.type}{token}"))
    with pytest.raises(Unsendable):
        signed(message(JsonText(b"{}"), values={"event.type": evil}), proof, keys={"long": "s" * 32})


@pytest.mark.parametrize("value", [*EVIL, "订单", "100%", "😀"])
def test_what_an_event_brings_into_a_header_is_percent_encoded(value: str) -> None:
    along = [
        at("header", "X-Type", "{event.type}"),
        at("header", "X-Field", "{field.a}"),
        at("header", "X-Url", "{url}"),
    ]
    made = message(
        JsonText(json.dumps({"a": value}).encode()), url="https://example.com/%2F", values={"event.type": value}
    )
    received = signed(made, custom(also=along), keys={"k": "secret"})
    assert unquote(received.headers["X-Type"]) == unquote(received.headers["X-Field"]) == value
    assert received.headers["X-Url"] == "https://example.com/%2F"
    with pytest.raises(Unsendable, match="header X-Type cannot be sent"):
        signed(message(values={"event.type": f" {value}"}), custom(also=along[:1]), keys={"k": "secret"})


def test_what_is_there_already_is_not_replaced() -> None:
    with pytest.raises(Unsendable, match="two headers X-Signature"):
        signed(message(headers=[("x-signature", "mine")]), custom(), keys={"k": "secret"})
    with pytest.raises(Unsendable, match="two headers webhook-id"):
        signed(message(headers=[("Webhook-Id", "1")]), {"kind": "standard", "key": "k"}, keys={"k": WHSEC})
    made = message(query=[("sig", "mine")])
    with pytest.raises(Unsendable, match="two parameters sig"):
        signed(made, custom(signature={"in": "query", "name": "sig"}), keys={"k": "secret"})


def test_a_batch_has_no_event_to_name() -> None:
    along = {"in": "header", "name": "X-Type", "value": "{event.type}"}
    with pytest.raises(Invalid, match="a batch has several events") as refused:
        compile_signers(signers(custom(also=[along])), {"k": ["secret"]}, values=REQUEST_VALUES)
    assert refused.value.path == "signing[0].also[0].value"
    made = message()
    del made.values["event.type"]
    with pytest.raises(Unsendable, match=r"names \{event.type\}, which this request does not have"):
        signed(made, custom(also=[along]), keys={"k": "secret"})


def test_a_message_whose_id_cannot_be_signed() -> None:
    with pytest.raises(Unsendable, match="no id that Standard Webhooks could sign"):
        signed(message(id="a.b"), {"kind": "standard", "key": "k"}, keys={"k": WHSEC})


# What is refused when it is written

RSA_2048 = rsa.generate_private_key(65537, 2048)
RSA_1024 = rsa.generate_private_key(65537, 1024)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = RSA_2048.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
P256_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}


@pytest.mark.parametrize(
    ("configuration", "path", "reason"),
    [
        (custom(key="other"), "key", "no key named 'other'"),
        (custom(parts=[]), "parts", "1 to 32 parts"),
        (custom(mac_key="{key}", parts=[]), "parts", "every signature would be the same"),
        (custom(mac_key="{key}", parts=["{key}"]), "parts", "every signature would be the same"),
        (custom(mac_key="{timestamp}"), "mac_key", "without the key"),
        (custom(mac_key="{key}{body}"), "mac_key", "there is no {body}"),
        (custom(mac_key="{key}{pairs}"), "mac_key", "there is no {pairs}"),
        (custom(mac_key="x" * 1025), "mac_key", "more than 1024 characters"),
        (custom(mac_key="{key}😀", charset="gbk"), "mac_key", "gbk cannot write"),
        (custom(mac_key="{key}{timestamp}", algorithm="sha256"), "mac_key", "only an HMAC has"),
        (custom(mac_key="{key}{timestamp}", algorithm="ed25519"), "mac_key", "only an HMAC has"),
        (custom(parts=["{body}"] * (SIGNED_PARTS_MAX + 1)), "parts", "1 to 32 parts"),
        (custom(parts=["{body}\ud800"]), "parts[0]", "utf-8 cannot write"),
        (custom(key_id="\ud800"), "key_id", "utf-8 cannot write"),
        (custom(signature=at("field", "\ud800")), "signature.name", "1 to 128 printable"),
        (custom(signature=at("field", "S", "{signature}\ud800")), "signature.value", "utf-8 cannot write"),
        (custom(key="surrogate"), "key", "utf-8 cannot write"),
        (custom(key="surrogate", key_encoding="jwk"), "key", "not a JWK"),
        (custom(algorithm="ed25519", key="surrogate"), "key", "not a private key as PEM"),
        (token(claims={"\ud800": 1}), "claims", "utf-8 cannot write"),
        (custom(parts=["x" * 1025]), "parts[0]", "more than 1024 characters"),
        (custom(separator="x" * 1025), "separator", "more than 1024 characters"),
        (custom(key_id="x" * 1025), "key_id", "more than 1024 characters"),
        (custom(repeat="x" * 1025), "repeat", "more than 1024 characters"),
        (custom(signature=at("header", "S", "x" * 1025)), "signature.value", "more than 1024 characters"),
        (custom(parts=["{pairs}"], pairs={"separator": "x" * 1025}), "pairs.separator", "more than 1024"),
        (custom(parts=["{pairs}"], pairs={"pair": "x" * 1025}), "pairs.pair", "more than 1024"),
        (custom(parts=["{pairs}"], pairs={"exclude": ["\ud800"]}), "pairs.exclude", "utf-8 cannot write"),
        (custom(parts=["{pairs}"], pairs={"exclude": ["x"] * 33}), "pairs.exclude", "more than 32 names"),
        (token(key_id="x" * 1025), "key_id", "more than 1024 characters"),
        (custom(parts=["{bodi}"]), "parts[0]", "there is no {bodi}"),
        (custom(parts=["{body}", "{event.tpye}"]), "parts[1]", "there is no {event.tpye}"),
        (custom(parts=["{body.sha3}"]), "parts[0]", "there is no {body.sha3}"),
        (custom(parts=["{field.}"]), "parts[0]", "there is no {field.}"),
        (custom(parts=["{field.?}"]), "parts[0]", "there is no {field.?}"),
        (custom(parts=["{field.//x}"]), "parts[0]", "JSON Pointer"),
        (custom(parts=["{signature}"]), "parts[0]", "there is no {signature}"),
        (custom(parts=["{body"]), "parts[0]", "a brace stands alone"),
        (custom(parts=["constant"]), "parts", "nothing of the message"),
        (custom(parts=["{key}"]), "parts", "nothing of the message"),
        (custom(parts=["{body}😀"], charset="gbk"), "parts[0]", "gbk cannot write"),
        (custom(separator="😀", charset="gbk"), "separator", "gbk cannot write"),
        (custom(algorithm="md5"), "parts", "md5 has no key of its own"),
        (custom(parts=["{pairs}"]), "pairs", "say which"),
        (custom(pairs={}), "pairs", "not signed"),
        (custom(parts=["{pairs}"], pairs={"pair": "{name}"}), "pairs.pair", "its {value}"),
        (custom(parts=["{pairs}"], pairs={"pair": "{name}={valeu}"}), "pairs.pair", "there is no {valeu}"),
        (custom(signature=at("header", "S", "sha256=")), "signature.value", "lacks the {signature}"),
        (custom(signature=at("header", "S", "{body}{signature}")), "signature.value", "there is no {body}"),
        (custom(signature=at("header", "S", "{key}{signature}")), "signature.value", "there is no {key}"),
        (custom(signature=at("header", "S", "{signature}\r\nX: 1")), "signature.value", "no line break"),
        (custom(signature=at("header", "S", " {signature}")), "signature.value", "neither begins nor ends"),
        (custom(signature=at("header", "S", "签{signature}")), "signature.value", "Latin-1"),
        (custom(signature=at("query", "S", "{signature}\0")), "signature.value", "no line break"),
        (custom(signature=at("header", "")), "signature.name", "a header name is"),
        (custom(signature=at("header", "X Y")), "signature.name", "a header name is"),
        (custom(signature=at("header", "X\r\nY")), "signature.name", "a header name is"),
        (custom(signature=at("header", "Content-Length")), "signature.name", "cannot be set"),
        (custom(signature=at("header", "HOST")), "signature.name", "cannot be set"),
        (custom(signature=at("header", "Webhook-Replay")), "signature.name", "cannot be set"),
        (custom(signature=at("query", "")), "signature.name", "1 to 128 printable characters"),
        (custom(signature=at("query", "a\nb")), "signature.name", "1 to 128 printable characters"),
        (custom(signature=at("field", "x" * 129)), "signature.name", "1 to 128 printable characters"),
        (custom(signature=at("field", "/")), "signature.name", "JSON Pointer"),
        (custom(repeat=",v1="), "repeat", "lacks the {signature}"),
        (custom(repeat=",v1={signature}\n"), "repeat", "no line break"),
        (custom(also=[at("header", "X-A")]), "also[0].value", "says nothing"),
        (custom(also=[at("header", "X-A", "{signature}")]), "also[0].value", "there is no {signature}"),
        (custom(also=[at("header", "X-A", "{key}")]), "also[0].value", "there is no {key}"),
        (custom(also=[at("header", "x-signature", "1")]), "also[0].name", "written twice"),
        (custom(also=[at("query", f"q{i}", "1") for i in range(33)]), "also", "more than 32"),
        (custom(key_encoding="pem"), "key", "a shared secret is read as"),
        (custom(key_encoding="hex"), "key", "the key is not hex"),
        (custom(key_encoding="base64", key="odd"), "key", "the key is not base64"),
        (custom(key_encoding="jwk"), "key", "the key is not a JWK"),
        (custom(key="empty"), "key", "the key has 0 bytes"),
        (custom(algorithm="rsa-sha256"), "key", "not a private key as PEM"),
        (custom(algorithm="rsa-sha256", key_encoding="literal", key="rsa"), "key", "read as pem, jwk or base64"),
        (custom(algorithm="rsa-sha256", key="public"), "key", "a public key or a certificate cannot sign"),
        (custom(algorithm="rsa-sha256", key="sealed"), "key", "has a passphrase"),
        (custom(algorithm="rsa-sha256", key="short rsa"), "key", "2048 to 4096 bits here; this one has 1024"),
        (custom(algorithm="rsa-sha256", key="p256"), "key", "takes a private RSA key"),
        (custom(algorithm="rsa-sha256", key="k64", key_encoding="base64"), "key", "not a private key as DER"),
        (custom(algorithm="rsa-pss-sha256", key="ed25519"), "key", "takes a private RSA key"),
        (custom(algorithm="ecdsa-p256-sha256", key="p384"), "key", "on the curve secp256r1"),
        (custom(algorithm="ecdsa-p256-sha256-der", key="rsa"), "key", "on the curve secp256r1"),
        (custom(algorithm="ecdsa-p256-sha256", key="public jwk", key_encoding="jwk"), "key", "is a public key"),
        (custom(algorithm="rsa-sha256", key="public jwk", key_encoding="jwk"), "key", "not a JWK with kty RSA"),
        (custom(algorithm="ed25519", key="rsa"), "key", "takes a private ed25519 key"),
        (custom(algorithm="ed25519", key="k64", key_encoding="hex"), "key", "the key is not hex"),
        (custom(algorithm="ed25519", key="k64", key_encoding="base64"), "key", "not a private key as DER"),
        (custom(algorithm="ed25519", key="ed25519", parts=["{key}{body}"]), "parts", "a private key is never"),
        ({"kind": "standard", "key": "k"}, "key", "starts with whsec_"),
        ({"kind": "standard", "key": "whpk"}, "key", "is a public key"),
        ({"kind": "standard", "key": "whsec", "prefix": "a b"}, "prefix", "a header name is"),
        ({"kind": "standard", "key": "other"}, "key", "no key named"),
        (token(key="k"), "key", "at least 32"),
        (token(token=at("header", "T", "Bearer")), "token.value", "lacks the {token}"),
        (token(token=at("header", "T", "{signature}")), "token.value", "there is no {signature}"),
        (token(claims={"a": "{key}"}), "claims.a", "there is no {key}"),
        (token(claims={"exp": 1}), "claims.exp", "not set here"),
        (token(claims={str(i): i for i in range(33)}), "claims", "more than 32 claims"),
        (token(lifetime_seconds=0), "lifetime_seconds", "a lifetime is"),
        (token(algorithm="RS256"), "key", "not a private key as PEM"),
        (token(algorithm="ES256", key="p384"), "key", "on the curve secp256r1"),
        (token(algorithm="EdDSA", key="rsa"), "key", "takes a private ed25519 key"),
        (http(components=["@status"]), "components[0]", "no such component of a request"),
        (http(components=["@signature-params"]), "components[0]", "no such component of a request"),
        (http(components=["X-Upper"]), "components[0]", "in lower case"),
        (http(components=["a b"]), "components[0]", "in lower case"),
        (http(components=['date";x="']), "components[0]", "in lower case"),
        (http(components=['@query-param;name="a"b"']), "components[0]", "no such component"),
        (http(components=["signature"]), "components[0]", "cannot be covered"),
        (http(components=["date", "date"]), "components", "twice"),
        (http(components=[f"x-{i}" for i in range(33)]), "components", "more than 32"),
        (http(components=["x" * 129]), "components[0]", "at most 128"),
        (http(label="Sig"), "label", "a label is"),
        (http(label=""), "label", "a label is"),
        (http(expires_seconds=0), "expires_seconds", "expires in 1 to"),
        (http(key_id="钥"), "key_id", "printable ASCII"),
        (http(tag="a\nb"), "tag", "printable ASCII"),
        (http(older_key_ids=["a", "\r\n"]), "older_key_ids[1]", "printable ASCII"),
        (http(algorithm="ecdsa-p384-sha384", key="p256"), "key", "on the curve secp384r1"),
        (http(algorithm="rsa-pss-sha512", key="short rsa"), "key", "2048 to 4096"),
    ],
)
def test_bad_configurations_are_refused_where_they_are_wrong(
    configuration: dict[str, Any], path: str, reason: str
) -> None:
    keys = {
        "k": ["top secret"],
        "k64": ["dG9wIHNlY3JldA=="],
        "odd": ["t*p"],
        "surrogate": ["top secret\ud800"],
        "empty": [""],
        "long": ["top secret, more than 32 bytes of it"],
        "rsa": [pem(RSA_2048)],
        "short rsa": [pem(RSA_1024)],
        "sealed": [pem(RSA_2048, passphrase=b"top secret")],
        "public": [PUBLIC],
        "p256": [pem(P256)],
        "p384": [pem(P384)],
        "ed25519": [pem(ED25519)],
        "public jwk": [json.dumps(P256_JWK)],
        "whsec": [WHSEC],
        "whpk": ["whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="],
    }
    good = custom(key="k", signature=at("header", "X-First"))
    with pytest.raises(Invalid) as refused:
        compile_signers(msgspec.convert((good, configuration), tuple[Signer, ...]), keys)
    assert refused.value.path == f"signing[1].{path}"
    assert reason in str(refused.value)
    assert "top secret" not in str(refused.value)
    assert refused.value.__cause__ is None


OTHER_N = base64.urlsafe_b64encode(
    rsa.generate_private_key(65537, 2048).public_key().public_numbers().n.to_bytes(256, "big")
).decode()


def jwk(key: rsa.RSAPrivateKey, **changed: str) -> str:
    return json.dumps(RSAKey.import_key(pem(key)).as_dict(private=True) | changed)


@pytest.mark.parametrize(
    ("algorithm", "text", "reason"),
    [
        ("rsa-sha256", lambda: jwk(RSA_2048, n=OTHER_N), "do not make up a private key"),
        ("rsa-sha256", lambda: jwk(RSA_2048, p="not base64!"), "do not make up a private key"),
        ("rsa-sha256", lambda: json.dumps({"kty": "RSA", "d": "AQAB"}), "do not make up a private key"),
        ("ecdsa-p256-sha256", lambda: json.dumps(P256_JWK | {"d": "AQAB"}), "do not make up a private key"),
        ("ecdsa-p256-sha256", lambda: json.dumps(P256_JWK | {"d": "AQAB", "crv": "P-521"}), "do not make up"),
        ("ed25519", lambda: json.dumps({"kty": "OKP", "crv": "Ed25519", "x": "AQAB", "d": "A" * 43}), "do not make up"),
        ("ed25519", lambda: json.dumps({"kty": "OKP", "crv": "X25519", "d": "A" * 43}), "do not make up"),
        ("hmac-sha256", lambda: json.dumps({"kty": "oct"}), "has no k"),
        ("hmac-sha256", lambda: "[1]", "not a JWK"),
        ("hmac-sha256", lambda: "[" * 5000, "not a JWK"),
    ],
)
def test_jwks_whose_members_do_not_fit(algorithm: str, text: Callable[[], str], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        compile_signers(signers(custom(algorithm=algorithm, key_encoding="jwk")), {"k": [text()]})


def test_ed25519_keys_in_every_encoding_sign_alike() -> None:
    public = base64.urlsafe_b64encode(ED25519.public_key().public_bytes_raw()).decode()
    seed = bytes(32)
    texts = {
        "pem": pem(ED25519),
        "hex": seed.hex(),
        "base64": base64.b64encode(seed).decode(),
        "jwk": json.dumps({"kty": "OKP", "crv": "Ed25519", "x": public, "d": base64.urlsafe_b64encode(seed).decode()}),
    }
    made = {
        signed(message(), custom(algorithm="ed25519", key_encoding=how), keys={"k": text}).headers["X-Signature"]
        for how, text in texts.items()
    }
    assert made == {ED25519.sign(message().document.encoded()).hex()}


def test_an_rsa_key_is_tried_when_it_is_written_and_not_again() -> None:
    configuration = signers(custom(algorithm="rsa-sha256", key_encoding="jwk"))
    damaged = jwk(RSA_2048, d="AQAB", dp="AQAB", dq="AQAB")
    with pytest.raises(Invalid, match="does not sign what its public half verifies"):
        compile_signers(configuration, {"k": [damaged]})
    assert compile_signers(configuration, {"k": [damaged]}, checked=True)


@pytest.mark.parametrize("larger", ["d", "dp", "dq", "p", "e"])
def test_an_rsa_key_that_signs_slowly_is_refused(larger: str) -> None:
    """With numbers larger by a multiple of what they count by it signs the same, and would take a hundred times as long."""
    configuration = signers(custom(algorithm="rsa-sha256"))
    compile_signers(configuration, {"k": [larger_rsa(RSA_2048)]})
    with pytest.raises(Invalid, match="larger than they have to be"):
        compile_signers(configuration, {"k": [larger_rsa(RSA_2048, larger)]})


def test_two_signers_add_to_the_url_where_neither_signs_it() -> None:
    query = signed(
        message(),
        custom(signature=at("query", "a"), also=[at("query", "t", "{timestamp}")]),
        custom(parts=["{timestamp}"], signature=at("query", "b")),
        keys={"k": "secret"},
    ).query
    assert list(query) == ["t", "a", "b"]
    assert query["b"] == hmac.new(b"secret", query["t"].encode(), hashlib.sha256).hexdigest()


def test_keys_are_not_shown() -> None:
    (key,) = Keys({"k": ["top secret"]}, checked=False).live("k", KeyEncoding.LITERAL, "signing[0].key")
    assert "top secret" not in repr(key)


@pytest.mark.parametrize(
    ("configurations", "path", "reason"),
    [
        ([custom(), custom()], "signing[1].signature.name", "written twice"),
        ([custom(), custom(signature=at("header", "x-SIGNATURE"))], "signing[1].signature.name", "written twice"),
        ([{"kind": "standard", "key": "whsec"}] * 2, "signing[1].prefix", "written twice"),
        (
            [{"kind": "standard", "key": "whsec"}, custom(signature=at("header", "Webhook-Signature"))],
            "signing[1].signature.name",
            "written twice",
        ),
        ([custom(signature=at("header", "Signature")), http()], "signing[1].kind", "written twice"),
        ([http(), custom(signature=at("header", "Content-Digest"))], "signing[1].signature.name", "written twice"),
        (
            [custom(signature=at("field", "a")), token(token=at("field", "b"))],
            "signing[1].token.name",
            "two signers write into the body",
        ),
        (
            [custom(signature=at("query", "a")), custom(parts=["{url}"], also=[at("query", "b", "1")])],
            "signing[1].also[0].name",
            "two signers write into the URL",
        ),
        (
            [custom(signature=at("query", "a")), custom(mac_key="{key}{path}", also=[at("query", "b", "1")])],
            "signing[1].also[0].name",
            "two signers write into the URL",
        ),
        (
            [
                custom(parts=["{body}{pairs}"], pairs={"of": "query"}, signature=at("query", "a")),
                custom(also=[at("query", "b", "1")]),
            ],
            "signing[1].also[0].name",
            "two signers write into the URL",
        ),
        ([http(), http()], "signing[1].label", "the same label"),
        ([custom(signature=at("header", f"X-{i}")) for i in range(SIGNERS_MAX + 1)], "signing", "more than 8 signers"),
    ],
)
def test_signers_that_are_in_each_others_way(configurations: list[dict[str, Any]], path: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason) as refused:
        compile_signers(signers(*configurations), {"k": ["secret"], "whsec": [WHSEC], "long": ["s" * 32]})
    assert refused.value.path == path


@pytest.mark.parametrize(
    "configuration",
    [
        custom(algorithm="sha3"),
        custom(key_encoding="base32"),
        custom(encoding="Hex"),
        custom(order="random"),
        custom(unknown=1),
        {"kind": "custom", "algorithm": "hmac-sha256", "key": "k", "parts": ["{body}"]},
        {"kind": "magic"},
        token(claims={"a": [1]}),
    ],
)
def test_what_is_not_of_the_shape_is_not_even_read(configuration: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        signers(configuration)


def test_no_text_makes_compiling_fail_in_another_way() -> None:
    """Whatever people write into keys and templates, they are told what is wrong with it."""
    chance = random.Random(5)
    pieces = [*string.printable, "{body}", "{field.", "}", "{{", "-----BEGIN PRIVATE KEY-----\n", '{"kty":"RSA"}', "é"]
    refused = 0
    for _ in range(600):
        text, key = ("".join(chance.choices(pieces, k=chance.randrange(12))) for _ in range(2))
        configuration = custom(
            algorithm=chance.choice(list(Algorithm)),
            key_encoding=chance.choice([None, *KeyEncoding]),
            parts=[text, "{body}{key}"],
            signature=at(chance.choice(list(Place)), text, text),
        )
        try:
            compile_signers(signers(configuration), {"k": [key]})
        except Invalid:
            refused += 1
    assert refused
