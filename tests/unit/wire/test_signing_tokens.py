"""JSON Web Tokens, read by PyJWT and joserfc, and in the shapes that platforms use."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey
from tests.messages import EVENT_ID, NOW, Received, message, signed

from posthouse.wire.documents import JsonText

SHARED = "a shared secret of more than 32 bytes"
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = Ed25519PrivateKey.from_private_bytes(b"7" * 32)


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


KEYS: dict[str, tuple[str, Any]] = {
    "HS256": (SHARED, SHARED),
    "RS256": (pem(RSA), RSA.public_key()),
    "ES256": (pem(P256), P256.public_key()),
    "EdDSA": (pem(ED25519), ED25519.public_key()),
}


def configuration(algorithm: str = "HS256", **more: Any) -> dict[str, Any]:
    return {
        "kind": "jwt",
        "algorithm": algorithm,
        "key": "k",
        "token": {"in": "header", "name": "Authorization", "value": "Bearer {token}"},
    } | more


def token_of(received: Received) -> str:
    return received.headers["Authorization"].removeprefix("Bearer ")


@pytest.mark.parametrize("algorithm", KEYS)
def test_each_algorithm_is_read_by_a_library(algorithm: str) -> None:
    claims = {
        "iss": "https://example.com",
        "jti": "{message.id}",
        "request_body_sha256": "{body.sha256}",
        "url": "{url.sha512.base64url}",
        "test": True,
        "version": 2,
    }
    config = configuration(algorithm, claims=claims, key_id="2026", lifetime_seconds=300)
    private, public = KEYS[algorithm]
    received = signed(message(), config, keys={"k": [private, "an older one, which a token has no place for"]})
    told = jwt.decode(
        token_of(received),
        public,
        algorithms=[algorithm],
        issuer="https://example.com",
        options={"verify_exp": False},
    )
    assert told["jti"] == EVENT_ID
    assert told["request_body_sha256"] == hashlib.sha256(received.body).hexdigest()
    assert (told["iat"], told["exp"]) == (int(NOW), int(NOW) + 300)
    assert (told["test"], told["version"]) == (True, 2)
    assert len(told["url"]) == 86
    assert jwt.get_unverified_header(token_of(received)) == {"alg": algorithm, "typ": "JWT", "kid": "2026"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token_of(received)[:-8] + "AAAAAAAA", public, algorithms=[algorithm])


def test_without_a_lifetime_it_does_not_expire_and_goes_where_it_is_told() -> None:
    config = configuration(token={"in": "query", "name": "token"})
    received = signed(message(), config, keys={"k": SHARED})
    assert jwt.decode(received.query["token"], SHARED, algorithms=["HS256"]) == {"iat": int(NOW)}
    received = signed(
        message(JsonText(b'{"a":1}')), configuration(token={"in": "field", "name": "/proof/jwt"}), keys={"k": SHARED}
    )
    assert jwt.decode(json.loads(received.body)["proof"]["jwt"], SHARED, algorithms=["HS256"])


# Keys as JWKs are read by joserfc. RFC 7515, appendix A.1 and A.3: literal keys and signatures, for the readers' sake.

A1_KEY = {
    "kty": "oct",
    "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
}
A1_TOKEN = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
A3_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
A3_TOKEN = (
    "eyJhbGciOiJFUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)


@pytest.mark.parametrize(
    ("algorithm", "key", "theirs", "published"),
    [
        ("HS256", A1_KEY, OctKey.import_key(A1_KEY), A1_TOKEN),  # type: ignore[arg-type]
        ("ES256", A3_KEY, ECKey.import_key(A3_KEY), A3_TOKEN),  # type: ignore[arg-type]
    ],
)
def test_keys_may_be_jwks(algorithm: str, key: dict[str, str], theirs: Any, published: str) -> None:
    jws.deserialize_compact(published, theirs, algorithms=[algorithm])
    received = signed(message(), configuration(algorithm, key_encoding="jwk"), keys={"k": json.dumps(key)})
    jws.deserialize_compact(token_of(received), theirs, algorithms=[algorithm])


def test_an_rsa_key_may_be_a_jwk() -> None:
    key = RSAKey.import_key(pem(RSA))
    text = json.dumps(key.as_dict(private=True))
    received = signed(message(), configuration("RS256", key_encoding="jwk"), keys={"k": text})
    jws.deserialize_compact(token_of(received), key, algorithms=["RS256"])


def test_the_same_message_gives_the_same_token() -> None:
    one, two = (token_of(signed(message(), configuration("ES256"), keys={"k": KEYS["ES256"][0]})) for _ in range(2))
    assert one == two
