"""HTTP Message Signatures: what the server makes, and the cases of RFC 9421 (appendix B.2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.messages import NOW, Received, message, signed

from posthouse_sdk import (
    MalformedHeaderError,
    MissingHeaderError,
    NoMatchingSignatureError,
    ProfileError,
    ProfileReceiver,
    StaleTimestampError,
    VerificationError,
)

ALL = [
    "@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query", '@query-param;name="a"',
    "content-type", "content-length", "content-digest", "host", "x-shop",
]  # fmt: skip
KEYS = {
    "hmac-sha256": "a secret",
    "ed25519": Ed25519PrivateKey.from_private_bytes(bytes(32)),
    "rsa-pss-sha512": rsa.generate_private_key(65537, 2048),
    "ecdsa-p256-sha256": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384-sha384": ec.generate_private_key(ec.SECP384R1()),
}
KEYS["rsa-v1_5-sha256"] = KEYS["rsa-pss-sha512"]


def text(algorithm: str) -> str:
    key: Any = KEYS[algorithm]
    if isinstance(key, str):
        return key
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def signer(algorithm: str = "hmac-sha256", **more: Any) -> dict[str, Any]:
    return {"kind": "http", "algorithm": algorithm, "key": "k"} | more


def receiver(
    configuration: dict[str, Any], key: str | list[str], *, now: float = NOW, **options: Any
) -> ProfileReceiver:
    endpoint = {"format": "raw", "signing": [configuration]}
    return ProfileReceiver({"name": "http", "endpoint": endpoint}, {"k": key}, clock=lambda: now, **options)


def came(configuration: dict[str, Any], keys: Any = "a secret") -> Received:
    made = message(url="https://Example.com:443/hook?a=1%2B2~&b=%E9%A9%BF", headers=[("X-Shop", "7")])
    return signed(made, configuration, keys={"k": keys})


def taken(there: ProfileReceiver, request: Received, **changes: Any) -> bool:
    sent = {"method": request.method, "url": request.url, "headers": request.headers, "body": request.body} | changes
    return there.receive(**sent).event is not None


@pytest.mark.parametrize("algorithm", KEYS)
def test_what_the_server_signs_is_taken(algorithm: str) -> None:
    configuration = signer(
        algorithm, components=ALL, key_id="2026", expires_seconds=60, nonce=True, alg=True, tag="shop", digest="sha-512"
    )
    request = came(configuration, text(algorithm))
    there = receiver(configuration, text(algorithm))
    assert taken(there, request)
    for changes in (
        {"url": request.url.replace("hook", "hooks")},
        {"url": request.url.replace("a=1", "a=2")},
        {"body": request.body + b" "},
        {"headers": request.headers | {"X-Shop": "8"}},
    ):
        with pytest.raises(NoMatchingSignatureError):
            taken(there, request, **changes)
    endpoint = {"format": "raw", "signing": [configuration], "method": "PUT"}
    other = ProfileReceiver({"name": "http", "endpoint": endpoint}, {"k": text(algorithm)}, clock=lambda: NOW)
    with pytest.raises(NoMatchingSignatureError):
        taken(other, request, method="PUT")
    for name in ("Signature", "Signature-Input", "Content-Digest", "X-Shop"):
        with pytest.raises(MissingHeaderError):
            taken(there, request, headers={each: value for each, value in request.headers.items() if each != name})
    for now in (NOW + 61, NOW + 400):
        with pytest.raises(StaleTimestampError):
            taken(receiver(configuration, text(algorithm), now=now), request)


@settings(deadline=None)
@given(st.data())
def test_any_change_of_what_is_signed_is_refused(data: st.DataObject) -> None:
    configuration = signer(components=ALL, key_id="2026")
    request = came(configuration)
    name = data.draw(st.sampled_from(["Signature", "Signature-Input", "Content-Digest", "X-Shop"]))
    value = request.headers[name]
    place = data.draw(st.integers(0, len(value) - 1))
    changed = (
        value[:place]
        + data.draw(st.characters(codec="ascii").filter(lambda each: each != value[place]))
        + value[place + 1 :]
    )
    if changed.strip() == value.strip():
        return
    with pytest.raises(VerificationError):
        taken(receiver(configuration, "a secret"), request, headers=request.headers | {name: changed})


def test_older_keys_sign_under_labels_of_their_own() -> None:
    configuration = signer(key_id="new", older_key_ids=["old"])
    request = came(configuration, ["n", "o"])
    for key in ("n", "o", ["x", "o"]):
        assert taken(receiver(configuration, key), request)
    with pytest.raises(NoMatchingSignatureError):
        taken(receiver(configuration, "x"), request)


@pytest.mark.parametrize(
    "wanted",
    [{"key_id": "other"}, {"tag": "other"}, {"nonce": True}, {"label": "other"}, {"components": ["@method", "x-shop"]}],
)
def test_what_the_profile_asks_for_is_there(wanted: dict[str, Any]) -> None:
    with pytest.raises(NoMatchingSignatureError, match="label, key id and components"):
        taken(receiver(signer(**wanted), "a secret"), came(signer(components=["@method"])))


def test_more_may_be_covered() -> None:
    assert taken(receiver(signer(components=["@method"]), "a secret"), came(signer(components=ALL)))


@pytest.mark.parametrize(
    "value", ["sig1", "sig1=(", 'sig1=("a" "a");created=1', "sig1=(a)", "=()", 'sig1=("a";x y)', "(" * 20_000]
)
def test_what_is_no_input_is_refused(value: str) -> None:
    request = came(signer())
    with pytest.raises((MalformedHeaderError, NoMatchingSignatureError)):
        taken(receiver(signer(), "a secret"), request, headers=request.headers | {"Signature-Input": value})


def test_nothing_covered_is_no_signature() -> None:
    with pytest.raises(ProfileError, match="nothing is covered"):
        receiver(signer(components=[]), "a secret")


# RFC 9421, appendices B.1.4 and B.2.6: ed25519 over a request.


def test_the_case_of_the_rfc() -> None:
    key = json.dumps({"kty": "OKP", "crv": "Ed25519", "x": "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"})
    components = ["date", "@method", "@path", "@authority", "content-type", "content-length"]
    headers = {
        "Host": "example.com",
        "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "Content-Type": "application/json",
        "Content-Length": "18",
        "Signature-Input": (
            'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
            ';created=1618884473;keyid="test-key-ed25519"'
        ),
        "Signature": "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
    }
    configuration = signer("ed25519", components=components, label="sig-b26", key_id="test-key-ed25519")
    there = receiver(configuration, key, now=1618884473)
    url = "https://example.com/foo?param=Value&Pet=dog"
    assert there.receive("POST", url, headers, b'{"hello": "world"}').event is not None
    with pytest.raises(NoMatchingSignatureError):
        there.receive("POST", url.replace("foo", "bar"), headers, b'{"hello": "world"}')
