"""What is refused when an endpoint is written: with the field's path, and with nothing of a key."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.encrypting import private_jwk, private_pem, public_jwk, public_pem, settings, step

from posthouse.domain.encryption import Encryption
from posthouse.domain.errors import Invalid
from posthouse.wire.encryption import compile_encryption

ENVELOPE: Final[dict[str, Any]] = {"kind": "envelope", "key": "k"}
CBC: Final = ENVELOPE | {"cipher": "aes-256-cbc"}
HYBRID: Final[dict[str, Any]] = {"kind": "hybrid", "key": "k"}
JWE: Final[dict[str, Any]] = {"kind": "jwe", "key": "k", "algorithm": "RSA-OAEP-256"}
DIR: Final = JWE | {"algorithm": "dir", "key_encoding": "literal"}
KEY: Final = "a secret that has 32 characters."
SM4: Final = "sixteen secrets!"


def json_body(template: Any) -> dict[str, Any]:
    return {"body": {"kind": "json", "template": template}}


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


SETTINGS: Final = [
    # what does not belong together
    (ENVELOPE | {"iv": "key"}, "iv", "same nonce twice"),
    (HYBRID | {"iv": "key", "cipher": "aes-256-cbc"}, "iv", "prefix or beside"),
    (ENVELOPE | {"padding": 32}, "padding", "GCM has no padding"),
    (CBC | {"padding": 8}, "padding", "one of 16, 32"),
    (CBC | {"associated_data": "a"}, "associated_data", "CBC authenticates nothing"),
    (ENVELOPE | {"iv_encoding": "hex"}, "iv_encoding", "stands beside"),
    (ENVELOPE | {"iv": "beside", "iv_encoding": "raw"}, "iv_encoding", "one of text"),
    (ENVELOPE | {"output": "text"}, "output", "one of base64"),
    (ENVELOPE | {"output": "raw"}, "output", "the whole body"),
    (ENVELOPE | {"key_encoding": "pem"}, "key_encoding", "one of literal"),
    (HYBRID | {"key_encoding": "hex"}, "key_encoding", "one of pem, jwk"),
    (JWE | {"key_encoding": "base64"}, "key_encoding", "one of pem, jwk"),
    (DIR | {"key_encoding": "pem"}, "key_encoding", "one of jwk, literal"),
    (DIR | {"key_id": "thumbprint"}, "key_id", "a shared secret tells nothing of itself"),
    (DIR | {"serialization": "general"}, "serialization", "one recipient"),
    (JWE | {"algorithm": "ECDH-ES", "serialization": "general"}, "serialization", "one recipient"),
    (JWE | {"serialization": "flattened", "fields": ["/a"]}, "serialization", "the whole body"),
    (JWE | {"content_algorithm": "A128GCM"}, "content_algorithm", "one of A256GCM"),
    (ENVELOPE | {"frame": {"owner": "x" * 257}}, "frame.owner", "at most 256"),
    (ENVELOPE | {"key": "other"}, "key", "no key of this name"),
    # templates
    (ENVELOPE | json_body({"e": "{ciphertext}", "x": "{event.nmae}"}), "body.template.x", "there is no {event.nmae}"),
    (ENVELOPE | json_body({"e": "{ciphertext}", "x": ["{"]}), "body.template.x[0]", "a brace itself is written twice"),
    (ENVELOPE | json_body({"e": "{ciphertext}", "x": "}"}), "body.template.x", "a brace itself is written twice"),
    (ENVELOPE | json_body({"e": "{Cipher text}"}), "body.template.e", "the name of a variable"),
    (ENVELOPE | json_body({"e": "{ciphertext}", "f": "{ciphertext}"}), "body.template.f", "stands in body.template.e already"),
    (ENVELOPE | json_body({"e": "encrypted"}), "body", "{ciphertext} stands nowhere"),
    (ENVELOPE | {"iv": "beside"} | json_body({"e": "{ciphertext}"}), "body", "{iv} stands nowhere"),
    (ENVELOPE | json_body({"e": "{ciphertext}", "i": "{iv}"}), "body.template.i", "there is no {iv} here"),
    (CBC | json_body({"e": "{ciphertext}", "t": "{tag}"}), "body.template.t", "there is no {tag} here"),
    (ENVELOPE | json_body({"e": "{ciphertext}", "k": "{key_id}"}), "body.template.k", "there is no {key_id} here"),
    (HYBRID | json_body({"e": "{iv}.{ciphertext}"}), "body", "{wrapped_key} stands nowhere"),
    (ENVELOPE | json_body("{ciphertext}{tag}"), "body.template", "a character between them"),
    (ENVELOPE | json_body("{ciphertext}=={tag}"), "body.template", "a character between them"),
    (ENVELOPE | json_body("{event.id}.{ciphertext}.{event.type}"), "body.template", "only one variable of a free form"),
    (JWE | json_body("{event.id} {ciphertext}"), "body.template", "a JWE stands alone"),
    (ENVELOPE | {"associated_data": "{event.id}"}, "body", "{associated_data} stands nowhere"),
    (ENVELOPE | {"associated_data": "{tag}"}, "associated_data", "before anything is sealed"),
    (
        ENVELOPE | {"associated_data": "{nothing}"} | json_body("{ciphertext}.{associated_data}"),
        "associated_data",
        "there is no {nothing}",
    ),
    (ENVELOPE | json_body("{ciphertext}" + "x" * 2048), "body.template", "at most 2048 characters"),
    (ENVELOPE | json_body([[[[[[[[[["{ciphertext}"]]]]]]]]]]), "body.template[0][0][0][0][0][0][0][0][0]", "8 levels deep"),
    (ENVELOPE | json_body(["{ciphertext}", *range(200)]), "body.template[127]", "at most 128 values"),
    # bodies
    (ENVELOPE | {"body": {"kind": "xml", "root": "a b", "elements": {"e": "{ciphertext}"}}}, "body.root", "an element's name"),
    (ENVELOPE | {"body": {"kind": "xml", "elements": {"e><x": "{ciphertext}"}}}, "body.elements", "an element's name"),
    (ENVELOPE | {"body": {"kind": "xml", "elements": {"a_x0020_": "{ciphertext}"}}}, "body.elements", "read this name"),
    (ENVELOPE | {"body": {"kind": "text", "content_type": "text"}}, "body.content_type", "no content type"),
    (ENVELOPE | {"body": {"kind": "text", "content_type": "text/x\r\nA: b"}}, "body.content_type", "no content type"),
    # headers and parameters
    (ENVELOPE | {"headers": {"A b": "x"}}, "headers.A b", "a header name"),
    (ENVELOPE | {"headers": {"X-A": "x\r\nB: c"}}, "headers.X-A", "no line break"),
    (ENVELOPE | {"headers": {"X-A": "x\x00"}}, "headers.X-A", "no line break"),
    (ENVELOPE | {"headers": {"Content-Length": "1"}}, "headers.Content-Length", "cannot be set"),
    (ENVELOPE | {"headers": {"X-A": "{nope}"}}, "headers.X-A", "there is no {nope}"),
    (ENVELOPE | {"headers": {"X-C": "{ciphertext}"}} | json_body("x"), "headers.X-C", "{ciphertext} stands in the body"),
    (ENVELOPE | {"iv": "beside", "query": {"i": "{iv}"}} | json_body("{ciphertext}"), "query.i", "and the headers only"),
    (ENVELOPE | {"query": {"": "x"}}, "query", "a parameter is a name"),
    (ENVELOPE | {"query": {"a": "x\n"}}, "query", "a parameter is a name"),
    # fields
    (ENVELOPE | {"fields": ["data/card"]}, "fields[0]", "a JSON pointer"),
    (ENVELOPE | {"fields": [""]}, "fields[0]", "a JSON pointer"),
    (ENVELOPE | {"fields": ["/a", "/b~2"]}, "fields[1]", "a JSON pointer"),
    (ENVELOPE | {"fields": ["/a", "/a/b"]}, "fields[1]", "lies within another"),
    (ENVELOPE | {"fields": ["/a/*/b", "/a/0/b"]}, "fields[1]", "lies within another"),
    (ENVELOPE | {"fields": [f"/{n}" for n in range(33)]}, "fields", "at most 32"),
    (ENVELOPE | {"fields": ["/" + "a" * 600]}, "fields[0]", "at most 512"),
    (ENVELOPE | {"fields": ["/a"], "body": {"kind": "text"}}, "body.kind", "what stands in the place of a field is JSON"),
    (
        ENVELOPE | {"fields": ["/a"], "iv": "beside", "headers": {"X-Iv": "{iv}"}} | json_body("{ciphertext}"),
        "headers.X-Iv",
        "{iv} stands in the body",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("configuration", "path", "reason"), SETTINGS)
def test_a_configuration_is_refused(configuration: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        compile_encryption(settings(configuration), {"k": [KEY]})
    assert caught.value.path == f"encryption.{path}"
    assert reason in str(caught.value)


RSA_1024: Final = rsa.generate_private_key(65537, 1024)
BAD_KEYS: Final = [
    (ENVELOPE, "a short secret", "aes-256-gcm takes a key of 32 bytes; this one has 14"),
    (ENVELOPE | {"cipher": "sm4-cbc"}, KEY, "takes a key of 16 bytes; this one has 32"),
    (ENVELOPE | {"derive": "md5"}, KEY, "this one has 16"),
    (ENVELOPE | {"key_encoding": "hex"}, KEY, "not hexadecimal digits"),
    (ENVELOPE | {"key_encoding": "base64"}, KEY, "not Base64"),
    (ENVELOPE | {"key_encoding": "base64"}, "YQ=YQ==", "not Base64"),
    (ENVELOPE | {"key_encoding": "base64"}, "AAAAA", "not Base64"),
    (DIR, SM4, "dir takes a key of 32 bytes; this one has 16"),
    (DIR | {"algorithm": "A256KW"}, SM4, "A256KW takes a key of 32 bytes"),
    (DIR | {"key_encoding": "jwk"}, KEY, "no JWK"),
    (DIR | {"key_encoding": "jwk"}, '{"k":"c2VjcmV0"}', "no JWK"),
    (DIR | {"key_encoding": "jwk"}, '{"kty":"oct","k":"c2VjcmV0"}', "this one has 6"),
    (DIR | {"key_encoding": "jwk"}, '{"kty":"oct","k":7}', "the kty oct"),
    (DIR | {"key_encoding": "jwk"}, public_jwk("rsa"), "the kty oct"),
    (JWE, KEY, "no public key (PEM) that can be read"),
    (JWE, "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----", "no certificate that can be read"),
    (JWE, "-----BEGIN PUBLIC KEY-----\nc2VjcmV0\n-----END PUBLIC KEY-----", "no public key (PEM)"),
    (JWE, "x" * 40_000, "at most 32768 characters"),
    (JWE, private_pem("rsa"), "this is a private key"),
    (JWE | {"key_encoding": "jwk"}, private_jwk("rsa"), "this is a private key"),
    (JWE | {"key_encoding": "jwk"}, '{"kty":"oct","k":"c2VjcmV0"}', "the kty RSA, EC or OKP"),
    (JWE | {"key_encoding": "jwk"}, '{"kty":"RSA","n":"c2VjcmV0","e":""}', "no JWK that can be read"),
    (JWE | {"key_encoding": "jwk"}, '{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}', "no JWK that can be read"),
    (JWE | {"key_encoding": "jwk"}, public_jwk("rsa", use="sig"), "not for encryption"),
    (JWE | {"key_encoding": "jwk"}, public_jwk("rsa", alg="RSA-OAEP"), "another algorithm than RSA-OAEP-256"),
    (JWE, public_pem("p256"), "RSA-OAEP-256 takes an RSA key"),
    (JWE | {"algorithm": "ECDH-ES"}, public_pem("rsa"), "ECDH-ES takes an EC or X25519 key"),
    (JWE | {"algorithm": "ECDH-ES+A256KW"}, pem(ec.generate_private_key(ec.SECP256K1())), "P-256, P-384, P-521"),
    (JWE, pem(ed25519.Ed25519PrivateKey.generate()), "is RSA, EC"),
    (JWE, pem(RSA_1024), "2048 to 8192 bits; this one has 1024"),
    (HYBRID, public_pem("p256"), "RSA-OAEP-256 takes an RSA key"),
    (HYBRID | {"algorithm": "ECDH-HKDF-SHA256-A256KW"}, public_pem("rsa"), "takes an EC or X25519 key"),
    (HYBRID, private_pem("rsa"), "this is a private key"),
]  # fmt: skip


@pytest.mark.parametrize(("configuration", "key", "reason"), BAD_KEYS)
def test_a_key_is_refused(configuration: dict[str, Any], key: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        step(configuration, key)
    assert caught.value.path == "encryption.key"
    assert reason in str(caught.value)
    tell_tale = [key[start : start + 8] for start in range(0, len(key) - 8, 4) if "BEGIN" not in key[: start + 30]]
    assert not any(piece in str(caught.value) for piece in tell_tale)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("configuration", "key", "reason"),
    [
        (HYBRID | {"key_id": "serial"}, public_pem("rsa"), "only a certificate"),
        (HYBRID | {"key_id": "own"}, public_pem("rsa"), "only a JWK with a kid"),
        (JWE | {"key_id": "own", "key_encoding": "jwk"}, public_jwk("rsa"), "only a JWK with a kid"),
        (DIR | {"key_id": "own"}, KEY, "only a JWK with a kid"),
    ],
)
def test_a_key_without_the_name_it_is_to_have_is_refused(configuration: dict[str, Any], key: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason) as caught:
        step(configuration, key)
    assert caught.value.path == "encryption.key_id"


def test_fields_need_a_format_that_writes_json_and_a_method_with_a_body() -> None:
    with pytest.raises(Invalid, match="this format writes none") as caught:
        step(ENVELOPE | {"fields": ["/a"]}, KEY, json_body=False)
    assert caught.value.path == "encryption.fields"
    with pytest.raises(Invalid, match="a GET has no body") as caught:
        step(ENVELOPE, KEY, method="get")
    assert caught.value.path == "encryption"
    with pytest.raises(Invalid, match=r"there is no \{event.id\}"):
        step(ENVELOPE | json_body("{event.id}.{ciphertext}"), KEY, variables={"timestamp"})


@pytest.mark.parametrize(
    "configuration",
    [
        {"kind": "rot13", "key": "k"},
        {"kind": "jwe", "key": "k", "algorithm": "RSA1_5"},
        {"kind": "envelope", "key": "k", "cipher": "aes-256-ecb"},
        {"kind": "envelope", "key": "k", "ciphre": "aes-256-gcm"},
        {"kind": "envelope"},
        {"kind": "envelope", "key": "k", "body": {"kind": "yaml"}},
        {"kind": "envelope", "key": "k", "body": {"kind": "xml", "elements": {"a": 1}}},
    ],
)
def test_what_is_no_configuration_at_all(configuration: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(configuration), type=Encryption)


def test_a_cipher_that_this_openssl_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm

    from posthouse_sdk.encryption import ciphers

    def lacking(*about: Any) -> Any:
        raise UnsupportedAlgorithm("no SM4")

    monkeypatch.setattr(ciphers, "Machine", lacking)
    with pytest.raises(Invalid, match="was built without this cipher") as caught:
        step(ENVELOPE | {"cipher": "sm4-gcm"}, SM4)
    assert caught.value.path == "encryption.cipher"
