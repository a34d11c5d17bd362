"""The verifier: what is due it makes, a few at once; what its lanes' pace is; and what goes wrong on our side."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import pytest
from tests.fakes import FakeClock, an_endpoint, answer, failure, until, virtual_time

from posthouse.adapters.memory import MemoryDatabase, MemoryStore
from posthouse.adapters.memory.database import Step
from posthouse.adapters.memory.verifications import MemoryVerifications
from posthouse.dispatch.verifier import Verifier
from posthouse.domain.endpoint import EndpointConfig, EqualUrl, RateLimit, Secret
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.exchange import Request, Result
from posthouse.domain.formats import JsonFormat
from posthouse.domain.handshake import Expect, Handshake, OptionsStep, RequestStep
from posthouse.domain.ids import AppId, EndpointId, uuid7
from posthouse.domain.limits import (
    EQUAL_URLS_MAX,
    FALLBACK_URLS_MAX,
    HANDSHAKE_BACKOFF_SECONDS,
    HANDSHAKE_BEGIN_SECONDS_MAX,
    HANDSHAKE_FILLED_LENGTH_MAX,
    HANDSHAKE_LEASE_SECONDS,
    HANDSHAKE_STEP_SECONDS_MAX,
    HANDSHAKE_STEPS_MAX,
    HANDSHAKES_AT_ONCE_MAX,
    HANDSHAKES_PER_APP_MAX,
)
from posthouse.domain.verification import Reason, State, Verification
from posthouse.ports.verifications import Claim

ECHO: Final = RequestStep(
    format=JsonFormat(body={"challenge": "{challenge}"}), expect=Expect(json={"/challenge": "{challenge}"})
)
HANDSHAKE: Final = Handshake(steps=(ECHO,))


async def echo(request: Request) -> Result:
    return answer(body=request.body)


async def silence(_: Request) -> Result:
    return failure()


class Targets:
    """`ports.transport.Transport` to targets that are functions."""

    def __init__(self) -> None:
        self.reply: Callable[[Request], Awaitable[Result]] = echo
        self.sent: list[Request] = []
        self.most = self._running = 0

    async def send(
        self, request: Request, *, may_write: Callable[[], bool] | None = None, once: bool = False, anew: bool = False
    ) -> Result:
        self.sent.append(request)
        self._running += 1
        self.most = max(self.most, self._running)
        try:
            return await self.reply(request)
        finally:
            self._running -= 1

    async def close(self) -> None: ...


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.database = MemoryDatabase(clock=self.clock.now)
        self.store = MemoryStore(self.database)
        self.transport = Targets()
        self.queue = MemoryVerifications(self.database)
        self.verifier = Verifier(self.queue, self.store, self.transport, self.clock)
        self.told: list[tuple[EndpointId, Verification]] = []
        self.verifier.handshakes.told = self.heard

    def heard(self, claim: Claim, verification: Verification) -> None:
        self.told.append((claim.endpoint_id, verification))

    def add(self, number: int = 1, *, app: int = 1, handshake: Handshake = HANDSHAKE, url: str = "") -> EndpointId:
        app_id, endpoint_id = AppId(uuid7(1, app)), EndpointId(uuid7(2, app << 16 | number))
        if app_id not in self.database.apps:
            self.database.put_app(app_id, partition=0)
        config = EndpointConfig(url=url or f"https://example.com/{app}/{number}", handshake=handshake)
        self.database.put_endpoint(endpoint_id, app_id, config)
        self.database.put_secret(endpoint_id, Secret("v1", bytes(24)))
        return endpoint_id

    def of(self, endpoint_id: EndpointId) -> Verification:
        return self.database.verifications[endpoint_id].verification


@virtual_time
async def test_what_is_due_is_made_at_once_and_again_when_it_is_due() -> None:
    world = World()
    world.verifier.start()
    one = world.add()
    world.verifier.wake()
    await until(lambda: world.of(one).sendable)
    assert world.told == [(one, world.of(one))]
    world.transport.reply = silence
    two = world.add(2)
    world.verifier.wake()
    await until(lambda: world.of(two).tries == 1)
    for tries, seconds in enumerate(HANDSHAKE_BACKOFF_SECONDS, 2):
        assert (world.of(two).state, world.of(two).reason) == (State.UNVERIFIED, Reason.NO_ANSWER)
        await asyncio.sleep(seconds + 1.5)
        assert world.of(two).tries == tries
    assert world.of(two).state is State.FAILED
    assert [each[0] for each in world.told] == [one, two]
    assert (world.verifier.handshakes.confirmed, world.verifier.handshakes.refused) == (1, 5)
    await world.verifier.close()


@virtual_time
async def test_an_app_whose_targets_hang_leaves_room_for_others() -> None:
    world, gate = World(), asyncio.Event()

    async def hang(request: Request) -> Result:
        if request.target.path.startswith("/1/"):
            await gate.wait()
        return answer(body=request.body)

    world.transport.reply = hang
    slow = [world.add(number) for number in range(5)]
    world.verifier.start()
    await until(lambda: world.verifier.running == HANDSHAKES_PER_APP_MAX)
    fast = world.add(app=2)
    world.verifier.wake()
    await until(lambda: world.of(fast).sendable)
    assert world.verifier.running == HANDSHAKES_PER_APP_MAX
    many = [world.add(app=app) for app in range(3, 20)]
    await until(lambda: all(world.of(each).sendable for each in many))
    assert world.transport.most <= HANDSHAKES_AT_ONCE_MAX
    assert not any(world.of(each).sendable for each in slow)
    gate.set()
    await until(lambda: all(world.of(each).sendable for each in slow))
    await world.verifier.close()


@virtual_time
async def test_a_target_that_drips_is_given_up() -> None:
    world = World()

    async def drip(_: Request) -> Result:
        await asyncio.sleep(1_000)
        raise AssertionError("it was waited for")

    world.transport.reply = drip
    one = world.add()
    world.verifier.start()
    await until(lambda: world.of(one).tries == 1, seconds=200)
    assert world.of(one).reason is Reason.NO_ANSWER
    await world.verifier.close()


@virtual_time
async def test_whoever_waits_has_the_place_that_becomes_free_at_once() -> None:
    world = World()
    world.verifier = Verifier(world.queue, world.store, world.transport, world.clock, at_once=1)

    async def slowly(request: Request) -> Result:
        await asyncio.sleep(0.01)
        return answer(body=request.body)

    world.transport.reply = slowly
    began = asyncio.get_running_loop().time()
    many = [world.add(app=app) for app in range(1, 7)]
    world.verifier.start()
    await until(lambda: all(world.of(each).sendable for each in many))
    assert asyncio.get_running_loop().time() - began < 0.5
    assert world.transport.most == 1
    await world.verifier.close()
    assert world.verifier.running == 0


def long_one(world: World, steps: int, urls: int) -> EndpointId:
    """An endpoint with so many places, whose targets take 2.5 seconds for each."""

    async def slowly(request: Request) -> Result:
        await asyncio.sleep(2.5)
        return answer(body=request.body)

    world.transport.reply = slowly
    one = world.add(handshake=Handshake(steps=(ECHO,) * steps))
    state = world.database.endpoints[one]
    others = [f"https://example.com/{n}" for n in range(urls - 1)]
    config = msgspec.structs.replace(
        state.config,
        equal_urls=tuple([EqualUrl(url) for url in others[:EQUAL_URLS_MAX]]),
        fallback_urls=tuple(others[EQUAL_URLS_MAX:]),
    )
    world.database.put_endpoint(one, state.app_id, config)
    return one


@virtual_time
async def test_a_long_one_goes_on_from_where_it_was_until_it_ends() -> None:
    assert HANDSHAKE_BEGIN_SECONDS_MAX + HANDSHAKE_STEP_SECONDS_MAX < HANDSHAKE_LEASE_SECONDS
    world = World()
    urls = 1 + EQUAL_URLS_MAX + FALLBACK_URLS_MAX
    one = long_one(world, HANDSHAKE_STEPS_MAX, urls)
    world.verifier.start()
    await until(lambda: world.of(one).sendable or world.of(one).tries > 0, seconds=600)
    assert (world.of(one).state, world.of(one).tries) == (State.VERIFIED, 0)
    asked = [request.target.path for request in world.transport.sent]
    assert len(asked) == HANDSHAKE_STEPS_MAX * urls, "each place once"
    assert world.database.verifications[one].turn > 1
    assert world.told == [(one, world.of(one))]
    await world.verifier.close()


@virtual_time
async def test_whoever_makes_it_tells_what_it_is_so_far() -> None:
    world = World()
    one = long_one(world, HANDSHAKE_STEPS_MAX, 4)
    (claim,) = (await world.queue.claim(limit=1, lease_seconds=HANDSHAKE_LEASE_SECONDS)).taken
    so_far = await world.verifier.handshakes.make(claim)
    assert so_far is not None
    assert so_far == world.of(one)
    assert (so_far.state, so_far.reason, so_far.tries, so_far.place) == (State.UNVERIFIED, None, 0, 8)
    assert so_far.next_at == world.clock.now()
    assert world.told == []
    assert (world.verifier.handshakes.confirmed, world.verifier.handshakes.refused) == (0, 0)
    (again,) = (await world.queue.claim(limit=1, lease_seconds=HANDSHAKE_LEASE_SECONDS)).taken
    assert (again.verification.place, again.turn) == (8, claim.turn + 1)
    world.transport.reply = echo
    made = await world.verifier.handshakes.make(again)
    assert made is not None
    assert made.sendable
    assert len(world.transport.sent) == 4 * HANDSHAKE_STEPS_MAX


@virtual_time
async def test_what_a_new_key_makes_too_large_is_not_made() -> None:
    world = World()
    text = "{key}" * 100
    step = RequestStep(key="shown", expect=Expect(json={"/a": [text]}))
    one = world.add(handshake=Handshake(steps=(step,)))
    world.database.put_key(one, "shown", "k" * (HANDSHAKE_FILLED_LENGTH_MAX // 100 + 1))
    (claim,) = (await world.queue.claim(limit=1, lease_seconds=60)).taken
    made = await world.verifier.handshakes.make(claim)
    assert made is not None
    assert made.reason is Reason.UNUSABLE
    assert world.transport.sent == []


@virtual_time
async def test_our_own_faults_cost_the_target_nothing() -> None:
    world, broken = World(), True

    async def fault(request: Request) -> Result:
        if broken:
            raise OSError("too many open files")
        return answer(body=request.body)

    world.transport.reply = fault
    one = world.add()
    world.verifier.start()
    await until(lambda: len(world.transport.sent) == 2, seconds=200)
    assert (world.of(one).tries, world.of(one).state) == (0, State.UNVERIFIED)
    broken = False
    await until(lambda: world.of(one).sendable, seconds=200)
    await world.verifier.close()


@virtual_time
async def test_a_secret_that_does_not_open_costs_nothing_either() -> None:
    world = World()
    one = world.add()
    world.database.endpoints[one].secrets[0].secret = Secret("v1", b"")
    (claim,) = (await world.queue.claim(limit=1, lease_seconds=60)).taken
    settled = await world.verifier.handshakes.make(claim)
    assert settled is not None
    assert (settled.state, settled.tries) == (State.UNVERIFIED, 0)
    assert world.transport.sent == []


@virtual_time
async def test_what_has_no_handshake_any_more_is_left_alone() -> None:
    world = World()
    one = world.add()
    state = world.database.endpoints[one]
    state.config = msgspec.structs.replace(state.config, handshake=None)  # beside the directory
    (claim,) = (await world.queue.claim(limit=1, lease_seconds=60)).taken
    assert await world.verifier.handshakes.make(claim) is None
    assert (await world.queue.claim(limit=1, lease_seconds=60)).next_at is None
    assert world.transport.sent == []


@virtual_time
async def test_the_store_may_be_away_for_a_while() -> None:
    world, away = World(), True

    async def hook(operation: str, step: Step) -> None:
        if away and operation == "claim_verifications":
            raise StoreUnavailable("away")

    world.database.hook = hook
    one = world.add()
    world.verifier.start()
    await asyncio.sleep(5)
    away = False
    await until(lambda: world.of(one).sendable, seconds=60)
    await world.verifier.close()


@virtual_time
async def test_every_url_and_step_has_its_turn_and_the_lowest_rate_counts() -> None:
    world = World()

    async def reply(request: Request) -> Result:
        if request.head.startswith(b"OPTIONS"):
            rate = b"60" if request.target.path == "/a" else b"30"
            return answer(200, (b"webhook-allowed-origin", b"*"), (b"webhook-allowed-rate", rate))
        return answer(body=request.body)

    world.transport.reply = reply
    handshake = Handshake(steps=(ECHO, OptionsStep(origin="events.example.com")))
    one = world.add(handshake=handshake, url="https://example.com/a")
    state = world.database.endpoints[one]
    config = msgspec.structs.replace(state.config, fallback_urls=("https://example.com/b",))
    world.database.put_endpoint(one, state.app_id, config)
    (claim,) = (await world.queue.claim(limit=1, lease_seconds=60)).taken
    assert await world.verifier.handshakes.make(claim) == world.of(one)
    asked = [(request.head.split(b" ")[0], request.target.path) for request in world.transport.sent]
    assert asked == [(b"POST", "/a"), (b"OPTIONS", "/a"), (b"POST", "/b"), (b"OPTIONS", "/b")]
    challenges = {json.loads(request.body)["challenge"] for request in world.transport.sent if request.body}
    assert len(challenges) == 2
    assert world.of(one).allowed_per_second == 0.5


@pytest.mark.parametrize(
    ("asks", "allows", "pace"),
    [
        (None, None, None),
        (RateLimit(5.0, 9), None, RateLimit(5.0, 9)),
        (None, 2.0, RateLimit(2.0, 2)),
        (None, 0.5, RateLimit(0.5, 1)),
        (RateLimit(1.0, 9), 2.0, RateLimit(1.0, 9)),
        (RateLimit(5.0, 9), 2.0, RateLimit(2.0, 2)),
        (RateLimit(5.0, 1), 2.0, RateLimit(2.0, 1)),
    ],
)
def test_the_rate_that_is_allowed_is_kept_to(
    asks: RateLimit | None, allows: float | None, pace: RateLimit | None
) -> None:
    endpoint = an_endpoint(rate_limit=asks, allowed_per_second=allows)
    assert endpoint.pace == pace or (pace is not None and endpoint.pace == RateLimit(pace.per_second, None))
    assert (endpoint.pace is None) == (pace is None)
    if endpoint.pace is not None and pace is not None:
        assert endpoint.pace.capacity == pace.capacity
