"""The texts of keys, read the way their configuration says. No error tells anything of what was refused.

RSA keys have 2048 to 4096 bits; whether one is sound (`wire/rsa.py`) is found out when it is written and not when it is
loaded again (`Keys.checked`).

Sources: RFC 7468 (PEM), RFC 5958, RFC 8017 and RFC 5915 (PKCS #8, PKCS #1, SEC 1), RFC 7517, 7518 and 8037 (JWK).
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    EllipticCurvePrivateNumbers,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from posthouse.domain.errors import Invalid
from posthouse.domain.named_keys import KeyEncoding
from posthouse.wire.keys import live_texts
from posthouse.wire.rsa import has_least_numbers, is_sound

RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 4_096
SEED_BYTES: Final = 32

P256: Final = SECP256R1()
P384: Final = SECP384R1()

_CURVES: Final[dict[object, EllipticCurve]] = {"P-256": P256, "P-384": P384}
_TO_STANDARD: Final = str.maketrans("-_", "+/")


class SignedBy(msgspec.Struct, frozen=True):
    """Who is told what would be signed, by the place of the signer in the configuration. Nothing is, and no key is read: `mask`
    stands for every key, and for every signature."""

    mask: bytes
    tell: Callable[[int, bytes], None]

    def at(self, place: int) -> Told:
        return Told(self.mask, lambda content: self.tell(place, content))


class Told(msgspec.Struct, frozen=True):
    """`SignedBy` for one signer."""

    mask: bytes
    tell: Callable[[bytes], None]

    def sign(self, content: bytes) -> bytes:
        self.tell(content)
        return self.mask


class KeyText(msgspec.Struct, frozen=True):
    """One text of a key: how it is read, the field that names it, and whether it was found sound before. `told`: there is none,
    and this one is told what it would sign."""

    text: str
    encoding: KeyEncoding | None
    path: str
    checked: bool
    told: Told | None = None

    def __repr__(self) -> str:
        return f"KeyText(<hidden>, {self.encoding}, {self.path!r})"

    def unusable(self, why: str) -> Invalid:
        return Invalid(why, path=self.path)


class Keys:
    """The keys of an endpoint by name, each with its texts, newest first. `checked` where they were compiled before.

    `finish` is what becomes of the bytes of a signature: they stay as they are, unless `wrong` ones are asked for.
    """

    __slots__ = ("_checked", "_texts", "_told", "finish", "wrong")

    def __init__(
        self, texts: Mapping[str, Sequence[str]], *, checked: bool, wrong: bool = False, told: Told | None = None
    ) -> None:
        self._texts: Final = texts
        self._checked: Final = checked
        self._told: Final = told
        self.wrong: Final = wrong
        self.finish: Final = _altered if wrong else _kept

    def live(self, name: str, encoding: KeyEncoding | None, path: str) -> tuple[KeyText, ...]:
        """The texts of one of them, at least one. Raises: Invalid where there is none."""
        if self._told is not None:
            return (KeyText("", encoding, path, True, self._told),)
        return tuple(KeyText(text, encoding, path, self._checked) for text in live_texts(self._texts, name, path))


def _kept(signature: bytes) -> bytes:
    return signature


def _altered(signature: bytes) -> bytes:
    """One bit at its end is another one: of DER, and of numbers side by side, the form is kept."""
    return signature[:-1] + bytes([signature[-1] ^ 1])


def shared_secret(key: KeyText, *, bytes_min: int = 1) -> bytes:
    """The bytes of a key that both sides have. Raises: Invalid."""
    match key.encoding:
        case None | KeyEncoding.LITERAL:
            raw = _utf8(key)
        case KeyEncoding.BASE64 | KeyEncoding.HEX:
            raw = _decoded(key)
        case KeyEncoding.JWK:
            raw = _from_oct(key)
        case KeyEncoding.PEM:
            raise key.unusable("PEM holds key pairs; a shared secret is read as literal, base64, hex or jwk")
    if len(raw) < bytes_min:
        raise key.unusable(f"the key has {len(raw)} bytes; it takes at least {bytes_min}")
    return raw


def rsa_key(key: KeyText) -> RSAPrivateKey:
    """Raises: Invalid for anything but a private RSA key of a size that is used."""
    private = _private(key, "RSA")
    if not isinstance(private, RSAPrivateKey):
        raise key.unusable("this algorithm takes a private RSA key, and this is none")
    if not RSA_BITS_MIN <= private.key_size <= RSA_BITS_MAX:
        raise key.unusable(
            f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits here; this one has {private.key_size}"
        )
    if not key.checked and not has_least_numbers(private):
        raise key.unusable("this private RSA key has numbers that are larger than they have to be: it was damaged")
    if not key.checked and not is_sound(private):
        raise key.unusable("this private RSA key does not sign what its public half verifies: it was damaged")
    return private


def ec_key(key: KeyText, curve: EllipticCurve) -> EllipticCurvePrivateKey:
    """Raises: Invalid for anything but a private key on this curve."""
    private = _private(key, "EC")
    if not isinstance(private, EllipticCurvePrivateKey) or private.curve.name != curve.name:
        raise key.unusable(f"this algorithm takes a private key on the curve {curve.name}, and this is none")
    return private


def ed25519_key(key: KeyText) -> Ed25519PrivateKey:
    """Base64 and hex are the 32 bytes of a seed. Raises: Invalid for anything but a private ed25519 key."""
    private = _private(key, "OKP")
    if not isinstance(private, Ed25519PrivateKey):
        raise key.unusable("this algorithm takes a private ed25519 key, and this is none")
    return private


def _private(key: KeyText, kind: str) -> object:
    match key.encoding:
        case None | KeyEncoding.PEM:
            return _from_pem(key)
        case KeyEncoding.BASE64 | KeyEncoding.HEX:
            raw = _decoded(key)
            if kind == "OKP" and len(raw) == SEED_BYTES:
                return Ed25519PrivateKey.from_private_bytes(raw)
            return _from_der(key, raw)
        case KeyEncoding.JWK:
            return _from_jwk(key, kind)
        case KeyEncoding.LITERAL:
            raise key.unusable("a private key is read as pem, jwk or base64")


def _from_pem(key: KeyText) -> object:
    text = key.text.strip()
    try:
        return load_pem_private_key(text.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise key.unusable("the private key has a passphrase: give it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        public = "PUBLIC KEY-----" in text or "BEGIN CERTIFICATE-----" in text
        what = "a public key or a certificate cannot sign: " if public else ""
        raise key.unusable(f"{what}this is not a private key as PEM (-----BEGIN PRIVATE KEY-----)") from None


def _from_der(key: KeyText, der: bytes) -> object:
    try:
        return load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise key.unusable("this is not a private key as DER without a passphrase") from None


def _from_jwk(key: KeyText, kind: str) -> object:
    fields = _jwk(key, kind)
    if "d" not in fields:
        raise key.unusable("this JWK is a public key, which cannot sign")
    try:
        match kind:
            case "RSA":
                n, e, d, p, q, dp, dq, qi = (
                    _number(fields.get(name)) for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi")
                )
                numbers = RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n))
                return numbers.private_key(unsafe_skip_rsa_key_validation=True)
            case "EC":
                curve = _CURVES[fields.get("crv")]
                point = EllipticCurvePublicNumbers(_number(fields.get("x")), _number(fields.get("y")), curve)
                return EllipticCurvePrivateNumbers(_number(fields["d"]), point).private_key()
            case _:
                private = Ed25519PrivateKey.from_private_bytes(_octets(fields["d"]))
                if fields.get("crv") == "Ed25519" and private.public_key().public_bytes_raw() == _octets(
                    fields.get("x")
                ):
                    return private
    except (ValueError, KeyError, TypeError, UnsupportedAlgorithm):
        pass
    raise key.unusable("the members of this JWK do not make up a private key that is known here")


def _utf8(key: KeyText) -> bytes:
    try:
        return key.text.encode()
    except UnicodeEncodeError:
        raise key.unusable("the key holds a character that utf-8 cannot write") from None


def _from_oct(key: KeyText) -> bytes:
    try:
        return _octets(_jwk(key, "oct").get("k"))
    except ValueError:
        raise key.unusable("this JWK has no k as base64url") from None


def _jwk(key: KeyText, kind: str) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(key.text, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise key.unusable("the key is not a JWK: a JSON object") from None
    if fields.get("kty") != kind:
        raise key.unusable(f"this is not a JWK with kty {kind}")
    return fields


def _number(value: object) -> int:
    return int.from_bytes(_octets(value), "big")


def _octets(value: object) -> bytes:
    """Base64, of either alphabet, padded or not. Raises: ValueError."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    body = "".join(value.split()).rstrip("=").translate(_TO_STANDARD)
    return binascii.a2b_base64(body + "=" * (-len(body) % 4), strict_mode=True)


def _decoded(key: KeyText) -> bytes:
    try:
        return binascii.unhexlify(key.text.strip()) if key.encoding is KeyEncoding.HEX else _octets(key.text)
    except ValueError:  # binascii.Error, or a character outside ASCII
        raise key.unusable(f"the key is not {key.encoding}") from None
