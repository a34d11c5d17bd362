"""The payload encrypted: one step between the format, which wrote the body, and the signatures over it."""

from posthouse.wire.encryption.compiled import compile_encryption

__all__ = ["compile_encryption"]
