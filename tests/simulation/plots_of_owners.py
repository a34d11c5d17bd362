"""Plots about who owns what: leases that end sooner than their holder might think."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.simulation.process import Process
from tests.simulation.scheduler import elsewhere
from tests.simulation.stage import LOOK_SECONDS, Acts, Stage

from posthouse.domain.ids import EndpointId, EventId
from posthouse.domain.limits import LEASE_SECONDS
from posthouse.ports.clock import set_or_over


class PlotsOfOwners(Stage):
    """Each finds who plays in it, or nobody."""

    def _owners(self) -> list[Process]:
        """Whoever has partitions, and is well."""
        return [
            process
            for process in self._world.serving()
            if process.engine.ownership.epochs and not process.stalled and not process.session_lost
        ]

    def _succeeded(self) -> Acts | None:
        """Two have partitions: one of them is to die."""
        owners = self._owners()
        if len(owners) < 2:
            return None
        survivor, other = self._random.sample(owners, 2)
        return self._succeeded_by(survivor, other)

    async def _succeeded_by(self, survivor: Process, other: Process) -> None:
        """A process dies, and another one takes what it had, after it has waited for an answer for a while. Nothing arrives
        that it says of its own partitions: their leases end before that of those that it took."""
        world, seconds = self._world, 4.0 + 2.0 * self._random.random()
        if not self._goes_on():
            return
        self._kill(other)
        survivor.late_answers["processes"] = seconds
        survivor.cut_off = (frozenset({"attend", "renew", "journal"}), world.now() + 20.0)
        await asyncio.sleep(seconds + 1.0)
        if not self._goes_on():
            return
        self._disturb()
        world.begin()
        await asyncio.sleep(max(LEASE_SECONDS - seconds - 1.5, 0.0))
        await self._much_is_published()

    def _suspended(self) -> Acts | None:
        owners = self._owners()
        return self._suspended_after(self._random.choice(owners)) if owners else None

    async def _suspended_after(self, victim: Process) -> None:
        """A process that has just begun loses its session as it looks what it could take. It takes that, others take it for
        dead, and its session is back."""
        world, asked = self._world, asyncio.Event()
        self._kill(victim)
        world.begin()
        newcomer = world.processes[-1]
        newcomer.late_answers["processes"] = 0.4 + 0.3 * self._random.random()

        def looking(process: Process, args: Sequence[Any]) -> None:
            if process is newcomer:
                asked.set()

        world.asked["processes"].append(looking)
        await set_or_over(asked, 2.0)
        world.asked["processes"].remove(looking)
        await self._sleep(0.1, 0.3)
        newcomer.session_lost = True
        newcomer.disturbed()
        newcomer.engine.suspend()
        await self._sleep(1.2, 1.8)
        self._disturb()
        newcomer.session_lost = False
        if self._goes_on():
            await self._much_is_published()

    def _dialled(self) -> Acts | None:
        """Somebody has more partitions than is its share as soon as there is one process more."""
        world = self._world
        if len(world.serving()) >= len(world.database.partitions):
            return None
        for owner in self._owners():
            if len(owner.engine.ownership.epochs) > 1:
                first = min(owner.engine.ownership.epochs)  # which it hands over
                here = [app_id for app_id in world.apps if world.database.apps[app_id].partition == first]
                endpoint_id = self._actor(ordered=True, among=here)
                return None if endpoint_id is None else self._dialled_for(endpoint_id)
        return None

    async def _dialled_for(self, endpoint_id: EndpointId) -> None:
        """A request of an ordered line waits for its connection. A process joins and gets the partition, while its owner goes
        on with others; then the connection is there."""
        world = self._world
        self._configure(endpoint_id)
        self._becomes(endpoint_id, "good")
        await self._sleep(0.2, 0.6)
        world.connecting[endpoint_id] = 2.5 + self._random.random()
        self._publish(endpoint_id, 1)
        await self._sleep(0.2, 0.4)
        if self._goes_on():
            self._disturb()
            world.begin()
        await asyncio.sleep(4.0)
        world.connecting.pop(endpoint_id, None)

    def _outlived(self) -> Acts | None:
        endpoint_id = self._actor(ordered=False)
        return None if endpoint_id is None or len(self._owners()) < 2 else self._outlived_by(endpoint_id)

    async def _outlived_by(self, endpoint_id: EndpointId) -> None:
        """A request runs for so long that it has a row. Its process is taken for dead; whoever takes its partition is about to
        send it again as the answer comes, which takes a while to be put on record."""
        world, asked = self._world, asyncio.Event()
        self._configure(endpoint_id)
        await self._begins_to_send(endpoint_id, 4.6)
        await self._sleep(2.7, 2.9)
        owner = self._owner(endpoint_id)
        if owner is None or not self._goes_on():
            return

        def recovering(process: Process, args: Sequence[Any]) -> None:
            if process is not owner:
                process.late_questions["recover_in_flight"] = 2.0
                asked.set()

        world.asked["recover_in_flight"].append(recovering)
        owner.session_lost = True
        owner.disturbed()
        owner.engine.suspend()
        await set_or_over(asked, 1.5)
        world.asked["recover_in_flight"].remove(recovering)
        self._disturb()
        world.network.slow_commits["settle_late"] = 1.0 + self._random.random()
        owner.session_lost = False
        await asyncio.sleep(4.0)
        world.network.slow_commits.pop("settle_late", None)

    def _returned(self) -> Acts | None:
        endpoint_id = self._actor(ordered=False)
        return None if endpoint_id is None or len(self._owners()) < 2 else self._returned_to(endpoint_id)

    async def _returned_to(self, endpoint_id: EndpointId) -> None:
        """A request runs for so long that it is to have a row, which does not arrive. Its process is taken for dead. As the
        answer is put on record, which takes a while, all others die: the partition comes back to the one that still has the
        request in hand, and its event is routed anew."""
        world = self._world
        self._configure_for_few(endpoint_id)
        await self._begins_to_send(endpoint_id, 4.2, type="order.paid")
        await self._sleep(0.4, 0.6)
        sender = self._owner(endpoint_id)
        if sender is None or not self._goes_on():
            return
        await asyncio.sleep(1.3)
        sender.late_questions["journal"] = 6.0
        await asyncio.sleep(0.6)
        for other in world.serving():
            other.late_answers["newest_attempt"] = 6.0  # whoever takes the partition derives it no sooner
        sender.session_lost = True
        sender.disturbed()
        sender.engine.suspend()
        asked = world.asked["settle_late"]

        def settling(process: Process, args: Sequence[Any]) -> None:
            owner = self._owner(endpoint_id)
            mine = any(attempt.endpoint_id == endpoint_id for attempt, _, _ in args[0])
            if process is sender and mine and owner not in (None, sender):
                asked.remove(settling)
                process.late_answers["settle_late"] = 4.0 + 2.0 * self._random.random()
                process.late_answers.pop("newest_attempt", None)
                for other in world.serving():
                    if other is not sender:
                        self._kill(other)

        asked.append(settling)
        await self._heir_of(sender, endpoint_id)
        self._disturb()
        sender.session_lost = False
        await asyncio.sleep(3.0)
        if settling in asked:
            asked.remove(settling)
            return
        await asyncio.sleep(8.0)
        if len(world.serving()) < 2:
            world.begin()

    def _resent(self) -> Acts | None:
        endpoint_id = self._actor(ordered=False)
        return None if endpoint_id is None else self._resent_to(endpoint_id)

    async def _resent_to(self, endpoint_id: EndpointId) -> None:
        """What ran until it has a row is confirmed, and sent again as its end is in the store, before its owner has heard of
        that. Then nothing is done for a while; and once more, as others may have done something."""
        self._configure_for_few(endpoint_id)
        for _ in range(3):
            if self._goes_on():
                await self._ends_unheard(endpoint_id)

    async def _ends_unheard(self, endpoint_id: EndpointId) -> None:
        asked, ended = self._world.asked["journal"], asyncio.Event()

        def writing(process: Process, args: Sequence[Any]) -> None:
            mine = [event_id for _, settled, event_id in args[0].settled if settled == endpoint_id]
            if mine:
                asked.remove(writing)
                ended.set()
                process.late_answers["journal"] = 1.0 + 0.5 * self._random.random()
                elsewhere(self._sends_again(endpoint_id, mine[0]))

        asked.append(writing)
        await self._begins_to_send(endpoint_id, 2.4 + 0.4 * self._random.random(), type="order.paid")
        await set_or_over(ended, 5.0)
        if ended.is_set():
            await asyncio.sleep(4.5)
        else:
            asked.remove(writing)

    def _repeated(self) -> Acts | None:
        endpoint_id = self._actor(ordered=False)
        return None if endpoint_id is None else self._repeated_for(endpoint_id)

    async def _repeated_for(self, endpoint_id: EndpointId) -> None:
        """A request runs until it has a row. The connection dies as that is written, and it is written again; after the request
        has ended the first statement is carried out after all."""
        asked = self._world.asked["journal"]
        self._configure_for_few(endpoint_id)
        await self._begins_to_send(endpoint_id, 3.0, type="order.paid")

        def writing(process: Process, args: Sequence[Any]) -> None:
            if not args[0].attempts and any(owed.endpoint_id == endpoint_id for owed in args[0].owed):
                asked.remove(writing)
                process.overdue["journal"] = 2.5 + self._random.random()

        asked.append(writing)
        await asyncio.sleep(6.5)
        if writing in asked:
            asked.remove(writing)

    async def _sends_again(self, endpoint_id: EndpointId, event_id: EventId) -> None:
        await self._sleep(0.1, 0.3)
        if self._goes_on():
            self._world.resend_of(endpoint_id, event_id)

    async def _begins_to_send(self, endpoint_id: EndpointId, seconds: float, *, type: str = "order.created") -> None:
        """An event comes for a target that takes so long for it."""
        self._becomes(endpoint_id, "good")
        await self._sleep(0.2, 0.6)
        self._world.targets.watched[endpoint_id] = lambda process, event_ids: seconds
        self._publish(endpoint_id, 1, type=type)

    async def _much_is_published(self) -> None:
        for _ in range(40):
            for app_id in self._world.apps:
                elsewhere(self._world.publish(app_id, 1))
            await asyncio.sleep(LOOK_SECONDS)

    def _renewed(self) -> Acts | None:
        owners = self._owners()
        return self._renewed_by(self._random.choice(owners)) if owners else None

    async def _renewed_by(self, process: Process) -> None:
        """The answer to its renewal comes very late, and nothing arrives any more that the process says of its partitions: they
        are another's sooner than it might think."""
        world, asked = self._world, asyncio.Event()

        def renewing(asker: Process, args: Sequence[Any]) -> None:
            if asker is process and not asked.is_set():
                process.cut_off = (frozenset({"attend", "journal"}), world.now() + 20.0)
                asked.set()

        process.late_answers["renew"] = 5.0 + 2.0 * self._random.random()
        world.asked["renew"].append(renewing)
        await set_or_over(asked, LEASE_SECONDS / 2)
        world.asked["renew"].remove(renewing)
        if not asked.is_set() or not self._goes_on():
            return
        self._disturb()
        self._second_at_hand()
        await asyncio.sleep(LEASE_SECONDS - 0.5)
        await self._much_is_published()
