"""The general envelope: a plaintext sealed with a key that both have, or with a fresh one that is wrapped for the target.

    key = derive(decode(text))                       or a fresh one, wrapped: hybrid
    plaintext = [16 random ‖ length ‖] message [‖ owner]   padded where the cipher is CBC
    ciphertext = [iv ‖] cipher(key, iv, plaintext) [‖ tag]

Hybrid wraps the content key in one of two ways. RSA-OAEP-256 is RSAES-OAEP with SHA-256, in MGF1 too (RFC 8017, section 7.1).
ECDH-HKDF-SHA256-A256KW makes an ephemeral key on the target's curve:

    z = ECDH(ephemeral, target)
    k = HKDF-SHA256(z, salt = none, info = "ECDH-HKDF-SHA256-A256KW" ‖ ephemeral ‖ target, 32 bytes)
    wrapped = ephemeral ‖ AES-256-KeyWrap(k, content key)             (RFC 5869, RFC 3394)

where both public keys are points in uncompressed form (SEC 1, section 2.3.3), for X25519 its 32 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from posthouse_sdk.encryption.ciphers import (
    TAG_BYTES,
    Random,
    as_text,
    check_available,
    decrypt,
    encrypt,
    framed,
    from_text,
    letters,
    pad,
    unframed,
    unpad,
)
from posthouse_sdk.encryption.errors import SettingError, UnopenedError
from posthouse_sdk.encryption.keys import Private, Public, secret, sized
from posthouse_sdk.encryption.settings import WRAPPINGS, Envelope, Sealing
from posthouse_sdk.encryption.templates import CIPHERTEXT, IV, TAG

IV_TEXT_ENCODING: Final = "ascii"

_OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_RSA, _ECDH = WRAPPINGS


def sealed(sealing: Sealing, key: bytes, plain: bytes, associated: str, random: Random) -> tuple[dict[str, str], bytes]:
    """What is told of the sealed text, as texts by the names of their variables; and the ciphertext as bytes."""
    message = plain if sealing.owner is None else framed(plain, sealing.owner, random)
    if not sealing.cipher.authenticated:
        message = pad(message, sealing.padding)
    iv, iv_text = _iv(sealing, key, random)
    ciphertext, tag = encrypt(sealing.cipher, key, iv, message, associated.encode())
    told: dict[str, str] = {}
    if sealing.iv == "beside":
        told[IV] = iv_text
    if sealing.tag_apart:
        told[TAG] = as_text(tag, sealing.output)
    raw = b"%b%b%b" % (iv if sealing.iv == "prefix" else b"", ciphertext, b"" if sealing.tag_apart else tag)
    told[CIPHERTEXT] = as_text(raw, sealing.output)
    return told, raw


def opened(sealing: Sealing, key: bytes, told: Mapping[str, str], raw: bytes | None, associated: str) -> bytes:
    """The plaintext of what was told; `raw` is the ciphertext where it came as bytes. Raises: UnopenedError."""
    cipher = sealing.cipher
    ciphertext = from_text(told[CIPHERTEXT], sealing.output) if raw is None else raw
    tag = b""
    match sealing.iv:
        case "prefix":
            iv, ciphertext = ciphertext[: cipher.iv_bytes], ciphertext[cipher.iv_bytes :]
        case "key":
            iv = key[: cipher.iv_bytes]
        case _ if sealing.iv_encoding == "text":
            iv = told[IV].encode()
        case _:
            iv = from_text(told[IV], sealing.iv_encoding)
    if len(iv) != cipher.iv_bytes:
        raise UnopenedError
    if sealing.tag_apart:
        tag = from_text(told[TAG], sealing.output)
    elif cipher.authenticated:
        ciphertext, tag = ciphertext[:-TAG_BYTES], ciphertext[-TAG_BYTES:]
    plain = decrypt(cipher, key, iv, ciphertext, tag, associated.encode())
    if not cipher.authenticated:
        plain = unpad(plain, sealing.padding)
    return plain if sealing.owner is None else unframed(plain, sealing.owner)


def shared_keys(settings: Envelope, texts: Sequence[str]) -> list[bytes]:
    """The keys of an envelope. Raises: SettingError for one that cannot be used."""
    cipher = settings.sealing.cipher
    check_available(cipher)
    return [
        sized(secret(text, settings.key_encoding, settings.derive), cipher.key_bytes, cipher.name) for text in texts
    ]


def _iv(sealing: Sealing, key: bytes, random: Random) -> tuple[bytes, str]:
    size = sealing.cipher.iv_bytes
    if sealing.iv == "key":
        return key[:size], ""
    if sealing.iv == "beside" and sealing.iv_encoding == "text":
        text = letters(size, random)
        return text.encode(IV_TEXT_ENCODING), text
    iv = random(size)
    return iv, as_text(iv, sealing.iv_encoding)


def check_wrapping(algorithm: str, key: Public) -> None:
    """Raises: SettingError for a key that the algorithm does not take."""
    if isinstance(key, rsa.RSAPublicKey) is not (algorithm == _RSA):
        if algorithm == _RSA:
            raise SettingError(f"{algorithm} takes an RSA key", "key")
        raise SettingError(f"{algorithm} takes an EC or X25519 key", "key")


def wrapped(target: Public, content_key: bytes) -> bytes:
    """A content key for a target. The padding of OAEP and the ephemeral key come of the library's own randomness."""
    if isinstance(target, rsa.RSAPublicKey):
        return target.encrypt(content_key, _OAEP)
    ephemeral: Any
    if isinstance(target, x25519.X25519PublicKey):
        ephemeral = x25519.X25519PrivateKey.generate()
        shared = ephemeral.exchange(target)
    else:
        ephemeral = ec.generate_private_key(target.curve)
        shared = ephemeral.exchange(ec.ECDH(), target)
    point = _point(ephemeral.public_key())
    return point + aes_key_wrap(_agreed(shared, point, target), content_key)


def unwrapped(key: Private, wrapped: bytes) -> bytes:
    """The content key. Raises: UnopenedError."""
    try:
        if isinstance(key, rsa.RSAPrivateKey):
            return key.decrypt(wrapped, _OAEP)
        target = key.public_key()
        size = len(_point(target))
        point, rest = wrapped[:size], wrapped[size:]
        if isinstance(key, x25519.X25519PrivateKey):
            shared = key.exchange(x25519.X25519PublicKey.from_public_bytes(point))
        else:
            shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(key.curve, point))
        return aes_key_unwrap(_agreed(shared, point, target), rest)
    except (ValueError, InvalidUnwrap):
        raise UnopenedError from None


def _point(key: Public) -> bytes:
    if isinstance(key, x25519.X25519PublicKey):
        return key.public_bytes_raw()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _agreed(shared: bytes, point: bytes, target: Public) -> bytes:
    info = _ECDH.encode("ascii") + point + _point(target)
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(shared)
