"""What all judges need: a header, a comparison, a clock."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

TOLERANCE_SECONDS: Final = 300.0

Headers = Mapping[str, str]
Secrets = Mapping[str, str]


class Refused(Exception):
    """This request does not come from whom it says, or it was changed on its way."""


def header(headers: Headers, name: str) -> str:
    """A header, whatever the case of its name."""
    for key, value in headers.items():
        if key.lower() == name.lower():
            return value
    raise Refused(f"no header {name}")


def query(url: str) -> dict[str, str]:
    """The parameters of a URL, decoded; one that comes twice is ambiguous."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    if len(dict(pairs)) != len(pairs):
        raise Refused("a parameter comes twice")
    return dict(pairs)


def parameter(url: str, name: str) -> str:
    try:
        return query(url)[name]
    except (KeyError, ValueError):
        raise Refused(f"no parameter {name}") from None


def posted(method: str) -> None:
    if method != "POST":
        raise Refused(f"{method} instead of POST")


def same(ours: str, theirs: str) -> None:
    """Compare in constant time."""
    if not hmac.compare_digest(ours.encode(), theirs.encode()):
        raise Refused("the signature is another one")


def fresh(timestamp: str, now: float | None, unit: float = 1.0) -> None:
    """The time is a plain decimal number; `unit` is how many of it a second has."""
    if not (timestamp.isascii() and timestamp.isdecimal()):
        raise Refused("the timestamp is no number")
    if now is not None and abs(int(timestamp) / unit - now) > TOLERANCE_SECONDS:
        raise Refused("the request is too old, or comes from the future")


def decoded(body: bytes | str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise Refused("the body is no JSON") from None


def rsa(pem: str, signature: bytes, signed: bytes) -> None:
    """RSASSA-PKCS1-v1_5 with SHA-256, with a public key or a certificate."""
    data = pem.encode()
    key = load_pem_x509_certificate(data).public_key() if "CERTIFICATE" in pem else load_pem_public_key(data)
    if not isinstance(key, RSAPublicKey):
        raise TypeError("not an RSA key")
    try:
        key.verify(signature, signed, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise Refused("the signature is another one") from None
