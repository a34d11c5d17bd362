"""Secrets at rest: sealed with AES-256-GCM, and bound to the place they belong to.

    sealed = form (1 byte) ‖ key (4 bytes) ‖ nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)

Form 1 is sealed with a master key, and `key` is its id; form 2 with a data key of the secret's app, and `key` is its version.
Data keys are sealed themselves, with a master key.

What is bound (the additional data of NIST SP 800-38D) is what comes before the nonce, and `bound_to`: a ciphertext
copied to another owner, kind or version does not open. Nonces are 96 random bits and an argument; a key seals far fewer
than the 2³² secrets that the standard allows it (section 8.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from posthouse.domain.errors import Unreadable

KEY_BYTES: Final = 32
KEY_ID_LENGTH: Final = 8  # hexadecimal digits
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16

DATA_KEY: Final = "data-key"
"""The kind of what is sealed of an app where that is a data key."""

_MASTER: Final = b"\x01"
_DATA: Final = b"\x02"
_HEADER_BYTES: Final = 1 + KEY_ID_LENGTH // 2


def binding(owner: bytes, kind: str, version: int) -> bytes:
    """Where a secret belongs, as bytes: no two places have the same."""
    name = kind.encode()
    return b"%b%b%b%b%b" % (
        len(owner).to_bytes(2, "big"),
        owner,
        len(name).to_bytes(2, "big"),
        name,
        version.to_bytes(8, "big"),
    )


def seal(key: bytes, key_id: str, plaintext: bytes, *, nonce: bytes, bound_to: bytes) -> bytes:
    """Seal a secret with a master key. `nonce` is 12 fresh random bytes; `bound_to` comes from `binding`.

    Raises: ValueError for a key, key id or nonce of a wrong size.
    """
    if len(key_id) != KEY_ID_LENGTH:
        raise ValueError(f"a key id has {KEY_ID_LENGTH} hexadecimal digits")
    return _sealed(key, _MASTER + bytes.fromhex(key_id), plaintext, nonce, bound_to)


def seal_with_data_key(key: bytes, version: int, plaintext: bytes, *, nonce: bytes, bound_to: bytes) -> bytes:
    """Seal a secret with the data key of this version. Raises: ValueError for a key or nonce of a wrong size."""
    return _sealed(key, _DATA + version.to_bytes(_HEADER_BYTES - 1, "big"), plaintext, nonce, bound_to)


def _sealed(key: bytes, header: bytes, plaintext: bytes, nonce: bytes, bound_to: bytes) -> bytes:
    if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError(f"sealing takes a key of {KEY_BYTES} bytes and a nonce of {NONCE_BYTES}")
    return header + nonce + AESGCM(key).encrypt(nonce, plaintext, header + bound_to)


def open_sealed(keys: Mapping[str, bytes], sealed: bytes, *, bound_to: bytes) -> bytes:
    """What a master key sealed. `keys` are all that are loaded, by key id.

    Raises: Unreadable where the key is not loaded, or where the ciphertext was altered or moved to another place.
    """
    key_id = sealed_with(sealed)
    key = keys.get(key_id)
    if key is None:
        raise Unreadable(
            f"a secret is sealed with the master key {key_id}, which is not loaded: start with the master key that was "
            "in use with this database (several may be given; the first one seals)"
        )
    return _opened(key, sealed, bound_to, f"the master key {key_id}")


def open_with_data_key(key: bytes, sealed: bytes, *, bound_to: bytes) -> bytes:
    """What a data key sealed. Raises: Unreadable where the ciphertext was altered or moved to another place."""
    return _opened(key, sealed, bound_to, f"data key {data_key_version(sealed)} of its app")


def _opened(key: bytes, sealed: bytes, bound_to: bytes, name: str) -> bytes:
    header, rest = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES:]
    try:
        return AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], header + bound_to)
    except InvalidTag:
        raise Unreadable(
            f"a secret sealed with {name} does not open: its ciphertext was altered, or moved here "
            "from another place; restore it from a backup, or set the secret anew"
        ) from None


def sealed_with(sealed: bytes) -> str:
    """The id of the master key that something is sealed with, without opening it.

    Raises: Unreadable for bytes that no master key sealed in a form known here.
    """
    return _header(sealed, _MASTER).hex()


def data_key_version(sealed: bytes) -> int | None:
    """The version of the data key that a secret is sealed with; None for one that a master key sealed.

    Raises: Unreadable for bytes that are no sealed secret of a form known here.
    """
    if sealed.startswith(_MASTER):
        return None
    return int.from_bytes(_header(sealed, _DATA), "big")


def _header(sealed: bytes, form: bytes) -> bytes:
    if not sealed.startswith(form) or len(sealed) < _HEADER_BYTES + NONCE_BYTES + TAG_BYTES:
        raise Unreadable(
            "a stored secret is not in a form known here: it was damaged, or written by a newer Posthouse; "
            "run that version, or set the secret anew"
        )
    return sealed[1:_HEADER_BYTES]
