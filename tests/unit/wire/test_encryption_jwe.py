"""JWE, judged by jwcrypto, which nothing in the product uses."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK, JWKSet
from tests.encrypting import BODY, encrypted, private_jwk, private_pem, public_jwk, public_pem, sent
from tests.unit.wire.test_encryption import certificate_of

from posthouse_sdk import Decryption

SECRET: Final = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"  # 32 bytes in Base64
TO_EC: Final = ("ECDH-ES", "ECDH-ES+A256KW")
EC: Final = ("p256", "p384", "p521", "x25519")
PAIRS: Final = [("RSA-OAEP-256", "rsa"), *((algorithm, kind) for algorithm in TO_EC for kind in EC)]


def judged(text: str, key: JWK, algorithm: str) -> tuple[bytes, dict[str, Any]]:
    token = JWE(algs=[algorithm, "A256GCM"])
    token.deserialize(text, key)
    return token.payload, token.jose_header


def secret_jwk(**more: str) -> str:
    return json.dumps({"kty": "oct", "k": SECRET} | more)


@pytest.mark.parametrize("serialization", ["compact", "flattened"])
@pytest.mark.parametrize(("algorithm", "kind"), PAIRS)
def test_to_a_public_key(algorithm: str, kind: str, serialization: str) -> None:
    configuration = {"kind": "jwe", "key": "k", "algorithm": algorithm, "serialization": serialization}
    made = encrypted(configuration, public_pem(kind), content_type="application/cloudevents+json")
    body, headers = sent(made)
    key = JWK.from_pem(private_pem(kind).encode())
    plain, header = judged(body.decode(), key, algorithm)
    assert plain == BODY
    assert (header["alg"], header["enc"], header["cty"]) == (algorithm, "A256GCM", "cloudevents+json")
    assert header["kid"] == key.thumbprint()
    assert made.content_type == {"compact": "application/jose", "flattened": "application/jose+json"}[serialization]
    opened = Decryption(configuration, private_pem(kind))(body, headers)
    assert (opened.body, opened.content_type) == (BODY, "application/cloudevents+json")


@pytest.mark.parametrize("algorithm", ["dir", "A256KW"])
@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("jwk", secret_jwk()),
        ("base64", SECRET),
        ("hex", b"0123456789abcdef".hex() * 2),
        ("literal", "0123456789abcdef" * 2),
    ],
)
def test_with_a_shared_secret(algorithm: str, encoding: str, text: str) -> None:
    configuration = {"kind": "jwe", "key": "k", "algorithm": algorithm, "key_encoding": encoding}
    body, headers = sent(encrypted(configuration, text))
    plain, header = judged(body.decode(), JWK.from_json(secret_jwk()), algorithm)
    assert plain == BODY
    assert "kid" not in header
    assert Decryption(configuration, text)(body, headers).body == BODY


@pytest.mark.parametrize(
    ("more", "text", "kid"),
    [
        ({"algorithm": "dir"}, secret_jwk(kid="s-1"), "s-1"),
        ({"algorithm": "dir", "key_id": "none"}, secret_jwk(kid="s-1"), None),
        ({"key_encoding": "jwk"}, public_jwk("rsa", kid="r-1", use="enc", alg="RSA-OAEP-256"), "r-1"),
        ({"key_encoding": "jwk", "key_id": "thumbprint"}, public_jwk("rsa", kid="r-1"), "thumbprint"),
        ({"key_encoding": "jwk", "key_id": "none"}, public_jwk("rsa", kid="r-1"), None),
        ({"key_id": "serial"}, certificate_of("rsa", 0xABC), "0ABC"),
    ],
)
def test_the_key_id(more: dict[str, Any], text: str, kid: str | None) -> None:
    configuration = {"kind": "jwe", "key": "k", "algorithm": "RSA-OAEP-256"} | more
    body, _ = sent(encrypted(configuration, text))
    pair = JWK.from_json(private_jwk("rsa"))
    key = JWK.from_json(secret_jwk()) if configuration["algorithm"] == "dir" else pair
    _, header = judged(body.decode(), key, configuration["algorithm"])
    assert header.get("kid") == (pair.thumbprint() if kid == "thumbprint" else kid)


@pytest.mark.parametrize(("algorithm", "kind"), [("RSA-OAEP-256", "rsa"), ("ECDH-ES+A256KW", "p256")])
def test_every_live_key_may_be_a_recipient(algorithm: str, kind: str) -> None:
    configuration = {"kind": "jwe", "key": "k", "algorithm": algorithm, "serialization": "general"}
    made = encrypted(configuration, [public_pem(kind, 1), public_pem(kind)])
    body, headers = sent(made)
    assert len(json.loads(body)["recipients"]) == 2
    for number in (0, 1):
        keys = JWKSet()
        keys.add(JWK.from_pem(private_pem(kind, number).encode()))
        token = JWE(algs=[algorithm, "A256GCM"])
        token.deserialize(body.decode(), keys)
        assert token.payload == BODY
        assert Decryption(configuration, private_pem(kind, number))(body, headers).body == BODY


def test_what_jwcrypto_encrypts_is_opened() -> None:
    for algorithm, kind in PAIRS:
        token = JWE(BODY, json.dumps({"alg": algorithm, "enc": "A256GCM", "cty": "application/xml"}), algs=None)
        token.allowed_algs = [algorithm, "A256GCM"]
        token.add_recipient(JWK.from_pem(public_pem(kind).encode()))
        configuration = {"kind": "jwe", "key": "k", "algorithm": algorithm, "key_encoding": "jwk"}
        opened = Decryption(
            configuration, [private_jwk("p384", 7) if kind != "rsa" else private_jwk("rsa", 1), private_jwk(kind)]
        )
        told = opened(token.serialize(compact=True).encode(), {})
        assert (told.body, told.content_type) == (BODY, "application/xml")


def test_a_large_body() -> None:
    configuration = {"kind": "jwe", "key": "k", "algorithm": "dir", "key_encoding": "base64"}
    large = json.dumps({"data": "x" * 1_500_000}).encode()
    body, headers = sent(encrypted(configuration, SECRET, large))
    assert Decryption(configuration, SECRET)(body, headers).body == large


def test_in_a_field_of_the_body_and_in_fields() -> None:
    configuration: dict[str, Any] = {"kind": "jwe", "key": "k", "algorithm": "RSA-OAEP-256"}
    whole = configuration | {"body": {"kind": "json", "template": {"token": "Bearer {ciphertext}"}}}
    body, headers = sent(encrypted(whole, public_pem("rsa")))
    key = JWK.from_pem(private_pem("rsa").encode())
    assert judged(json.loads(body)["token"].removeprefix("Bearer "), key, "RSA-OAEP-256")[0] == BODY
    assert Decryption(whole, private_pem("rsa"))(body, headers).body == BODY
    fields = configuration | {"fields": ["/data/name"]}
    body, headers = sent(encrypted(fields, public_pem("rsa")))
    assert judged(json.loads(body)["data"]["name"], key, "RSA-OAEP-256")[0] == '"驿"'.encode()
    assert json.loads(Decryption(fields, private_pem("rsa"))(body, headers).body) == json.loads(BODY)


@pytest.mark.parametrize(
    ("content_type", "cty"),
    [
        ("application/json", "json"),
        ("application/json; charset=utf-8", "json; charset=utf-8"),
        ("text/plain", "text/plain"),
        ('application/x; a="b/c"', 'application/x; a="b/c"'),
    ],
)
def test_cty_is_as_short_as_it_may_be(content_type: str, cty: str) -> None:
    configuration = {"kind": "jwe", "key": "k", "algorithm": "dir", "key_encoding": "base64"}
    body, headers = sent(encrypted(configuration, SECRET, content_type=content_type))
    _, header = judged(body.decode(), JWK.from_json(secret_jwk()), "dir")
    assert header["cty"] == cty
    assert Decryption(configuration, SECRET)(body, headers).content_type == content_type
