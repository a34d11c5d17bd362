"""What `ports.log.EventLog` promises, of every adapter."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest
from tests.making import config, draft, new_app, new_endpoint, new_id
from tests.worlds import World

from posthouse.domain.errors import KeyReused, StoreRejected, StoreUnavailable
from posthouse.domain.event import Draft, Event
from posthouse.domain.ids import AppId, EventId
from posthouse.domain.limits import CLOCK_SKEW_SECONDS_MAX, TAIL_READ_BYTES_MAX, TAIL_READ_EVENTS_MAX
from posthouse.ports.log import Appended, AppendResult, AppMissing, Head, Repeated


async def app_in(world: World, partition: int, *, uid: str | None = None) -> AppId:
    app_id = new_app()
    await world.put_app(app_id, partition=partition, uid=uid)
    return app_id


def appended(results: list[AppendResult]) -> list[Appended]:
    """All of the results, which are to be positions."""
    found = [result for result in results if isinstance(result, Appended)]
    assert len(found) == len(results)
    return found


async def ids(world: World, partition: int) -> list[EventId]:
    return [event.id for event in await world.log.read(partition, 0, since=None)]


# Order


async def test_each_partition_numbers_its_events_and_those_of_an_app_in_the_order_of_the_batch(world: World) -> None:
    first, second, elsewhere = await app_in(world, 3), await app_in(world, 3), await app_in(world, 5)
    drafts = [draft(app_id) for app_id in (first, elsewhere, second, first, elsewhere)]
    results = appended(await world.log.append(drafts))
    assert [r.partition for r in results] == [3, 5, 3, 3, 5]
    assert [results[1].seq, results[4].seq] == [1, 2]
    assert sorted([results[0].seq, results[2].seq, results[3].seq]) == [1, 2, 3]
    assert results[0].seq < results[3].seq
    by_seq = sorted((results[at].seq, drafts[at].id) for at in (0, 2, 3))
    assert await ids(world, 3) == [id for _, id in by_seq]
    assert await ids(world, 5) == [drafts[1].id, drafts[4].id]
    more = appended(await world.log.append([draft(second)]))
    assert [(r.partition, r.seq) for r in more] == [(3, 4)]


async def test_concurrent_appends_leave_no_gap_and_keep_each_batch_in_order(world: World) -> None:
    apps = [await app_in(world, partition) for partition in (1, 1, 2)]
    batches = [[draft(app_id) for app_id in apps for _ in range(3)] for _ in range(40)]
    results = await asyncio.gather(*(world.log.append(batch) for batch in batches))
    for partition in (1, 2):
        position: dict[EventId, int] = {}
        for batch, answers in zip(batches, results, strict=True):
            mine = [(d.id, r.seq) for d, r in zip(batch, appended(answers), strict=True) if r.partition == partition]
            assert all(later == seq + 1 for (_, seq), (_, later) in pairwise(mine))
            position.update(mine)
        events = await world.log.read(partition, 0, since=None)
        assert [event.seq for event in events] == list(range(1, len(position) + 1))
        assert {event.id: event.seq for event in events} == position


async def test_an_event_is_read_as_it_was_published(world: World) -> None:
    app_id = await app_in(world, 7)
    full = draft(
        app_id,
        type="user_register",
        payload=b"\x00\xff raw \xf0\x9f\x90\xb4",
        content_type="application/octet-stream",
        subject="shop:42",
        key="订单-1",
        source="/checkout",
        channels=("eu", "vip"),
        attributes=b'{"trace":"1"}',
        expires_at=4_000_000_000.5,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        cause=EventId(new_id()),
        depth=3,
    )
    plain = draft(app_id)
    results = appended(await world.log.append([full, plain]))
    events = await world.log.read(7, 0, since=None)
    assert events == [_event(d, r) for d, r in zip((full, plain), results, strict=True)]


def _event(source: Draft, at: Appended) -> Event:
    return Event(
        id=source.id,
        partition=at.partition,
        seq=at.seq,
        app_id=source.app_id,
        type=source.type,
        payload=source.payload,
        content_type=source.content_type,
        created_at=at.created_at,
        config_version=at.config_version,
        subject=source.subject,
        key=source.key,
        channels=source.channels,
        expires_at=source.expires_at,
        depth=source.depth,
        source=source.source,
        attributes=source.attributes,
    )


async def test_an_event_carries_the_configuration_version_of_its_app(world: World) -> None:
    app_id, neighbour = await app_in(world, 4), await app_in(world, 4)
    (before,) = appended(await world.log.append([draft(app_id)]))
    await world.put_endpoint(new_endpoint(), neighbour, config())
    (unmoved,) = appended(await world.log.append([draft(app_id)]))
    await world.put_endpoint(new_endpoint(), app_id, config())
    (after,) = appended(await world.log.append([draft(app_id)]))
    assert before.config_version == unmoved.config_version < after.config_version
    assert after.config_version == (await world.log.heads([4]))[4].config_version


async def test_the_time_of_an_event_is_the_database_s(world: World) -> None:
    app_id = await app_in(world, 0)
    started = time.time()
    (result,) = appended(await world.log.append([draft(app_id, id=EventId(new_id(at=started - 200)))]))
    assert started - 1 < result.created_at < time.time() + 1


# Appending again


async def test_a_batch_in_doubt_is_answered_as_the_first_time(world: World) -> None:
    app_id, elsewhere = await app_in(world, 1), await app_in(world, 2)
    await world.log.append([draft(app_id, idempotency_key="taken", fingerprint=b"1")])
    batch = [
        draft(app_id),
        draft(app_id, idempotency_key="mine", fingerprint=b"2"),
        draft(elsewhere),
        draft(new_app()),
        draft(app_id, idempotency_key="taken", fingerprint=b"3"),
        draft(elsewhere, idempotency_key="mine", fingerprint=b"4"),
    ]
    first = await world.log.append(batch)
    kinds = (Appended, Appended, Appended, AppMissing, Repeated, Appended)
    assert [type(result) for result in first] == list(kinds)
    for _ in range(2):
        assert await world.log.append(batch) == first
    heads = await world.log.heads([1, 2])
    assert (heads[1].seq, heads[2].seq) == (3, 2)


async def test_a_batch_in_doubt_of_keyed_events_only_is_answered_as_the_first_time(world: World) -> None:
    app_id = await app_in(world, 1)
    batch = [draft(app_id, idempotency_key=f"key {n}") for n in range(3)] + [draft(new_app())]
    first = await world.log.append(batch)
    assert await world.log.append(batch) == first
    assert (await world.log.heads([1]))[1].seq == 3


async def test_a_batch_in_doubt_is_known_after_its_app_was_deleted(world: World) -> None:
    app_id = await app_in(world, 1)
    batch = [draft(app_id), draft(app_id, idempotency_key="mine")]
    first = await world.log.append(batch)
    await world.delete_app(app_id)
    assert await world.log.append(batch) == first


async def test_half_of_a_batch_in_doubt_may_be_asked_for(world: World) -> None:
    app_id = await app_in(world, 1)
    batch = [draft(app_id), draft(app_id, idempotency_key="mine"), draft(app_id)]
    first = await world.log.append(batch)
    assert await world.log.append(batch[:2]) == first[:2]
    assert await world.log.append(batch[2:]) == first[2:]
    assert (await world.log.heads([1]))[1].seq == 3


async def test_a_batch_sent_twice_at_once_is_appended_once(world: World) -> None:
    app_id = await app_in(world, 1)
    batch = [draft(app_id), draft(app_id, idempotency_key="mine"), draft(new_app())]
    answers = await asyncio.gather(*(world.log.append(batch) for _ in range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert await ids(world, 1) == [batch[0].id, batch[1].id]


# Idempotency keys


@pytest.mark.parametrize("platform", [False, True])
async def test_of_events_that_stand_together_nothing_is_appended_where_a_key_was_used_otherwise(
    world: World, platform: bool
) -> None:
    app_id = await app_in(world, 1)
    to = None if platform else app_id
    await world.log.append([draft(to, idempotency_key="k", fingerprint=b"1")])
    before = await world.log.heads(range(4))
    batch = [
        draft(to, together=True),
        draft(to, idempotency_key="k", fingerprint=b"2", together=True),
        draft(app_id),
        draft(to, idempotency_key="fresh", together=True),
    ]
    for _ in range(2):
        with pytest.raises(KeyReused):
            await world.log.append(batch)
    assert await world.log.heads(range(4)) == before
    batch[1] = draft(to, idempotency_key="k", fingerprint=b"1", together=True)
    results = await world.log.append(batch)
    assert isinstance(results[1], Repeated)
    assert await world.log.append(batch) == results
    assert not any(isinstance(results[n], Repeated) for n in (0, 2, 3)), "no key was kept of what was refused"


async def test_a_used_key_names_the_event_it_made_and_the_fingerprint_it_came_with(world: World) -> None:
    app_id, other = await app_in(world, 1), await app_in(world, 1)
    original = draft(app_id, idempotency_key="k", fingerprint=b"\x00original")
    (made,) = appended(await world.log.append([original]))
    again = draft(app_id, idempotency_key="k", fingerprint=b"\x00another")
    unrelated = draft(app_id, idempotency_key="k2")
    others = draft(other, idempotency_key="k")
    results = await world.log.append([again, unrelated, others])
    assert results[0] == Repeated(original.id, b"\x00original", made.created_at)
    assert [type(result) for result in results[1:]] == [Appended, Appended]
    assert await ids(world, 1) == [original.id, unrelated.id, others.id]


async def test_a_key_used_at_once_by_many_makes_one_event(world: World) -> None:
    app_id = await app_in(world, 1)
    drafts = [draft(app_id, idempotency_key="k") for _ in range(12)]
    answers = [answer[0] for answer in await asyncio.gather(*(world.log.append([d]) for d in drafts))]
    (winner,) = [d for d, answer in zip(drafts, answers, strict=True) if isinstance(answer, Appended)]
    assert {answer.event_id for answer in answers if isinstance(answer, Repeated)} == {winner.id}
    assert await ids(world, 1) == [winner.id]


async def test_a_key_is_free_again_after_a_day(world: World) -> None:
    app_id = await app_in(world, 1)
    original = draft(app_id, idempotency_key="k")
    await world.log.append([original])
    await world.age_keys(23 * 3600)
    (repeated,) = await world.log.append([draft(app_id, idempotency_key="k")])
    assert isinstance(repeated, Repeated)
    await world.age_keys(2 * 3600)
    anew = draft(app_id, idempotency_key="k")
    assert isinstance((await world.log.append([anew]))[0], Appended)
    (latest,) = await world.log.append([draft(app_id, idempotency_key="k")])
    assert isinstance(latest, Repeated)
    assert latest.event_id == anew.id


async def test_an_event_that_was_not_appended_uses_no_key(world: World) -> None:
    app_id = new_app()
    assert await world.log.append([draft(app_id, idempotency_key="k")]) == [AppMissing()]
    await world.put_app(app_id, partition=1)
    assert isinstance((await world.log.append([draft(app_id, idempotency_key="k")]))[0], Appended)


# Apps


async def test_a_missing_app_fails_its_own_event_only(world: World) -> None:
    app_id, deleted = await app_in(world, 1), await app_in(world, 1)
    await world.delete_app(deleted)
    batch = [draft(new_app()), draft(app_id), draft(deleted), draft(app_id)]
    results = await world.log.append(batch)
    assert [type(result) for result in results] == [AppMissing, Appended, AppMissing, Appended]
    assert await ids(world, 1) == [batch[1].id, batch[3].id]


async def test_an_app_is_missing_under_a_uid_that_is_not_its_own_any_more(world: World) -> None:
    app_id = await app_in(world, 1, uid="acme")
    nameless = await app_in(world, 1)
    asked = [draft(app_id, app_uid="acme"), draft(app_id, app_uid="other"), draft(nameless, app_uid="acme")]
    results = await world.log.append(asked)
    assert [type(result) for result in results] == [Appended, AppMissing, AppMissing]
    await world.put_app(app_id, partition=1, uid="moved")
    results = await world.log.append([draft(app_id, app_uid="acme"), draft(app_id, app_uid="moved"), draft(app_id)])
    assert [type(result) for result in results] == [AppMissing, Appended, Appended]


# Refusals


@pytest.mark.parametrize("off", [-CLOCK_SKEW_SECONDS_MAX - 30, CLOCK_SKEW_SECONDS_MAX + 30])
async def test_ids_off_the_database_s_clock_are_refused(world: World, off: float) -> None:
    app_id = await app_in(world, 1)
    with pytest.raises(StoreUnavailable):
        await world.log.append([draft(app_id), draft(app_id, id=EventId(new_id(at=time.time() + off)))])
    assert (await world.log.heads([1]))[1].seq == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "a\0b"},
        {"subject": "a\0b"},
        {"key": "a\0b"},
        {"source": "\0"},
        {"channels": ("good", "a\0b")},
        {"traceparent": "a\0b"},
        {"content_type": "a\0b"},
        {"idempotency_key": "a\0b"},
        {"app_uid": "a\0b"},
    ],
    ids=lambda bad: next(iter(bad)),
)
async def test_refused_data_write_nothing(world: World, bad: dict[str, object]) -> None:
    app_id = await app_in(world, 1)
    batch = [draft(app_id, idempotency_key="k"), draft(app_id, **bad), draft(app_id)]
    with pytest.raises(StoreRejected):
        await world.log.append(batch)
    assert (await world.log.heads([1]))[1].seq == 0
    results = appended(await world.log.append([batch[0], batch[2]]))
    assert [result.seq for result in results] == [1, 2]


async def test_nothing_appended_is_nothing_answered(world: World) -> None:
    assert await world.log.append([]) == []


# Reading


async def test_a_read_is_bounded_by_a_count(world: World) -> None:
    app_id = await app_in(world, 1)
    total = TAIL_READ_EVENTS_MAX + 20
    await world.log.append([draft(app_id) for _ in range(total)])
    events = await world.log.read(1, 10, since=None)
    assert [event.seq for event in events] == list(range(11, 11 + TAIL_READ_EVENTS_MAX))
    rest = await world.log.read(1, events[-1].seq, since=None)
    assert [event.seq for event in rest] == list(range(11 + TAIL_READ_EVENTS_MAX, total + 1))
    assert await world.log.read(1, total, since=None) == []


async def test_a_read_is_bounded_by_bytes_and_never_empty_where_there_is_an_event(world: World) -> None:
    app_id = await app_in(world, 1)
    third = bytes(TAIL_READ_BYTES_MAX // 3)
    await world.log.append([draft(app_id, payload=third) for _ in range(3)])
    await world.log.append([draft(app_id, payload=third), draft(app_id, payload=b"x")])
    read = await world.log.read(1, 0, since=None)
    # The one that reaches the bound is the last: three thirds are a little less than all, so four of them.
    assert [event.seq for event in read] == [1, 2, 3, 4]
    assert [event.payload for event in await world.log.read(1, 4, since=None)] == [b"x"]
    whole = bytes(TAIL_READ_BYTES_MAX)
    await world.log.append([draft(app_id, payload=whole)])
    await world.log.append([draft(app_id, payload=b"y")])
    assert [event.seq for event in await world.log.read(1, 5, since=None)] == [6]


async def test_since_never_hides_an_event_created_after_it(world: World) -> None:
    app_id = await app_in(world, 1)
    # An id is made before the event is created, and by another clock.
    drafts = [draft(app_id, id=EventId(new_id(at=time.time() - CLOCK_SKEW_SECONDS_MAX + 20))), draft(app_id)]
    first, second = appended(await world.log.append(drafts))
    assert [e.id for e in await world.log.read(1, 0, since=first.created_at)] == [d.id for d in drafts]
    assert [e.id for e in await world.log.read(1, 1, since=second.created_at)] == [drafts[1].id]
    assert await world.log.event_at(1, 1, since=first.created_at) == drafts[0].id


async def test_which_event_is_at_a_position(world: World) -> None:
    app_id, elsewhere = await app_in(world, 1), await app_in(world, 2)
    drafts = [draft(app_id), draft(elsewhere), draft(app_id)]
    await world.log.append(drafts)
    assert await world.log.event_at(1, 2, since=None) == drafts[2].id
    assert await world.log.event_at(2, 1, since=None) == drafts[1].id
    assert await world.log.event_at(1, 3, since=None) is None
    await world.retire_events()
    assert await world.log.event_at(1, 2, since=None) is None
    assert await world.log.read(1, 0, since=None) == []


async def test_heads_tell_position_configuration_and_poke(world: World) -> None:
    before = await world.log.heads([1, 2])
    assert before == {1: Head(0, 1, 0), 2: Head(0, 1, 0)}
    app_id = await app_in(world, 1)
    await world.log.append([draft(app_id), draft(app_id)])
    await world.put_endpoint(new_endpoint(), app_id, config())
    await world.poke(2)
    after = await world.log.heads([1, 2])
    assert after == {1: Head(2, 3, 0), 2: Head(0, 1, 1)}
    assert await world.log.heads([]) == {}
