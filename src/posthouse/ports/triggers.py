"""Triggers: whatever observes, and publishes. A source keeps its own position, and is told what became of what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from posthouse.domain.event import Draft
from posthouse.domain.verdict import Verdict


class Sighting(msgspec.Struct, frozen=True):
    """Something to be published. Its draft has an idempotency key by which repeats collapse, whoever makes them; `position` is
    the source's own."""

    draft: Draft
    position: Any


class Reading(msgspec.Struct, frozen=True):
    """What a source saw, in its order, and after how many seconds it is worth looking again."""

    sightings: tuple[Sighting, ...]
    wait_seconds: float


class Source(Protocol):
    """A kind of trigger. What it hands out is leased: no other process gets it until it was acknowledged or the lease ended."""

    @property
    def kind(self) -> str:
        """A word for logs."""
        ...

    async def read(self, *, limit: int) -> Reading:
        """What there is to be published now, at most so much."""
        ...

    async def acknowledge(self, verdicts: Sequence[tuple[Sighting, Verdict]]) -> None:
        """Move on by what was published; remember what was refused, and why; come back to what was postponed. Should this be
        lost, the same is seen again, and collapses."""
        ...
