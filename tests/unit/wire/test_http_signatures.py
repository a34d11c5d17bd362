"""HTTP Message Signatures: the vectors of RFC 9421 and RFC 9530, and `http-message-signatures` as the receiver."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from http_message_signatures import HTTPMessageVerifier, InvalidSignature, MappingKeyResolver, algorithms
from tests.messages import NONCE, Received, message, signed

from posthouse.domain.signing import DigestAlgorithm
from posthouse.wire.documents import Bytes
from posthouse.wire.message import Unsendable
from posthouse.wire.signing.http import content_digest

# RFC 9421, appendix B.1.4, B.1.5 and B.2
ED25519_PEM = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
"""
SHARED_SECRET = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
RFC_REQUEST: dict[str, Any] = {
    "document": b'{"hello": "world"}',
    "url": "https://example.com/foo?param=Value&Pet=dog",
    "now": 1618884473.9,
    "headers": [("Date", "Tue, 20 Apr 2021 02:07:55 GMT")],
}


def test_rfc_9421_b_2_5_hmac() -> None:
    received = signed(
        message(**RFC_REQUEST),
        {
            "kind": "http",
            "algorithm": "hmac-sha256",
            "key": "k",
            "key_encoding": "base64",
            "key_id": "test-shared-secret",
            "components": ["date", "@authority", "content-type"],
            "label": "sig-b25",
        },
        keys={"k": SHARED_SECRET},
    )
    assert received.headers["Signature-Input"] == (
        'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
    )
    assert received.headers["Signature"] == "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:"


def test_rfc_9421_b_2_6_ed25519() -> None:
    received = signed(
        message(**RFC_REQUEST),
        {
            "kind": "http",
            "algorithm": "ed25519",
            "key": "k",
            "key_id": "test-key-ed25519",
            "components": ["date", "@method", "@path", "@authority", "content-type", "content-length"],
            "label": "sig-b26",
        },
        keys={"k": ED25519_PEM},
    )
    assert received.headers["Signature-Input"] == (
        'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"'
    )
    assert received.headers["Signature"] == (
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
    )


def test_content_digests_of_rfc_9530_and_9421() -> None:
    assert content_digest(DigestAlgorithm.SHA_256, b'{"hello": "world"}\n') == (
        "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    )
    assert content_digest(DigestAlgorithm.SHA_512, b'{"hello": "world"}') == (
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
    )


# The library as the receiver

EVERYTHING = [
    "@method",
    "@target-uri",
    "@authority",
    "@scheme",
    "@request-target",
    "@path",
    "@query",
    '@query-param;name="Pet"',
    '@query-param;name="va%20l"',
    "content-type",
    "content-length",
    "content-digest",
    "x-shop",
    "webhook-signature",
]
STANDARD = {"kind": "standard", "key": "hook"}
HOOK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(32))

ALGORITHMS: dict[str, tuple[type[algorithms.HTTPSignatureAlgorithm], str, Any]] = {
    "rsa-pss-sha512": (algorithms.RSA_PSS_SHA512, pem(RSA), RSA.public_key()),
    "rsa-v1_5-sha256": (algorithms.RSA_V1_5_SHA256, pem(RSA), RSA.public_key()),
    "hmac-sha256": (algorithms.HMAC_SHA256, "a shared secret", b"a shared secret"),
    "ecdsa-p256-sha256": (algorithms.ECDSA_P256_SHA256, pem(P256), P256.public_key()),
    "ecdsa-p384-sha384": (algorithms.ECDSA_P384_SHA384, pem(P384), P384.public_key()),
    "ed25519": (algorithms.ED25519, pem(ED25519), ED25519.public_key()),
}


def verify(received: Received, algorithm: str, *, key_id: str = "key 1", public: Any = None, **options: Any) -> Any:
    kind, _, own = ALGORITHMS[algorithm]
    resolver = MappingKeyResolver(public_keys={key_id: public or own}, private_keys={})
    return HTTPMessageVerifier(signature_algorithm=kind, key_resolver=resolver).verify(
        received, body=received.body, **options
    )


def request_with_all() -> Any:
    return message(
        Bytes('{"name":"驿站"}'.encode()),
        url="https://shop.example.com:8443/foo/%2Fbar?param=Value&Pet=dog~%2b+x",
        now=time.time(),
        headers=[("X-Shop", "42")],
        query=[("va l", "1 & 2*ü")],
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_verifies(algorithm: str) -> None:
    configuration = {
        "kind": "http",
        "algorithm": algorithm,
        "key": "k",
        "key_id": "key 1",
        "components": EVERYTHING,
        "digest": "sha-512",
        "expires_seconds": 60,
        "nonce": True,
        "alg": True,
        "tag": 'posthouse "1"\\',
    }
    keys = {"k": ALGORITHMS[algorithm][1], "hook": HOOK}
    received = signed(request_with_all(), configuration, STANDARD, keys=keys)
    (result,) = verify(received, algorithm, require_components=("@method", "content-digest"))
    assert result.label == "sig1"
    assert result.nonce == NONCE
    assert result.parameters["tag"] == 'posthouse "1"\\'
    assert result.parameters["alg"] == algorithm
    assert result.parameters["expires"] - result.parameters["created"] == 60

    received.headers["X-Shop"] = "43"
    with pytest.raises(InvalidSignature):
        verify(received, algorithm)


def test_the_body_is_covered_by_its_digest() -> None:
    configuration = {"kind": "http", "algorithm": "ed25519", "key": "k", "key_id": "key 1"}
    received = signed(request_with_all(), configuration, keys={"k": pem(ED25519)})
    assert verify(received, "ed25519")[0].body == received.body
    received.body += b" "
    with pytest.raises(InvalidSignature):
        verify(received, "ed25519")


def test_several_sign_one_request() -> None:
    def configuration(label: str, **more: Any) -> dict[str, Any]:
        return {"kind": "http", "label": label, "components": ["content-digest", "@method"]} | more

    received = signed(
        request_with_all(),
        configuration("one", algorithm="ed25519", key="a", key_id="a", tag="one"),
        configuration("two", algorithm="hmac-sha256", key="b", key_id="b", tag="two"),
        keys={"a": pem(ED25519), "b": "a shared secret"},
    )
    assert verify(received, "ed25519", key_id="a", expect_tag="one")[0].label == "one"
    assert verify(received, "hmac-sha256", key_id="b", expect_tag="two")[0].label == "two"
    with pytest.raises(Unsendable, match="two headers Content-Digest"):
        signed(
            request_with_all(),
            configuration("one", algorithm="ed25519", key="a", digest="sha-512"),
            configuration("two", algorithm="ed25519", key="a"),
            keys={"a": pem(ED25519)},
        )


def test_older_keys_sign_under_the_ids_that_are_known() -> None:
    configuration = {"kind": "http", "algorithm": "hmac-sha256", "key": "k", "key_id": "2026", "tag": "x"}
    keys = {"k": ["new", "old", "oldest"]}
    alone = signed(request_with_all(), configuration, keys=keys)
    assert verify(alone, "hmac-sha256", key_id="2026", public=b"new")
    received = signed(request_with_all(), configuration | {"older_key_ids": ["2025"]}, keys=keys)
    assert received.headers["Signature"].count("sig1") == 2
    resolver = MappingKeyResolver(public_keys={"2026": b"new", "2025": b"old"}, private_keys={})
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=resolver)
    results = verifier.verify(received, expect_tag="x")
    assert [result.label for result in results] == ["sig1", "sig1-2"]


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        ("x-other", "cover the header x-other, which this request does not have"),
        ('@query-param;name="other"', "cover the parameter other, which this request has 0 times"),
        ('@query-param;name="twice"', "cover the parameter twice, which this request has 2 times"),
        ("x-latin", "character that no signature base can hold"),
    ],
)
def test_what_is_not_there_cannot_be_covered(component: str, reason: str) -> None:
    made = message(url="https://example.com/?twice=1&twice=2", headers=[("X-Latin", "café")])
    configuration = {"kind": "http", "algorithm": "hmac-sha256", "key": "k", "components": [component]}
    with pytest.raises(Unsendable, match=reason):
        signed(made, configuration, keys={"k": "secret"})


@pytest.mark.parametrize("component", ["content-type", "content-length"])
def test_get_has_nothing_of_a_body(component: str) -> None:
    configuration = {"kind": "http", "algorithm": "hmac-sha256", "key": "k", "components": [component]}
    with pytest.raises(Unsendable, match=component):
        signed(message(b"", method="GET"), configuration, keys={"k": "secret"})
