"""Inbound triggers as whoever answers their senders needs them: several processes at once, and none holds a lease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from posthouse.domain.ids import TRIGGER, TriggerId, format_id
from posthouse.domain.trigger import Trigger
from posthouse.ports.triggers import Refusal


class Listed(msgspec.Struct, frozen=True):
    """An inbound trigger that there is."""

    id: TriggerId
    uid: str | None
    version: int
    enabled: bool
    starting: bool  # nobody told yet that it is there
    set_aside: int

    @property
    def id_text(self) -> str:
        return format_id(TRIGGER, self.id)

    @property
    def reference(self) -> str:
        """Its uid; its id where it has none."""
        return self.uid or self.id_text


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What came to an inbound trigger since the last time, in one process. `error` is what is wrong; None: nothing is.
    `unverified` counts all, `newest` holds some of them."""

    id: TriggerId
    published: int = 0
    repeated: int = 0
    left_out: int = 0
    unverified: int = 0
    published_at: float | None = None
    error_code: str | None = None
    error: str | None = None
    newest: Sequence[Refusal] = ()


class InboundBook(Protocol):
    async def listed(self) -> list[Listed]:
        """All inbound triggers, 1,000 at most."""
        ...

    async def get(self, trigger_id: TriggerId) -> Trigger | None:
        """With its settings. Raises SetupError where these do not open."""
        ...

    async def keep(self, trigger_id: TriggerId, refusal: Refusal, *, kept_max: int) -> bool:
        """Set this aside; False where there are so many already, or no such trigger."""
        ...

    async def add(self, tallies: Sequence[Tally], *, now: float, unverified_max: int) -> None:
        """Add this to how these go. Of what was not verified the newest are kept. Where the answer to this was lost, it may be
        added twice."""
        ...

    async def activate(self, *, now: float) -> None:
        """Those that are enabled and that nobody told of yet are active: there is somebody who answers."""
        ...
