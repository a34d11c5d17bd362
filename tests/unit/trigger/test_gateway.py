"""The gateway's memory: what is counted, kept and forgotten, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.fakes import FakeClock, virtual_time

from posthouse.adapters.sources.inbound import InboundKind
from posthouse.domain.endpoint import RateLimit
from posthouse.domain.errors import NotFound, Overloaded, QuotaExceeded, StoreUnavailable
from posthouse.domain.event import Draft
from posthouse.domain.ids import EventId, TriggerId
from posthouse.domain.limits import INBOUND_MISS_SECONDS, INBOUND_UNVERIFIED_MAX, TRIGGER_FAILURES_TOLD
from posthouse.domain.trigger import Trigger, TriggerConfig
from posthouse.domain.verdict import Postponed, Published, Refused, Verdict
from posthouse.manage.profiles import Profiles, shipped
from posthouse.ports.expressions import NO_EXPRESSIONS
from posthouse.ports.inbound import Listed, Tally
from posthouse.ports.triggers import Refusal
from posthouse.trigger.entrances import Rate
from posthouse.trigger.gateway import Gateway, Unverified
from posthouse.wire.inbound_seen import InboundRequest

ONE = TriggerId(b"\x01" * 16)
OPEN = '{"verify": false}'
CLOSED = '{"profile": "github", "keys": {"secret": "a"}}'


class Book:
    """`InboundBook` in memory."""

    def __init__(self, settings: str = OPEN) -> None:
        self.trigger = Trigger(id=ONE, uid="one", config=TriggerConfig(kind="inbound", type="a.b", settings=settings))
        self.looks = 0
        self.reads = 0
        self.tallies: list[Tally] = []
        self.kept: list[Refusal] = []
        self.fails: Exception | None = None

    async def listed(self) -> list[Listed]:
        self.looks += 1
        if self.fails is not None:
            raise self.fails
        return [Listed(ONE, "one", self.trigger.version, self.trigger.enabled, False, len(self.kept))]

    async def get(self, trigger_id: TriggerId) -> Trigger | None:
        self.reads += 1
        return self.trigger

    async def keep(self, trigger_id: TriggerId, refusal: Refusal, *, kept_max: int) -> bool:
        if len(self.kept) >= kept_max:
            return False
        self.kept.append(refusal)
        return True

    async def add(self, tallies: Sequence[Tally], *, now: float, unverified_max: int) -> None:
        if self.fails is not None:
            raise self.fails
        self.tallies += tallies

    async def activate(self, *, now: float) -> None:
        raise AssertionError("all of them are active")


class Door:
    """`ObservedEvents` that says what a test wants."""

    def __init__(self) -> None:
        self.verdict: Verdict = Published(EventId(bytes(16)))
        self.drafts: list[Draft] = []
        self.open = asyncio.Event()
        self.open.set()

    async def in_order(self, drafts: Sequence[Draft]) -> list[Verdict]:
        self.drafts += drafts
        await self.open.wait()
        return [self.verdict for _ in drafts]


class World:
    def __init__(self, settings: str = OPEN, set_aside_max: int = 2) -> None:
        self.clock = FakeClock()
        self.book = Book(settings)
        self.door = Door()
        self.told_of: list[str | None] = []
        nothing: Any = None
        door: Any = self.door
        self.gateway = Gateway(
            self.book,
            InboundKind(Profiles(shipped()).get),
            door,
            nothing,
            NO_EXPRESSIONS,
            self.clock,
            payload_bytes_max=1000,
            set_aside_max=set_aside_max,
            failing=lambda trigger, standing: self.told_of.append(standing.error_code),
        )

    async def take(self, body: bytes = b"{}") -> int:
        request = InboundRequest(
            id="req_1", at=1.0, method="POST", path="/in/one", query="", headers=(), body=body, remote=None
        )
        return (await self.gateway.take(await self.gateway.find("one"), request)).status

    async def told(self) -> None:
        await self.gateway._tallies.tell()


async def test_what_is_counted_is_added_once() -> None:
    world = World()
    for _ in range(3):
        assert await world.take() == 202
    world.door.verdict = Published(EventId(bytes(16)), repeated=True)
    await world.take()
    await world.told()
    await world.told()
    (told,) = world.book.tallies
    assert [told.published, told.repeated] == [3, 1]
    assert told.error is None
    await world.take()
    await world.told()
    assert (world.book.tallies[1].published, world.book.tallies[1].repeated) == (0, 1)


async def test_what_could_not_be_told_is_told_later_with_what_was_kept_to_look_at() -> None:
    world = World(CLOSED)
    for number in range(INBOUND_UNVERIFIED_MAX + 5):
        with pytest.raises(Unverified):
            await world.take(b"%d" % number)
    world.book.fails = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await world.told()
    world.book.fails = None
    with pytest.raises(Unverified):
        await world.take(b"the last")
    await world.told()
    (told,) = world.book.tallies
    assert told.unverified == INBOUND_UNVERIFIED_MAX + 6
    assert len(told.newest) == INBOUND_UNVERIFIED_MAX
    assert b"the last" in told.newest[-1].observation.seen
    assert world.book.kept == [], "they take no room of what was verified"


async def test_what_there_is_no_room_for_stays_with_its_sender() -> None:
    world = World(set_aside_max=2)
    world.door.verdict = Refused("schema_mismatch", "it does not fit")
    assert [await world.take(b"%d" % n) for n in range(2)] == [202, 202]
    with pytest.raises(Overloaded):
        await world.take(b"3")
    (facts,) = world_facts(world)
    assert facts.standing.error_code == "too_many_set_aside"
    world.door.verdict = Published(EventId(bytes(16)))
    assert await world.take(b"4") == 202, "what is an event still is"
    (facts,) = world_facts(world)
    assert facts.standing.error is None


def world_facts(world: World) -> list[Any]:
    world.gateway._task = asyncio.get_running_loop().create_future()  # type: ignore[assignment]
    return list(world.gateway.facts())


async def test_what_is_postponed_is_not_taken() -> None:
    world = World()
    world.door.verdict = Postponed("no database")
    for _ in range(2 * TRIGGER_FAILURES_TOLD):
        with pytest.raises(Overloaded):
            await world.take()
    assert world.book.kept == []
    assert world.told_of == ["postponed"], "operators are told once"


async def test_the_same_twice_at_once_waits_for_the_first() -> None:
    world = World()
    world.door.open.clear()
    first, second, other = (asyncio.create_task(world.take(body)) for body in (b"1", b"1", b"2"))
    while len(world.door.drafts) < 2:  # noqa: ASYNC110 - a fact of other tasks
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(world.door.drafts) == 2
    world.door.open.set()
    assert set(await asyncio.gather(first, second, other)) == {202}
    assert len(world.door.drafts) == 3


@virtual_time
async def test_names_that_are_guessed_cost_few_looks() -> None:
    world = World()
    for number in range(50):
        await world.clock.sleep(0.001)
        with pytest.raises(NotFound):
            await world.gateway.find(f"guess-{number}")
    assert asyncio.get_running_loop().time() >= 49 * INBOUND_MISS_SECONDS
    looks = world.book.looks
    await world.clock.sleep(0.001)
    guesses = [asyncio.create_task(world.gateway.find(f"guess-{number}")) for number in range(50)]
    told = await asyncio.gather(*guesses, return_exceptions=True)
    assert all(isinstance(each, NotFound) for each in told)
    assert world.book.looks - looks <= 2, "those who ask together look together"


async def test_an_entrance_is_made_once_for_each_version() -> None:
    world = World()
    for _ in range(3):
        await world.take()
    assert [world.book.reads, world.gateway.cached.hits] == [1, 2]
    world.book.trigger = Trigger(id=ONE, uid="one", config=world.book.trigger.config, version=2)
    world.gateway.forget()
    await world.take()
    assert world.book.reads == 2
    world.book.trigger = Trigger(id=ONE, uid="one", config=world.book.trigger.config, version=3, enabled=False)
    world.gateway.forget()
    with pytest.raises(Overloaded) as caught:
        await world.take()
    assert caught.value.code == "source_paused"


async def test_a_profile_that_is_gone_is_told_with_the_trigger() -> None:
    world = World('{"profile": "gone", "keys": {"secret": "a"}}')
    with pytest.raises(Overloaded):
        await world.take()
    await world.told()
    (told,) = world.book.tallies
    assert told.error is not None
    assert "there is no profile 'gone'" in told.error


def test_a_rate_is_a_bucket() -> None:
    rate = Rate(RateLimit(2.0, burst=3), now=0.0)
    for _ in range(3):
        rate.take(0.0)
    with pytest.raises(QuotaExceeded) as caught:
        rate.take(0.1)
    assert caught.value.retry_after == 1
    rate.take(0.6)
    with pytest.raises(QuotaExceeded):
        rate.take(0.6)
    for _ in range(3):
        rate.take(100.0)
