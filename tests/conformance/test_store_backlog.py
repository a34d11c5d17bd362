"""What `ports.store.Store` promises of recovery and of the backlog, of every adapter."""

from __future__ import annotations

import asyncio
import math

import pytest
from msgspec.structs import replace
from tests.making import attempt, new_endpoint, new_id, new_owner, owed
from tests.world_steps import LEASE, owns, publish, rows
from tests.worlds import World

from posthouse.domain.delivery import AttemptOutcome, Cursor, JournalBatch, Owed, OwedReason
from posthouse.domain.event import Event
from posthouse.domain.ids import EndpointId
from posthouse.domain.limits import CLOCK_SKEW_SECONDS_MAX
from posthouse.ports.store import Page, Want

NOW = 10_000.0
BYTES = 1 << 30


async def store_rows(world: World, *owed_rows: Owed) -> None:
    owner = new_owner()
    mine = await owns(world, owner)
    await world.store.journal(JournalBatch(owner=owner, epochs=mine, owed=owed_rows), now=0.0, lease_seconds=LEASE)
    await world.store.release(owner, mine)


async def page(world: World, *wants: Want, now: float = NOW, bytes_max: int = BYTES) -> list[Page]:
    return await world.store.page(wants, now=now, bytes_max=bytes_max)


def seqs(found: Page) -> list[int]:
    return [row.seq for row, _ in found.rows]


# Recovery


async def test_rows_and_terminal_attempts_are_homes(world: World) -> None:
    events = await publish(world, 8)
    (elsewhere,) = await publish(world, 1, partition=2)
    endpoint_id, other = new_endpoint(), new_endpoint()
    owner = new_owner()
    mine = await owns(world, owner)
    failed, gave_up = AttemptOutcome.FAILED, AttemptOutcome.GAVE_UP
    batch = JournalBatch(
        owner=owner,
        epochs=mine,
        attempts=(
            attempt(events[1], endpoint_id),
            attempt(events[3], endpoint_id),
            attempt(events[3], other, outcome=failed),  # without its row, as another owner's would be
            attempt(events[4], other, outcome=gave_up, sent=False),
            attempt(events[5], endpoint_id, outcome=failed),
            attempt(events[7], endpoint_id),
            attempt(elsewhere, endpoint_id),
        ),
        owed=(owed(events[0], other), owed(events[5], endpoint_id), owed(events[6], other), owed(elsewhere, other)),
    )
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    after = Cursor(1, 2, events[1].created_at)
    assert await world.store.recorded(1, after=after, until=7) == {
        (endpoint_id, events[3].id),
        (other, events[4].id),
        (endpoint_id, events[5].id),
        (other, events[6].id),
    }
    assert await world.store.recorded(1, after=after, until=2) == set()
    everything = await world.store.recorded(1, after=Cursor(1, 0, 0.0), until=100)
    assert len(everything) == 7


async def test_an_attempt_just_after_the_cursor_s_event_is_a_home(world: World) -> None:
    """Ids come from another clock than `created_at`: one that is behind must not hide what it recorded."""
    first, second = await publish(world, 2)
    endpoint_id, owner = new_endpoint(), new_owner()
    early = attempt(second, endpoint_id, id=new_id(at=first.created_at - CLOCK_SKEW_SECONDS_MAX + 5))
    batch = JournalBatch(owner=owner, epochs=await owns(world, owner), attempts=(early,))
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    assert await world.store.recorded(1, after=Cursor(1, 1, first.created_at), until=2) == {early.key}


async def test_requests_of_a_dead_process_are_due_at_once(world: World) -> None:
    events = await publish(world, 5)
    (elsewhere,) = await publish(world, 1, partition=2)
    endpoint_id, dead, other = new_endpoint(), new_owner(), new_owner()
    sent = {"reason": OwedReason.IN_FLIGHT, "due_at": 20_000.0}
    untouched = [
        owed(events[1], endpoint_id, sender=other, **sent),
        owed(events[2], endpoint_id, due_at=20_000.0),
        owed(elsewhere, endpoint_id, sender=dead, **sent),
    ]
    running = owed(events[0], endpoint_id, sender=dead, number=3, **sent)
    await store_rows(world, running, *untouched)

    owner = new_owner()
    mine = await owns(world, owner)
    await world.store.recover_in_flight(owner, {1: mine[1] + 1, 2: mine[2] - 1}, previous=dead, now=5.0)
    await world.store.recover_in_flight(dead, mine, previous=dead, now=5.0)
    assert running in await rows(world, 1, endpoint_id), "fenced"

    await world.store.recover_in_flight(owner, {1: mine[1]}, previous=dead, now=5.0)
    recovered = replace(running, reason=OwedReason.RECOVERED, due_at=5.0, sender=None)
    found = [*await rows(world, 1, endpoint_id), *await rows(world, 2, endpoint_id)]
    assert found[0] == recovered
    assert sorted(found[1:], key=lambda row: row.event_id) == sorted(untouched, key=lambda row: row.event_id)


async def test_owed_endpoints_are_told_with_their_earliest_row(world: World) -> None:
    here, there = await publish(world, 4), await publish(world, 2, partition=2)
    endpoints = [new_endpoint() for _ in range(3)]
    await store_rows(
        world,
        owed(here[0], endpoints[0], due_at=300.0),
        owed(here[1], endpoints[0], due_at=100.0),
        owed(here[2], endpoints[0], due_at=200.0),
        owed(here[3], endpoints[1], due_at=math.inf),
        owed(there[0], endpoints[1], due_at=50.0),
        owed(there[1], endpoints[2], due_at=60.0),
    )
    assert sorted(await world.store.owed_endpoints([1])) == [(1, endpoints[0], 100.0), (1, endpoints[1], math.inf)]
    both = await world.store.owed_endpoints([2, 1, 3])
    assert sorted(both)[2:] == [(2, endpoints[1], 50.0), (2, endpoints[2], 60.0)]
    assert len(both) == 4
    assert await world.store.owed_endpoints([3]) == []
    assert await world.store.owed_endpoints([]) == []


# Pages


async def line(world: World, *due: float, partition: int = 1, payload: bytes = b"{}") -> tuple[EndpointId, list[Event]]:
    """An endpoint with a row for each due time, the events in that order."""
    events = await publish(world, len(due), partition=partition, payload=payload)
    endpoint_id = new_endpoint()
    await store_rows(world, *(owed(e, endpoint_id, due_at=at) for e, at in zip(events, due, strict=True)))
    return endpoint_id, events


async def test_a_page_holds_what_is_due_by_due_time(world: World) -> None:
    endpoint_id, events = await line(world, 300.0, NOW, 100.0, NOW + 1, 200.0, NOW + 50)
    (found,) = await page(world, Want(1, endpoint_id, 10))
    assert seqs(found) == [3, 5, 1, 2]
    assert [event for _, event in found.rows] == [events[i] for i in (2, 4, 0, 1)]
    assert found.next_due == NOW + 1


async def test_the_last_page_has_nothing_after_it(world: World) -> None:
    endpoint_id, _ = await line(world, 1.0, 2.0)
    assert (await page(world, Want(1, endpoint_id, 10)))[0].next_due is None
    assert await page(world, Want(1, new_endpoint(), 10), Want(2, endpoint_id, 10)) == [Page((), None)] * 2


async def test_a_page_before_anything_is_due_says_when(world: World) -> None:
    endpoint_id, _ = await line(world, NOW + 7, NOW + 5)
    assert await page(world, Want(1, endpoint_id, 10)) == [Page((), NOW + 5)]


async def test_a_page_is_limited_and_the_rest_is_told_in_time(world: World) -> None:
    endpoint_id, _ = await line(world, 1.0, 2.0, 3.0, NOW + 5)
    (first,) = await page(world, Want(1, endpoint_id, 2))
    assert seqs(first) == [1, 2]
    assert first.next_due is not None
    assert first.next_due <= NOW, "early rather than late"
    (all_due,) = await page(world, Want(1, endpoint_id, 3))
    assert seqs(all_due) == [1, 2, 3]
    assert all_due.next_due is not None
    assert all_due.next_due <= NOW + 5


async def test_rows_in_memory_are_left_out(world: World) -> None:
    endpoint_id, events = await line(world, 1.0, 2.0, 3.0, 4.0)
    held = (events[0].id, events[2].id)
    (found,) = await page(world, Want(1, endpoint_id, 2, held))
    assert seqs(found) == [2, 4]
    # `held` is of its own want.
    free, own = await page(world, Want(1, endpoint_id, 10), Want(1, endpoint_id, 10, tuple(e.id for e in events)))
    assert seqs(free) == [1, 2, 3, 4]
    assert own.rows == ()


async def test_pages_answer_their_wants_in_order(world: World) -> None:
    first, _ = await line(world, 1.0, 2.0)
    second, _ = await line(world, 5.0, partition=2)
    third, _ = await line(world, NOW + 9)
    wants = [Want(2, second, 5), Want(1, third, 5), Want(1, new_endpoint(), 5), Want(1, first, 1)]
    pages = await page(world, *wants)
    assert [seqs(found) for found in pages] == [[1], [], [], [1]]
    assert [found.next_due for found in pages[:3]] == [None, NOW + 9, None]


async def test_pages_together_are_bounded_by_bytes(world: World) -> None:
    first, _ = await line(world, 1.0, 2.0, 3.0, payload=bytes(100))
    second, _ = await line(world, 1.0, 2.0, payload=bytes(100), partition=2)
    wants = (Want(1, first, 10), Want(2, second, 10), Want(1, new_endpoint(), 10))
    for bytes_max, expected in ((1, [1, 0]), (100, [1, 0]), (101, [1, 1]), (350, [2, 2]), (10_000, [3, 2])):
        pages = await page(world, *wants, bytes_max=bytes_max)
        assert [len(found.rows) for found in pages[:2]] == expected
        for found, total in zip(pages, (3, 2), strict=False):
            if len(found.rows) < total:
                assert found.next_due is not None
                assert found.next_due <= NOW
    assert [found.next_due for found in pages] == [None, None, None]


async def test_a_row_without_its_event_is_still_there(world: World) -> None:
    endpoint_id, events = await line(world, 1.0, 2.0)
    await world.retire_events()
    (found,) = await page(world, Want(1, endpoint_id, 10))
    assert [(row.event_id, event) for row, event in found.rows] == [(event.id, None) for event in events]


async def test_a_page_brings_the_event_as_the_log_has_it(world: World) -> None:
    (event,) = await publish(
        world,
        1,
        type="user_register",
        payload=b"\x00\xff",
        content_type="application/octet-stream",
        subject="shop:42",
        key="订单-1",
        channels=("eu", "vip"),
        expires_at=4_000_000_000.5,
        depth=3,
    )
    endpoint_id = new_endpoint()
    await store_rows(world, owed(event, endpoint_id, expires_at=3_000_000_000.0))
    (found,) = await page(world, Want(1, endpoint_id, 1))
    assert [read for _, read in found.rows] == [event]
    assert found.rows[0][0].expires_at == 3_000_000_000.0


@pytest.mark.parametrize("endpoints", [60])
async def test_many_endpoints_are_paged_at_once(world: World, endpoints: int) -> None:
    lines = [await line(world, 1.0, 2.0, 3.0, partition=n % 5) for n in range(endpoints)]
    wants = [Want(n % 5, endpoint_id, 2, (events[0].id,)) for n, (endpoint_id, events) in enumerate(lines)]
    pages = (await asyncio.gather(page(world, *wants), page(world, *wants)))[0]
    for (_, events), found in zip(lines, pages, strict=True):
        assert [event for _, event in found.rows] == events[1:]
