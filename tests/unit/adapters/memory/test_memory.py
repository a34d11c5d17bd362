"""What the reference model has beside the ports: the hook around commits, its own clock, and the catalogue."""

from __future__ import annotations

import pytest
from tests.making import attempt, new_app, new_endpoint, new_owner

from posthouse.adapters.memory import MemoryCatalogue, MemoryDatabase, MemoryLog, MemoryStore, Step
from posthouse.domain.delivery import JournalBatch
from posthouse.domain.errors import InDoubt, StoreUnavailable
from posthouse.domain.event import Draft
from posthouse.domain.ids import APP, EventId, format_id, uuid7
from posthouse.ports.catalogue import AppEntry, EventTypeEntry
from posthouse.ports.log import Appended


class Faults:
    """A hook that raises once, at a step of an operation, and remembers every step."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, Step]] = []
        self.raise_at: tuple[str, Step] | None = None

    async def __call__(self, operation: str, step: Step) -> None:
        self.steps.append((operation, step))
        if (operation, step) == self.raise_at:
            self.raise_at = None
            raise StoreUnavailable("gone") if step is Step.READ else InDoubt("the connection was lost")


class World:
    """A model whose time stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.faults = Faults()
        self.database = MemoryDatabase(clock=lambda: self.now, partitions=2, hook=self.faults)
        self.log = MemoryLog(self.database)
        self.store = MemoryStore(self.database)
        self.app_id = new_app()
        self.database.put_app(self.app_id, partition=1, uid="acme")

    def draft(self, number: int = 1) -> Draft:
        event_id = EventId(uuid7(int(self.now * 1000), number))
        return Draft(id=event_id, app_id=self.app_id, type="order.created", payload=b"{}")


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(("step", "seq"), [(Step.BEFORE_COMMIT, 0), (Step.AFTER_COMMIT, 1)])
async def test_a_commit_in_doubt_happened_or_did_not(world: World, step: Step, seq: int) -> None:
    world.faults.raise_at = ("append", step)
    draft = world.draft()
    with pytest.raises(InDoubt):
        await world.log.append([draft])
    assert (await world.log.heads([1]))[1].seq == seq
    (result,) = await world.log.append([draft])
    assert result == Appended(1, 1, 2, world.now)
    assert (await world.log.heads([1]))[1].seq == 1


@pytest.mark.parametrize(("step", "written"), [(Step.BEFORE_COMMIT, 0), (Step.AFTER_COMMIT, 1)])
async def test_a_journal_in_doubt_is_written_once(world: World, step: Step, written: int) -> None:
    await world.log.append([world.draft()])
    (event,) = await world.log.read(1, 0, since=None)
    owner = new_owner()
    await world.store.claim(owner, limit=2, lease_seconds=10, exclusive=False)
    batch = JournalBatch(owner=owner, epochs={1: 1}, number=1, attempts=(attempt(event, new_endpoint()),))
    world.faults.raise_at = ("journal", step)
    with pytest.raises(InDoubt):
        await world.store.journal(batch, now=0.0, lease_seconds=10)
    assert len(world.database.attempts) == written
    assert (await world.store.journal(batch, now=0.0, lease_seconds=10)).held == {1}
    assert len(world.database.attempts) == 1


async def test_reads_can_fail_too(world: World) -> None:
    world.faults.raise_at = ("heads", Step.READ)
    with pytest.raises(StoreUnavailable):
        await world.log.heads([1])
    assert (await world.log.heads([1]))[1].seq == 0
    assert world.faults.steps == [("heads", Step.READ)] * 2


async def test_leases_end_by_the_injected_clock(world: World) -> None:
    owner, other = new_owner(), new_owner()
    await world.store.claim(owner, limit=2, lease_seconds=10, exclusive=False)
    world.now += 10
    assert await world.store.claim(other, limit=2, lease_seconds=10, exclusive=False) == []
    world.now += 0.001
    assert len(await world.store.claim(other, limit=2, lease_seconds=10, exclusive=False)) == 2


async def test_the_catalogue_finds_apps_by_id_and_by_uid(world: World) -> None:
    catalogue = MemoryCatalogue(world.database)
    entry = AppEntry(world.app_id, 1, "acme")
    assert await catalogue.find_app("acme") == entry
    assert await catalogue.find_app(format_id(APP, world.app_id)) == entry
    assert await catalogue.find_app("other") is None
    world.database.delete_app(world.app_id)
    assert await catalogue.find_app("acme") is None


async def test_the_catalogue_s_version_moves_with_its_event_types(world: World) -> None:
    catalogue = MemoryCatalogue(world.database)
    assert await catalogue.event_type("order.created") is None
    before = await catalogue.version()
    await catalogue.add_event_type("order.created")
    made = EventTypeEntry("order.created", schema=None, archived=False)
    assert await catalogue.event_type("order.created") == made
    after = await catalogue.version()
    assert after != before
    await catalogue.add_event_type("order.created")
    assert await catalogue.version() == after
    world.database.put_event_type(EventTypeEntry("order.created", schema="{}", archived=True))
    await catalogue.add_event_type("order.created")
    assert await catalogue.event_type("order.created") == EventTypeEntry("order.created", schema="{}", archived=True)
