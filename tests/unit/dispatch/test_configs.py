"""Routing configuration is as new as the event asks, and what changed is told, however loads overtake each other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from tests.fakes import EPOCH, FakeClock, ScriptedStore, an_app, an_endpoint, until, virtual_time

from posthouse.adapters.memory import MemoryDatabase
from posthouse.dispatch.configs import Configs
from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.grant import Shrinkage
from posthouse.domain.ids import AppId, EndpointId

APP = an_app().app_id


class AppsStore(ScriptedStore):
    """Apps as the test sets them; a load sees them as it begins, and ends when `slow` is set."""

    def __init__(self) -> None:
        super().__init__(MemoryDatabase(clock=FakeClock().now, partitions=2))
        self.configs: dict[AppId, AppConfig] = {}
        self.loads: list[list[AppId]] = []
        self.slow = asyncio.Event()
        self.slow.set()
        self.deleted: set[EndpointId] = set()

    def put(self, *configs: AppConfig) -> None:
        self.configs |= {config.app_id: config for config in configs}

    async def apps(self, app_ids: Collection[AppId]) -> list[AppConfig]:
        self.loads.append(list(app_ids))
        slow = self.slow
        found = [self.configs[app_id] for app_id in app_ids if app_id in self.configs]
        await slow.wait()
        return found

    async def changed_apps(self, partition: int, *, since_version: int) -> tuple[int, list[AppId]]:
        changed = [c for c in self.configs.values() if c.partition == partition and c.version > since_version]
        return max((c.version for c in changed), default=since_version), [c.app_id for c in changed]

    async def endpoint_apps(self, endpoint_ids: Collection[EndpointId]) -> dict[EndpointId, AppId]:
        return {
            e.id: config.app_id
            for config in self.configs.values()
            for e in config.endpoints
            if e.id in endpoint_ids and e.id not in self.deleted
        }


class Desk:
    def __init__(self, limit: int = 100) -> None:
        self.store = AppsStore()
        self.told: list[Endpoint] = []
        self.only: list[tuple[Collection[AppId], Collection[EndpointId]]] = []
        self.shrunk: list[AppConfig] = []
        self.configs = Configs(
            self.store,
            FakeClock(),
            changed=self.changed,
            only=lambda apps, endpoints: self.only.append((apps, endpoints)),
            shrunk=self.shrunk.append,
            limit=limit,
        )

    def changed(self, endpoints: Sequence[Endpoint]) -> None:
        self.told += endpoints


@virtual_time
async def test_an_event_waits_for_a_version_as_new_as_its_own() -> None:
    desk = Desk()
    desk.store.put(an_app(an_endpoint(1), version=3))
    assert desk.configs.router(APP, 3) is None
    await desk.configs.load([APP])
    router = desk.configs.router(APP, 3)
    assert router is not None
    assert desk.configs.router(APP, 2) is router
    assert desk.configs.router(APP, 4) is None
    assert desk.configs.known(APP) is router


@virtual_time
async def test_an_app_that_is_gone_routes_to_nobody_and_is_not_asked_for_again() -> None:
    desk = Desk()
    await desk.configs.load([APP])
    router = desk.configs.router(APP, 10**9)
    assert router is not None
    assert router.route("order.created", ()) == ()


@virtual_time
async def test_an_older_state_never_replaces_a_newer_one() -> None:
    desk = Desk()
    desk.store.put(an_app(version=1))
    desk.store.slow.clear()
    early = asyncio.create_task(desk.configs.load([APP]))
    await until(lambda: len(desk.store.loads) == 1)
    desk.store.slow.set()
    desk.store.put(an_app(version=2))
    loaded = await desk.configs.load([APP])
    assert loaded[APP].config.version == 2
    assert (await early)[APP].config.version == 2


@virtual_time
async def test_nor_does_it_where_the_newer_one_would_have_left_the_cache() -> None:
    desk = Desk(limit=1)
    desk.store.put(an_app(version=1), an_app(number=2))
    desk.store.slow = held = asyncio.Event()
    early = asyncio.create_task(desk.configs.load([APP]))
    await until(lambda: len(desk.store.loads) == 1)
    desk.store.slow = asyncio.Event()
    desk.store.slow.set()
    desk.store.put(an_app(version=2))
    await desk.configs.load([APP])
    await desk.configs.load([an_app(number=2).app_id])
    held.set()
    assert (await early)[APP].config.version == 2
    await desk.configs.load([an_app(number=2).app_id])
    assert desk.configs.router(APP) is None, "then it leaves"


@virtual_time
async def test_the_least_recently_used_leaves() -> None:
    desk = Desk(limit=3)
    apps = [an_app(number=n) for n in range(1, 6)]
    desk.store.put(*apps)
    await desk.configs.load([a.app_id for a in apps[:3]])
    assert desk.configs.router(apps[0].app_id) is not None  # used
    await desk.configs.load([apps[3].app_id])
    known = [desk.configs.router(a.app_id) is not None for a in apps]
    assert known == [True, False, True, True, False]
    assert desk.configs.apps_cached == CacheFacts(entries=3, hits=4, misses=4)


@virtual_time
async def test_routes_of_all_apps_are_counted_together() -> None:
    desk = Desk()
    apps = [an_app(an_endpoint(n), number=n) for n in (1, 2)]
    desk.store.put(*apps)
    loaded = await desk.configs.load([a.app_id for a in apps])
    for event_type in ("order.created", "order.paid", "order.created"):
        for router in loaded.values():
            router.route(event_type, ())
    assert desk.configs.routes_cached == CacheFacts(entries=4, hits=2, misses=4)


@virtual_time
async def test_the_end_of_a_secrets_overlap_is_a_change() -> None:
    desk = Desk()
    desk.store.put(an_app(an_endpoint(1), refresh_at=EPOCH + 60))
    await desk.configs.load([APP])
    assert desk.configs.router(APP) is not None
    await asyncio.sleep(61)
    assert desk.configs.router(APP) is None
    desk.store.put(an_app(an_endpoint(1, revision=2)))
    found = await desk.configs.find([an_endpoint(1).id])
    assert [e and e.revision for e in found.values()] == [2], "for a retry too"


@virtual_time
async def test_a_change_is_told_whether_or_not_its_app_is_in_use_here() -> None:
    desk = Desk()
    desk.store.put(an_app(an_endpoint(1)), an_app(an_endpoint(2), number=2))
    await desk.configs.load([APP])
    present = await desk.configs.refresh([APP, an_app(number=2).app_id, an_app(number=3).app_id])
    assert {e.id for e in desk.told} == {an_endpoint(1).id, an_endpoint(2).id}
    assert [app.app_id for app in present] == [APP, an_app(number=2).app_id]
    assert desk.configs.router(an_app(number=2).app_id) is None, "it takes no room from those in use"


@virtual_time
async def test_a_change_during_a_load_is_not_missed() -> None:
    desk = Desk()
    desk.store.put(an_app(an_endpoint(1), version=1))
    desk.store.slow.clear()
    load = asyncio.create_task(desk.configs.load([APP]))
    await until(lambda: len(desk.store.loads) == 1)
    # The app changes after the load's snapshot; the poll sees it before the load is back.
    desk.store.put(an_app(an_endpoint(1, paused=True), version=2))
    slow, desk.store.slow = desk.store.slow, asyncio.Event()
    desk.store.slow.set()
    await desk.configs.refresh([APP])
    slow.set()
    await load
    assert desk.configs.known(APP).config.version == 2


@virtual_time
async def test_what_was_known_when_a_partition_was_ours_before_is_forgotten() -> None:
    desk = Desk()
    desk.store.put(an_app(version=1), an_app(number=2, partition=1))
    await desk.configs.load([APP, an_app(number=2).app_id])
    desk.configs.take({0: 1})
    assert desk.configs.router(APP) is None
    assert desk.configs.router(an_app(number=2).app_id) is not None


@virtual_time
async def test_a_load_that_began_before_a_partition_was_taken_is_repeated() -> None:
    desk = Desk()
    desk.store.put(an_app(version=1))
    desk.store.slow.clear()
    load = asyncio.create_task(desk.configs.load([APP]))
    await until(lambda: len(desk.store.loads) == 1)
    desk.configs.take({0: 1})
    desk.store.put(an_app(version=2))
    desk.store.slow.set()
    await load
    assert desk.configs.known(APP).config.version == 2


@virtual_time
async def test_endpoints_are_found_by_id_with_one_load() -> None:
    desk = Desk()
    desk.store.put(an_app(an_endpoint(1), an_endpoint(2)), an_app(an_endpoint(3), number=2))
    wanted = [an_endpoint(n).id for n in (1, 2, 3, 9)]
    found = await desk.configs.find(wanted)
    assert [endpoint_id for endpoint_id, e in found.items() if e is None] == [an_endpoint(9).id]
    assert len(desk.store.loads) == 1
    await desk.configs.find(wanted)
    assert len(desk.store.loads) == 1


@virtual_time
async def test_an_endpoint_made_after_its_app_was_loaded_is_found() -> None:
    desk = Desk()
    desk.store.put(an_app(an_endpoint(1)))
    await desk.configs.load([APP])
    desk.store.put(an_app(an_endpoint(1), an_endpoint(2), version=2))
    found = await desk.configs.find([an_endpoint(2).id])
    assert found[an_endpoint(2).id] is not None


@virtual_time
async def test_what_changed_while_others_were_loaded_is_found_as_it_is_now() -> None:
    desk = Desk()
    desk.store.put(an_app(an_endpoint(1, paused=True), version=1), an_app(an_endpoint(2), number=2))
    await desk.configs.load([APP])
    desk.store.slow.clear()
    find = asyncio.create_task(desk.configs.find([an_endpoint(1).id, an_endpoint(2).id]))
    await until(lambda: len(desk.store.loads) == 2)
    # Resumed meanwhile: were it found as paused now, its rows would wait for a wake-up that was already.
    desk.store.put(an_app(an_endpoint(1), version=2))
    desk.store.slow.set()
    await desk.configs.refresh([APP])
    found = await find
    endpoint = found[an_endpoint(1).id]
    assert endpoint is not None
    assert not endpoint.paused


@virtual_time
async def test_an_endpoint_is_never_taken_for_deleted_because_its_app_left_the_cache() -> None:
    desk = Desk(limit=1)
    desk.store.put(*[an_app(an_endpoint(n), number=n) for n in range(1, 6)])
    await desk.configs.load([APP])
    found = await desk.configs.find([an_endpoint(n).id for n in range(1, 6)])
    assert all(e is not None for e in found.values())


@virtual_time
async def test_a_partition_catches_up_with_what_changed_in_it_and_loads_nothing_else() -> None:
    desk = Desk()
    other = an_app(number=2, version=2)
    desk.store.put(an_app(an_endpoint(1), version=3), other)
    desk.configs.take({0: 3})
    await desk.configs.load([APP, other.app_id])
    desk.store.put(an_app(an_endpoint(1, paused=True), version=4))
    desk.store.loads.clear()
    await desk.configs.catch_up(0, 4)
    assert desk.configs.version(0) == 4
    assert desk.store.loads == [[APP]]
    assert desk.configs.known(APP).config.version == 4
    assert desk.only == [({APP}, {an_endpoint(1).id})]
    await desk.configs.catch_up(0, 4)
    assert len(desk.store.loads) == 1, "there is nothing newer to ask for"


@virtual_time
async def test_catching_up_tells_of_apps_that_lost_grants_since_and_of_no_others() -> None:
    desk = Desk()
    desk.configs.take({0: 3})
    desk.store.put(an_app(version=4, grants=Shrinkage(4)), an_app(number=2, version=5, grants=Shrinkage(2)))
    await desk.configs.catch_up(0, 5)
    assert [app.app_id for app in desk.shrunk] == [APP]


@virtual_time
async def test_a_partition_that_is_taken_anew_while_it_catches_up_begins_again() -> None:
    desk = Desk()
    desk.configs.take({0: 1})
    desk.store.put(an_app(version=2))
    desk.store.slow.clear()
    behind = asyncio.create_task(desk.configs.catch_up(0, 2))
    await until(lambda: len(desk.store.loads) == 1)
    desk.configs.take({0: 1})
    desk.store.slow.set()
    await behind
    assert len(desk.store.loads) > 1
    assert desk.configs.version(0) == 2


@virtual_time
async def test_a_partition_that_is_lost_while_it_catches_up_has_no_version() -> None:
    desk = Desk()
    desk.configs.take({0: 1})
    desk.store.put(an_app(version=2))
    desk.store.slow.clear()
    behind = asyncio.create_task(desk.configs.catch_up(0, 2))
    await until(lambda: len(desk.store.loads) == 1)
    desk.configs.drop({0})
    desk.store.slow.set()
    await behind
    assert desk.configs.version(0) == 0


@virtual_time
async def test_a_partition_that_is_not_ours_does_not_catch_up() -> None:
    desk = Desk()
    desk.configs.take({0: 1})
    desk.configs.drop({0})
    await desk.configs.catch_up(0, 9)
    assert desk.configs.version(0) == 0


@virtual_time
async def test_so_many_apps_as_one_event_needs_stay_even_beyond_the_limit() -> None:
    desk = Desk(limit=2)
    apps = [an_app(number=n) for n in range(1, 6)]
    desk.store.put(*apps)
    await desk.configs.load([a.app_id for a in apps], needed=5)
    assert all(desk.configs.router(a.app_id) is not None for a in apps)
    await desk.configs.load([apps[0].app_id])
    assert sum(desk.configs.router(a.app_id) is not None for a in apps) == 2
