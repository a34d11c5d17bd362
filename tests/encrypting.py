"""Messages to encrypt, and keys for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from posthouse.domain.encryption import Encryption
from posthouse.domain.exchange import Target
from posthouse.wire.encryption import compile_encryption
from posthouse.wire.message import Message, Step

NOW: Final = 1_767_323_045.678
BODY: Final = b'{"type":"order.created","timestamp":"2026-01-02T03:04:05.678Z","data":{"id":1,"name":"\xe9\xa9\xbf"}}'
TARGET: Final = Target(scheme="https", host="isv.example", port=443, path="/hook", authority="isv.example")
VALUES: Final = {"event.id": "evt_1", "event.type": "order.created", "timestamp": "1767323045", "nonce": "n0nce"}


class Body:
    """The document of a format, as far as encryption looks at it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def encoded(self) -> bytes:
        return self._body

    def pairs(self) -> list[tuple[str, str]]:
        return [(name, str(value)) for name, value in json.loads(self._body).items()]

    def put(self, name: str, value: str) -> None:
        self._body = json.dumps(json.loads(self._body) | {name: value}).encode()


def message(
    body: bytes = BODY,
    *,
    content_type: str = "application/json",
    random: Callable[[int], bytes] = os.urandom,
    **values: str,
) -> Message:
    return Message(
        method="POST",
        target=TARGET,
        id="evt_1",
        now=NOW,
        nonce="n0nce",
        random=random,
        content_type=content_type,
        document=Body(body),
        values=VALUES | values,
    )


def settings(configuration: dict[str, Any]) -> Encryption:
    """As it comes out of the JSON that a user writes, and out of the store."""
    read: Encryption = msgspec.json.decode(json.dumps(configuration), type=Encryption)
    assert msgspec.json.decode(msgspec.json.encode(read), type=Encryption) == read
    return read


def step(configuration: dict[str, Any], *keys: str, **more: Any) -> Step:
    return compile_encryption(settings(configuration), {configuration["key"]: keys}, **more)


def encrypted(
    configuration: dict[str, Any],
    keys: str | Sequence[str],
    body: bytes = BODY,
    **more: Any,
) -> Message:
    """A message after its encryption."""
    made = message(body, **more)
    step(configuration, *((keys,) if isinstance(keys, str) else keys)).apply(made)
    return made


def sent(made: Message) -> tuple[bytes, dict[str, str]]:
    """What a receiver has of it: the body and the headers."""
    return made.document.encoded(), {"Content-Type": made.content_type, **dict(made.headers)}


class Feed:
    """Random bytes that are known: what is asked for is given, piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def __call__(self, count: int) -> bytes:
        piece = self._pieces.pop(0)
        assert len(piece) == count
        return piece


def as_bytes(letters: str) -> bytes:
    """The random bytes of which these letters and digits are made."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return bytes(alphabet.index(letter) for letter in letters)


PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey


def private(kind: str, number: int = 0) -> PrivateKey:
    """A key pair of a kind: the same for the same number."""
    return _private(kind, number)


@cache
def _private(kind: str, number: int) -> PrivateKey:
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "x25519":
            return x25519.X25519PrivateKey.generate()
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "p521":
            return ec.generate_private_key(ec.SECP521R1())
        case _:
            return ec.generate_private_key(ec.SECP256R1())


@cache
def private_pem(kind: str, number: int = 0) -> str:
    return private(kind, number).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def public_pem(kind: str, number: int = 0) -> str:
    return private(kind, number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_jwk(kind: str, number: int = 0, **more: str) -> str:
    return json.dumps(_jwk(private_pem(kind, number), True) | more)


def public_jwk(kind: str, number: int = 0, **more: str) -> str:
    return json.dumps(_jwk(public_pem(kind, number), False) | more)


@cache
def _jwk(pem: str, private: bool) -> dict[str, Any]:
    """By jwcrypto, which nothing in the product uses."""
    from jwcrypto.jwk import JWK

    exported: dict[str, Any] = JWK.from_pem(pem.encode()).export(private_key=private, as_dict=True)
    del exported["kid"]
    return exported
