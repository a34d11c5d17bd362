"""The texts of keys, read the way their configuration says. No error tells anything of what was refused.

RSA keys have 2048 to 8192 bits. Sources: RFC 7468 (PEM), RFC 5958 and RFC 8017 (PKCS #8 and #1), RFC 7517 (JWK).
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from posthouse.domain.errors import Invalid
from posthouse.domain.signing import KeyEncoding

RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 8_192
SEED_BYTES: Final = 32

P256: Final = SECP256R1()
P384: Final = SECP384R1()

_TO_STANDARD: Final = str.maketrans("-_", "+/")


def live_texts(keys: Mapping[str, Sequence[str]], name: str, path: str) -> Sequence[str]:
    """The texts of a named key, newest first, at least one. Raises: Invalid where there is none."""
    texts = keys.get(name)
    if not texts:
        raise Invalid(f"there is no key named {name!r} at this endpoint", path=path)
    return texts


def shared_secret(text: str, encoding: KeyEncoding | None, path: str, *, bytes_min: int = 1) -> bytes:
    """The bytes of a key that both sides have. Raises: Invalid."""
    match encoding:
        case None | KeyEncoding.LITERAL:
            raw = text.encode()
        case KeyEncoding.BASE64 | KeyEncoding.HEX:
            raw = _decoded(text, encoding, path)
        case KeyEncoding.JWK:
            raw = _octets(text, path)
        case KeyEncoding.PEM:
            raise Invalid("PEM holds key pairs; a shared secret is read as literal, base64, hex or jwk", path=path)
    if len(raw) < bytes_min:
        raise Invalid(f"the key has {len(raw)} bytes; it takes at least {bytes_min}", path=path)
    return raw


def rsa_key(text: str, encoding: KeyEncoding | None, path: str) -> RSAPrivateKey:
    """Raises: Invalid for anything but a private RSA key of a size that is used."""
    key = _from_jwk("RSA", text, path) if encoding is KeyEncoding.JWK else _private(text, encoding, path)
    if not isinstance(key, RSAPrivateKey):
        raise Invalid("this algorithm takes a private RSA key, and this is none", path=path)
    if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise Invalid(
            f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits here; this one has {key.key_size}", path=path
        )
    return key


def ec_key(text: str, encoding: KeyEncoding | None, path: str, curve: EllipticCurve) -> EllipticCurvePrivateKey:
    """Raises: Invalid for anything but a private key on this curve."""
    key = _from_jwk("EC", text, path) if encoding is KeyEncoding.JWK else _private(text, encoding, path)
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name != curve.name:
        raise Invalid(f"this algorithm takes a private key on the curve {curve.name}, and this is none", path=path)
    return key


def ed25519_key(text: str, encoding: KeyEncoding | None, path: str) -> Ed25519PrivateKey:
    """Base64 and hex are the 32 bytes of a seed. Raises: Invalid for anything but a private ed25519 key."""
    key: object
    if encoding is KeyEncoding.JWK:
        key = _from_jwk("OKP", text, path)
    elif encoding in (KeyEncoding.BASE64, KeyEncoding.HEX):
        seed = _decoded(text, encoding, path)
        key = Ed25519PrivateKey.from_private_bytes(seed) if len(seed) == SEED_BYTES else _from_der(seed, path)
    else:
        key = _private(text, encoding, path)
    if not isinstance(key, Ed25519PrivateKey):
        raise Invalid("this algorithm takes a private ed25519 key, and this is none", path=path)
    return key


def _octets(text: str, path: str) -> bytes:
    key = _json_object(text, path)
    if key.get("kty") != "oct" or not isinstance(key.get("k"), str):
        raise Invalid("this is not a JWK with kty oct", path=path)
    return _decoded(key["k"], KeyEncoding.BASE64, path)


def _private(text: str, encoding: KeyEncoding | None, path: str) -> object:
    match encoding:
        case None | KeyEncoding.PEM:
            return _from_pem(text, path)
        case KeyEncoding.BASE64 | KeyEncoding.HEX:
            return _from_der(_decoded(text, encoding, path), path)
        case _:
            raise Invalid("a private key is read as pem, jwk or base64", path=path)


def _from_pem(text: str, path: str) -> object:
    try:
        return load_pem_private_key(text.strip().encode(), password=None)
    except TypeError:
        raise Invalid("the private key has a passphrase: give it without one", path=path) from None
    except (ValueError, UnsupportedAlgorithm):
        what = "a public key or a certificate cannot sign: " if _is_public(text) else ""
        raise Invalid(f"{what}this is not a private key as PEM (-----BEGIN PRIVATE KEY-----)", path=path) from None


def _is_public(text: str) -> bool:
    return "PUBLIC KEY-----" in text or "BEGIN CERTIFICATE-----" in text


def _from_der(der: bytes, path: str) -> object:
    try:
        return load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid("this is not a private key as DER without a passphrase", path=path) from None


def _from_jwk(kind: str, text: str, path: str) -> object:
    # Few keys are JWKs: who has none does not pay for the import.
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry, OctKey

    try:
        key = JWKRegistry.import_key(_json_object(text, path), kind)
        private: object = None if isinstance(key, OctKey) else key.private_key
    except (JoseError, ValueError, TypeError, KeyError):
        raise Invalid(f"this is not a JWK with kty {kind}", path=path) from None
    if private is None:
        raise Invalid("this JWK is a public key, which cannot sign", path=path)
    return private


def _json_object(text: str, path: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Invalid("the key is not a JWK: a JSON object", path=path) from None


def _decoded(text: str, encoding: KeyEncoding, path: str) -> bytes:
    try:
        if encoding is KeyEncoding.HEX:
            return binascii.unhexlify(text.strip())
        body = "".join(text.split()).rstrip("=").translate(_TO_STANDARD)
        return binascii.a2b_base64(body + "=" * (-len(body) % 4), strict_mode=True)
    except ValueError:  # binascii.Error, or a character outside ASCII
        raise Invalid(f"the key is not {encoding}", path=path) from None
