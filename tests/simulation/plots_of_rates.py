"""Plots about targets with a slow rate: whoever sends next has to know when the last one sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tests.simulation.process import Process
from tests.simulation.scheduler import elsewhere
from tests.simulation.stage import LOOK_SECONDS, Acts, Stage

from posthouse.domain.delivery import Owed, OwedReason
from posthouse.domain.ids import EndpointId, EventId
from posthouse.domain.limits import LEASE_SECONDS
from posthouse.ports.clock import set_or_over


class PlotsOfRates(Stage):
    """Each finds who plays in it, or nobody."""

    _leave: Callable[[Process], None]

    def _cancelled(self) -> Acts | None:
        endpoint_id = self._actor(ordered=False, slow=True)
        return None if endpoint_id is None else self._cancelled_with(endpoint_id)

    async def _cancelled_with(self, endpoint_id: EndpointId) -> None:
        """What waits in memory for a slow rate is cancelled, and sent all the same; as it is under way, its process leaves.
        There is more for the target by then, and what waits with the next owner is cancelled, too."""
        self._configure_for_few(endpoint_id)
        self._becomes(endpoint_id, "good")
        await self._sleep(0.2, 0.6)
        for _ in range(2):
            await self._cancels_what_waits(endpoint_id)

    async def _cancels_what_waits(self, endpoint_id: EndpointId) -> None:
        world = self._world
        if self._goes_on():
            self._second_at_hand()
        self._publish(endpoint_id, 6, type="order.paid")
        until = world.now() + LEASE_SECONDS
        while world.now() < until and self._goes_on():
            await asyncio.sleep(LOOK_SECONDS)
            row = self._waiting(endpoint_id)
            if row is not None:
                world.cancel_of(row)
                world.targets.watched[endpoint_id] = self._sends(endpoint_id, row.event_id)
                await asyncio.sleep(LEASE_SECONDS / 2)
                return

    def _waiting(self, endpoint_id: EndpointId) -> Owed | None:
        """A row that waits in memory behind another one."""
        owner = self._owner(endpoint_id)
        lane = None if owner is None else owner.engine.lanes._lanes.get(endpoint_id)
        if lane is None or len(lane.queue._paged) < 2:
            return None
        second = lane.queue._paged[1]
        row = self._world.database.owed.get((second.event.partition, endpoint_id, second.event.id))
        return None if row is None or row.reason is OwedReason.IN_FLIGHT else row

    def _sends(self, endpoint_id: EndpointId, awaited: EventId) -> Callable[[Process, Sequence[EventId]], float]:
        def sends(process: Process, event_ids: Sequence[EventId]) -> float:
            if awaited not in event_ids:
                self._world.targets.watched[endpoint_id] = sends
                return 0.0
            if not self._goes_on() or process.stopped or process.session_lost:
                return 0.0
            self._leave(process)
            self._publish(endpoint_id, 1, type="order.paid")
            return 1.4 + 0.6 * self._random.random()

        return sends

    def _overlapped(self) -> Acts | None:
        endpoint_id = self._actor(ordered=False, slow=True)
        return None if endpoint_id is None else self._overlapped_with(endpoint_id)

    async def _overlapped_with(self, endpoint_id: EndpointId) -> None:
        """A request to a target with a slow rate ends after the next one has ended; then their process leaves."""
        watched, rate = self._world.targets.watched, self._world.flows[endpoint_id].rate_limit
        assert rate is not None
        longer = 1.0 / rate.per_second + 0.1 + 0.1 * self._random.random()
        self._configure_for_few(endpoint_id)
        self._becomes(endpoint_id, "good")

        def first(process: Process, event_ids: Sequence[EventId]) -> float:
            watched[endpoint_id] = second
            return longer

        def second(process: Process, event_ids: Sequence[EventId]) -> float:
            if self._goes_on() and not process.stopped and not process.session_lost:
                elsewhere(self._leaves(process, endpoint_id))
            return 0.0

        await self._sleep(0.2, 0.6)
        watched[endpoint_id] = first
        self._publish(endpoint_id, 6, type="order.paid")
        await asyncio.sleep(6.0)

    def _credited(self) -> Acts | None:
        endpoint_id = self._actor(ordered=False, slow=True)
        return None if endpoint_id is None else self._credited_with(endpoint_id)

    async def _credited_with(self, endpoint_id: EndpointId) -> None:
        """A process dies as it sends to a target with a slow rate, so that this is on no record. Whoever takes the partition
        leaves soon after; there is more for the target by then."""
        world, began = self._world, asyncio.Event()
        self._configure_for_few(endpoint_id)
        self._becomes(endpoint_id, "good")

        def begins(process: Process, event_ids: Sequence[EventId]) -> float:
            began.set()
            return LOOK_SECONDS

        await self._sleep(0.2, 0.6)
        world.targets.watched[endpoint_id] = begins
        self._publish(endpoint_id, 1, type="order.paid")
        await set_or_over(began, 3.0)
        sender = self._owner(endpoint_id)
        if not began.is_set() or sender is None or not self._goes_on():
            return
        await asyncio.sleep(LOOK_SECONDS)
        self._kill(sender)
        self._second_at_hand()
        heir = await self._heir_of(sender, endpoint_id)
        if heir is not None:
            self._publish(endpoint_id, 2, type="order.paid")
            self._leave(heir)
        await asyncio.sleep(4.0)

    async def _leaves(self, process: Process, endpoint_id: EndpointId) -> None:
        await self._sleep(0.3, 0.4)
        if self._goes_on() and not process.stopped and not process.dead:
            self._leave(process)
            self._publish(endpoint_id, 1, type="order.paid")
