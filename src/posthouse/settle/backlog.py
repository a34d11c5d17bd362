"""The backlog: which endpoints are owed something, when it is due, and paging it in as their lanes have room.

Memory holds one entry an endpoint, never one a row: when its next row is due. The rows stay in the table until their
result is journalled; `held` are those that memory speaks for meanwhile, so that none is paged in twice.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from posthouse.domain.delivery import Delivery, DeliveryKey, Owed
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.ids import EndpointId, EventId
from posthouse.ports.clock import Clock
from posthouse.ports.store import Page, Store, Want

log = structlog.get_logger()

PAGE_ENDPOINTS_MAX: Final = 100
PAGE_BYTES_MAX: Final = 16 * 1024 * 1024
POLL_SECONDS: Final = 1.0
ORPHANS_PER_PAGE: Final = 200


class Backlog:
    """Pages owed rows into lanes.

    `find` gives the current endpoints for ids (None: deleted); `room` how many rows an endpoint's lane takes (0: closed or
    full; the lanes call `drained` when that changes); `page_in` hands rows over; `orphaned` settles rows that can never be
    sent: their endpoint or their event is gone.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        epochs: dict[int, int],
        find: Callable[[Sequence[EndpointId]], Awaitable[dict[EndpointId, Endpoint | None]]],
        room: Callable[[Endpoint], int],
        page_in: Callable[[Endpoint, list[Delivery]], None],
        orphaned: Callable[[Owed, Event | None, Endpoint | None], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._epochs = epochs
        self._find = find
        self._room = room
        self._page_in = page_in
        self._orphaned = orphaned
        self._due: dict[EndpointId, float] = {}
        self._partition: dict[EndpointId, int] = {}
        self._heap: list[tuple[float, EndpointId]] = []
        self._no_room: set[EndpointId] = set()
        self._held: dict[EndpointId, set[EventId]] = {}
        self._wake = asyncio.Event()

    async def take(self, partitions: Sequence[int]) -> None:
        """Learn what is owed in partitions that were just claimed, or poked from outside."""
        for partition, endpoint_id, due_at in await self._store.owed_endpoints(partitions):
            if partition in self._epochs:
                self.owe(partition, endpoint_id, due_at)

    def drop(self, partition: int) -> None:
        """Forget a partition that is no longer ours."""
        for endpoint_id in [e for e, p in self._partition.items() if p == partition]:
            self._forget(endpoint_id)
            self._held.pop(endpoint_id, None)

    def owe(self, partition: int, endpoint_id: EndpointId, due_at: float) -> None:
        """A row of this endpoint is due at `due_at`."""
        known = self._due.get(endpoint_id)
        self._partition[endpoint_id] = partition
        if known is None or due_at < known:
            self._schedule(endpoint_id, due_at)

    def drained(self, endpoint_id: EndpointId) -> None:
        """The endpoint's lane has room again, or was opened."""
        if endpoint_id in self._no_room:
            self._no_room.discard(endpoint_id)
            self._schedule(endpoint_id, self._due.get(endpoint_id, 0.0))

    def hold(self, key: DeliveryKey) -> None:
        """Memory speaks for this row: do not page it in."""
        self._held.setdefault(key[0], set()).add(key[1])

    def release(self, key: DeliveryKey) -> None:
        held = self._held.get(key[0])
        if held is not None:
            held.discard(key[1])
            if not held:
                del self._held[key[0]]

    @property
    def endpoints(self) -> int:
        """How many endpoints are owed something."""
        return len(self._due)

    def _schedule(self, endpoint_id: EndpointId, due_at: float) -> None:
        self._due[endpoint_id] = due_at
        if endpoint_id not in self._no_room:
            heapq.heappush(self._heap, (due_at, endpoint_id))
            self._wake.set()

    def _forget(self, endpoint_id: EndpointId) -> None:
        self._due.pop(endpoint_id, None)
        self._partition.pop(endpoint_id, None)
        self._no_room.discard(endpoint_id)

    # Paging

    async def run(self) -> None:
        """Page until cancelled."""
        while True:
            await self._wait()
            try:
                await self._tick()
            except StoreUnavailable as error:
                log.warning("backlog.store_unavailable", error=str(error))
                await self._clock.sleep(POLL_SECONDS)

    async def _wait(self) -> None:
        self._wake.clear()
        delay = POLL_SECONDS
        if self._heap:
            delay = min(delay, self._heap[0][0] - self._clock.now())
        if delay > 0:
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _pop_due(self) -> list[EndpointId]:
        """Endpoints with something due, earliest first; an entry that was rescheduled meanwhile is stale and dropped."""
        now = self._clock.now()
        ready: dict[EndpointId, None] = {}
        while self._heap and self._heap[0][0] <= now and len(ready) < PAGE_ENDPOINTS_MAX:
            due_at, endpoint_id = heapq.heappop(self._heap)
            if self._due.get(endpoint_id) == due_at and endpoint_id not in self._no_room:
                ready[endpoint_id] = None
        return list(ready)

    async def _tick(self) -> None:
        ready = self._pop_due()
        if not ready:
            return
        try:
            endpoints = await self._find(ready)
            wants = []
            for endpoint_id in ready:
                endpoint = endpoints[endpoint_id]
                room = ORPHANS_PER_PAGE if endpoint is None else self._room(endpoint)
                if room <= 0:
                    self._no_room.add(endpoint_id)
                elif endpoint_id in self._partition:
                    held = tuple(self._held.get(endpoint_id, ()))
                    wants.append(Want(self._partition[endpoint_id], endpoint_id, room, held))
            if not wants:
                return
            epochs = dict(self._epochs)
            # Whatever is owed from here on schedules itself anew; what the page says must not override it.
            for want in wants:
                self._due.pop(want.endpoint_id, None)
            pages = await self._store.page(wants, now=self._clock.now(), bytes_max=PAGE_BYTES_MAX)
        except BaseException:
            for endpoint_id in ready:
                if endpoint_id in self._partition and endpoint_id not in self._no_room:
                    self._schedule(endpoint_id, min(self._due.get(endpoint_id, 0.0), self._clock.now()))
            raise
        for want, page in zip(wants, pages, strict=True):
            if self._epochs.get(want.partition) == epochs.get(want.partition) is not None:
                self._deliver(want, page, endpoints[want.endpoint_id], epochs[want.partition])

    def _deliver(self, want: Want, page: Page, endpoint: Endpoint | None, epoch: int) -> None:
        deliveries = []
        for owed, event in page.rows:
            if owed.event_id in self._held.get(want.endpoint_id, ()):
                continue  # memory took it while the page was being read
            self.hold(owed.key)
            if endpoint is None or event is None:
                self._orphaned(owed, event, endpoint)
            else:
                deliveries.append(
                    Delivery(
                        event=event,
                        epoch=epoch,
                        endpoint_id=want.endpoint_id,
                        number=owed.number,
                        kind=owed.kind,
                        offered_at=self._clock.boot(),
                        fresh=False,
                        row=True,
                    )
                )
        if page.next_due is not None:
            self.owe(want.partition, want.endpoint_id, page.next_due)
        elif want.endpoint_id not in self._due:
            self._forget(want.endpoint_id)
        if deliveries and endpoint is not None:
            self._page_in(endpoint, deliveries)
