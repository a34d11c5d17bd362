"""What plots need: endpoints that suit them, and a hand on what happens to these."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final

from tests.simulation.filtering import NO_RULE, Rule
from tests.simulation.process import Process
from tests.simulation.scheduler import elsewhere
from tests.simulation.world import APPS, PLAIN, World

from posthouse.domain.delivery import Owed
from posthouse.domain.endpoint import OnExhausted, Ordering, RateLimit
from posthouse.domain.ids import AppId, EndpointId

NEWCOMERS_MAX: Final = 4  # endpoints that are made for plots
SLOW_PER_SECOND: Final = 1.0
LOOK_SECONDS: Final = 0.1

Acts = Coroutine[Any, Any, None]


class Stage:
    """`leave` hands a process's partitions over. `over`: the end has begun, in which all is well, and nobody makes it worse."""

    def __init__(self, world: World, draw: random.Random, *, leave: Callable[[Process], None]) -> None:
        self._world = world
        self._random = draw
        self._leave = leave
        self._newcomers: list[EndpointId] = []
        self.over = False

    def _goes_on(self) -> bool:
        return not self.over

    # Who plays

    def _endpoints(self, *, ordered: bool, slow: bool = False) -> list[EndpointId]:
        world = self._world
        return [
            endpoint_id
            for endpoint_id in world.changeable()
            if (world.flows[endpoint_id].ordering is not Ordering.NONE) is ordered
            and self._is_slow(endpoint_id) is slow
        ]

    def _is_slow(self, endpoint_id: EndpointId) -> bool:
        flow = self._world.flows[endpoint_id]
        return flow.rate_limit is not None and flow.rate_limit.per_second < SLOW_PER_SECOND and flow.batch is None

    def _some(self, endpoints: Sequence[EndpointId]) -> EndpointId | None:
        """One of them, preferably one that is owed nothing: what is before it in its lines would only be in the way."""
        owed = {row.endpoint_id for row in self._world.database.owed.values()}
        free = [endpoint_id for endpoint_id in endpoints if endpoint_id not in owed]
        return self._random.choice(free or endpoints) if endpoints else None

    def _actor(self, *, ordered: bool, slow: bool = False, among: Collection[AppId] | None = None) -> EndpointId | None:
        """An endpoint that is owed nothing, of one of these apps: one that was made for a plot before, a new one, or any."""
        world = self._world
        apps = [app_id for app_id in world.apps[:APPS] if among is None or app_id in among]
        if not apps:
            return None
        fits = [e for e in self._endpoints(ordered=ordered, slow=slow) if self._app_of(e) in apps]
        owed = {row.endpoint_id for row in world.database.owed.values()}
        free = [e for e in fits if e in self._newcomers and e not in owed]
        if free or len(self._newcomers) >= NEWCOMERS_MAX:
            return self._some(free or fits)
        ordering = self._random.choice((Ordering.KEY, Ordering.ENDPOINT)) if ordered else Ordering.NONE
        flow = PLAIN._replace(
            ordering=ordering,
            exhausts=self._random.choice((None, OnExhausted.SKIP)),
            rate_limit=RateLimit(SLOW_PER_SECOND / 2) if slow else None,
        )
        self._newcomers.append(world.make(self._random.choice(apps), flow))
        return self._newcomers[-1]

    async def _heir_of(self, process: Process, endpoint_id: EndpointId) -> Process | None:
        """Whoever serves an endpoint after this one, as soon as somebody does; None if nobody does for two seconds."""
        for _ in range(20):
            await asyncio.sleep(LOOK_SECONDS)
            owner = self._owner(endpoint_id)
            if owner is not None and owner is not process:
                return owner
        return None

    def _owner(self, endpoint_id: EndpointId) -> Process | None:
        """Whoever serves an endpoint, if all is well with it."""
        world = self._world
        owner = world.process(world.owner_of(endpoint_id))
        if owner is None or owner.dead or owner.stopped or owner.stalled or owner.session_lost:
            return None
        return owner

    def _app_of(self, endpoint_id: EndpointId) -> AppId:
        return self._world.database.endpoints[endpoint_id].app_id

    def _becomes(self, endpoint_id: EndpointId, mood: str) -> None:
        if self._goes_on():
            self._world.targets.moods[endpoint_id] = self._world.targets.second_moods[endpoint_id] = mood

    def _configure(
        self, endpoint_id: EndpointId, *, types: tuple[str, ...] = (), rule: Rule = NO_RULE, paused: bool = False
    ) -> None:
        """It has no batches and no rate from here on. At the end nobody opens again what is paused."""
        world = self._world
        if endpoint_id not in world.deleted and self._goes_on():
            if not self._is_slow(endpoint_id):
                world.flows[endpoint_id] = world.flows[endpoint_id]._replace(batch=None, rate_limit=None)
            world.filters[endpoint_id] = types
            world.rules[endpoint_id] = rule
            world.configure(endpoint_id, self._app_of(endpoint_id), paused=paused)

    def _configure_for_few(self, endpoint_id: EndpointId) -> None:
        """So that little else is sent to it."""
        self._configure(endpoint_id, types=("order.paid",), rule=Rule("quick:a"))

    def _publish(
        self, endpoint_id: EndpointId, count: int, *, key: str | None = "a", type: str = "order.created"
    ) -> None:
        elsewhere(self._world.publish(self._app_of(endpoint_id), count, types=(type,), keys=(key,)))

    def _disturb(self) -> None:
        self._world.disturbed = self._world.now()

    def _kill(self, process: Process) -> None:
        self._disturb()
        process.kill()
        if not self._world.serving():
            self._world.begin()

    def _second_at_hand(self) -> None:
        """Somebody is up by the time that a process is to leave: one that begins only then takes too long."""
        if len(self._world.serving()) < 2:
            self._disturb()
            self._world.begin()

    async def _sleep(self, least: float, most: float) -> None:
        await asyncio.sleep(least + self._random.random() * (most - least))

    def _rows(self, endpoint_id: EndpointId) -> list[Owed]:
        """What is owed to it, in order."""
        rows = [row for row in self._world.database.owed.values() if row.endpoint_id == endpoint_id]
        return sorted(rows, key=lambda row: row.seq)
