"""What every replay store promises (`posthouse_sdk.receiving.store`)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from tests.stores import CLAIM_SECONDS, KEEP_SECONDS, StoreWorld, memory_world
from tests.stores import received_dsn as received_dsn
from tests.stores import received_mariadb as received_mariadb
from tests.stores import store_making as store_making
from tests.stores import store_world as store_world

from posthouse_sdk.receiving.store import KEY_LENGTH_MAX


async def test_an_event_is_claimed_by_one_and_confirmed_for_all(store_world: StoreWorld) -> None:
    assert await store_world.claim("evt_1", "mine") == "granted"
    assert await store_world.claim("evt_1", "theirs") == "held"
    assert await store_world.claim("evt_2", "theirs") == "granted"
    await store_world.confirm("evt_1", "mine")
    assert await store_world.claim("evt_1", "theirs") == "confirmed"
    assert await store_world.claim("evt_1", "mine") == "confirmed"


async def test_what_is_released_may_come_again(store_world: StoreWorld) -> None:
    await store_world.claim("evt_1", "mine")
    await store_world.release("evt_1", "mine")
    assert await store_world.claim("evt_1", "theirs") == "granted"


async def test_a_claim_may_be_asked_for_again_by_who_has_it(store_world: StoreWorld) -> None:
    """Its answer may have been lost on the way."""
    assert await store_world.claim("evt_1", "mine") == "granted"
    assert await store_world.claim("evt_1", "mine") == "granted"


async def test_only_ones_own_claim_is_released(store_world: StoreWorld) -> None:
    await store_world.claim("evt_1", "mine")
    await store_world.release("evt_1", "theirs")
    assert await store_world.claim("evt_1", "theirs") == "held"


async def test_a_claim_ends_if_its_worker_died(store_world: StoreWorld) -> None:
    await store_world.claim("evt_1", "dead")
    await store_world.age(CLAIM_SECONDS - 20)
    assert await store_world.claim("evt_1", "next") == "held"
    await store_world.age(25)
    assert await store_world.claim("evt_1", "next") == "granted"
    await store_world.release("evt_1", "dead")  # it was only slow
    assert await store_world.claim("evt_1", "third") == "held"


async def test_work_that_was_done_is_confirmed_whoever_has_the_claim_by_then(store_world: StoreWorld) -> None:
    await store_world.claim("evt_1", "slow")
    await store_world.age(CLAIM_SECONDS + 5)
    assert await store_world.claim("evt_1", "next") == "granted"
    await store_world.confirm("evt_1", "slow")
    await store_world.release("evt_1", "next")
    assert await store_world.claim("evt_1", "third") == "confirmed"


async def test_a_confirmation_needs_no_claim(store_world: StoreWorld) -> None:
    await store_world.confirm("evt_1", "mine")
    assert await store_world.claim("evt_1", "theirs") == "confirmed"


async def test_a_confirmation_is_not_released(store_world: StoreWorld) -> None:
    await store_world.claim("evt_1", "mine")
    await store_world.confirm("evt_1", "mine")
    await store_world.release("evt_1", "mine")
    assert await store_world.claim("evt_1", "mine") == "confirmed"


async def test_a_confirmation_ends_after_its_time(store_world: StoreWorld) -> None:
    await store_world.confirm("evt_1", "mine")
    await store_world.age(KEEP_SECONDS - 20)
    assert await store_world.claim("evt_1", "theirs") == "confirmed"
    await store_world.age(25)
    assert await store_world.claim("evt_1", "theirs") == "granted"


async def test_what_is_forgotten_may_be_handled_again(store_world: StoreWorld) -> None:
    await store_world.claim("evt_1", "mine")
    await store_world.confirm("evt_1", "mine")
    await store_world.forget("evt_1")
    await store_world.forget("evt_never_seen")
    assert await store_world.claim("evt_1", "theirs") == "granted"


async def test_keys_are_told_apart_to_the_last_character(store_world: StoreWorld) -> None:
    long = "k" * (KEY_LENGTH_MAX - 1)
    keys = ["evt_a", "evt_A", "evt_", "%", "_", "a'b", 'a"b', "a:id", "{a}", "a\\b", long + "1", long + "2"]
    assert [await store_world.claim(key, "mine") for key in keys] == ["granted"] * len(keys)
    await store_world.confirm(keys[0], "mine")
    assert [await store_world.claim(key, "theirs") for key in keys] == ["confirmed"] + ["held"] * (len(keys) - 1)


async def test_of_many_at_once_one_gets_the_claim(store_world: StoreWorld) -> None:
    async def claim(number: int) -> str:
        if store_world.is_async:
            return await store_world.claim("evt_1", f"worker-{number}")
        claimed = await asyncio.to_thread(store_world.store.claim, "evt_1", f"worker-{number}")
        return str(claimed.value)

    assert Counter(await asyncio.gather(*map(claim, range(8)))) == {"granted": 1, "held": 7}
    await store_world.age(CLAIM_SECONDS + 5)
    assert Counter(await asyncio.gather(*map(claim, range(8, 16)))) == {"granted": 1, "held": 7}


async def test_every_store_does_what_the_one_in_memory_does(store_world: StoreWorld) -> None:
    """A long history of calls by three workers on three events."""
    chance = random.Random(7)
    seen = Counter[str]()
    async with memory_world("") as model:
        for number in range(120):
            key, token = f"evt_{chance.randrange(3)}", f"worker-{chance.randrange(3)}"
            match chance.choices(["claim", "confirm", "release", "forget", "age"], [6, 1, 2, 1, 2])[0]:
                case "claim":
                    expected = await model.claim(key, token)
                    seen[expected] += 1
                    assert await store_world.claim(key, token) == expected, f"step {number}: {key} {token}"
                case "age":
                    seconds = chance.choice([30.5, CLAIM_SECONDS + 0.5, KEEP_SECONDS + 0.5])
                    for world in (model, store_world):
                        await world.age(seconds)
                case call:
                    for world in (model, store_world):
                        await getattr(world, call)(key, token) if call != "forget" else await world.forget(key)
    assert min(seen["granted"], seen["held"], seen["confirmed"]) > 5
