"""Scenes: some things that go wrong one after the other, which chance alone would hardly ever bring together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

from tests.simulation.process import Process
from tests.simulation.scheduler import elsewhere
from tests.simulation.world import World

from posthouse.domain.ids import EndpointId

SLOW_PER_SECOND: Final = 1.0
FLOOD_EVENTS: Final = 10  # for each app: more than its targets take at once
LOOK_UPS_LOST_MAX: Final = 2


class Scenes:
    """`leave` hands a process's partitions over; `without_session` has others think that it is dead."""

    def __init__(
        self,
        world: World,
        draw: random.Random,
        *,
        leave: Callable[[Process], None],
        without_session: Callable[[Process], Coroutine[Any, Any, None]],
    ) -> None:
        self._world = world
        self._random = draw
        self._leave = leave
        self._without_session = without_session
        self._look_ups_lost = 0
        world.looked_up = self.looked_up

    def flood(self) -> None:
        """All targets but those that are always well hang, and there is more for them than may be sent at once."""
        world = self._world
        for endpoint_id in world.changeable():
            world.targets.moods[endpoint_id] = world.targets.second_moods[endpoint_id] = "hanging"
        elsewhere(self._flooded())

    async def _flooded(self) -> None:
        for count in (FLOOD_EVENTS, 1, 1):
            for app_id in self._world.apps:
                elsewhere(self._world.publish(app_id, count))
            await asyncio.sleep(0.5 + self._random.random())

    def leave_as_it_sends(self) -> None:
        """A process hands over while it sends to a target with a slow rate, to which little else is sent just then."""
        world = self._world
        slow = [e for e in world.changeable() if self._is_slow(e)]
        if slow:
            elsewhere(self._left_as_it_sends(self._random.choice(slow)))

    def _is_slow(self, endpoint_id: EndpointId) -> bool:
        flow = self._world.flows[endpoint_id]
        state = self._world.database.endpoints[endpoint_id]
        limit = flow.rate_limit
        return (
            limit is not None
            and limit.per_second < SLOW_PER_SECOND
            and flow.batch is None
            and state.enabled
            and not state.paused
        )

    async def _left_as_it_sends(self, endpoint_id: EndpointId) -> None:
        world, draw = self._world, self._random
        world.targets.moods[endpoint_id] = "good"
        app_id = world.database.endpoints[endpoint_id].app_id
        for _ in range(draw.choice((4, 8))):
            elsewhere(world.publish(app_id, 1))
        await asyncio.sleep(2.5 + draw.random() * 2.0)  # what others get of these is on record
        world.targets.watched[endpoint_id] = self._sends

    def _sends(self, process: Process) -> float:
        """How much longer the request shall take that it makes now."""
        if not self._world.network.trouble or process.stopped or process.session_lost:
            return 0.0
        self._leave(process)
        return self._random.random() * 0.5

    def looked_up(self, process: Process) -> None:
        """A process asks whether an event may still be sent: the answer comes when its partition is another's."""
        world = self._world
        if (
            world.network.trouble
            and self._look_ups_lost < LOOK_UPS_LOST_MAX
            and not process.session_lost
            and not process.stopped
            and len(world.serving()) > 1
            and self._random.random() < world.weather.session / 10
        ):
            self._look_ups_lost += 1
            process.late_answers["covered"] = 3.0 + self._random.random() * 3.0
            world.disturbed = world.now()
            elsewhere(self._without_session(process))
