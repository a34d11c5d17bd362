"""How secrets are sealed: each with a data key of its app, and data keys with a master key.

Times do not matter here, and nothing is awaited: whoever loads a secret loads the data key with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec


class DataKey(msgspec.Struct, frozen=True):
    """A data key of an app, sealed with a master key."""

    app_id: bytes
    version: int
    sealed: bytes


class Sealer(Protocol):
    """Seals secrets to their owner, kind and version. Whatever opens something raises SetupError where it does not open."""

    @property
    def sealing_id(self) -> str:
        """The id of the master key that seals."""
        ...

    def new_data_key(self, app_id: bytes, version: int) -> DataKey: ...

    def seal(self, plaintext: bytes, owner: bytes, kind: str, version: int, data_key: DataKey) -> bytes: ...

    def seal_directly(self, plaintext: bytes, owner: bytes, kind: str, version: int) -> bytes:
        """With the master key, for what is no app's."""
        ...

    def open(self, sealed: bytes, owner: bytes, kind: str, version: int, data_key: DataKey | None = None) -> bytes:
        """`data_key` is the one that sealed it; there is none for what a master key sealed."""
        ...

    def reseal(self, sealed: bytes, owner: bytes, kind: str, version: int) -> bytes:
        """What a master key sealed, sealed with the one that seals now."""
        ...


OpenSecret = Callable[[bytes, bytes, str, int, DataKey | None], bytes]
"""`Sealer.open`, where nothing else is needed."""
