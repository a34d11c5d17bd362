"""Plots: what it takes several acts to bring about, one after the other, with the right endpoint and at the right time.

Each is a story that happens in life: of a process that dies as its lines are half written, of a target that answers when its
partition has moved on, of an operator who changes something just then. What comes of it the checker judges, as always.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from tests.simulation.filtering import FILTERING_SECONDS, Rule
from tests.simulation.memory import SOCKETS_MAX, limit
from tests.simulation.plots_of_owners import PlotsOfOwners
from tests.simulation.plots_of_pages import PlotsOfPages
from tests.simulation.plots_of_rates import PlotsOfRates
from tests.simulation.process import Process
from tests.simulation.scheduler import elsewhere
from tests.simulation.stage import LOOK_SECONDS, NEWCOMERS_MAX, Acts
from tests.simulation.world import APPS, PLAIN, World

from posthouse.domain.endpoint import OnExhausted
from posthouse.domain.ids import EndpointId, EventId
from posthouse.domain.limits import LEASE_SECONDS
from posthouse.ports.clock import set_or_over

PLOT_MAX: Final = 2  # of each kind in a history
DEMANDING: Final = frozenset({"cancelled", "held_up", "come_back", "succeeded", "suspended", "returned"})
"""Seldom is everybody there, or does it come off: they have precedence."""

SMALL: Final = 8  # a lane that has no room for more is filled on purpose


class Plots(PlotsOfOwners, PlotsOfPages, PlotsOfRates):
    """`leave` hands a process's partitions over. One is played at a time, so that none spoils another."""

    def __init__(self, world: World, draw: random.Random, *, leave: Callable[[Process], None]) -> None:
        super().__init__(world, draw, leave=leave)
        self._played: Counter[str] = Counter()
        self.playing = False
        self._casts: dict[str, Callable[[], Acts | None]] = {
            "rerouted": self._rerouted,
            "held_up": self._held_up,
            "come_back": self._come_back,
            "widened": self._widened,
            "cancelled": self._cancelled,
            "joined": self._joined,
            "overlapped": self._overlapped,
            "credited": self._credited,
            "succeeded": self._succeeded,
            "renewed": self._renewed,
            "probed": self._probed,
            "suspended": self._suspended,
            "flooded": self._flooded,
            "dialled": self._dialled,
            "outlived": self._outlived,
            "returned": self._returned,
            "resent": self._resent,
            "repeated": self._repeated,
            "announced": self._announced,
            "opened": self._opened,
            "let_go": self._let_go,
            "passed_on": self._passed_on,
        }

    def play(self) -> None:
        """One of those of this history for which everybody is there."""
        plots = [name for name in self._world.weather.plots if self._played[name] < PLOT_MAX]
        self._random.shuffle(plots)
        if self._random.random() < 0.5:
            plots.sort(key=lambda name: name not in DEMANDING)
        for name in plots:
            if self.playing or not self._goes_on():
                return
            if (acts := self._casts[name]()) is not None:
                self._played[name] += 1
                self._world.checker.note("plot", name)
                self.playing = True
                elsewhere(self._acted(acts))

    async def _acted(self, acts: Acts) -> None:
        try:
            await acts
        finally:
            self.playing = False

    # Each finds who plays in it, or nobody

    def _rerouted(self) -> Acts | None:
        endpoint_id = self._actor(ordered=True)
        return None if endpoint_id is None else self._rerouted_with(endpoint_id)

    async def _rerouted_with(self, endpoint_id: EndpointId) -> None:
        """An event is under way, those behind it are rows, as their endpoint was paused; their owner dies. Whether the first
        reaches the endpoint is asked again, which takes a while. Meanwhile the endpoint is opened: its rows are due."""
        world, rule = self._world, Rule("late:a")
        world.filtering_seconds = 0.03
        try:
            self._configure(endpoint_id, rule=rule)
            self._becomes(endpoint_id, "hanging")
            self._publish(endpoint_id, 1)
            await self._sleep(0.3, 0.5)
            self._configure(endpoint_id, rule=rule, paused=True)
            self._publish(endpoint_id, 2)
            await self._sleep(0.4, 0.9)
            owner = self._owner(endpoint_id)
            self._becomes(endpoint_id, "good")
            if owner is not None and self._goes_on():
                world.filtering_seconds = 1.9  # as long as an event waits
                self._kill(owner)
                if len(world.serving()) < 2:
                    world.begin()
            self._configure(endpoint_id, rule=rule)
            await asyncio.sleep(4.0)
        finally:
            world.filtering_seconds = FILTERING_SECONDS

    def _held_up(self) -> Acts | None:
        small = limit("posthouse.lane.lane.LANE_FRESH_MAX") <= SMALL >= limit("posthouse.lane.lane.LANE_PAGED_MAX")
        endpoint_id = self._actor(ordered=True) if small else None
        return None if endpoint_id is None else self._held_up_with(endpoint_id)

    async def _held_up_with(self, endpoint_id: EndpointId) -> None:
        """A process lost its session for a moment, and its renewals do not arrive: for a while it sends nothing. More comes to
        an ordered endpoint than its lane holds, in memory and of rows."""
        self._configure(endpoint_id)
        self._becomes(endpoint_id, "good")
        await self._sleep(0.5, 1.0)
        owner = self._owner(endpoint_id)
        if owner is None or not self._goes_on():
            return
        owner.engine.suspend()
        owner.disturbed()
        owner.cut_off = (frozenset({"attend", "renew"}), self._world.now() + 3.0 + self._random.random())
        self._publish(endpoint_id, limit("posthouse.lane.lane.LANE_FRESH_MAX"))
        for _ in range(limit("posthouse.lane.lane.LANE_PAGED_MAX") + 4):
            await self._sleep(0.05, 0.2)
            self._publish(endpoint_id, 1)
        await asyncio.sleep(2.0)
        owner.disturbed()

    def _come_back(self) -> Acts | None:
        world = self._world
        owners = [(process, process.engine.ownership.epochs) for process in world.serving() if not process.stalled]
        first = {min(epochs) for process, epochs in owners if len(epochs) > 1}  # which goes to one who joins
        apps = [app_id for app_id in world.apps if world.database.apps[app_id].partition in first]
        endpoint_id = self._actor(ordered=False, among=apps)
        return None if endpoint_id is None else self._come_back_with(endpoint_id)

    async def _come_back_with(self, endpoint_id: EndpointId) -> None:
        """A partition is handed over while a request is under way, which fails. As that is put on record, the new owner dies:
        the partition comes back to who still has the request in hand."""
        world = self._world
        self._configure_for_few(endpoint_id)
        self._becomes(endpoint_id, "good")
        longer = 3.0 + self._random.random()
        senders: list[Process] = []
        began = asyncio.Event()

        def begins(process: Process, event_ids: Sequence[EventId]) -> float:
            self._becomes(endpoint_id, "failing")
            senders.append(process)
            began.set()
            return longer

        world.targets.watched[endpoint_id] = begins
        await self._sleep(0.2, 0.6)
        self._publish(endpoint_id, 1, type="order.paid")
        await set_or_over(began, 2.0)
        if not senders or self._owner(endpoint_id) is not senders[0] or not self._goes_on():
            return
        sender = senders[0]
        await asyncio.sleep(LOOK_SECONDS)
        self._becomes(endpoint_id, "good")
        self._disturb()
        world.begin()
        asked = world.asked["settle_late"]

        def settling(process: Process, args: Sequence[Any]) -> None:
            results = [(attempt, owed) for attempt, owed, _ in args[0] if attempt.endpoint_id == endpoint_id]
            owner = self._owner(endpoint_id)
            if process is sender and results and results[0][1] is not None and owner not in (None, sender):
                assert owner is not None
                asked.remove(settling)
                process.late_answers["settle_late"] = 4.0 + 2.0 * self._random.random()
                self._kill(owner)

        asked.append(settling)
        await asyncio.sleep(longer + 1.0)
        if settling in asked:
            asked.remove(settling)
            return
        await asyncio.sleep(8.0)
        if len(world.serving()) < 2:
            world.begin()

    def _widened(self) -> Acts | None:
        beside = {self._app_of(e): e for e in self._endpoints(ordered=False)}
        endpoint_id = self._actor(ordered=True, among=beside)
        return None if endpoint_id is None else self._widened_with(endpoint_id, beside[self._app_of(endpoint_id)])

    async def _widened_with(self, endpoint_id: EndpointId, beside: EndpointId) -> None:
        """A partition is handed over while an ordered endpoint has a request under way, and events before that one wait for
        another target. As they are routed anew, the endpoint gets them, too: its configuration has changed."""
        world = self._world
        self._configure(endpoint_id, types=("order.paid",))
        self._configure(beside)
        self._becomes(endpoint_id, "good")
        self._becomes(beside, "hanging")
        await self._sleep(0.2, 0.6)
        longer = 3.0 + 2.0 * self._random.random()
        world.targets.watched[endpoint_id] = lambda process, event_ids: longer
        self._publish(beside, 2 + world.concurrency_max)
        await self._sleep(0.1, 0.2)
        self._publish(endpoint_id, 1, type="order.paid")
        await self._sleep(0.2, 0.8)
        owner = self._owner(endpoint_id)
        if owner is not None and self._goes_on():
            self._configure(endpoint_id)
            self._leave(owner)
        await asyncio.sleep(longer)
        self._becomes(beside, "good")

    def _joined(self) -> Acts | None:
        endpoint_id = self._actor(ordered=True)
        return None if endpoint_id is None else self._joined_with(endpoint_id)

    async def _joined_with(self, endpoint_id: EndpointId) -> None:
        """An ordered line has a row, which is due. While the page with it is on its way, another event joins the line: the page
        has that, too, and is there before the journal hears that it has written it."""
        world = self._world
        self._configure_for_few(endpoint_id)
        self._becomes(endpoint_id, "failing")
        await self._sleep(0.2, 0.6)
        self._publish(endpoint_id, 1, type="order.paid")
        page_seconds = 0.4 + 0.3 * self._random.random()
        asked = world.asked

        def paging(process: Process, args: Sequence[Any]) -> None:
            due = [row for row in self._rows(endpoint_id) if row.due_at <= process.clock.now()]
            if due and endpoint_id in {want.endpoint_id for want in args[0] if due[0].event_id not in want.held}:
                asked["page"].remove(paging)
                asked["journal"].append(writing)
                process.late_questions["page"] = page_seconds
                self._becomes(endpoint_id, "good")
                world.targets.watched[endpoint_id] = self._takes_longer_after(endpoint_id, due[0].event_id)
                self._publish(endpoint_id, 1, type="order.paid")

        def writing(process: Process, args: Sequence[Any]) -> None:
            if any(owed.endpoint_id == endpoint_id for owed in args[0].owed):
                asked["journal"].remove(writing)
                process.late_answers["journal"] = page_seconds + 0.3 * self._random.random()

        asked["page"].append(paging)
        await asyncio.sleep(5.0)
        for statement, told in (("page", paging), ("journal", writing)):
            if told in asked[statement]:
                asked[statement].remove(told)
        self._becomes(endpoint_id, "good")

    def _takes_longer_after(
        self, endpoint_id: EndpointId, first: EventId
    ) -> Callable[[Process, Sequence[EventId]], float]:
        def starts(process: Process, event_ids: Sequence[EventId]) -> float:
            if first in event_ids:
                self._world.targets.watched[endpoint_id] = starts
                return 0.0
            return 1.5

        return starts

    def _flooded(self) -> Acts | None:
        """Only where few sockets are shared by all, and who is well need not wait for other reasons, such as rows of its own:
        these have three quarters of the sockets at most, and what hangs may hold as many."""
        world = self._world
        owners = self._owners()
        if world.sockets_max > SOCKETS_MAX or world.canary_seconds > LEASE_SECONDS or not owners:
            return None
        if any(row.endpoint_id in world.canaries for row in world.database.owed.values()):
            return None
        most = max(owners, key=lambda process: len(process.engine.ownership.epochs))
        here = [a for a in world.apps[:APPS] if world.database.apps[a].partition in most.engine.ownership.epochs]
        while here and len(self._newcomers) < NEWCOMERS_MAX + 4:
            self._newcomers.append(world.make(self._random.choice(here), PLAIN._replace(exhausts=OnExhausted.SKIP)))
        return self._flooded_by(world.changeable())

    async def _flooded_by(self, endpoints: Sequence[EndpointId]) -> None:
        """More targets hang than there are sockets, for as long as a request may take, and there is ever more for them."""
        for endpoint_id in endpoints:
            self._becomes(endpoint_id, "hanging")
        for turn in range(22):
            for app_id in self._world.apps:
                elsewhere(self._world.publish(app_id, 1 if turn else 10))
            await asyncio.sleep(0.5)
            if not self._goes_on():
                return
        for endpoint_id in endpoints:
            self._becomes(endpoint_id, "good")

    def _announced(self) -> Acts | None:
        endpoint_id = self._actor(ordered=False)
        return None if endpoint_id is None else self._announced_to(endpoint_id)

    async def _announced_to(self, endpoint_id: EndpointId) -> None:
        """An endpoint takes more types than before, and the platform publishes one of those at once."""
        world = self._world
        world.grant(self._app_of(endpoint_id))
        self._configure(endpoint_id, types=("order.paid",))
        self._becomes(endpoint_id, "good")
        await self._sleep(0.4, 0.8)
        elsewhere(world.publish(None, 1, types=("order.paid",)))
        await self._sleep(0.2, 0.5)
        self._configure(endpoint_id)
        for _ in range(4):
            if self._goes_on():
                elsewhere(world.publish(None, 1, types=("order.created",)))
            await self._sleep(0.0, 0.02)

    def _probed(self) -> Acts | None:
        endpoint_id = self._actor(ordered=self._random.random() < 0.3)
        return None if endpoint_id is None else self._probed_with(endpoint_id)

    async def _probed_with(self, endpoint_id: EndpointId) -> None:
        """A target is down until its circuit is open. As it is asked whether it is well, that fails for a fault of ours."""
        self._configure(endpoint_id)
        self._becomes(endpoint_id, "failing")
        for _ in range(4):
            await self._sleep(0.2, 0.4)
            self._publish(endpoint_id, 3, key=None)
        await self._sleep(0.2, 0.6)
        self._becomes(endpoint_id, "broken")
        await self._sleep(2.0, 3.0)
        self._becomes(endpoint_id, "good")
        await asyncio.sleep(3.0)
