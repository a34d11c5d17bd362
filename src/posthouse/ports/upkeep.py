"""What keeps an installation in order, besides delivering."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Owed(msgspec.Struct, frozen=True):
    """How much is owed over all partitions, and since when (unix seconds) the oldest of it is."""

    rows: int
    oldest_at: float | None


class Upkeep(Protocol):
    async def database_time(self) -> float:
        """The database's clock, in unix seconds."""
        ...

    async def ensure_days(self, now: float) -> list[str]:
        """Make the day partitions that will be needed; which were made."""
        ...

    async def retire_days(self, now: float, *, retention_days: int) -> list[str]:
        """Drop the day partitions that are past retention and settled; which were dropped."""
        ...

    async def drop_grants(self, *, before: float) -> int:
        """Drop grants that ended before a time; how many, of a bounded number at once."""
        ...

    async def drop_jobs(self, *, before: float) -> int:
        """Drop jobs that ended before a time; how many, of a bounded number at once."""
        ...

    async def owed(self) -> Owed: ...

    async def oldest_snapshot_seconds(self) -> float:
        """Age of the oldest snapshot that is open in the database; 0 where none is."""
        ...
