"""The verifications of endpoints as they are stored: taken by whoever comes first when they are due, or by whoever was asked.

An endpoint has one if and only if it has a handshake. The directory makes it, begins it anew and takes it away, in the change
that is the cause (`domain.verification.is_anew`). The store's clock decides what is due, and grants and ends the leases.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.verification import Verification
from posthouse.ports.directory import Audit


class Claim(msgspec.Struct, frozen=True):
    """One that was taken, as it was then. `turn` is another one for whoever takes it next, and after every change that makes it
    begin anew: what is settled under an older one changes nothing."""

    app_id: AppId
    endpoint_id: EndpointId
    turn: int
    verification: Verification
    now: float


class Claims(msgspec.Struct, frozen=True):
    """What was taken at a time, and when the next one is due: a time that has passed where there are more."""

    now: float
    taken: tuple[Claim, ...]
    next_at: float | None


class TooOften(msgspec.Struct, frozen=True):
    """It was asked for so often that there is nothing to do for so many seconds."""

    seconds: float


Change = Callable[[Verification, float], tuple[Verification, Audit | None]]
"""What a verification becomes, of what it is and of the time, and what is put on record of that."""


class VerificationQueue(Protocol):
    async def claim(self, *, limit: int, lease_seconds: float, without: Collection[AppId] = ()) -> Claims:
        """Take those that are due, longest first, and none of some apps. One that is taken is nobody else's until its lease
        ends, or it is settled, or somebody asks for it."""
        ...

    async def ask(
        self,
        app_id: AppId,
        endpoint_id: EndpointId,
        *,
        lease_seconds: float,
        asked_max: int,
        asked_seconds: float,
        audit: Audit,
    ) -> Claim | TooOften | None:
        """Take one, whenever it is due and whoever has it: it begins at its first place. At most `asked_max` in
        `asked_seconds`. None: there is none."""
        ...

    async def expect(self, claim: Claim, token_hash: bytes) -> bool:
        """A token with this SHA-256 is about to go to the target, and is the only one from now on. False where the claim is no
        longer good."""
        ...

    async def settle(self, claim: Claim, change: Change) -> Verification | None:
        """Put on record what became of it. It may have been followed since it was taken. None where the claim is no longer
        good: then nothing is changed."""
        ...

    async def follow(self, token_hash: bytes, *, allowing: float | None) -> bool:
        """Somebody brought a token: whether it is one that is expected. It is good once."""
        ...
