"""Certificates and their private keys, read and checked. No error tells anything of a key.

Sources: RFC 7468 (PEM), RFC 5280. A private key is RSA of 2048 bits or more, or on P-256, P-384, P-521 or ed25519: what TLS
libraries take at their usual level.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from posthouse.domain.egress import Pin, PinOf
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import CA_BYTES_MAX, CLIENT_CERTIFICATE_BYTES_MAX
from posthouse.wire.rsa import has_least_numbers

RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 4_096
SHA256_BYTES: Final = 32
_TO_STANDARD: Final = str.maketrans("-_", "+/")

_PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


def client_identity(certificate: str, keys: Sequence[str], *, path: str, key_path: str) -> tuple[str, str, float]:
    """A client certificate with its chain and the private key that belongs to it, each as PEM without anything else, and when
    (unix seconds) the certificate ends. Of several versions of a key the one that fits is taken, so that certificate and key
    can be changed one after the other.

    Raises: Invalid for what is no certificate or no key, and where no key belongs to the certificate.
    """
    chain = _certificates(certificate, path, CLIENT_CERTIFICATE_BYTES_MAX)
    wanted = _key_info(chain[0].public_key())
    for text in keys:
        key = _private_key(text, key_path)
        if _key_info(key.public_key()) == wanted:
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
            return _pem(chain), private, chain[0].not_valid_after_utc.timestamp()
    raise Invalid(
        "the certificate does not belong to the private key; the client's own certificate comes first, then those "
        "between it and its authority",
        path=path,
    )


def authorities(text: str, path: str) -> str:
    """Certificates to trust, as PEM without anything else. Raises: Invalid."""
    return _pem(_certificates(text, path, CA_BYTES_MAX))


def pinned(pin: Pin, path: str) -> tuple[PinOf, bytes]:
    """A pin's digest as bytes. Raises: Invalid."""
    text = pin.sha256.strip().removeprefix("sha256/")
    try:
        if len(text.replace(":", "")) == 2 * SHA256_BYTES:
            digest = binascii.unhexlify(text.replace(":", ""))
        else:
            digest = binascii.a2b_base64(text.translate(_TO_STANDARD).rstrip("=") + "=", strict_mode=True)
    except ValueError:  # binascii.Error, or a character outside ASCII
        digest = b""
    if len(digest) != SHA256_BYTES:
        raise Invalid("this is not a SHA-256 as 64 hexadecimal digits or 44 characters of base64", path=path)
    return pin.of, digest


def digest_of(certificate: bytes, of: PinOf) -> bytes:
    """The SHA-256 that a pin of a certificate (DER) is compared with. Raises: ValueError where it cannot be read."""
    if of is PinOf.CERTIFICATE:
        return sha256(certificate).digest()
    return sha256(_key_info(x509.load_der_x509_certificate(certificate).public_key())).digest()


def _certificates(text: str, path: str, bytes_max: int) -> list[x509.Certificate]:
    raw = text.encode()
    if len(raw) > bytes_max:
        raise Invalid(f"certificates of more than {bytes_max} bytes are not taken here", path=path)
    if "PRIVATE KEY-----" in text:
        raise Invalid(
            "this holds a private key, which must not be here: it belongs into a key of the endpoint", path=path
        )
    try:
        found = x509.load_pem_x509_certificates(raw)
        for certificate in found:
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("this is not a certificate as PEM (-----BEGIN CERTIFICATE-----)", path=path) from None
    return found


def _private_key(text: str, path: str) -> _PrivateKey:
    try:
        key = load_pem_private_key(text.strip().encode(), password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise Invalid("the private key has a passphrase: give it without one", path=path) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("this key is not a private key as PEM (-----BEGIN PRIVATE KEY-----)", path=path) from None
    if not isinstance(key, _PrivateKey):
        raise Invalid("a client certificate has an RSA, an elliptic curve or an ed25519 key here", path=path)
    if isinstance(key, RSAPrivateKey) and not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise Invalid(
            f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits here; this one has {key.key_size}", path=path
        )
    if isinstance(key, RSAPrivateKey) and not has_least_numbers(key):
        raise Invalid(
            "this private RSA key has numbers that are larger than they have to be: it was damaged", path=path
        )
    return key


def _key_info(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(certificates: Sequence[x509.Certificate]) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in certificates)
