"""Triggers in the store: kept whole, worked on by one process at a time, and what they set aside bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.integration.api_world import sealer
from tests.making import new_app, new_id, new_owner
from tests.worlds import AUDIT

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.days import ensure_days
from posthouse.adapters.postgres.triggers import PostgresTriggers
from posthouse.adapters.postgres.vault import PostgresVault
from posthouse.adapters.system.keyring import Keyring, Sealer
from posthouse.domain.errors import Conflict
from posthouse.domain.ids import TRIGGER, AppId, RefusalId, TriggerId, format_id
from posthouse.domain.limits import TRIGGER_PUT_OFF_SECONDS
from posthouse.domain.trigger import Standing, Trigger, TriggerConfig, TriggerState
from posthouse.manage.rekey import rekey
from posthouse.ports.sources import Observation
from posthouse.ports.triggers import Progress, Refusal, Taken

NEWEST = b"\xff" * 16
KINDS = ("shelf",)
ONE, TWO = new_owner(), new_owner()
HOLDER, ANOTHER = new_id(), new_id()
LEFT_SECONDS = "SELECT extract(epoch FROM put_off_until - clock_timestamp())::float8 FROM trigger WHERE id = $1"


class Kept:
    def __init__(self, database: Database, seals: Sealer) -> None:
        self.database = database
        self.store = PostgresTriggers(database, seals)

    async def make(self, **fields: Any) -> Trigger:
        config = TriggerConfig(kind="shelf", type="a", settings='{"password": "secret"}')
        given: dict[str, Any] = {"config": config} | fields
        made = Trigger(id=TriggerId(new_id()), **given)
        stored = await self.store.create(made, AUDIT, triggers_max=100)
        assert stored is not None
        return stored

    async def make_unreadable(self) -> TriggerId:
        """One whose settings were sealed with a key that is lost."""
        lost = PostgresTriggers(self.database, Sealer(Keyring([b"o" * 32])))
        config = TriggerConfig(kind="shelf", type="a", settings='{"password": "lost"}')
        stored = await lost.create(Trigger(id=TriggerId(new_id()), config=config), AUDIT, triggers_max=100)
        assert stored is not None
        return stored.id

    async def claim(self, owner: bytes = ONE, *, held: int = 0, seconds: float = 10.0) -> list[Taken]:
        taken, _ = await self.store.claim(owner, KINDS, held=held, lease_seconds=seconds)
        return taken

    async def lives(self, *owners: bytes) -> None:
        """So many processes share them."""
        for owner in owners:
            await self.database.execute(
                "INSERT INTO process (id, live_until) VALUES ($1, clock_timestamp() + interval '1 h')", owner
            )


@pytest.fixture
async def kept(database: str) -> AsyncIterator[Kept]:
    opened = Database(database, size=4)
    await opened.open()
    try:
        await opened.execute("SELECT install($1)", 4)
        await ensure_days(opened, now=time.time(), ahead=1)
        yield Kept(opened, sealer())
    finally:
        await opened.close()


def refusal(key: str = "k", **fields: Any) -> Refusal:
    observation = Observation(key=key, seen=b'{"a": 1}', data=b"\x00\xff", at=2.5, event_key="e")
    given: dict[str, Any] = {"code": "c", "reason": "r"} | fields
    return Refusal(id=RefusalId(new_id()), observation=observation, **given)


async def test_kept_whole(kept: Kept) -> None:
    made = await kept.make(uid="orders", name="Orders", position="p", generation=2)
    assert made.config.settings == '{"password": "secret"}'
    assert await kept.store.get("orders") == made == await kept.store.get(format_id(TRIGGER, made.id))
    assert await kept.store.get("or\0ders") is None
    with pytest.raises(Conflict, match="uid"):
        await kept.make(uid="orders")
    for _ in range(99):
        await kept.make()
    with pytest.raises(Conflict, match="100 triggers"):
        await kept.make()
    first = await kept.store.page(before=NEWEST, limit=3)
    rest = await kept.store.page(before=first[-1].id, limit=200)
    assert len(first) + len(rest) == 100
    assert rest[-1] == made
    assert await kept.store.create(msgspec.structs.replace(made, app_id=new_app()), AUDIT, triggers_max=1000) is None


async def test_a_change_counts_and_one_that_changes_nothing_does_not(kept: Kept) -> None:
    made = await kept.make()
    same = await kept.store.change(made.id, lambda old: old, AUDIT)
    assert same == made
    changed = await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, name="n"), None)
    assert changed is not None
    assert (changed.version, changed.name) == (made.version + 1, "n")
    resealed = msgspec.structs.replace(made.config, settings="{}")
    changed = await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, config=resealed), AUDIT)
    assert changed is not None
    assert changed.config.settings == "{}"
    assert await kept.store.change(TriggerId(new_id()), lambda old: old, AUDIT) is None


async def test_settings_are_sealed_and_sealed_anew(kept: Kept) -> None:
    made = await kept.make()
    without = await PostgresTriggers(kept.database, Sealer(Keyring([b"o" * 32]))).get(format_id(TRIGGER, made.id))
    assert without is not None
    assert "master key" in str(without.unreadable)
    both = Sealer(Keyring([b"n" * 32, b"k" * 32]))
    told = await rekey(PostgresVault(kept.database, both), data_keys=False)
    assert (told.secrets, told.failed, told.remaining.secrets) == (1, 0, 0)
    new = PostgresTriggers(kept.database, Sealer(Keyring([b"n" * 32])))
    assert (await new.get(format_id(TRIGGER, made.id))) == made
    assert await new.delete(made.id, AUDIT)
    assert await kept.database.fetchval("SELECT count(*) FROM secret") == 0
    assert not await new.delete(made.id, AUDIT)


async def test_one_process_at_a_time(kept: Kept) -> None:
    made = await kept.make()
    await kept.make(enabled=False)
    other = TriggerConfig(kind="of a package", type="a")
    await kept.make(config=other)
    assert await kept.store.quiet(made.id)
    (taken,) = await kept.claim(seconds=0.3)
    assert taken.trigger == made
    assert not await kept.store.quiet(made.id)
    assert await kept.claim(TWO) == []
    assert await kept.store.renew(ONE, {made.id: taken.epoch}, lease_seconds=0.3) == {made.id: made.version}
    async with asyncio.timeout(10):
        while not (again := await kept.claim(TWO)):  # noqa: ASYNC110 - the store's clock ends the lease
            await asyncio.sleep(0.02)
    assert again[0].epoch == taken.epoch + 1
    assert await kept.store.renew(ONE, {made.id: taken.epoch}, lease_seconds=10) == {}
    # Whoever has lost it changes nothing.
    assert await kept.store.record(taken, Progress(standing=Standing(published=9), position="9")) is None
    await kept.store.release(ONE, {made.id: taken.epoch})
    assert not await kept.store.quiet(made.id)
    assert await kept.store.record(again[0], Progress(standing=Standing(published=1), position="1")) == 0
    found = await kept.store.get(format_id(TRIGGER, made.id))
    assert found is not None
    assert (found.position, found.standing.published, found.version) == ("1", 1, made.version)
    await kept.store.release(TWO, {made.id: again[0].epoch})
    assert await kept.store.quiet(made.id)
    assert await kept.store.record(again[0], Progress(standing=Standing(), position="2")) is None
    # One that is paused is not renewed.
    (third,) = await kept.claim()
    await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, enabled=False), None)
    assert await kept.store.renew(ONE, {made.id: third.epoch}, lease_seconds=10) == {}


async def test_shares(kept: Kept) -> None:
    for _ in range(5):
        await kept.make()
    await kept.lives(ONE, TWO)
    first, second = await kept.claim(), await kept.claim(TWO)
    assert (len(first), len(second)) == (3, 2)
    assert {one.trigger.id for one in first}.isdisjoint(one.trigger.id for one in second)
    assert await kept.store.claim(ONE, KINDS, held=3, lease_seconds=10) == ([], 3)


async def test_on_one_that_is_held_nobody_works(kept: Kept) -> None:
    made = await kept.make()
    (taken,) = await kept.claim()
    assert await kept.store.hold(made.id, HOLDER, seconds=60) == made.version
    assert not await kept.store.quiet(made.id), "not before who worked on it has noticed"
    assert await kept.store.renew(ONE, {made.id: taken.epoch}, lease_seconds=10) == {}
    await kept.store.release(ONE, {made.id: taken.epoch})
    assert await kept.store.quiet(made.id)
    assert await kept.claim() == []
    assert await kept.store.get(format_id(TRIGGER, made.id)) == made, "it is as enabled as it was"
    # One holds it, and nobody else lets go of it.
    for holder in (HOLDER, ANOTHER):
        with pytest.raises(Conflict) as refused:
            await kept.store.hold(made.id, holder, seconds=60)
        assert refused.value.code == "trigger_busy"
    await kept.store.let_go(made.id, ANOTHER)
    assert await kept.claim() == []
    changed = await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, name="n"), AUDIT, holder=HOLDER)
    assert changed is not None
    assert (changed.name, changed.version) == ("n", made.version + 1)
    await kept.store.let_go(made.id, HOLDER)
    (again,) = await kept.claim()
    assert again.trigger == changed
    assert await kept.store.hold(TriggerId(new_id()), HOLDER, seconds=60) is None


async def test_a_hold_ends_by_itself(kept: Kept) -> None:
    made = await kept.make()
    assert await kept.store.hold(made.id, HOLDER, seconds=0.2) == made.version
    async with asyncio.timeout(10):
        while not (taken := await kept.claim()):  # noqa: ASYNC110 - the store's clock ends the hold
            await asyncio.sleep(0.02)
    epochs = {made.id: taken[0].epoch}
    assert await kept.store.renew(ONE, epochs, lease_seconds=10) == {made.id: made.version}
    await _lost(kept, made, HOLDER)
    assert await kept.store.hold(made.id, ANOTHER, seconds=60) == made.version
    await _lost(kept, made, HOLDER)
    await kept.store.let_go(made.id, HOLDER)
    assert await kept.store.renew(ONE, epochs, lease_seconds=10) == {}, "another holds it now"


async def _lost(kept: Kept, made: Trigger, holder: bytes) -> None:
    """Who held it changes nothing any more."""
    with pytest.raises(Conflict) as refused:
        await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, name="n"), AUDIT, holder=holder)
    assert refused.value.code == "trigger_busy"
    assert await kept.store.get(format_id(TRIGGER, made.id)) == made


async def test_one_that_does_not_open_is_put_off_and_the_others_are_taken(kept: Kept) -> None:
    first = await kept.make()
    unreadable = await kept.make_unreadable()
    last = await kept.make()
    assert [one.trigger for one in await kept.claim()] == [first, last]
    assert await kept.claim(TWO) == []
    seconds = await kept.database.fetchval(LEFT_SECONDS, unreadable)
    assert 30 < seconds <= TRIGGER_PUT_OFF_SECONDS


async def test_one_that_does_not_open_is_seen_and_changed_all_the_same(kept: Kept) -> None:
    readable = await kept.make()
    lost = await kept.make_unreadable()
    sealed = "SELECT ciphertext FROM secret WHERE owner_id = $1"
    before = await kept.database.fetchval(sealed, lost)

    found, other = await kept.store.page(before=NEWEST, limit=3)
    assert (found.id, other) == (lost, readable)
    assert found.config.settings == "null"
    assert "master key" in str(found.unreadable)
    assert await kept.store.get(format_id(TRIGGER, lost)) == found

    def rests(old: Trigger) -> Trigger:
        return msgspec.structs.replace(old, enabled=False)

    changed = await kept.store.change(lost, rests, AUDIT)
    assert changed is not None
    assert (changed.enabled, changed.version) == (False, found.version + 1)
    assert await kept.database.fetchval(sealed, lost) == before, "nobody knows what it was, and it stays"
    config = msgspec.structs.replace(found.config, settings="{}")
    mended = await kept.store.change(lost, lambda old: msgspec.structs.replace(old, config=config), AUDIT)
    assert mended is not None
    assert mended.unreadable is None
    assert await kept.store.get(format_id(TRIGGER, lost)) == mended


async def test_one_that_does_not_open_takes_nobody_s_place(kept: Kept) -> None:
    """Each process has one of them, and the first does not open."""
    await kept.lives(ONE, TWO)
    await kept.make_unreadable()
    made = await kept.make()
    taken = [one for _ in range(2) for one in await kept.claim()]
    assert [one.trigger for one in taken] == [made]


async def test_one_that_is_put_off_is_taken_later(kept: Kept) -> None:
    made = await kept.make()
    (taken,) = await kept.claim(seconds=60)
    await kept.store.put_off(TWO, {made.id: taken.epoch}, seconds=0)
    await kept.store.put_off(ONE, {made.id: taken.epoch + 1}, seconds=0)
    assert await kept.claim(TWO) == [], "who does not have it puts nothing off"
    await kept.store.put_off(ONE, {made.id: taken.epoch}, seconds=0)
    (again,) = await kept.claim(TWO)
    assert (again.trigger, again.epoch) == (made, taken.epoch + 1)


async def test_one_that_is_put_off_can_be_changed_and_is_taken_then(kept: Kept) -> None:
    made = await kept.make()
    (taken,) = await kept.claim(seconds=60)
    await kept.store.put_off(ONE, {made.id: taken.epoch}, seconds=60)
    assert await kept.store.quiet(made.id)
    assert await kept.claim(TWO) == []
    await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, name="mended"), None)
    (again,) = await kept.claim(TWO)
    assert again.trigger.name == "mended"


async def test_who_moves_it_to_another_app_is_not_undone_by_another_change(kept: Kept) -> None:
    """Its app is locked before it is, and may be another one by then."""
    one, two = new_app(), new_app()
    for app_id in (one, two):
        await kept.database.execute("INSERT INTO app (id, partition, config_version) VALUES ($1, 0, 1)", app_id)
    made = await kept.make(app_id=one)

    async def move(app_id: AppId) -> None:
        await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, app_id=app_id), None)

    async def rename(number: int) -> None:
        await kept.store.change(made.id, lambda old: msgspec.structs.replace(old, name=f"{number}"), None)

    for number in range(40):
        await asyncio.gather(move((one, two)[number % 2]), rename(number))
        found = await kept.store.get(format_id(TRIGGER, made.id))
        assert found is not None
        assert (found.app_id, found.name) == ((one, two)[number % 2], f"{number}")


async def test_what_is_set_aside(kept: Kept) -> None:
    made = await kept.make()
    (taken,) = await kept.claim()
    first, second = refusal("one"), refusal("two", reason="nul\0")
    progress = Progress(standing=Standing(state=TriggerState.ACTIVE), refusals=[first, second])
    assert await kept.store.record(taken, progress) == 2
    found = await kept.store.refusals(made.id, after=bytes(16), limit=10)
    assert [one.observation for one in found] == [first.observation, second.observation]
    assert found[1].reason == "nul\ufffd"
    # Seen again, it takes its own place.
    again = refusal("one", code="other")
    assert await kept.store.record(taken, Progress(standing=Standing(set_aside=2), refusals=[again])) == 2
    found = await kept.store.refusals(made.id, after=bytes(16), limit=10)
    assert [(one.id, one.code, one.tries) for one in found] == [(first.id, "other", 2), (second.id, "c", 1)]
    assert await kept.store.refusals(made.id, after=first.id, limit=10) == [found[1]]
    assert await kept.store.refusals_of(made.id, [second.id, RefusalId(new_id())]) == [found[1]]
    assert await kept.store.resolve(made.id, [first.id], {second.id: ("d", "because")}, AUDIT) == 1
    (left,) = await kept.store.refusals(made.id, after=bytes(16), limit=10)
    assert (left.code, left.reason, left.tries) == ("d", "because", 2)
    stored = await kept.store.get(format_id(TRIGGER, made.id))
    assert stored is not None
    assert stored.standing.set_aside == 1
    # From requests: the oldest go.
    await kept.store.set_aside(made.id, [refusal(f"n{n}") for n in range(5)], kept_max=3)
    found = await kept.store.refusals(made.id, after=bytes(16), limit=10)
    assert [one.observation.key for one in found] == ["n2", "n3", "n4"]
    await kept.store.delete(made.id, AUDIT)
    assert await kept.database.fetchval("SELECT count(*) FROM trigger_refusal") == 0
