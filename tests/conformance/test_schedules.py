"""Schedules of every store: how they are kept, who gets to fire one, and what becomes of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from tests.making import draft, new_app, new_id
from tests.worlds import AUDIT, MemoryWorld, PostgresWorld, World

from posthouse.adapters.memory.schedules import MemorySchedules
from posthouse.adapters.postgres.schedules import PostgresSchedules
from posthouse.domain.errors import Conflict
from posthouse.domain.ids import SCHEDULE, AppId, ScheduleId, format_id
from posthouse.domain.occurrences import Timing
from posthouse.domain.schedule import CatchUp, Schedule, ScheduleConfig
from posthouse.domain.verdict import Postponed, Published, Refused
from posthouse.ports.schedules import Claim, Claims

NEWEST = b"\xff" * 16
LEASE = 0.15


class Kept:
    """Schedules of a world; both ports."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store: MemorySchedules | PostgresSchedules
        if isinstance(world, MemoryWorld):
            self.store = MemorySchedules(world.database)
        else:
            assert isinstance(world, PostgresWorld)
            self.store = PostgresSchedules(world.database)

    async def make(
        self, *, every: int = 1, uid: str | None = None, app_id: AppId | None = None, **config: Any
    ) -> Schedule:
        made = Schedule(
            id=ScheduleId(new_id()),
            uid=uid,
            app_id=app_id,
            config=ScheduleConfig(timing=Timing(every=every), type="tick", **config),
        )
        stored = await self.store.create(made, AUDIT, schedules_max=100)
        assert stored is not None
        return stored

    async def claim(self, **options: Any) -> Claims:
        return await self.store.claim(new_id, **{"limit": 10, "lease_seconds": LEASE} | options)

    async def taken(self, seconds: float = 5.0) -> Claim:
        """The next one that is to be had."""
        async with asyncio.timeout(seconds):
            while not (found := await self.claim()).taken:  # noqa: ASYNC110 - the store's clock decides
                await asyncio.sleep(0.01)
        (claim,) = found.taken
        return claim

    async def now(self, schedule: Schedule) -> Schedule:
        found = await self.store.get(format_id(SCHEDULE, schedule.id))
        assert found is not None
        return found


@pytest.fixture
def kept(world: World) -> Kept:
    return Kept(world)


async def test_they_are_kept(kept: Kept) -> None:
    first = await kept.make(uid="first", every=60, data='{"n": 1.50}', subject="shop:42", catch_up=CatchUp.ALL)
    second = await kept.make()
    assert await kept.store.get("first") == first == await kept.now(first)
    assert await kept.store.page(app_id=None, before=NEWEST, limit=10) == [second, first]
    assert await kept.store.page(app_id=None, before=second.id, limit=10) == [first]
    assert first.progress.due_at is not None
    assert 59 <= first.progress.due_at - time.time() <= 61
    with pytest.raises(Conflict) as refused:
        await kept.make(uid="first")
    assert refused.value.code == "uid_taken"
    with pytest.raises(Conflict) as refused:
        await kept.store.create(
            msgspec.structs.replace(first, id=ScheduleId(new_id()), uid=None), AUDIT, schedules_max=2
        )
    assert refused.value.code == "too_many_schedules"
    assert await kept.store.delete(second.id, AUDIT)
    assert not await kept.store.delete(second.id, AUDIT)
    assert await kept.store.change(second.id, lambda old: old, AUDIT) is None
    assert await kept.store.page(app_id=None, before=NEWEST, limit=10) == [first]


async def test_they_belong_to_apps(kept: Kept) -> None:
    app_id, other = new_app(), new_app()
    await kept.world.put_app(app_id, partition=1)
    mine = await kept.make(app_id=app_id)
    free = await kept.make()
    assert await kept.store.page(app_id=app_id, before=NEWEST, limit=10) == [mine]
    gone = msgspec.structs.replace(mine, id=ScheduleId(new_id()), app_id=other)
    assert await kept.store.create(gone, AUDIT, schedules_max=10) is None
    moved = await kept.store.change(free.id, lambda old: msgspec.structs.replace(old, app_id=other), AUDIT)
    assert moved is None
    assert await kept.now(free) == free


async def test_who_moves_one_to_another_app_is_not_undone_by_another_change(kept: Kept) -> None:
    """Its app is locked before it is, and may be another one by then."""
    apps = [new_app(), new_app()]
    for app_id in apps:
        await kept.world.put_app(app_id, partition=1)
    made = await kept.make(app_id=apps[0])

    async def change(**fields: Any) -> Schedule:
        stored = await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, **fields), AUDIT)
        assert stored is not None
        return stored

    for number in range(40):
        app_id = apps[number % 2]
        await asyncio.gather(change(app_id=app_id), change(enabled=bool(number % 3)))
        found = await change()
        assert (found.app_id, found.enabled) == (app_id, bool(number % 3))


async def test_one_gets_it_and_the_next_occurrence_follows(kept: Kept) -> None:
    made = await kept.make()
    found = await kept.claim()
    assert (found.taken, found.next_at) == ((), made.progress.due_at)
    claim = await kept.taken()
    assert claim.occurrence == made.progress.due_at
    assert (await kept.claim(lease_seconds=60)).taken == ()  # it is leased
    await kept.store.settle([(claim, Published(claim.event_id))], again_seconds=1)
    after = (await kept.now(made)).progress
    assert (after.due_at, after.fired, after.pending_event) == (claim.occurrence + 1, 1, None)
    assert after.last is not None
    assert (after.last.scheduled_at, after.last.event_id) == (claim.occurrence, claim.event_id)
    following = await kept.taken()
    assert following.occurrence == claim.occurrence + 1


async def test_many_at_once_share_them(kept: Kept) -> None:
    made = [await kept.make() for _ in range(12)]
    due = max(schedule.progress.due_at or 0 for schedule in made)
    while time.time() < due:  # noqa: ASYNC110 - the store's clock decides
        await asyncio.sleep(0.01)
    # The leases are long: whoever is taken twice is taken by two.
    found = await asyncio.gather(*(kept.claim(limit=5, lease_seconds=60) for _ in range(4)))
    found += [await kept.claim(limit=5, lease_seconds=60) for _ in range(3)]
    taken = [claim.schedule.id for claims in found for claim in claims.taken]
    assert sorted(taken) == sorted(schedule.id for schedule in made)
    assert all(len(claims.taken) <= 5 for claims in found)


async def test_after_a_crash_what_was_published_is_found_however_much_later(kept: Kept) -> None:
    made = await kept.make(every=3600)
    await kept.store.change(made.id, soon, AUDIT)
    claim = await kept.taken()
    await kept.world.log.append([draft(None, id=claim.event_id, idempotency_key="k")])
    await kept.world.age_keys(2 * 86_400)  # the key is no help any more
    await asyncio.sleep(LEASE)
    assert (await kept.claim()).taken == ()
    after = (await kept.now(made)).progress
    assert after.last is not None
    assert (after.fired, after.last.event_id, after.due_at) == (1, claim.event_id, claim.occurrence + 3600)
    # The one who was thought dead does not count it again.
    await kept.store.settle([(claim, Published(claim.event_id))], again_seconds=1)
    assert (await kept.now(made)).progress == after


async def test_after_a_crash_what_was_not_published_is_taken_again(kept: Kept) -> None:
    made = await kept.make(every=3600)
    await kept.store.change(made.id, soon, AUDIT)
    claim = await kept.taken()
    again = await kept.taken()
    assert (again.occurrence, again.event_id) == (claim.occurrence, claim.event_id)


async def test_refused_it_waits_and_says_why(kept: Kept) -> None:
    made = await kept.make(every=3600)
    await kept.store.change(made.id, soon, AUDIT)
    claim = await kept.taken()
    await kept.store.settle([(claim, Refused("event_type_not_found", "there is no such type"))], again_seconds=1)
    after = (await kept.now(made)).progress
    assert (after.failures, after.failure_code, after.due_at) == (1, "event_type_not_found", claim.occurrence)
    assert (await kept.claim()).taken == ()
    renamed = await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, name="mended"), AUDIT)
    assert renamed is not None
    assert (await kept.taken()).occurrence == claim.occurrence  # at once, as something was changed


async def test_postponed_it_comes_back(kept: Kept) -> None:
    made = await kept.make(every=3600)
    await kept.store.change(made.id, soon, AUDIT)
    claim = await kept.taken()
    await kept.store.settle([(claim, Postponed("down"))], again_seconds=0.05)
    assert (await kept.now(made)).progress.failures == 0
    assert (await kept.taken()).event_id == claim.event_id


async def test_paused_or_deleted_it_is_not_taken(kept: Kept) -> None:
    paused, deleted = await kept.make(), await kept.make()
    await kept.store.change(paused.id, lambda old: msgspec.structs.replace(old, enabled=False), AUDIT)
    await kept.store.delete(deleted.id, AUDIT)
    found = await kept.claim()
    assert (found.taken, found.next_at) == ((), None)


def soon(old: Schedule) -> Schedule:
    """Due in a second, and then every hour."""
    timing = msgspec.structs.replace(old.config.timing, starts_at=int(time.time()) + 1)
    return msgspec.structs.replace(old, config=msgspec.structs.replace(old.config, timing=timing))
