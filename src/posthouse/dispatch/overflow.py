"""The cap on what an endpoint is owed: beyond it the oldest is given up, and the operators are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import OUTSIDE_ROWS_MAX
from posthouse.ports.clock import Clock
from posthouse.ports.store import Store
from posthouse.settle.backlog import Backlog

log = structlog.get_logger()

SPARE: Final = 100  # a hundredth more than must be is given up at once, so that not each new row gives up one
RETRY_SECONDS: Final = 5.0


class Overflow:
    """Watches the backlog's counts. They are near enough: before anything is given up the store counts
    anew, once what was recorded so far is `written`. `told` is called
    with the app whose endpoint was owed too much, and how much it may be."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        backlog: Backlog,
        *,
        owner: bytes,
        epochs: Mapping[int, int],
        rows_max: int,
        written: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._backlog = backlog
        self._owner = owner
        self._epochs = epochs
        self._rows_max = rows_max
        self._written = written
        self.told: Callable[[AppId, int], None] = lambda app_id, rows_max: None
        self._due: dict[EndpointId, int] = {}
        self._wake = asyncio.Event()

    def look(self, partition: int, endpoint_id: EndpointId, rows: int) -> None:
        """An endpoint has about so many rows."""
        if rows > self._rows_max and endpoint_id not in self._due:
            self._due[endpoint_id] = partition
            self._wake.set()

    async def run(self) -> None:
        """Give up what is too much until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                for endpoint_id, partition in list(self._due.items()):
                    await self._relieve(partition, endpoint_id)
                    del self._due[endpoint_id]
            except StoreUnavailable as error:
                log.warning("owed.not_capped", error=str(error))
                await self._clock.sleep(RETRY_SECONDS)
                self._wake.set()

    async def _relieve(self, partition: int, endpoint_id: EndpointId) -> None:
        if partition not in self._epochs:
            return
        await self._written()
        counts = await self._store.count_owed([partition])
        self._backlog.counted([partition], counts)
        excess = counts.get(endpoint_id, 0) - self._rows_max
        if excess <= 0:
            return
        excess += self._rows_max // SPARE
        gone = 0
        while excess > gone and (epoch := self._epochs.get(partition)) is not None:
            # No row is paged in meanwhile: what memory speaks for now is all that it does then.
            async with self._backlog.still:
                some = await self._store.expire_oldest(
                    self._owner,
                    epoch,
                    partition,
                    endpoint_id,
                    count=min(excess - gone, OUTSIDE_ROWS_MAX),
                    held=self._backlog.held(endpoint_id),
                    now=self._clock.now(),
                    error=f"the endpoint was owed more than {self._rows_max} deliveries",
                )
                if not some:
                    break
            gone += some
            self._backlog.count(partition, endpoint_id, -some)
        if gone:
            log.warning("owed.expired", endpoint=endpoint_id.hex(), deliveries=gone, most=self._rows_max)
            app_id = self._backlog.app_of(endpoint_id)
            if app_id is not None:
                self.told(app_id, self._rows_max)
