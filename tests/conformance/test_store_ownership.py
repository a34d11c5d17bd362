"""What `ports.store.Store` promises of ownership, of every adapter."""

from __future__ import annotations

import asyncio
import math
import time

from tests.making import new_owner
from tests.world_steps import LEASE
from tests.worlds import World

from posthouse.domain.delivery import Cursor, JournalBatch
from posthouse.ports.store import Claim

EXPIRED = -1.0
"""A lease of this length has ended as soon as it is granted: nobody has to wait for it."""


async def claim(world: World, owner: bytes, *, limit: int = 1000, lease: float = LEASE) -> dict[int, Claim]:
    claims = await world.store.claim(owner, limit=limit, lease_seconds=lease, exclusive=False)
    return {claim.partition: claim for claim in claims}


def epochs(claims: dict[int, Claim]) -> dict[int, int]:
    return {partition: claim.epoch for partition, claim in claims.items()}


async def test_each_partition_goes_to_one_owner(world: World) -> None:
    count = await world.store.partitions()
    first, second, third = new_owner(), new_owner(), new_owner()
    assert await world.store.processes() == {}
    few = await claim(world, first, limit=10)
    assert len(few) == 10
    rest = await claim(world, second)
    assert few.keys() | rest.keys() == set(range(count))
    assert not few.keys() & rest.keys()
    assert await claim(world, third) == {}
    assert await world.store.processes() == {first: False, second: False}


async def test_claims_at_once_share_the_partitions(world: World) -> None:
    owners = [new_owner() for _ in range(6)]
    found = await asyncio.gather(*(claim(world, owner, limit=20) for owner in owners))
    taken = [partition for claims in found for partition in claims]
    assert len(taken) == len(set(taken))
    assert all(len(claims) <= 20 for claims in found)
    # One that saw a partition locked by another may have left it: it is there for the next claim.
    taken += await claim(world, owners[0])
    assert sorted(taken) == list(range(await world.store.partitions()))


async def test_a_first_claim_has_no_previous_owner_and_starts_at_the_cursor(world: World) -> None:
    claims = await claim(world, new_owner())
    first = claims[0]
    assert (first.epoch, first.previous) == (1, None)
    assert (first.cursor.partition, first.cursor.seq) == (0, 0)
    assert abs(first.cursor.at - time.time()) < 300


async def test_a_claim_starts_at_the_cursor_that_was_journalled(world: World) -> None:
    owner, next_owner = new_owner(), new_owner()
    mine = epochs(await claim(world, owner))
    at = time.time() + 100
    await world.store.journal(
        JournalBatch(owner=owner, epochs=mine, cursors=(Cursor(3, 41, at),)), now=0.0, lease_seconds=LEASE
    )
    await world.store.release(owner, mine)
    taken = await claim(world, next_owner)
    assert taken[3].cursor.seq == 41
    assert abs(taken[3].cursor.at - at) < 0.001
    assert taken[4].cursor.seq == 0


async def test_whoever_releases_says_how_far_back_all_is_on_record(world: World) -> None:
    owner, successor, last = new_owner(), new_owner(), new_owner()
    mine = epochs(await claim(world, owner))
    await world.store.release(owner, {p: mine[p] for p in (0, 1)}, on_record={0: 100.0, 1: math.inf})
    taken = await claim(world, successor)
    assert 100.0 <= taken[0].on_record_seconds < 160.0
    assert taken[1].on_record_seconds == math.inf
    again = await world.store.claim(last, limit=1000, lease_seconds=LEASE, exclusive=False, dead=[successor])
    assert [(c.previous, c.on_record_seconds) for c in again] == [(successor, 0.0)] * 2


async def test_a_released_partition_is_free_and_has_no_previous_owner(world: World) -> None:
    owner, successor = new_owner(), new_owner()
    mine = epochs(await claim(world, owner))
    await world.store.release(owner, {0: mine[0], 1: mine[1]})
    taken = await claim(world, successor)
    assert {p: (c.epoch, c.previous) for p, c in taken.items()} == {0: (2, None), 1: (2, None)}
    assert await world.store.renew(owner, mine, lease_seconds=LEASE) == mine.keys() - {0, 1}


async def test_an_expired_lease_is_free_and_tells_whom_it_was_taken_from(world: World) -> None:
    owner, successor = new_owner(), new_owner()
    await claim(world, owner, limit=2, lease=EXPIRED)
    taken = await claim(world, successor, limit=2)
    assert {p: (c.epoch, c.previous) for p, c in taken.items()} == {0: (2, owner), 1: (2, owner)}


async def test_a_dead_owner_s_partitions_are_free_before_their_lease_ends(world: World) -> None:
    dead, alive, successor = new_owner(), new_owner(), new_owner()
    await claim(world, dead, limit=3)
    await claim(world, alive)
    claims = await world.store.claim(successor, limit=2, lease_seconds=LEASE, exclusive=False, dead=[dead, new_owner()])
    assert {c.partition: c.previous for c in claims} == {0: dead, 1: dead}


async def test_exclusive_takes_everything_of_anybody(world: World) -> None:
    first, second, everything = new_owner(), new_owner(), new_owner()
    await claim(world, first, limit=5)
    await claim(world, second, limit=5)
    claims = await world.store.claim(everything, limit=1000, lease_seconds=LEASE, exclusive=True)
    assert len(claims) == await world.store.partitions()
    previous = {c.partition: c.previous for c in claims}
    assert {previous[p] for p in range(5)} == {first}
    assert {previous[p] for p in range(5, 10)} == {second}
    assert previous[10] is None
    assert await world.store.processes() == {everything: False}


async def test_a_lease_is_renewed_after_its_end_while_nobody_took_the_partition(world: World) -> None:
    owner, other = new_owner(), new_owner()
    mine = epochs(await claim(world, owner, limit=2, lease=EXPIRED))
    assert await world.store.renew(owner, mine, lease_seconds=LEASE) == {0, 1}
    assert not {0, 1} & (await claim(world, other)).keys()


async def test_only_the_holder_renews_and_only_under_its_epoch(world: World) -> None:
    owner, other = new_owner(), new_owner()
    mine = epochs(await claim(world, owner, limit=3))
    assert await world.store.renew(other, mine, lease_seconds=LEASE) == set()
    assert await world.store.renew(owner, {0: mine[0], 1: mine[1] + 1, 2: mine[2] - 1}, lease_seconds=LEASE) == {0}
    assert await world.store.renew(owner, {}, lease_seconds=LEASE) == set()


async def test_a_former_owner_releases_nothing(world: World) -> None:
    owner, successor = new_owner(), new_owner()
    old = epochs(await claim(world, owner, lease=EXPIRED))
    taken = epochs(await claim(world, successor))
    await world.store.release(owner, old)
    await world.store.release(owner, taken)
    await world.store.release(successor, old)
    assert await world.store.processes() == {successor: False}
    assert await world.store.renew(successor, taken, lease_seconds=LEASE) == taken.keys()


async def test_taking_a_partition_again_ends_the_epoch_before(world: World) -> None:
    owner = new_owner()
    old = epochs(await claim(world, owner, lease=EXPIRED))
    again = await claim(world, owner)
    assert {claim.previous for claim in again.values()} == {owner}
    assert await world.store.renew(owner, old, lease_seconds=LEASE) == set()
    assert await world.store.renew(owner, epochs(again), lease_seconds=LEASE) == again.keys()


async def test_a_journal_extends_the_lease_of_what_it_was_written_for(world: World) -> None:
    owner, other = new_owner(), new_owner()
    mine = epochs(await claim(world, owner, lease=EXPIRED))
    batch = JournalBatch(owner=owner, epochs={2: mine[2], 3: mine[3]}, cursors=(Cursor(2, 1, time.time()),))
    assert (await world.store.journal(batch, now=0.0, lease_seconds=LEASE)).held == {2, 3}
    assert (await claim(world, other)).keys() == mine.keys() - {2, 3}


# Who takes part


async def test_a_process_takes_part_until_its_time_is_over_or_it_leaves(world: World) -> None:
    one, two, owner = new_owner(), new_owner(), new_owner()
    assert await world.store.processes() == {}
    await world.store.attend(one, seconds=LEASE)
    await world.store.attend(two, seconds=LEASE)
    await claim(world, owner, limit=1)
    assert await world.store.processes() == {one: True, two: True, owner: False}
    await world.store.attend(two, seconds=0.001)
    await asyncio.sleep(0.01)  # by the database's clock
    assert await world.store.processes() == {one: True, owner: False}
    await world.store.attend(two, seconds=LEASE)
    await world.store.attend(owner, seconds=LEASE)
    await world.store.attend(one, seconds=0)
    assert await world.store.processes() == {two: True, owner: True}
    await world.store.attend(one, seconds=0)
    assert await world.store.processes() == {two: True, owner: True}
