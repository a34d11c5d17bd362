"""Which history of the database this process has seen: a standby that was promoted begins another one.

What a process remembers (positions, what is on record, versions of configuration) was read from one history. A promoted
standby may lack the end of it, whatever the log itself still shows: a row of `delivery` that was written last is as gone as an
event. So the first connection to another history gives up this process's partitions there before anything else is done on it,
and they are derived afresh from what there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import structlog

from posthouse.adapters.postgres.hosts import RawConnection
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.errors import StoreUnavailable

log = structlog.get_logger()

SQL = Queries("session.sql")

_NOT_TOLD: Final = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedFunctionError,
    asyncpg.FeatureNotSupportedError,
)


class Timeline(NamedTuple):
    """A cluster's identifier, and the timeline that it writes now: each promotion begins one with a higher number."""

    system: int
    number: int

    def __str__(self) -> str:
        return f"{self.system}/{self.number}"


class History:
    """The history that this process goes by; its connections are all checked against it as they are made.

    `tell` says whose partitions are given up where it changes (`held`: those that memory holds), and who hears of it.
    """

    def __init__(self, owner: bytes) -> None:
        self._owner = UUID(bytes=owner)  # as the driver wants it on a connection that was not prepared yet
        self._held: Callable[[], Collection[int]] = tuple
        self._replaced: list[Callable[[], object]] = []
        self._changing = asyncio.Lock()
        self.known: Timeline | None = None
        self.replacements = 0

    def tell(self, *replaced: Callable[[], object], held: Callable[[], Collection[int]] | None = None) -> None:
        """Who hears that there is another history, right after the partitions were given up and before anything is read
        from it. None of them may wait."""
        self._replaced += replaced
        self._held = held or self._held

    @property
    def fence(self) -> int | None:
        """The number of the timeline that results may be written to; None where it is not known."""
        return None if self.known is None else self.known.number

    async def check(self, connection: RawConnection) -> None:
        """Raises StoreUnavailable for a server whose history ended: another one has gone on from there."""
        found = await self._read(connection)
        if found is None or found == self.known:
            return
        async with self._changing:
            before = self.known
            if before is None:
                self.known = found
            elif found.system == before.system and found.number < before.number:
                raise StoreUnavailable(
                    f"this PostgreSQL is on timeline {found.number}, and another one has gone on to {before.number}: "
                    "it must not be used any more"
                )
            elif found != before:
                await connection.execute(SQL.give_up, self._owner, list(self._held()))
                self.known = found
                self.replacements += 1
                log.warning("database.replaced", before=str(before), now=str(found))
                for told in self._replaced:
                    told()

    async def _read(self, connection: RawConnection) -> Timeline | None:
        try:
            row = await connection.fetchrow(SQL.timeline)
        except _NOT_TOLD:
            return None  # a service that is like PostgreSQL; the tail compares the log itself
        assert row is not None, "it asks for values"
        return Timeline(row["system"], row["timeline"])
