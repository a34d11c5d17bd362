"""What lies sealed in tables, opened where it can be."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from posthouse.domain.errors import PosthouseError

log = structlog.get_logger()

OpenSecret = Callable[[bytes, bytes, str, int], bytes]
"""(ciphertext, owner id, kind, version) -> the secret; how secrets are sealed is not the store's business."""


def opened(open_secret: OpenSecret, sealed: bytes, owner: bytes, kind: str, version: int) -> bytes | None:
    """The secret; None, which the log tells of, where it does not open: one such must keep nothing else from being loaded."""
    try:
        return open_secret(sealed, owner, kind, version)
    except PosthouseError as error:
        log.error("secret.unreadable", endpoint=owner.hex(), kind=kind, version=version, error=str(error))
        return None


def key_kind(name: str) -> str:
    """The kind under which a named key is sealed."""
    return f"key:{name}"


def opened_key(open_secret: OpenSecret, sealed: bytes, endpoint_id: bytes, name: str, version: int) -> str | None:
    """The text of a named key; None, which the log tells of, where it does not open."""
    found = opened(open_secret, sealed, endpoint_id, key_kind(name), version)
    return None if found is None else found.decode("utf-8")
