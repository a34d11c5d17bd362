"""What lies sealed in the store, to be sealed anew after the master key or data keys were changed.

Each method is one bounded step: it goes on after the `after` of the step before it, and answers None there at the end. A
step that is repeated changes nothing more.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

BEGINNING = b""


class Step(msgspec.Struct, frozen=True):
    """What a step did: `failed` things do not open, and stay as they are."""

    done: int
    failed: int
    after: bytes | None


class Remaining(msgspec.Struct, frozen=True):
    """What another master key than the first still seals: data keys, secrets without one, and secrets behind a data key that is
    not their app's newest; and how many apps have a data key that was made with another one."""

    data_keys: int
    secrets: int
    behind: int
    made_before: int


class Vault(Protocol):
    async def reseal_data_keys(self, after: bytes) -> Step:
        """Seal data keys with the first master key."""
        ...

    async def renew_data_keys(self, after: bytes) -> Step:
        """Make a new data key for each app whose newest was made with another master key."""
        ...

    async def reseal_secrets(self, after: bytes) -> Step:
        """Seal secrets and named keys with their app's newest data key, those of no app with the first master key."""
        ...

    async def drop_data_keys(self, after: bytes) -> Step:
        """Remove data keys that are not their app's newest and with which nothing is sealed."""
        ...

    async def remaining(self) -> Remaining: ...

    async def rekeyed(self, detail: dict[str, int]) -> None:
        """Put on record that this was done."""
        ...
