"""Verifications of every store: who has one, who gets to make a handshake, and what becomes of it."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any, Final

import msgspec
import pytest
from tests.integration.api_world import sealer
from tests.making import new_app, new_id
from tests.worlds import AUDIT, MemoryWorld, PostgresWorld, World

from posthouse.adapters.memory.verifications import MemoryVerifications
from posthouse.adapters.postgres.directory import PostgresDirectory
from posthouse.adapters.postgres.store import PostgresStore
from posthouse.adapters.postgres.verifications import PostgresVerifications
from posthouse.domain.endpoint import Endpoint, EndpointConfig, Secret
from posthouse.domain.formats import JsonFormat
from posthouse.domain.handshake import Handshake, OptionsStep, RequestStep
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.named_keys import put_key
from posthouse.domain.verification import Reason, State, Verification, awaited, confirmed, refused
from posthouse.ports.directory import Audit, StoredEndpoint
from posthouse.ports.store import Store
from posthouse.ports.verifications import Change, Claim, Claims, TooOften

LEASE: Final = 0.15
HANDSHAKE: Final = Handshake(steps=(RequestStep(key="shown"), OptionsStep(origin="events.example.com", callback=True)))
CONFIG: Final = EndpointConfig(url="https://example.com/hooks", handshake=HANDSHAKE)
TOKEN: Final = sha256(b"token").digest()


def becomes(how: Any) -> Change:
    return lambda old, now: (how(old, now), None)


CONFIRM: Final = becomes(lambda old, now: confirmed(old, HANDSHAKE, now=now))
REFUSE: Final = becomes(lambda old, now: refused(old, HANDSHAKE, Reason.WRONG_ANSWER, now=now))
AWAIT: Final = becomes(lambda old, now: awaited(old, HANDSHAKE, 1, within=60.0, now=now))


class Kept:
    """An app with an endpoint in a world, and the port."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.app_id: AppId = new_app()
        self.endpoint_id = EndpointId(new_id())
        self.store: Store = world.store
        self.directory: PostgresDirectory | None = None
        self.queue: MemoryVerifications | PostgresVerifications
        if isinstance(world, MemoryWorld):
            self.queue = MemoryVerifications(world.database)
        else:
            assert isinstance(world, PostgresWorld)
            self.queue = PostgresVerifications(world.database)
            seals = sealer()
            self.directory = PostgresDirectory(world.database, seals)
            self.store = PostgresStore(world.database, world.database, seals.open)

    async def make(self, config: EndpointConfig = CONFIG) -> None:
        await self.world.put_app(self.app_id, partition=1)
        if self.directory is None:
            await self.world.put_endpoint(self.endpoint_id, self.app_id, config)
            await self.world.put_secret(self.endpoint_id, b"s" * 24)
        else:
            await self.add(self.endpoint_id, config)

    async def add(self, endpoint_id: EndpointId, config: EndpointConfig = CONFIG) -> None:
        """One more endpoint."""
        if self.directory is None:
            await self.world.put_endpoint(endpoint_id, self.app_id, config)
            return
        made = StoredEndpoint(id=endpoint_id, app_id=self.app_id, config=config)
        assert await self.directory.create_endpoint(made, Secret("v1", b"s" * 24), AUDIT, endpoints_max=100)

    async def change(self, **fields: Any) -> None:
        if self.directory is None:
            assert isinstance(self.world, MemoryWorld)
            old = self.world.database.endpoints[self.endpoint_id].config
            new = msgspec.structs.replace(old, **fields)
            await self.world.put_endpoint(self.endpoint_id, self.app_id, new)
            return

        def change(old: StoredEndpoint) -> StoredEndpoint:
            return msgspec.structs.replace(
                old, config=msgspec.structs.replace(old.config, **fields), revision=old.revision + 1
            )

        assert await self.directory.change_endpoint(self.app_id, self.endpoint_id, change, AUDIT)

    async def put_key(self, name: str, text: str) -> None:
        if self.directory is None:
            await self.world.put_key(self.endpoint_id, name, text)
        else:
            await self.directory.change_endpoint_keys(
                self.app_id,
                self.endpoint_id,
                lambda _config, versions: put_key(versions, name, text, now=0.0, overlap_seconds=60),
                AUDIT,
            )

    async def rotate(self) -> None:
        if self.directory is None:
            await self.world.put_secret(self.endpoint_id, b"t" * 24)
            return

        def check(_live: Any) -> None: ...

        checked: Any = check
        assert await self.directory.rotate_secret(
            self.app_id, self.endpoint_id, Secret("v1", b"t" * 24), check=checked, now=0.0, expires_at=9e9, audit=AUDIT
        )

    async def delete(self) -> None:
        if self.directory is None:
            await self.world.delete_endpoint(self.endpoint_id)
        else:
            assert await self.directory.delete_endpoint(self.app_id, self.endpoint_id, AUDIT)

    async def delete_app(self) -> None:
        if self.directory is None:
            await self.world.delete_app(self.app_id)
        else:
            assert await self.directory.delete_app(self.app_id, AUDIT)

    async def claim(self, **options: Any) -> Claims:
        return await self.queue.claim(**{"limit": 10, "lease_seconds": LEASE} | options)

    async def taken(self) -> Claim:
        """The one that is due, or will be."""
        async with asyncio.timeout(5):
            while not (found := await self.claim()).taken:  # noqa: ASYNC110 - the store's clock decides
                await asyncio.sleep(0.01)
        (claim,) = found.taken
        return claim

    async def ask(self, **options: Any) -> Claim | TooOften | None:
        defaults: dict[str, Any] = {"lease_seconds": 60.0, "asked_max": 3, "asked_seconds": 60.0, "audit": AUDIT}
        return await self.queue.ask(self.app_id, self.endpoint_id, **defaults | options)

    async def routed(self) -> tuple[int, Endpoint]:
        """The version of the app's configuration, and the endpoint as the engine sees it."""
        (config,) = await self.store.apps([self.app_id])
        return config.version, next(each for each in config.endpoints if each.id == self.endpoint_id)


@pytest.fixture
def kept(world: World) -> Kept:
    return Kept(world)


async def test_it_is_there_with_a_handshake_and_without_one_it_is_not(kept: Kept) -> None:
    await kept.make(EndpointConfig(url="https://example.com/hooks"))
    assert (await kept.claim()).taken == ()
    assert (await kept.routed())[1].verified
    assert await kept.ask() is None
    await kept.change(handshake=HANDSHAKE)
    assert not (await kept.routed())[1].verified
    claim = await kept.taken()
    assert (claim.app_id, claim.endpoint_id) == (kept.app_id, kept.endpoint_id)
    assert claim.verification.state is State.UNVERIFIED
    await kept.change(handshake=None)
    assert (await kept.routed())[1].verified
    assert await kept.queue.settle(claim, CONFIRM) is None
    assert await kept.ask() is None


async def test_what_it_comes_to_is_seen_by_the_engine(kept: Kept) -> None:
    await kept.make()
    before, endpoint = await kept.routed()
    assert (endpoint.verified, endpoint.handshake) == (False, HANDSHAKE)
    refusal = await kept.queue.settle(await kept.taken(), REFUSE)
    assert refusal is not None
    assert (refusal.state, refusal.reason, refusal.tries) == (State.UNVERIFIED, Reason.WRONG_ANSWER, 1)
    assert (await kept.routed())[0] == before, "nothing to load anew"
    assert (await kept.claim()).next_at == pytest.approx(refusal.next_at, abs=0.01)
    claim = await kept.ask()
    assert isinstance(claim, Claim)

    def rated(old: Verification, now: float) -> tuple[Verification, Audit]:
        return confirmed(msgspec.structs.replace(old, allowing=0.5), HANDSHAKE, now=now), AUDIT

    settled = await kept.queue.settle(claim, rated)
    assert settled is not None
    assert settled.sendable
    version, endpoint = await kept.routed()
    assert version > before
    assert (endpoint.verified, endpoint.allowed_per_second) == (True, 0.5)
    assert endpoint.pace is not None
    assert endpoint.pace.per_second == 0.5
    assert (await kept.world.store.changed_apps(1, since_version=before))[1] == [kept.app_id]
    if kept.directory is not None:
        (stored,) = await kept.directory.endpoints(kept.app_id, before=b"\xff" * 16, limit=5)
        assert stored.verification == settled


@pytest.mark.parametrize("what", ["url", "fallback", "handshake"])
async def test_it_begins_anew_with_what_it_is_about(kept: Kept, what: str) -> None:
    await kept.make()
    first = await kept.taken()
    assert await kept.queue.settle(first, CONFIRM) is not None
    version, endpoint = await kept.routed()
    assert endpoint.verified
    late = await kept.ask()
    assert isinstance(late, Claim)
    match what:
        case "url":
            await kept.change(url="https://example.com/2")
        case "fallback":
            await kept.change(fallback_urls=("https://example.com/2",))
        case _:
            await kept.change(handshake=msgspec.structs.replace(HANDSHAKE, every=3_600.0))
    now_version, endpoint = await kept.routed()
    assert not endpoint.verified
    assert now_version > version
    assert await kept.queue.settle(late, CONFIRM) is None, "it was made with what was there before"
    claim = await kept.taken()
    assert claim.verification == Verification(since=claim.verification.since, next_at=claim.verification.next_at)


@pytest.mark.parametrize("what", ["headers", "format", "signing", "key", "secret"])
async def test_other_changes_leave_it(kept: Kept, what: str) -> None:
    await kept.make()
    assert await kept.queue.settle(await kept.taken(), CONFIRM) is not None
    match what:
        case "headers":
            await kept.change(headers={"X-Shop": "1"})
        case "format":
            await kept.change(format=JsonFormat(thin=True))
        case "signing":
            await kept.change(signing=())
        case "key":
            await kept.put_key("shown", "text")
        case _:
            await kept.rotate()
    assert (await kept.routed())[1].verified
    assert (await kept.claim()).next_at is None


@pytest.mark.parametrize("what", ["headers", "key", "secret"])
async def test_one_that_failed_is_due_with_any_change(kept: Kept, what: str) -> None:
    await kept.make()
    failed: Change = lambda old, now: (msgspec.structs.replace(old, state=State.FAILED, next_at=None), None)  # noqa: E731
    assert await kept.queue.settle(await kept.taken(), failed) is not None
    assert (await kept.claim()).next_at is None
    match what:
        case "headers":
            await kept.change(headers={"X-Shop": "1"})
        case "key":
            await kept.put_key("shown", "text")
        case _:
            await kept.rotate()
    assert (await kept.taken()).verification.state is State.UNVERIFIED


async def test_one_gets_it_until_the_lease_ends(kept: Kept) -> None:
    await kept.make()
    found = await asyncio.gather(*(kept.claim(lease_seconds=60.0) for _ in range(4)))
    (dead,) = [claim for each in found for claim in each.taken]
    assert (await kept.claim()).taken == ()
    asked = await kept.ask(lease_seconds=LEASE)
    assert isinstance(asked, Claim)
    assert await kept.queue.settle(dead, CONFIRM) is None, "somebody else has it"
    again = await kept.taken()
    assert again.turn > asked.turn
    assert await kept.queue.settle(asked, CONFIRM) is None
    assert await kept.queue.settle(again, CONFIRM) is not None
    assert await kept.queue.settle(again, REFUSE) is not None, "it is still nobody else's"


async def test_apps_can_be_left_out_and_those_due_for_longest_come_first(kept: Kept) -> None:
    await kept.make()
    await kept.add(second := EndpointId(new_id()))
    assert (await kept.claim(without=[kept.app_id])).taken == ()
    (one,) = (await kept.claim(limit=1)).taken
    (two,) = (await kept.claim(limit=1)).taken
    assert [one.endpoint_id, two.endpoint_id] == [kept.endpoint_id, second]


async def test_whoever_asks_too_often_has_to_wait(kept: Kept) -> None:
    await kept.make()
    for _ in range(3):
        assert isinstance(await kept.ask(), Claim)
    refused = await kept.ask()
    assert isinstance(refused, TooOften)
    assert 0 < refused.seconds <= 60
    assert isinstance(await kept.ask(asked_seconds=0.0), Claim)
    assert (
        await kept.queue.ask(
            new_app(), kept.endpoint_id, lease_seconds=1.0, asked_max=9, asked_seconds=0.0, audit=AUDIT
        )
        is None
    )


async def test_a_token_is_good_once_and_lets_it_go_on(kept: Kept) -> None:
    await kept.make()
    claim = await kept.taken()
    assert not await kept.queue.follow(TOKEN, allowing=None)
    assert await kept.queue.expect(claim, TOKEN)
    waiting = await kept.queue.settle(claim, AWAIT)
    assert waiting is not None
    assert waiting.waits_until is not None
    assert (await kept.claim()).taken == ()
    assert not await kept.queue.follow(sha256(b"other").digest(), allowing=None)
    assert await kept.queue.follow(TOKEN, allowing=2.0)
    assert not await kept.queue.follow(TOKEN, allowing=None)
    again = await kept.taken()
    assert (again.verification.place, again.verification.allowing) == (2, 2.0)
    assert await kept.queue.settle(claim, REFUSE) is None


async def test_whoever_is_faster_than_our_answer_is_not_forgotten(kept: Kept) -> None:
    await kept.make()
    claim = await kept.taken()
    assert await kept.queue.expect(claim, TOKEN)
    assert await kept.queue.follow(TOKEN, allowing=None)
    settled = await kept.queue.settle(claim, AWAIT)
    assert settled is not None
    assert (settled.place, settled.waits_until) == (2, None)
    again = await kept.taken()
    assert await kept.queue.expect(again, TOKEN), "of the next place: what was brought before says nothing of it"
    settled = await kept.queue.settle(again, AWAIT)
    assert settled is not None
    assert settled.waits_until is not None


async def test_a_token_is_nothing_once_it_is_not_waited_for(kept: Kept) -> None:
    await kept.make()
    claim = await kept.taken()
    assert await kept.queue.expect(claim, TOKEN)
    assert await kept.queue.settle(claim, REFUSE) is not None
    assert not await kept.queue.follow(TOKEN, allowing=None)
    asked = await kept.ask()
    assert isinstance(asked, Claim)
    assert await kept.queue.expect(asked, TOKEN)
    await kept.change(url="https://example.com/2")
    assert not await kept.queue.follow(TOKEN, allowing=None)
    assert not await kept.queue.expect(asked, TOKEN)


@pytest.mark.parametrize("what", ["endpoint", "app"])
async def test_it_goes_with_its_endpoint(kept: Kept, what: str) -> None:
    await kept.make()
    claim = await kept.taken()
    assert await kept.queue.expect(claim, TOKEN)
    await (kept.delete() if what == "endpoint" else kept.delete_app())
    assert await kept.queue.settle(claim, CONFIRM) is None
    assert not await kept.queue.follow(TOKEN, allowing=None)
    assert (await kept.claim()).next_at is None
