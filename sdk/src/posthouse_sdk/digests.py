"""Digests and HMACs by name, for those who sign and those who verify. SM3, which not every Python has, is `cryptography`'s
then, and imported where it is asked for."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable


def digest(name: str, content: bytes) -> bytes:
    """MD5, SHA-1, SHA-256, SHA-512 or SM3 of some bytes. Raises: ImportError for SM3 where nothing makes it."""
    try:
        return hashlib.new(name, content, usedforsecurity=False).digest()
    except ValueError:
        from cryptography.hazmat.primitives import hashes

        state = hashes.Hash(hashes.SM3())
        state.update(content)
        return state.finalize()


def mac(name: str, secret: bytes) -> Callable[[bytes], bytes]:
    """What makes the HMAC (RFC 2104) of some bytes with this key. Raises: as `digest`."""
    if name != "sm3":
        return lambda content: hmac.digest(secret, content, name)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.hmac import HMAC

    def made(content: bytes) -> bytes:
        state = HMAC(secret, hashes.SM3())
        state.update(content)
        return state.finalize()

    return made
