"""Bytes in, signature out: the algorithms, with the key of each made ready once.

ECDSA is deterministic (RFC 6979). RSA-PSS salts are OpenSSL's own random bytes: the one thing here that `Message.random`
does not decide.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from posthouse.domain.signing import Algorithm, HttpAlgorithm, JwtAlgorithm
from posthouse.wire.signing.keys import P256, P384, KeyText, ec_key, ed25519_key, rsa_key, shared_secret
from posthouse_sdk.digests import digest, mac

Sign = Callable[[bytes], bytes]

DIGESTS: Final = {Algorithm.MD5: "md5", Algorithm.SHA1: "sha1", Algorithm.SHA256: "sha256", Algorithm.SM3: "sm3"}
"""The algorithms that have no key of their own: it must be among what is signed."""

HMACS: Final = {
    Algorithm.HMAC_SHA1: "sha1",
    Algorithm.HMAC_SHA256: "sha256",
    Algorithm.HMAC_SHA512: "sha512",
    Algorithm.HMAC_SM3: "sm3",
}
_HS256_BYTES_MIN: Final = 32  # RFC 7518, section 3.2
_SHA256: Final = hashes.SHA256()
_PSS_SHA256: Final = padding.PSS(padding.MGF1(_SHA256), hashes.SHA256.digest_size)
_PSS_SHA512: Final = padding.PSS(padding.MGF1(hashes.SHA512()), hashes.SHA512.digest_size)


class Keyed:
    """An algorithm with its key. `secret` is the key as `{key}` writes it, None of a private key. `only_told`: there is no key,
    and `sign` signs nothing."""

    __slots__ = ("only_told", "secret", "sign")

    def __init__(self, sign: Sign, secret: bytes | None = None, *, only_told: bool = False) -> None:
        self.sign: Final = sign
        self.secret: Final = secret
        self.only_told: Final = only_told


def keyed(algorithm: Algorithm, key: KeyText) -> Keyed:
    """A custom signature's algorithm with its key. Raises: Invalid for a key of another type or size."""
    if key.told is not None:
        return Keyed(key.told.sign, key.told.mask, only_told=True)
    if algorithm in DIGESTS:
        return Keyed(partial(digest, DIGESTS[algorithm]), shared_secret(key))
    if algorithm in HMACS:
        secret = shared_secret(key)
        return Keyed(mac(HMACS[algorithm], secret), secret)
    match algorithm:
        case Algorithm.RSA_SHA256:
            return Keyed(_rsa(rsa_key(key), padding.PKCS1v15(), _SHA256))
        case Algorithm.RSA_PSS_SHA256:
            return Keyed(_rsa(rsa_key(key), _PSS_SHA256, _SHA256))
        case Algorithm.ECDSA_P256_SHA256:
            return Keyed(_ecdsa(ec_key(key, P256), _SHA256))
        case Algorithm.ECDSA_P256_SHA256_DER:
            return Keyed(_ecdsa_der(ec_key(key, P256), _SHA256))
        case _:
            return Keyed(ed25519_key(key).sign)


def jwt_sign(algorithm: JwtAlgorithm, key: KeyText) -> Sign:
    """As `keyed`, of JOSE (RFC 7518 and RFC 8037). Raises: Invalid."""
    if key.told is not None:
        return key.told.sign
    match algorithm:
        case JwtAlgorithm.HS256:
            return mac("sha256", shared_secret(key, bytes_min=_HS256_BYTES_MIN))
        case JwtAlgorithm.RS256:
            return _rsa(rsa_key(key), padding.PKCS1v15(), _SHA256)
        case JwtAlgorithm.ES256:
            return _ecdsa(ec_key(key, P256), _SHA256)
        case JwtAlgorithm.EDDSA:
            return ed25519_key(key).sign


def http_sign(algorithm: HttpAlgorithm, key: KeyText) -> Sign:
    """As `keyed`, of HTTP Message Signatures (RFC 9421, section 3.3). Raises: Invalid."""
    if key.told is not None:
        return key.told.sign
    match algorithm:
        case HttpAlgorithm.RSA_PSS_SHA512:
            return _rsa(rsa_key(key), _PSS_SHA512, hashes.SHA512())
        case HttpAlgorithm.RSA_V1_5_SHA256:
            return _rsa(rsa_key(key), padding.PKCS1v15(), _SHA256)
        case HttpAlgorithm.HMAC_SHA256:
            return mac("sha256", shared_secret(key))
        case HttpAlgorithm.ECDSA_P256_SHA256:
            return _ecdsa(ec_key(key, P256), _SHA256)
        case HttpAlgorithm.ECDSA_P384_SHA384:
            return _ecdsa(ec_key(key, P384), hashes.SHA384())
        case HttpAlgorithm.ED25519:
            return ed25519_key(key).sign


def _rsa(key: rsa.RSAPrivateKey, pad: padding.PKCS1v15 | padding.PSS, algorithm: hashes.HashAlgorithm) -> Sign:
    return lambda content: key.sign(content, pad, algorithm)


def _ecdsa_der(key: ec.EllipticCurvePrivateKey, algorithm: hashes.HashAlgorithm) -> Sign:
    scheme = ec.ECDSA(algorithm, deterministic_signing=True)
    return lambda content: key.sign(content, scheme)


def _ecdsa(key: ec.EllipticCurvePrivateKey, algorithm: hashes.HashAlgorithm) -> Sign:
    scheme = ec.ECDSA(algorithm, deterministic_signing=True)
    size = (key.curve.key_size + 7) // 8

    def sign(content: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(content, scheme))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign
