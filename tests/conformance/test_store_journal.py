"""What `ports.store.Store` promises of its journal, of every adapter."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace
from tests.making import app_of, attempt, config, new_endpoint, new_owner, owed
from tests.world_steps import LEASE, SOON, owns, publish, rows
from tests.worlds import World

from posthouse.domain.circuit import Health
from posthouse.domain.delivery import (
    Attempt,
    AttemptOutcome,
    Cursor,
    DeliveryClass,
    Effect,
    EffectKind,
    HealthTurn,
    JournalBatch,
    Owed,
    OwedReason,
    Rollup,
)
from posthouse.domain.errors import StoreRejected
from posthouse.domain.exchange import Timings
from posthouse.domain.ids import AttemptId, EndpointId, id_beside, next_id

MINUTE = int(time.time() // 60)


def rollup(made: Attempt, **counters: int) -> Rollup:
    empty = Rollup(partition=made.partition, minute=MINUTE, app_id=made.app_id, endpoint_id=made.endpoint_id)
    return replace(empty, **counters)


async def test_an_attempt_is_on_record_as_it_was_made(world: World) -> None:
    (event,) = await publish(world, 1)
    owner = new_owner()
    batch = JournalBatch(
        owner=owner,
        epochs=await owns(world, owner),
        attempts=(
            attempt(event, new_endpoint()),
            attempt(
                event,
                new_endpoint(),
                number=7,
                kind=DeliveryClass.REPLAY,
                outcome=AttemptOutcome.FAILED,
                reason="http_status",
                revision=12,
                url="https://例え.example/hook?q=1",
                started_at=1_700_000_000.125,
                status=503,
                address="2001:db8::1",
                timings=Timings(dns_us=1, connect_us=2, tls_us=3, first_byte_us=4, total_us=5),
                response_headers=b"retry-after: 5\r\n",
                response_body=b"\x00\xff not text",
                error="忙",
            ),
            attempt(event, new_endpoint(), outcome=AttemptOutcome.GAVE_UP, reason="expired", sent=False, address=""),
        ),
    )
    assert (await world.store.journal(batch, now=0.0, lease_seconds=LEASE)).held == batch.epochs.keys()
    assert await world.attempts() == list(batch.attempts)


async def test_rows_come_change_and_go(world: World) -> None:
    events = await publish(world, 3)
    endpoint_id, owner = new_endpoint(), new_owner()
    mine = await owns(world, owner)

    async def journal(**written: tuple[object, ...]) -> None:
        await world.store.journal(
            JournalBatch(owner=owner, epochs=mine, **written),  # type: ignore[arg-type]
            now=0.0,
            lease_seconds=LEASE,
        )

    first, second, third = (owed(event, endpoint_id, due_at=1000.0 + event.seq) for event in events)
    await journal(owed=(first, second))
    assert await rows(world, 1, endpoint_id) == [first, second]
    # A key occurs once in a batch; its row becomes what the last batch says.
    changed = replace(
        second, number=3, due_at=2000.5, reason=OwedReason.IN_FLIGHT, sender=owner, kind=DeliveryClass.REPLAY
    )
    await journal(owed=(changed, third), settled=((1, *first.key),))
    assert await rows(world, 1, endpoint_id) == [third, changed]
    await journal(settled=((1, *first.key), (1, *changed.key)))
    assert await rows(world, 1, endpoint_id) == [third]
    await journal(owed=(first,))
    assert await rows(world, 1, endpoint_id) == [first, third]


async def test_a_row_is_kept_whole(world: World) -> None:
    (event,) = await publish(world, 1)
    endpoint_id, owner = new_endpoint(), new_owner()
    row = Owed(
        partition=1,
        endpoint_id=endpoint_id,
        event_id=event.id,
        seq=event.seq,
        number=4,
        due_at=1_700_000_000.25,
        reason=OwedReason.IN_FLIGHT,
        kind=DeliveryClass.REPLAY,
        sender=owner,
        expires_at=4_000_000_000.5,
        payload_bytes=123,
    )
    batch = JournalBatch(owner=owner, epochs=await owns(world, owner), owed=(row,))
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    assert await rows(world, 1, endpoint_id) == [row]


async def test_the_cursor_never_goes_back(world: World) -> None:
    owner = new_owner()
    mine = await owns(world, owner)
    at = time.time()
    for seq, when in ((10, at + 10), (4, at + 4), (12, at + 3)):
        batch = JournalBatch(owner=owner, epochs=mine, cursors=(Cursor(1, seq, when),))
        await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    await world.store.release(owner, mine)
    (claim,) = [
        c
        for c in await world.store.claim(new_owner(), limit=1000, lease_seconds=LEASE, exclusive=False)
        if c.partition == 1
    ]
    assert claim.cursor.seq == 12
    assert abs(claim.cursor.at - (at + 10)) < 0.001


async def everything(world: World, owner: bytes, partition: int, epoch: int) -> tuple[JournalBatch, EndpointId]:
    """A batch with one of each thing, for one partition."""
    done, later = await publish(world, 2, partition=partition)
    endpoint_id = new_endpoint()
    await world.put_endpoint(endpoint_id, app_of(done), config())
    made = attempt(done, endpoint_id)
    kind = EffectKind.DISABLE_ENDPOINT
    batch = JournalBatch(
        owner=owner,
        epochs={partition: epoch},
        attempts=(made,),
        owed=(owed(later, endpoint_id),),
        settled=((partition, *made.key),),
        cursors=(Cursor(partition, later.seq, later.created_at),),
        effects=(Effect(id=made.id, partition=partition, endpoint_id=endpoint_id, kind=kind, reason="gone"),),
        health=(HealthTurn(partition, endpoint_id, Health(1_700_000_000.0)),),
        rollups=(rollup(made, delivered=1, total_us=10),),
    )
    return batch, endpoint_id


async def written(world: World, batch: JournalBatch, endpoint_id: EndpointId) -> list[bool]:
    """Of each thing in a batch of `everything`: whether it was written."""
    (made,) = batch.attempts
    partition = made.partition
    (app,) = await world.store.apps([made.app_id])
    return [
        made in await world.attempts(),
        await rows(world, partition, endpoint_id) == list(batch.owed),
        list(batch.effects) == [e for e in await world.store.effects([partition], limit=10) if e.id == made.id],
        app.endpoints[0].health.failing_since == 1_700_000_000.0,
        batch.rollups[0] in await world.rollups(),
    ]


async def test_a_batch_is_written_for_the_partitions_held_and_for_no_other(world: World) -> None:
    owner, successor = new_owner(), new_owner()
    old = await owns(world, owner, lease=-1.0)
    taken = await world.store.claim(successor, limit=2, lease_seconds=LEASE, exclusive=False)
    assert [claim.partition for claim in sorted(taken, key=lambda c: c.partition)] == [0, 1]
    lost, lost_endpoint = await everything(world, owner, 1, old[1])
    held, held_endpoint = await everything(world, owner, 2, old[2])
    both = JournalBatch(
        owner=owner,
        epochs=lost.epochs | held.epochs,
        attempts=lost.attempts + held.attempts,
        owed=lost.owed + held.owed,
        settled=lost.settled + held.settled,
        cursors=lost.cursors + held.cursors,
        effects=lost.effects + held.effects,
        health=lost.health + held.health,
        rollups=lost.rollups + held.rollups,
    )
    assert (await world.store.journal(both, now=0.0, lease_seconds=LEASE)).held == {2}
    assert await written(world, held, held_endpoint) == [True] * 5
    assert await written(world, lost, lost_endpoint) == [False] * 5
    assert await world.store.processes() == {successor: False, owner: False}
    assert await world.store.renew(owner, old, lease_seconds=LEASE) == old.keys() - {0, 1}


@pytest.mark.parametrize("wrong", ["epoch before", "epoch after", "owner", "partition not named"])
async def test_a_batch_of_another_owner_or_epoch_changes_nothing(world: World, wrong: str) -> None:
    owner = new_owner()
    first = await owns(world, owner, lease=-1.0)
    mine = await owns(world, owner)
    batch, endpoint_id = await everything(world, owner, 1, mine[1])
    match wrong:
        case "epoch before":
            batch = replace(batch, epochs={1: first[1]})
        case "epoch after":
            batch = replace(batch, epochs={1: mine[1] + 1})
        case "owner":
            batch = replace(batch, owner=new_owner())
        case _:
            batch = replace(batch, epochs={2: mine[2]})
    held = await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    assert held.held == ({2} if wrong == "partition not named" else set())
    assert await written(world, batch, endpoint_id) == [False] * 5
    claims = await world.store.claim(new_owner(), limit=1000, lease_seconds=LEASE, exclusive=True)
    assert {claim.cursor.seq for claim in claims} == {0}


async def test_a_batch_sent_again_is_written_once(world: World) -> None:
    owner = new_owner()
    mine = await owns(world, owner)
    batch, endpoint_id = await everything(world, owner, 1, mine[1])
    batch = replace(batch, number=7)
    for _ in range(3):
        assert (await world.store.journal(batch, now=0.0, lease_seconds=LEASE)).held == {1}
        assert await written(world, batch, endpoint_id) == [True] * 5
    # What happened since is not undone by it.
    settled = tuple((row.partition, *row.key) for row in batch.owed)
    later = JournalBatch(owner=owner, epochs=mine, settled=settled, number=8)
    await world.store.journal(later, now=0.0, lease_seconds=LEASE)
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    assert await rows(world, 1, endpoint_id) == []


async def test_a_batch_that_was_overtaken_does_nothing_though_it_holds_no_attempt(world: World) -> None:
    """A statement that was thought lost is carried out after its repetition, and after what followed that."""
    owner = new_owner()
    mine = await owns(world, owner)
    batch, endpoint_id = await everything(world, owner, 1, mine[1])
    row = JournalBatch(owner=owner, epochs=batch.epochs, owed=batch.owed, number=1)
    settled = tuple((owed.partition, *owed.key) for owed in batch.owed)
    gone = JournalBatch(owner=owner, epochs=batch.epochs, settled=settled, number=2)
    for one in (row, row, gone, row, gone):
        assert (await world.store.journal(one, now=0.0, lease_seconds=LEASE)).held == {1}
    assert await rows(world, 1, endpoint_id) == []
    assert (await world.store.journal(replace(row, number=3), now=0.0, lease_seconds=LEASE)).held == {1}
    assert len(await rows(world, 1, endpoint_id)) == len(batch.owed)


async def test_numbers_are_an_owners_under_an_epoch(world: World) -> None:
    owner, heir = new_owner(), new_owner()
    mine = await owns(world, owner)
    batch, endpoint_id = await everything(world, owner, 1, mine[1])
    await world.store.journal(JournalBatch(owner=owner, epochs=mine, number=40), now=0.0, lease_seconds=LEASE)
    await world.store.release(owner, mine)
    taken = await owns(world, heir)
    batch = replace(batch, owner=heir, epochs={1: taken[1]}, number=1)
    assert (await world.store.journal(batch, now=0.0, lease_seconds=LEASE)).held == {1}
    assert await written(world, batch, endpoint_id) == [True] * 5


async def test_a_batch_sent_again_that_was_never_written_is_written(world: World) -> None:
    owner = new_owner()
    mine = await owns(world, owner)
    batch, endpoint_id = await everything(world, owner, 1, mine[1])
    assert (await world.store.journal(replace(batch, number=2), now=0.0, lease_seconds=LEASE)).held == {1}
    assert await written(world, batch, endpoint_id) == [True] * 5


async def test_a_batch_sent_again_is_known_by_any_of_its_partitions(world: World) -> None:
    """One of them was lost meanwhile: it was written for all of them or for none."""
    owner = new_owner()
    mine = await owns(world, owner)
    lost, _ = await everything(world, owner, 1, mine[1])
    kept, _ = await everything(world, owner, 2, mine[2])
    both = replace(lost, epochs=lost.epochs | kept.epochs, rollups=kept.rollups, number=1)
    assert (await world.store.journal(both, now=0.0, lease_seconds=LEASE)).held == {1, 2}
    await world.store.release(owner, {1: mine[1]})
    assert (await world.store.journal(both, now=0.0, lease_seconds=LEASE)).held == {2}
    assert await world.rollups() == list(kept.rollups)


async def test_counters_are_added_up(world: World) -> None:
    (event,) = await publish(world, 1)
    owner = new_owner()
    mine = await owns(world, owner)
    first, second = attempt(event, new_endpoint()), attempt(event, new_endpoint())
    for counters in (
        (
            replace(rollup(first, delivered=1, total_us=100), latency=(1,)),
            replace(rollup(second, failed=2), latency=(0, 2)),
        ),
        (
            replace(rollup(first, gave_up=1, total_us=50), latency=(2, 0, 0, 1)),
            replace(rollup(second, failed=5), minute=MINUTE + 1),
        ),
        (replace(rollup(second), latency=(1,)),),
    ):
        await world.store.journal(
            JournalBatch(owner=owner, epochs=mine, rollups=counters), now=0.0, lease_seconds=LEASE
        )
    assert await world.rollups() == [
        replace(rollup(first, delivered=1, gave_up=1, total_us=150), latency=(3, 0, 0, 1)),
        replace(rollup(second, failed=2), latency=(1, 2)),
        replace(rollup(second, failed=5), minute=MINUTE + 1),
    ]


async def test_an_endpoint_fails_since_the_first_time_until_it_is_confirmed(world: World) -> None:
    (event,) = await publish(world, 1)
    owner, endpoint_id = new_owner(), new_endpoint()
    await world.put_endpoint(endpoint_id, app_of(event), config())
    mine = await owns(world, owner)

    async def after(failing_since: float | None) -> float | None:
        batch = JournalBatch(owner=owner, epochs=mine, health=(HealthTurn(1, endpoint_id, Health(failing_since)),))
        await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
        (app,) = await world.store.apps([app_of(event)])
        return app.endpoints[0].health.failing_since

    assert await after(2000.0) == 2000.0
    assert await after(3000.0) == 2000.0
    assert await after(1000.0) == 1000.0
    assert await after(None) is None
    assert await after(3000.0) == 3000.0


@pytest.mark.parametrize("bad", [{"error": "a\0b"}, {"reason": "\0"}, {"url": "a\0"}, {"address": "\0"}], ids=str)
async def test_refused_data_write_nothing(world: World, bad: dict[str, str]) -> None:
    owner = new_owner()
    mine = await owns(world, owner)
    batch, endpoint_id = await everything(world, owner, 1, mine[1])
    with pytest.raises(StoreRejected):
        await world.store.journal(
            replace(batch, attempts=(*batch.attempts, replace(batch.attempts[0], id=new_owner(), **bad))),
            now=0.0,
            lease_seconds=LEASE,
        )
    assert await written(world, batch, endpoint_id) == [False] * 5
    assert (await world.store.journal(batch, now=0.0, lease_seconds=LEASE)).held == {1}
    assert await written(world, batch, endpoint_id) == [True] * 5


async def test_an_attempt_is_on_record_once(world: World) -> None:
    """Without a number, a batch that is there already is a mistake of the caller's, and told."""
    owner = new_owner()
    mine = await owns(world, owner)
    batch, _ = await everything(world, owner, 1, mine[1])
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    with pytest.raises(StoreRejected):
        await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    assert await world.attempts() == list(batch.attempts)
    assert await world.rollups() == list(batch.rollups)


async def test_an_empty_batch_tells_what_is_held(world: World) -> None:
    owner = new_owner()
    mine = await owns(world, owner)
    assert (
        await world.store.journal(JournalBatch(owner=owner, epochs=mine), now=0.0, lease_seconds=LEASE)
    ).held == mine.keys()
    assert (await world.store.journal(JournalBatch(owner=owner, epochs={}), now=0.0, lease_seconds=LEASE)).held == set()


# The late answer


async def test_a_late_answer_settles_its_own_row(world: World) -> None:
    sender = new_owner()
    first, second = await publish(world, 2)
    endpoint_id = new_endpoint()
    mine = await owns(world, sender)
    marked = [
        owed(event, endpoint_id, number=3, reason=OwedReason.IN_FLIGHT, sender=sender, due_at=SOON)
        for event in (first, second)
    ]
    await world.store.journal(JournalBatch(owner=sender, epochs=mine, owed=tuple(marked)), now=0.0, lease_seconds=LEASE)
    await world.store.release(sender, mine)
    await owns(world, new_owner())
    before = (await world.log.heads([1]))[1].poke

    delivered = attempt(first, endpoint_id, number=3)
    assert await world.store.settle_late([(delivered, None, ())], sender=sender, now=0.0)
    failed = attempt(second, endpoint_id, number=3, outcome=AttemptOutcome.FAILED, reason="http_status")
    retry = replace(marked[1], number=4, due_at=SOON + 5, reason=OwedReason.FAILED, sender=None)
    assert await world.store.settle_late([(failed, retry, ())], sender=sender, now=0.0)

    assert await rows(world, 1, endpoint_id) == [retry]
    # They are given ids that whoever follows attempts by their ids has not passed: what the owner has given already, and not
    # yet written, is greater.
    before_all = replace(delivered, id=AttemptId(id_beside(None, delivered.id)))
    after = replace(failed, id=AttemptId(next_id(before_all.id)))
    assert await world.attempts() == [before_all, after]
    assert (await world.log.heads([1]))[1].poke > before, "the owner is told"
    # Each of them once.
    assert not await world.store.settle_late(
        [(attempt(first, endpoint_id, number=3), None, ())], sender=sender, now=0.0
    )
    assert not await world.store.settle_late(
        [(attempt(second, endpoint_id, number=3), None, ())], sender=sender, now=0.0
    )
    assert await rows(world, 1, endpoint_id) == [retry]
    assert await world.attempts() == [before_all, after]


@pytest.mark.parametrize(
    "row",
    [
        {"sender": new_owner()},
        {"number": 4},
        {"reason": OwedReason.RECOVERED, "sender": None},
        {"reason": OwedReason.FAILED},
    ],
    ids=["sent by another", "another attempt", "recovered", "not in flight"],
)
async def test_a_late_answer_settles_no_other_row(world: World, row: dict[str, object]) -> None:
    sender, owner = new_owner(), new_owner()
    (event,) = await publish(world, 1)
    endpoint_id = new_endpoint()
    kept = replace(owed(event, endpoint_id, number=3, reason=OwedReason.IN_FLIGHT, sender=sender), **row)
    mine = await owns(world, owner)
    await world.store.journal(JournalBatch(owner=owner, epochs=mine, owed=(kept,)), now=0.0, lease_seconds=LEASE)
    late = attempt(event, endpoint_id, number=3)
    retry = replace(kept, number=4, reason=OwedReason.FAILED, sender=None, due_at=5.0)
    assert not await world.store.settle_late([(late, None, ())], sender=sender, now=0.0)
    assert not await world.store.settle_late([(late, retry, ())], sender=sender, now=0.0)
    assert await rows(world, 1, endpoint_id) == [kept]
    assert await world.attempts() == []


async def test_a_late_answer_without_a_row_is_dropped(world: World) -> None:
    (event,) = await publish(world, 1)
    assert not await world.store.settle_late([(attempt(event, new_endpoint()), None, ())], sender=new_owner(), now=0.0)
    assert await world.attempts() == []
