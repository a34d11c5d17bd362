"""Scenes: some things that go wrong one after the other, which chance alone would hardly ever bring together."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from tests.simulation.process import Process
from tests.simulation.scheduler import elsewhere
from tests.simulation.world import DELETED_MAX, World

from posthouse.domain.ids import EndpointId, EventId
from posthouse.domain.limits import LEASE_SECONDS

SLOW_PER_SECOND: Final = 1.0
FLOOD_EVENTS: Final = 10  # for each app: more than its targets take at once
LOOK_UPS_LOST_MAX: Final = 2
SCENE_MAX: Final = 2  # of each kind in a history


class Scenes:
    """`leave` hands a process's partitions over; `without_session` has others think that it is dead."""

    def __init__(
        self,
        world: World,
        draw: random.Random,
        more: random.Random,
        *,
        leave: Callable[[Process], None],
        without_session: Callable[[Process], Coroutine[Any, Any, None]],
    ) -> None:
        self._world = world
        self._random = draw
        self._leave = leave
        self._without_session = without_session
        self._look_ups_lost = 0
        self._more = more
        self.over = False
        self._left: Counter[str] = Counter(
            dict.fromkeys(("returning", "orphaning", "claiming", "loading", "asking"), SCENE_MAX)
        )
        self._left["overtaken"] = 2 * SCENE_MAX
        for statement, told in {
            "covered": self._looked_up,
            "page": self._overtaken,
            "apps": self._loading,
            "settle_late": self._settling_late,
            "claim": self._claiming,
        }.items():
            world.asked[statement].append(told)

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

    def _sends(self, process: Process, event_ids: Sequence[EventId]) -> float:
        """How much longer the request shall take that it makes now."""
        if not self._world.network.trouble or process.stopped or process.session_lost:
            return 0.0
        self._leave(process)
        return self._random.random() * 0.5

    def _plays(self, scene: str, chance: float) -> bool:
        """Whether it is played now: each so often at most."""
        if self.over or self._left[scene] <= 0 or self._more.random() >= chance:
            return False
        self._left[scene] -= 1
        self._world.checker.note("scene", scene)
        return True

    def send_again_unlooked(self) -> None:
        """Something is sent again, and the store is away as its owner looks what it is; nobody else says that it is there."""
        world = self._world
        settled = [k for k in world.checker.confirmed if k[0] not in world.deleted and k[1] in world.database.positions]
        if settled:
            endpoint_id, event_id = self._more.choice(settled)
            owner = world.process(world.owner_of(endpoint_id))
            if owner is not None:
                owner.unheard["owed_endpoints"] = 1
            world.resend_of(endpoint_id, event_id)

    def joins(self) -> None:
        """Somebody joins: others hand over to it while what they have to write is on its way."""
        if not self.over and self._world.weather.returning:
            for process in self._world.serving():
                process.late_questions["journal"] = 0.5 + self._more.random()

    def _overtaken(self, process: Process, args: Sequence[Any]) -> None:
        """A page takes a while to be read. Meanwhile rows come that memory speaks for, the clock is set back, an endpoint is
        deleted; and it is there before the journal hears that it has written the rows."""
        world, more = self._world, self._more
        mine = sorted({want.endpoint_id for want in args[0]}.intersection(world.changeable()))
        if not mine or not self._plays("overtaken", world.weather.overtaken):
            return
        seconds = 0.3 + more.random()
        process.late_questions["page"] = seconds
        process.late_answers["journal"] = seconds + more.random()
        endpoint_id = more.choice(mine)
        world.targets.moods[endpoint_id] = world.targets.second_moods[endpoint_id] = "failing"
        for _ in range(3):
            elsewhere(world.publish(world.database.endpoints[endpoint_id].app_id, 1))
        if world.weather.skew:
            process.clock.skew = -world.weather.skew
        elif world.weather.configure and more.random() < 0.3:
            elsewhere(self._deleted_in(more.random() * 0.2, endpoint_id))

    async def _deleted_in(self, seconds: float, endpoint_id: EndpointId) -> None:
        await asyncio.sleep(seconds)
        self._world.delete(endpoint_id)

    def _loading(self, process: Process, args: Sequence[Any]) -> None:
        """The answer comes late, and there has been another change by then."""
        world, more = self._world, self._more
        mine = [e for e in world.changeable() if world.database.endpoints[e].app_id in args[0]]
        if mine and self._plays("loading", world.weather.loading):
            process.late_answers["apps"] = 1.0 + more.random()
            elsewhere(self._changed_in(0.05 + more.random() * 0.3, more.choice(mine)))

    async def _changed_in(self, seconds: float, endpoint_id: EndpointId) -> None:
        world = self._world
        await asyncio.sleep(seconds)
        if endpoint_id not in world.deleted and not self.over:  # at the end nobody opens again what is paused
            state = world.database.endpoints[endpoint_id]
            world.configure(endpoint_id, state.app_id, paused=self._more.random() < 0.5)

    def _settling_late(self, process: Process, args: Sequence[Any]) -> None:
        world, more = self._world, self._more
        results = [late[0] for late in args[0]]
        endpoint_id = results[0].endpoint_id
        owner = world.process(world.owner_of(endpoint_id))
        if owner is None or owner is process or owner.dead or owner.stopped:
            return
        if (
            endpoint_id in world.changeable()
            and len(world.deleted) < DELETED_MAX
            and self._plays("orphaning", world.weather.orphaning)
        ):
            # It is deleted, which its owner finds out, and then the late answer is put on record, before the owner writes.
            world.delete(endpoint_id)
            process.late_questions["settle_late"] = 0.1 + more.random() * 0.6
            owner.late_questions["journal"] = 0.5 + more.random()
        elif not process.stopped and not process.session_lost and self._plays("returning", world.weather.returning):
            # Its owner dies, and the partition comes back before the answer does.
            process.late_answers["settle_late"] = 4.0 + more.random() * 4.0
            world.disturbed = world.now()
            owner.kill()
            elsewhere(self._begun_in(4.0))

    async def _begun_in(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._world.disturbed = self._world.now()
        self._world.begin()

    def _claiming(self, process: Process, args: Sequence[Any]) -> None:
        """After a claim no renewal arrives; what it owned before is free the sooner, the longer ago that was renewed."""
        world, more, ownership = self._world, self._more, process.engine.ownership
        left = ownership._renew_at - process.clock.boot()
        doubtful = [p for p in world.serving() if p.session_lost and p.owner in args[-1]["dead"]]
        if doubtful and self._plays("claiming", world.weather.claiming):
            # Whoever was seen dead has its session back, and its leases renewed, before the claim arrives.
            process.late_questions["claim"] = 2.5 + more.random() * 2.0
            elsewhere(self._published_in(2.0))
            return
        if ownership.epochs and 0.0 < left < 1.3 and self._plays("claiming", world.weather.claiming):
            world.disturbed = world.now()
            elsewhere(self._cut_off_after_claim(process))

    async def _cut_off_after_claim(self, process: Process) -> None:
        world = self._world
        process.cut_off = (frozenset({"attend", "renew", "journal"}), world.now() + 20.0)
        if len(world.serving()) < 2:
            world.begin()
        await self._published_in(LEASE_SECONDS - 2.5)

    async def _published_in(self, seconds: float) -> None:
        world = self._world
        await asyncio.sleep(seconds)
        for _ in range(40):
            for app_id in world.apps:
                elsewhere(world.publish(app_id, 1))
            await asyncio.sleep(0.1)

    def _looked_up(self, process: Process, args: Sequence[Any]) -> None:
        """A process asks whether an event may still be sent: the answer comes when its partition is another's, who took it, or
        to whom it was handed over."""
        world = self._world
        if not process.stopped and self._plays("asking", world.weather.hand_over / 10):
            process.late_answers["covered"] = 1.0 + self._more.random()
            self._leave(process)
        elif (
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
