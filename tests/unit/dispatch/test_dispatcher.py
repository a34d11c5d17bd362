"""An event is offered to whom it reaches, but for what a predecessor recorded."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, cast

from tests.fakes import BOOT, FakeClock, ScriptedStore, an_endpoint, an_event, virtual_time
from tests.making import app_of, config

from posthouse.adapters.memory import MemoryDatabase, Step
from posthouse.dispatch.configs import Configs
from posthouse.dispatch.dispatcher import Dispatcher
from posthouse.dispatch.filtering import Filtering
from posthouse.dispatch.platform import PlatformRoutes
from posthouse.domain.delivery import Attempt, AttemptOutcome, Delivery, DeliveryClass, Effect, EffectKind, OwedReason
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.filters import Dialect
from posthouse.domain.ids import AppId, EndpointId, uuid7
from posthouse.domain.limits import PLATFORM_COPIES_MAX
from posthouse.domain.operations import OPERATIONS_APP
from posthouse.domain.platform_routes import PLATFORM_APP, PLATFORM_ROUTE, read_handover, stand_in
from posthouse.lane.budget import Budget
from posthouse.lane.lane import Load
from posthouse.lane.lanes import Lanes
from posthouse.ports.expressions import NO_EXPRESSIONS
from posthouse.send.peer import Peer
from posthouse.send.told import Told
from posthouse.settle.journal import Journal
from posthouse.settle.progress import Progress

ONE, TWO = an_endpoint(1).id, an_endpoint(2).id
APP = app_of(an_event())
ROUTE: Final = an_endpoint(9).id


class Handed:
    """A journal that keeps what is handed over."""

    def __init__(self) -> None:
        self.what: list[tuple[Delivery, Attempt, Effect]] = []

    def record(
        self, delivery: Delivery, attempt: Attempt, owed: None, *, effects: tuple[Effect], counted: bool
    ) -> None:
        assert (owed, counted) == (None, False)
        self.what.append((delivery, attempt, *effects))


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
        store = ScriptedStore(self.database)
        configs = Configs(store, clock, changed=lambda _: None)
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
        self.journal = Handed()
        self.platform = PlatformRoutes(store, clock, cast("Journal", self.journal))
        self.dispatcher = Dispatcher(
            configs, lanes, self.progress, clock, filtering, self.platform, give_up=self.give_up
        )

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
async def test_apps_that_leave_the_cache_as_the_others_are_loaded_are_loaded_again() -> None:
    desk = Desk()
    other = AppId(uuid7(1, 2))
    desk.database.put_app(other, partition=0)
    configs = desk.dispatcher._configs
    await configs.load([APP])
    left = 2

    async def leave(operation: str, step: Step) -> None:
        nonlocal left
        if operation == "apps" and left:
            left -= 1
            configs._routers.clear()

    desk.database.hook = leave
    event = an_event(1, app_id=None, audience=(APP, other), config_version=0)
    await desk.dispatcher.prepare([event])
    assert desk.dispatcher.ready(event)


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


# Platform routes


async def routing(desk: Desk, **listens_to: Any) -> Desk:
    """With a platform route, as every process knows it."""
    desk.database.put_endpoint(ROUTE, PLATFORM_APP, config(**listens_to))
    await desk.platform.load()
    return desk


def handed(desk: Desk) -> list[tuple[int, bytes]]:
    return [(attempt.seq, attempt.app_id) for _, attempt, _ in desk.journal.what]


def without_endpoints(desk: Desk) -> Desk:
    for endpoint_id in (ONE, TWO):
        desk.database.put_endpoint(endpoint_id, APP, config(), enabled=False)
    return desk


@virtual_time
async def test_what_no_endpoint_of_its_app_listens_to_is_handed_to_the_platform_routes() -> None:
    desk = await routing(without_endpoints(Desk()))
    assert await desk.dispatch(1) == []
    ((delivery, attempt, effect),) = desk.journal.what
    assert (delivery.event.seq, delivery.epoch, delivery.fresh, delivery.row) == (1, 7, True, False)
    assert (attempt.app_id, attempt.endpoint_id, attempt.event_id) == (APP, stand_in(APP), desk.event(1).id)
    assert (attempt.outcome, attempt.reason, attempt.sent) == (AttemptOutcome.DELIVERED, PLATFORM_ROUTE, False)
    assert (effect.kind, effect.partition, effect.reason) == (EffectKind.ROUTE, 0, desk.event(1).type)
    handover = read_handover(effect.data or b"")
    assert (handover.event, handover.app) == (desk.event(1).id, APP)
    assert desk.progress.deliveries == 1, "the cursor waits until it is on record"


@virtual_time
async def test_without_a_platform_route_that_listens_nothing_is_handed_over() -> None:
    desk = without_endpoints(Desk())
    await desk.platform.load()
    assert not desk.platform.on
    await desk.dispatch(1)
    await routing(desk, events=("nothing.*",))
    await desk.dispatch(2)
    desk.database.put_endpoint(ROUTE, PLATFORM_APP, config(), enabled=False)
    await desk.platform.load()
    assert not desk.platform.on
    await desk.dispatch(3)
    assert handed(desk) == []
    assert desk.progress.moved


@virtual_time
async def test_an_app_that_filters_an_event_out_has_an_endpoint_for_it() -> None:
    desk = Desk()
    desk.database.put_endpoint(ONE, APP, config(filters=(Dialect(exact={"type": "another"}),)))
    desk.database.delete_endpoint(TWO)
    await routing(desk)
    assert await desk.dispatch(1) == []
    assert handed(desk) == []
    desk.database.put_endpoint(ONE, APP, config(events=("another",), filters=(Dialect(exact={"type": "another"}),)))
    assert await desk.dispatch(2) == []
    assert handed(desk) == [(2, APP)], "its endpoint does not listen to the type"


@virtual_time
async def test_what_is_on_record_as_handed_over_is_not_handed_over_again_nor_delivered() -> None:
    desk = await routing(without_endpoints(Desk()))
    key = (EndpointId(APP), desk.event(1).id)
    desk.dispatcher.take(0, 2, {key})
    await desk.dispatch(1, 2)
    assert handed(desk) == [(2, APP)]
    assert desk.progress.moved, "the cursor passes the first"
    desk.dispatcher.take(0, 1, {key})
    desk.database.put_endpoint(ONE, APP, config())
    assert await desk.dispatch(1) == [], "what was decided is not decided again"


@virtual_time
async def test_an_app_that_gets_an_endpoint_is_not_handed_over_from_its_next_event_on() -> None:
    desk = await routing(without_endpoints(Desk()))
    await desk.dispatch(1)
    desk.database.put_endpoint(ONE, APP, config(), paused=True)
    assert await desk.dispatch(2) == [(2, ONE)]
    assert handed(desk) == [(1, APP)]


@virtual_time
async def test_nothing_of_a_reserved_app_or_for_one_endpoint_alone_is_handed_over() -> None:
    desk = await routing(without_endpoints(Desk()), events=("order.*",))
    for app_id in (PLATFORM_APP, OPERATIONS_APP):
        version = desk.database.apps[app_id].config_version
        event = an_event(1, app_id=app_id, config_version=version)
        await desk.dispatcher.prepare([event])
        desk.dispatcher.dispatch(event, 7)
    only = an_event(2, only=ONE, config_version=desk.database.apps[APP].config_version)
    await desk.dispatcher.prepare([only])
    desk.dispatcher.dispatch(only, 7)
    gone = AppId(bytes(15) + b"\x77")
    event = an_event(3, app_id=gone)
    await desk.dispatcher.prepare([event])
    desk.dispatcher.dispatch(event, 7)
    assert handed(desk) == []


@virtual_time
async def test_an_event_of_the_platform_is_handed_over_for_each_app_without_an_endpoint_up_to_a_bound() -> None:
    desk = await routing(Desk())
    bare = [AppId(bytes(14) + bytes([1, number])) for number in range(PLATFORM_COPIES_MAX + 2)]
    for app_id in bare:
        desk.database.put_app(app_id, partition=0)

    async def audience(seq: int, *apps: AppId) -> None:
        event = an_event(seq, app_id=None, audience=apps, config_version=0)
        await desk.dispatcher.prepare([event])
        desk.dispatcher.dispatch(event, 7)

    await audience(1, APP, *bare[:2])
    assert handed(desk) == [(1, bare[0]), (1, bare[1])]
    assert [d.endpoint_id for d in desk.offered] == [ONE, TWO]
    assert desk.progress.deliveries == 4
    assert len({effect.id for _, _, effect in desk.journal.what}) == 2
    desk.journal.what.clear()
    await audience(2)
    ((_, attempt, effect),) = desk.journal.what
    assert (attempt.app_id, read_handover(effect.data or b"").app) == (PLATFORM_APP, None)
    desk.journal.what.clear()
    await audience(3, *bare)
    assert len(handed(desk)) == PLATFORM_COPIES_MAX
    assert (desk.platform.handed, desk.platform.left_out) == (2 + 1 + PLATFORM_COPIES_MAX, 2)
    desk.journal.what.clear()
    desk.dispatcher.take(0, 4, {(EndpointId(PLATFORM_APP), an_event(4).id)})
    await audience(4)
    assert handed(desk) == []
