"""A table trigger at work: reads what its row triggers wrote, and keeps them as they should be."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from posthouse.adapters.sources.tables.change import READING_BYTES_MAX, observed
from posthouse.adapters.sources.tables.place import UPGRADE_SECONDS_MAX, Place, Standing, Store
from posthouse.adapters.sources.tables.settings import Settings
from posthouse.domain.errors import Invalid, PosthouseError, SourceRefused, SourceUnavailable
from posthouse.ports.sources import Lag, Reading, Spec

log = structlog.get_logger()

COMPARED_SECONDS: Final = 30.0  # between two looks at whether the triggers are still as they should be
PRUNED_SECONDS: Final = 10.0  # between two rounds of removing what was kept for long enough
PRUNED_ON_SECONDS: Final = 1.0  # the same, where there is more


class TableSource:
    """`Source` over the changes of one trigger. Its position says nothing: what was acknowledged is removed from the database,
    and a reading always begins with the first that is there."""

    def __init__(self, spec: Spec, settings: Settings, place: Place) -> None:
        self._spec = spec
        self._settings = settings
        self._place = place
        self._store: Store = place.store(spec.id, settings)
        self._now = asyncio.get_running_loop().time
        self._compared_at = float("-inf")
        self._prunes_at = self._now() + PRUNED_SECONDS
        self._refusal: SourceRefused | None = None
        self._alarm: str | None = None

    async def open(self, position: str | None) -> None:
        await self._store.open()

    async def read(self, *, limit: int, wait_seconds: float) -> Reading:
        until = self._now() + wait_seconds
        while True:
            if self._now() - self._compared_at >= COMPARED_SECONDS or self._refusal is not None:
                await self._compare()
            changes = await self._store.fetch(limit, READING_BYTES_MAX)
            if changes:
                for note in {change.note for change in changes if change.note is not None}:
                    log.warning("trigger.row_incomplete", trigger=self._spec.name, reason=note)
                return Reading(
                    observations=tuple(observed(change) for change in changes),
                    receipt=[change.id for change in changes],
                )
            if self._refusal is not None:  # only now: what was written before is published
                raise self._refusal
            await self._prune()
            left = until - self._now()
            if left <= 0:
                return Reading()
            await self._store.wait(left)

    async def acknowledge(self, reading: Reading) -> None:
        if reading.receipt:
            await self._store.settle(reading.receipt)
            await self._prune()

    async def lag(self) -> Lag:
        return msgspec.structs.replace(await self._store.lag(), alarm=self._alarm)

    async def close(self) -> None:
        await self._store.close()

    async def _prune(self) -> None:
        if self._now() >= self._prunes_at:
            more = await self._store.prune()
            self._prunes_at = self._now() + (PRUNED_ON_SECONDS if more else PRUNED_SECONDS)

    async def _compare(self) -> None:
        """See whether what is installed is still right. A table that changed its columns has its triggers made anew; for what
        else is wrong there is a refusal."""
        self._compared_at = self._now()
        self._refusal = self._alarm = None
        try:
            standing = await self._store.standing()
        except Invalid as error:
            if error.path.startswith("columns"):  # the triggers leave it out: others go on
                self._alarm = f"a column that is asked for is left out: {error}"
            else:
                self._refusal = SourceRefused(str(error), code="bad_table")
            return
        except SourceRefused as error:
            self._refusal = error
            return
        if standing is Standing.GONE:
            self._refusal = SourceRefused(
                f"nothing writes down any more what happens to the table {self._settings.table.shown}: it was made anew under "
                "this name, or the row trigger was dropped or disabled. `posthouse triggers resume` makes the trigger anew; "
                "what was changed meanwhile makes no events",
                code="trigger_gone",
            )
        elif standing is Standing.OUTDATED:
            await self._upgrade()

    async def _upgrade(self) -> None:
        try:
            await self._place.install(self._spec.id, self._settings, seconds=UPGRADE_SECONDS_MAX, upgrades=True)
        except SourceUnavailable as error:  # a matter of time
            log.info("trigger.upgrade_waits", trigger=self._spec.name, error=str(error))
        except PosthouseError as error:
            self._alarm = (
                f"the table has changed since the triggers on it were made, and they cannot be made anew: {error}"
            )
        else:
            log.info("trigger.upgraded", trigger=self._spec.name, table=self._settings.table.shown)
