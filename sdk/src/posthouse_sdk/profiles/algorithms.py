"""Signatures, checked: each algorithm with its key, made ready once.

Of key pairs the receiver has the public half: as PEM (a certificate too), as JWK, as Base64 of its DER, and of ed25519 as its
32 bytes in hexadecimal digits or Base64. A private key stands for its public half. `cryptography` is imported where a key
pair or SM3 is asked for, not before.

Sources: RFC 7468, RFC 7517, RFC 7518, RFC 8017, RFC 8037, RFC 9421 (section 3.3).
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from posthouse_sdk.digests import digest, mac
from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.errors import ProfileError
from posthouse_sdk.profiles.request import decoded

DIGESTS: Final = {"md5": "md5", "sha1": "sha1", "sha256": "sha256", "sm3": "sm3"}
HMACS: Final = {
    "hmac-sha1": "sha1",
    "hmac-sha256": "sha256",
    "hmac-sha512": "sha512",
    "hmac-sm3": "sm3",
    "HS256": "sha256",
}
PAIRS: Final = {
    "rsa-sha256": ("RSA", "SHA256", "pkcs1"),
    "rsa-v1_5-sha256": ("RSA", "SHA256", "pkcs1"),
    "RS256": ("RSA", "SHA256", "pkcs1"),
    "rsa-pss-sha256": ("RSA", "SHA256", "pss"),
    "rsa-pss-sha512": ("RSA", "SHA512", "pss"),
    "ecdsa-p256-sha256": ("secp256r1", "SHA256", "raw"),
    "ES256": ("secp256r1", "SHA256", "raw"),
    "ecdsa-p256-sha256-der": ("secp256r1", "SHA256", "der"),
    "ecdsa-p384-sha384": ("secp384r1", "SHA384", "raw"),
    "ed25519": ("ed25519", "", ""),
    "EdDSA": ("ed25519", "", ""),
}
CUSTOM: Final = (
    *DIGESTS, "hmac-sha1", "hmac-sha256", "hmac-sha512", "hmac-sm3", "rsa-sha256", "rsa-pss-sha256", "ecdsa-p256-sha256",
    "ecdsa-p256-sha256-der", "ed25519",
)  # fmt: skip
JWT: Final = ("HS256", "RS256", "ES256", "EdDSA")
HTTP: Final = (
    "rsa-pss-sha512", "rsa-v1_5-sha256", "hmac-sha256", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "ed25519",
)  # fmt: skip

_NEEDS: Final = "key pairs and SM3 need the package cryptography: pip install 'posthouse-sdk[ed25519]'"
_HEX_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")

Check = Callable[[bytes, bytes], bool]
"""Whether a signature (the second) is of this content."""


class Keyed:
    """An algorithm with one text of its key. `secret` is the key as `{key}` writes it, None of a public key."""

    __slots__ = ("check", "make", "secret", "text")

    def __init__(self, text: str, check: Check, secret: bytes | None, make: Callable[[bytes], bytes] | None) -> None:
        self.text: Final = text
        self.check: Final = check
        self.secret: Final = secret
        self.make: Final = make
        """Makes the signature, where both sides have the key."""


def keyed(algorithm: str, text: str, encoding: str | None, path: str) -> Keyed:
    """Raises: SettingError for a key that the algorithm does not take, ProfileError where a package is missing."""
    try:
        if algorithm in PAIRS:
            return Keyed(text, _pair(algorithm, text, path), None, None)
        if "sm3" in algorithm:
            digest("sm3", b"")  # whether there is one
        return keyed_with(algorithm, secret_of(text, encoding, path), text)
    except ImportError as error:
        raise ProfileError(_NEEDS) from error


def keyed_with(algorithm: str, secret: bytes, text: str = "") -> Keyed:
    """The same with the bytes of a key that both sides have."""
    make = partial(digest, DIGESTS[algorithm]) if algorithm in DIGESTS else mac(HMACS[algorithm], secret)
    return Keyed(text, lambda content, found: hmac.compare_digest(make(content), found), secret, make)


def secret_of(text: str, encoding: str | None, path: str) -> bytes:
    """The bytes of a key that both sides have. Raises: SettingError."""
    raw: bytes | None
    match encoding:
        case None | "literal":
            raw = text.encode("utf-8", "surrogatepass")
        case "hex":
            raw = _from_hex(text)
        case "base64":
            raw = _from_base64(text)
        case "jwk":
            raw = _from_base64(str(_jwk(text, path).get("k", "")))
        case _:
            raise SettingError("a shared secret is literal, base64, hex or jwk", f"{path}_encoding")
    if not raw:
        raise SettingError(f"the key is not {encoding or 'there'}", path)
    return raw


def _pair(algorithm: str, text: str, path: str) -> Check:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    kind, hash_name, form = PAIRS[algorithm]
    key: Any = _public(text, path)
    fits = {"RSA": isinstance(key, rsa.RSAPublicKey), "ed25519": isinstance(key, ed25519.Ed25519PublicKey)}.get(
        kind, isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == kind
    )
    if not fits:
        raise SettingError(f"{algorithm} takes a public key of the kind {kind}, and this is none", path)
    state: Any = getattr(hashes, hash_name)() if hash_name else None
    pss = padding.PSS(padding.MGF1(state), state.digest_size) if form == "pss" else None

    def verify(content: bytes, found: bytes) -> None:
        match form:
            case "pkcs1":
                key.verify(found, content, padding.PKCS1v15(), state)
            case "pss":
                key.verify(found, content, pss, state)
            case "der":
                key.verify(found, content, ec.ECDSA(state))
            case "raw":
                size = (key.curve.key_size + 7) // 8
                if len(found) != 2 * size:
                    raise InvalidSignature
                r, s = int.from_bytes(found[:size], "big"), int.from_bytes(found[size:], "big")
                key.verify(encode_dss_signature(r, s), content, ec.ECDSA(state))
            case _:
                key.verify(found, content)

    def check(content: bytes, found: bytes) -> bool:
        try:
            verify(content, found)
        except (InvalidSignature, ValueError):
            return False
        return True

    return check


def _public(text: str, path: str) -> object:
    """A public key by how it looks: the sender's private half may be written in another way."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import (
        load_der_public_key,
        load_pem_private_key,
        load_pem_public_key,
    )

    plain = text.strip()
    try:
        if plain.startswith("{"):
            return _public_jwk(_jwk(plain, path), path)
        if "-----BEGIN CERTIFICATE-----" in plain:
            return x509.load_pem_x509_certificate(plain.encode()).public_key()
        if "PRIVATE KEY-----" in plain:
            return load_pem_private_key(plain.encode(), None).public_key()
        if "-----BEGIN" in plain:
            return load_pem_public_key(plain.encode())
        raw = _from_hex(plain) if _HEX_KEY.fullmatch(plain) else _from_base64(plain)
        if raw is not None and len(raw) == 32:
            return ed25519.Ed25519PublicKey.from_public_bytes(raw)
        if raw is not None:
            return load_der_public_key(raw)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    raise SettingError("this is no public key that can be read: PEM, JWK, Base64 of DER, or 32 bytes of ed25519", path)


def _public_jwk(jwk: dict[str, Any], path: str) -> object:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    def raw(name: str) -> bytes:
        return _from_base64(str(jwk.get(name, ""))) or b""

    def number(name: str) -> int:
        return int.from_bytes(raw(name), "big")

    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            return rsa.RSAPublicNumbers(number("e"), number("n")).public_key()
        case "EC", "P-256":
            return ec.EllipticCurvePublicNumbers(number("x"), number("y"), ec.SECP256R1()).public_key()
        case "EC", "P-384":
            return ec.EllipticCurvePublicNumbers(number("x"), number("y"), ec.SECP384R1()).public_key()
        case "OKP", "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(raw("x"))
    raise SettingError("a public key is a JWK with the kty RSA, EC (P-256, P-384) or OKP (Ed25519)", path)


def _jwk(text: str, path: str) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise SettingError("this is no JWK that can be read", path)
    return read


def _from_hex(text: str) -> bytes | None:
    return decoded(text.strip().lower(), "hex")


def _from_base64(text: str) -> bytes | None:
    plain = "".join(text.split()).rstrip("=").translate({ord("+"): "-", ord("/"): "_"})
    return decoded(plain, "base64url") or None
