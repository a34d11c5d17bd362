"""Triggers as they are stored: managed from anywhere (`TriggerBook`), worked on by one process at a time (`TriggerQueue`). The
store's clock grants and ends the leases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from posthouse.domain.ids import RefusalId, TriggerId
from posthouse.domain.trigger import Standing, Trigger
from posthouse.ports.directory import Audit
from posthouse.ports.sources import Observation


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was seen and is no event, and why: set aside until somebody tries it again, or lets it be."""

    id: RefusalId
    observation: Observation
    code: str
    reason: str
    tries: int = 1
    created_at: float = 0.0


class TriggerBook(Protocol):
    """A change is one transaction with its audit entry, as in `ports.directory`. Settings that do not open stay as they are,
    unless a change gives others."""

    async def page(self, *, before: bytes, limit: int) -> list[Trigger]:
        """Newest first, from below an id."""
        ...

    async def get(self, reference: str) -> Trigger | None:
        """The trigger with this id or uid."""
        ...

    async def create(self, trigger: Trigger, audit: Audit, *, triggers_max: int) -> Trigger | None:
        """None where its app is gone. Raises Conflict (codes `uid_taken`, `too_many_triggers`)."""
        ...

    async def change(
        self,
        trigger_id: TriggerId,
        change: Callable[[Trigger], Trigger],
        audit: Audit | None,
        *,
        holder: bytes | None = None,
    ) -> Trigger | None:
        """Its `version` counts on, and whoever works on it begins anew with what it is now. None where it, or its new app, is
        gone. Raises Conflict (codes `uid_taken`; `trigger_busy` where it is no more held by `holder`)."""
        ...

    async def delete(
        self, trigger_id: TriggerId, audit: Audit | None, *, check: Callable[[Trigger], None] | None = None
    ) -> bool:
        """With all that was set aside of it; whether it was there. `check` may object by raising."""
        ...

    async def hold(self, trigger_id: TriggerId, holder: bytes, *, seconds: float) -> int | None:
        """Nobody is to work on it until `let_go`, or for so long: who does ends that as it next renews its lease. Its version;
        None where it is gone. Raises Conflict (code `trigger_busy`) where another one holds it."""
        ...

    async def let_go(self, trigger_id: TriggerId, holder: bytes) -> None:
        """The same holder holds it no more."""
        ...

    async def quiet(self, trigger_id: TriggerId) -> bool:
        """Whether nobody works on it, or may still do so."""
        ...

    async def refusals(self, trigger_id: TriggerId, *, after: bytes, limit: int) -> list[Refusal]:
        """What was set aside, the oldest first, from above an id."""
        ...

    async def refusals_of(self, trigger_id: TriggerId, ids: Collection[RefusalId]) -> list[Refusal]:
        """Those of these that are there, the oldest first."""
        ...

    async def resolve(
        self,
        trigger_id: TriggerId,
        done: Collection[RefusalId],
        failed: Mapping[RefusalId, tuple[str, str]],
        audit: Audit | None = None,
    ) -> int:
        """Let some be gone, and keep others with another code and reason; how many there were of `done`."""
        ...

    async def set_aside(self, trigger_id: TriggerId, refusals: Sequence[Refusal], *, kept_max: int) -> None:
        """More of them; beyond so many of a trigger the oldest go."""
        ...


class Taken(msgspec.Struct, frozen=True):
    """A trigger that was taken to be worked on. `epoch` counts who took it: whoever comes with an older one changes nothing."""

    trigger: Trigger
    epoch: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the work on a trigger is; `position` None: as it was."""

    standing: Standing
    position: str | None = None
    refusals: Sequence[Refusal] = ()


class TriggerQueue(Protocol):
    async def claim(
        self, owner: bytes, kinds: Collection[str], *, held: int, lease_seconds: float
    ) -> tuple[list[Taken], int]:
        """Take enabled triggers of these kinds that nobody works on, up to this process's share of all that there are, of which
        it has `held` already; and that share. Those whose settings do not open are put off, and not among them."""
        ...

    async def put_off(self, owner: bytes, epochs: Mapping[TriggerId, int], *, seconds: float) -> None:
        """Who took these cannot work on them: nobody is to take them for so long, or until they are changed."""
        ...

    async def renew(
        self, owner: bytes, epochs: Mapping[TriggerId, int], *, lease_seconds: float
    ) -> dict[TriggerId, int]:
        """The versions of those that are still this process's, for so long."""
        ...

    async def record(self, taken: Taken, progress: Progress) -> int | None:
        """Put on record how far it is: how many are set aside now, 10,000 at most. None where it is another's meanwhile; then
        nothing was."""
        ...

    async def release(self, owner: bytes, epochs: Mapping[TriggerId, int]) -> None:
        """Let others have them at once."""
        ...
