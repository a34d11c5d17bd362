"""An event is offered to whom it reaches, but for what a predecessor recorded."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from tests.fakes import BOOT, FakeClock, ScriptedStore, an_endpoint, an_event, virtual_time
from tests.making import app_of, config

from posthouse.adapters.memory import MemoryDatabase, Step
from posthouse.dispatch.configs import Configs
from posthouse.dispatch.dispatcher import Dispatcher
from posthouse.dispatch.filtering import Filtering
from posthouse.domain.delivery import Delivery, DeliveryClass, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Load
from posthouse.lane.lanes import Lanes
from posthouse.ports.expressions import NO_EXPRESSIONS
from posthouse.send.peer import Peer
from posthouse.send.told import Told
from posthouse.settle.progress import Progress

ONE, TWO = an_endpoint(1).id, an_endpoint(2).id
APP = app_of(an_event())


class Desk:
    """A dispatcher over lanes that spill all they are offered."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.database = MemoryDatabase(clock=clock.now, partitions=2)
        self.database.put_app(APP, partition=0)
        for endpoint_id in (ONE, TWO):
            self.database.put_endpoint(endpoint_id, APP, config(), paused=True)
        self.offered: list[Delivery] = []
        self.progress = Progress()
        self.progress.take(0)
        configs = Configs(ScriptedStore(self.database), clock, changed=lambda _: None)
        lanes = Lanes(
            Budget(),
            clock,
            send=self.send,
            may_start=lambda: True,
            may_spill=lambda: True,
            spill=self.spill,
            release=self.offered.append,
            mark_in_flight=lambda *_: None,
            hand_over=lambda *_: None,
            drained=lambda _: None,
        )
        filtering = Filtering(
            NO_EXPRESSIONS,
            configs,
            self.progress,
            clock,
            offer=lambda *what: self.dispatcher.offer(*what),
            skip=lambda *what: self.dispatcher.skip(*what),
            moved=lambda: None,
            has_room=lambda: True,
            spawn=self.spawn,
        )
        self.dispatcher = Dispatcher(configs, lanes, self.progress, clock, filtering, give_up=self.give_up)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        raise AssertionError(work)

    def give_up(self, *what: object) -> None:
        raise AssertionError(what)

    async def send(self, _: Peer, load: Load) -> Told:
        raise AssertionError(load)

    def spill(self, delivery: Delivery, _: Endpoint, reason: OwedReason) -> None:
        self.offered.append(delivery)

    def event(self, seq: int) -> Event:
        return an_event(seq, config_version=self.database.apps[APP].config_version)

    async def dispatch(self, *seqs: int) -> list[tuple[int, bytes]]:
        self.offered.clear()
        for seq in seqs:
            event = self.event(seq)
            if not self.dispatcher.ready(event):
                await self.dispatcher.prepare([event])
            self.dispatcher.dispatch(event, 7)
        return [(d.event.seq, d.endpoint_id) for d in self.offered]


@virtual_time
async def test_every_endpoint_it_reaches_is_offered_the_event() -> None:
    desk = Desk()
    assert await desk.dispatch(1) == [(1, ONE), (1, TWO)]
    assert desk.progress.deliveries == 2
    (first, _) = desk.offered
    assert (first.epoch, first.number, first.kind) == (7, 1, DeliveryClass.LIVE)
    assert (first.fresh, first.row, first.offered_at) == (True, False, BOOT)


@virtual_time
async def test_many_events_are_made_ready_with_one_load() -> None:
    desk = Desk()
    events = [desk.event(seq) for seq in range(1, 50)]
    loads = 0

    async def hook(operation: str, step: Step) -> None:
        nonlocal loads
        loads += operation == "apps"

    desk.database.hook = hook
    await desk.dispatcher.prepare(events)
    await desk.dispatcher.prepare(events)
    assert loads == 1
    assert all(desk.dispatcher.ready(event) for event in events)


@virtual_time
async def test_what_is_on_record_is_left_out_up_to_where_the_record_was_read() -> None:
    desk = Desk()
    recorded = {(ONE, desk.event(1).id), (ONE, desk.event(2).id), (TWO, desk.event(2).id), (ONE, desk.event(4).id)}
    desk.dispatcher.take(0, 3, recorded)
    assert await desk.dispatch(1, 2, 3) == [(1, TWO), (3, ONE), (3, TWO)]
    assert desk.progress.moved, "the cursor may pass an event all of which is on record"
    assert desk.dispatcher._recorded == {}, "the record is not kept"
    assert await desk.dispatch(4) == [(4, ONE), (4, TWO)]


@virtual_time
async def test_a_lost_partitions_record_is_dropped() -> None:
    desk = Desk()
    desk.dispatcher.take(0, 3, {(ONE, desk.event(1).id)})
    desk.dispatcher.drop({0})
    assert len(await desk.dispatch(1)) == 2
