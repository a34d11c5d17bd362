"""Texts of keys, made into keys. No error tells a part of one."""

from __future__ import annotations

import binascii
import hashlib
import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from posthouse_sdk.encryption.errors import SettingError

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

RSA_BITS_MIN: Final = 2048
RSA_BITS_MAX: Final = 8192
KEY_TEXT_LENGTH_MAX: Final = 32 * 1024
CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")

Jose: TypeAlias = "RSAKey | ECKey | OKPKey"
Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | x25519.X25519PublicKey
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey

_ALIEN: Final = re.compile(r"[^A-Za-z0-9+/]")


def secret(text: str, encoding: str, derive: str = "none") -> bytes:
    """The bytes of a shared secret; base64 without its padding is taken too, as EncodingAESKeys are.

    Raises: SettingError.
    """
    match encoding:
        case "literal":
            raw = text.encode("utf-8", "surrogatepass")
        case "hex":
            try:
                raw = bytes.fromhex(text.strip())
            except ValueError:
                raise SettingError("the key is not hexadecimal digits", "key") from None
        case _:
            raw = _base64(text)
    match derive:
        case "sha256":
            return hashlib.sha256(raw).digest()
        case "md5":
            return hashlib.md5(raw, usedforsecurity=False).digest()
        case _:
            return raw


def _base64(text: str) -> bytes:
    plain = text.strip().translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    if _ALIEN.search(plain) or len(plain) % 4 == 1:
        raise SettingError("the key is not Base64", "key")
    try:
        return b64decode(plain + "=" * (-len(plain) % 4))
    except binascii.Error:
        raise SettingError("the key is not Base64", "key") from None


def sized(raw: bytes, size: int, what: str) -> bytes:
    """The same key. Raises: SettingError where it has another size."""
    if len(raw) != size:
        raise SettingError(f"{what} takes a key of {size} bytes; this one has {len(raw)}", "key")
    return raw


class Recipient:
    """A target's public key, with what it can be named by.

    Raises: SettingError for what is no public key, or one that is too weak or of a kind that nothing here takes.
    """

    __slots__ = ("certificate", "jwk", "key")

    def __init__(self, text: str, encoding: str) -> None:
        if len(text) > KEY_TEXT_LENGTH_MAX:
            raise SettingError(f"a key's text has at most {KEY_TEXT_LENGTH_MAX} characters", "key")
        self.certificate: x509.Certificate | None = None
        self.jwk: dict[str, Any] = {}
        if encoding == "jwk":
            self.jwk = jwk_of(text)
            if "d" in self.jwk:
                raise SettingError("this is a private key: only its public half belongs here", "key")
            self.key: Public = _usable(_imported(self.jwk).public_key)
        else:
            self.key = _usable(self._pem(text))

    def _pem(self, text: str) -> Any:
        if "PRIVATE KEY-----" in text:
            raise SettingError("this is a private key: only its public half belongs here", "key")
        raw = text.strip().encode("utf-8", "surrogatepass")
        try:
            if b"-----BEGIN CERTIFICATE-----" in raw:
                self.certificate = x509.load_pem_x509_certificate(raw)
                return self.certificate.public_key()
            return load_pem_public_key(raw)
        except (ValueError, UnsupportedAlgorithm, TypeError):
            if b"CERTIFICATE" in raw:
                raise SettingError("this is no certificate that can be read", "key") from None
            raise SettingError("this is no public key (PEM) that can be read", "key") from None

    def name(self, how: str) -> str:
        """What it is called. Raises: SettingError where it has no such name."""
        match how:
            case "own":
                kid = self.jwk.get("kid")
                if not isinstance(kid, str) or not kid:
                    raise SettingError("only a JWK with a kid has a name of its own", "key_id")
                return kid
            case "serial":
                if self.certificate is None:
                    raise SettingError("only a certificate has a serial number", "key_id")
                digits = f"{self.certificate.serial_number:X}"
                return digits.zfill(len(digits) + len(digits) % 2)
            case "sha256":
                if self.certificate is not None:
                    return self.certificate.fingerprint(hashes.SHA256()).hex()
                return hashlib.sha256(self.der()).hexdigest()
            case _:
                return str(self.jose().thumbprint())

    def der(self) -> bytes:
        return self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def jose(self) -> Jose:
        """The same for joserfc."""
        return jose_of(self.key)


def jose_of(key: Public | Private) -> Jose:
    """A key for joserfc."""
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    match key:
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            return RSAKey.import_key(key)
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
            return ECKey.import_key(key)
        case _:
            return OKPKey.import_key(key)


def private_key(text: str) -> Private:
    """A receiver's own key: PEM (PKCS 8, PKCS 1 or SEC 1, without a password) or JWK. Raises: SettingError."""
    if text.lstrip().startswith("{"):
        jwk = jwk_of(text)
        if "d" not in jwk:
            raise SettingError("this is a public key: opening takes the private one", "key")
        return _usable_private(_imported(jwk).private_key)
    try:
        return _usable_private(load_pem_private_key(text.strip().encode("utf-8", "surrogatepass"), None))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingError("this is no private key (PEM without a password, or JWK) that can be read", "key") from None


def jwk_of(text: str) -> dict[str, Any]:
    """A JWK's members. Raises: SettingError for what is none."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict) or not isinstance(read.get("kty"), str):
        raise SettingError("this is no JWK that can be read", "key")
    return read


def oct_jwk(text: str) -> tuple[bytes, str | None]:
    """The secret of a JWK and its kid. Raises: SettingError."""
    jwk = jwk_of(text)
    if jwk["kty"] != "oct" or not isinstance(jwk.get("k"), str):
        raise SettingError("a shared secret is a JWK with the kty oct", "key")
    kid = jwk.get("kid")
    return _base64(jwk["k"]), kid if isinstance(kid, str) and kid else None


def oct_key(raw: bytes) -> OctKey:
    from joserfc.jwk import OctKey

    return OctKey.import_key(raw)


def _imported(jwk: dict[str, Any]) -> Jose:
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if jwk.get("use", "enc") != "enc":
        raise SettingError("this JWK says that it is not for encryption (its use)", "key")
    kinds: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    kind = kinds.get(jwk["kty"])
    if kind is None:
        raise SettingError("a public key is a JWK with the kty RSA, EC or OKP", "key")
    try:
        key = kind.import_key(jwk)
        key.public_key  # noqa: B018 - what is wrong with its numbers shows here
    except (JoseError, ValueError, TypeError, KeyError, binascii.Error, UnsupportedAlgorithm):
        raise SettingError("this is no JWK that can be read", "key") from None
    return key


def _usable(key: Any) -> Public:
    match key:
        case rsa.RSAPublicKey() if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            raise SettingError(
                f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits; this one has {key.key_size}", "key"
            )
        case rsa.RSAPublicKey() | x25519.X25519PublicKey():
            return key
        case ec.EllipticCurvePublicKey() if key.curve.name in CURVES:
            return key
        case _:
            raise SettingError("a key to encrypt to is RSA, EC (P-256, P-384, P-521) or X25519", "key")


def _usable_private(key: Any) -> Private:
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey):
        raise SettingError("a key to decrypt with is RSA, EC (P-256, P-384, P-521) or X25519", "key")
    _usable(key.public_key())
    return key
