"""Plots about what is owed, and what becomes of it while it is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from tests.simulation.memory import limit
from tests.simulation.process import Process
from tests.simulation.scheduler import elsewhere
from tests.simulation.stage import Acts, Stage

from posthouse.domain.endpoint import Endpoint
from posthouse.domain.ids import EndpointId

LONG_TURN_SECONDS: Final = 0.9  # long enough to hear of a change


class PlotsOfPages(Stage):
    """Each finds who plays in it, or nobody."""

    def _opened(self) -> Acts | None:
        """Only where whoever pages lets others have their turn."""
        endpoint_id = self._actor(ordered=False) if limit("posthouse.settle.backlog.LANES_PER_TURN") == 1 else None
        return None if endpoint_id is None else self._opened_again(endpoint_id)

    async def _opened_again(self, endpoint_id: EndpointId) -> None:
        """What has failed is due, and its endpoint is found paused. Before it is asked whether its lane has room, it is opened,
        or deleted."""
        asked = self._world.asked["endpoint_apps"]
        self._configure_for_few(endpoint_id)
        self._becomes(endpoint_id, "failing")
        await self._sleep(0.2, 0.6)

        def finding(process: Process, args: Sequence[Any]) -> None:
            if endpoint_id in args[0]:
                asked.remove(finding)
                process.clock.next_turn = LONG_TURN_SECONDS
                elsewhere(self._opens(endpoint_id))

        self._publish(endpoint_id, 1, type="order.paid")
        await self._sleep(0.2, 0.3)
        asked.append(finding)
        self._configure(endpoint_id, paused=True)
        await asyncio.sleep(5.0)
        if finding in asked:
            asked.remove(finding)
            self._configure(endpoint_id)

    async def _opens(self, endpoint_id: EndpointId) -> None:
        await self._sleep(0.1, 0.2)
        if self._random.random() < 0.3:
            self._world.delete(endpoint_id)
        self._becomes(endpoint_id, "good")
        self._configure(endpoint_id)

    def _let_go(self) -> Acts | None:
        """Only where whoever pages lets others have their turn."""
        if limit("posthouse.settle.backlog.LANES_PER_TURN") != 1:
            return None
        one = self._actor(ordered=False)
        if one is None:
            return None
        others = [e for e in self._endpoints(ordered=False) if e != one and self._app_of(e) == self._app_of(one)]
        other = self._some(others)
        return None if other is None else self._let_go_of((one, other))

    async def _let_go_of(self, pair: tuple[EndpointId, EndpointId]) -> None:
        """What has failed of two endpoints is due at once. More of both fails as they are found, and is written, and let go of,
        between the moment in which the lane of the first is asked for room and the page."""
        asked = self._world.asked["endpoint_apps"]
        for endpoint_id in pair:
            self._configure_for_few(endpoint_id)
            self._becomes(endpoint_id, "failing")
        await self._sleep(0.2, 0.6)

        def finding(process: Process, args: Sequence[Any]) -> None:
            if all(endpoint_id in args[0] for endpoint_id in pair):
                asked.remove(finding)
                backlog, clock = process.engine.backlog, process.clock
                room = backlog._room

                def rooms(endpoint: Endpoint) -> int:
                    if endpoint.id in pair:
                        backlog._room, clock.next_turn = room, LONG_TURN_SECONDS
                    return room(endpoint)

                backlog._room, clock.next_turn = rooms, 0.3
                process.late_answers["journal"] = 0.4
                self._publish(pair[0], 1, type="order.paid")

        self._publish(pair[0], 1, type="order.paid")
        asked.append(finding)
        await asyncio.sleep(5.0)
        if finding in asked:
            asked.remove(finding)
        for endpoint_id in pair:
            self._becomes(endpoint_id, "good")

    def _passed_on(self) -> Acts | None:
        endpoint_id = self._actor(ordered=self._random.random() < 0.3)
        return None if endpoint_id is None else self._passed_on_for(endpoint_id)

    async def _passed_on_for(self, endpoint_id: EndpointId) -> None:
        """A request runs for so long that it has a row, and its partition is about to be handed over; as it fails, the event is
        to go to another URL."""
        world = self._world
        world.flows[endpoint_id] = world.flows[endpoint_id]._replace(fallback=True)
        self._configure_for_few(endpoint_id)
        self._becomes(endpoint_id, "failing")
        world.targets.second_moods[endpoint_id] = "good"
        await self._sleep(0.2, 0.6)
        longer = 2.8 + 0.4 * self._random.random()
        world.targets.watched[endpoint_id] = lambda process, event_ids: longer
        self._publish(endpoint_id, 1, type="order.paid")
        await self._sleep(0.1, 0.2)
        self._second_at_hand()
        await asyncio.sleep(longer - 0.5)
        owner = self._owner(endpoint_id)
        if owner is not None and self._goes_on():
            owner.late_answers["journal"] = 0.6
            self._leave(owner)
        await asyncio.sleep(3.0)
        self._becomes(endpoint_id, "good")
