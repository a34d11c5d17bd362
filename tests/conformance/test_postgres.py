"""What only real connections show: PostgreSQL's locks and snapshots under the log and the store."""

from __future__ import annotations

import asyncio

from tests.making import attempt, config, draft, new_app, new_endpoint, new_owner, owed
from tests.world_steps import LEASE, owns, publish, rows
from tests.worlds import PostgresWorld

from posthouse.adapters.postgres.log import SQL as LOG
from posthouse.adapters.postgres.log import _columns
from posthouse.adapters.postgres.session import lock_key
from posthouse.adapters.postgres.store import SQL as STORE
from posthouse.domain.delivery import Cursor, JournalBatch
from posthouse.domain.event import Draft
from posthouse.domain.ids import AppId
from posthouse.ports.log import Appended, AppendResult


async def until_blocked(world: PostgresWorld, blocker: int) -> None:
    """Wait until some session waits for a lock of the session with this backend id."""
    while not await world.database.fetchval(  # noqa: ASYNC110
        "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))", blocker
    ):
        await asyncio.sleep(0.001)  # the fact lies in the database: there is nothing here to wait on


async def test_a_journal_that_waited_for_a_takeover_changes_nothing(postgres_world: PostgresWorld) -> None:
    world = postgres_world
    first, second = await publish(world, 2)
    endpoint_id, owner, successor = new_endpoint(), new_owner(), new_owner()
    mine = await owns(world, owner, lease=-1.0)
    row = owed(first, endpoint_id)
    await world.store.journal(JournalBatch(owner=owner, epochs=mine, owed=(row,)), now=0.0, lease_seconds=-1.0)
    stale = JournalBatch(
        owner=owner,
        epochs={1: mine[1], 2: mine[2]},
        attempts=(attempt(first, endpoint_id),),
        owed=(owed(second, endpoint_id),),
        settled=((1, *row.key),),
        cursors=(Cursor(1, second.seq, second.created_at), Cursor(2, 7, second.created_at)),
    )
    async with world.database.connection() as taking:
        transaction = taking.transaction()
        await transaction.start()
        claims = await taking.fetch(STORE.claim, successor, 1000, LEASE, [], False)
        assert len(claims) == len(mine)
        journalling = asyncio.create_task(world.store.journal(stale, now=0.0, lease_seconds=LEASE))
        await until_blocked(world, taking.get_server_pid())
        # Its statement began before the takeover was committed: a condition alone would still see the old epoch.
        await transaction.commit()
    assert (await journalling).held == set()
    assert await rows(world, 1, endpoint_id) == [row]
    assert await world.attempts() == []
    assert await world.store.processes() == {successor: False}
    assert await world.database.fetchval("SELECT max(cursor) FROM partition") == 0
    taken = {claim["id"]: claim["epoch"] for claim in claims}
    assert await world.store.renew(successor, taken, lease_seconds=LEASE) == taken.keys()


async def test_a_takeover_waits_for_the_journal_and_derives_from_what_it_wrote(postgres_world: PostgresWorld) -> None:
    world = postgres_world
    (event,) = await publish(world, 1)
    endpoint_id, owner, successor = new_endpoint(), new_owner(), new_owner()
    mine = await owns(world, owner)
    async with world.database.transaction() as journalling:
        # What a journal does first, of a process that was stopped in the middle of it.
        await journalling.fetch("SELECT 1 FROM partition WHERE id = 1 FOR NO KEY UPDATE")
        free = await world.store.claim(successor, limit=1000, lease_seconds=LEASE, exclusive=True)
        assert {claim.partition for claim in free} == mine.keys() - {1}, "it is left alone, and nobody waits"
        await journalling.execute(
            "INSERT INTO delivery (partition, endpoint_id, event_id, seq, number, due_at, reason, payload_bytes) "
            "VALUES (1, $1, $2, $3, 1, now(), 'failed', 0)",
            endpoint_id,
            event.id,
            event.seq,
        )
    (claim,) = await world.store.claim(successor, limit=1000, lease_seconds=LEASE, exclusive=False, dead=[owner])
    assert (claim.partition, claim.previous) == (1, owner)
    assert await world.store.recorded(1, after=claim.cursor, until=event.seq) == {(endpoint_id, event.id)}


async def test_who_was_seen_dead_and_has_come_back_keeps_its_partitions(postgres_world: PostgresWorld) -> None:
    """It may have renewed its leases since: two would send the same."""
    world = postgres_world
    owner, successor = new_owner(), new_owner()
    mine = await owns(world, owner)
    async with world.database.connection() as session:
        await session.execute("SELECT pg_advisory_lock($1)", lock_key(owner))
        assert await world.store.claim(successor, limit=1000, lease_seconds=LEASE, exclusive=False, dead=[owner]) == []
        assert await world.store.renew(owner, mine, lease_seconds=LEASE) == mine.keys()
        await session.execute("SELECT pg_advisory_unlock($1)", lock_key(owner))
    claims = await world.store.claim(successor, limit=1000, lease_seconds=LEASE, exclusive=False, dead=[owner])
    assert {claim.partition for claim in claims} == mine.keys()


async def test_what_is_visible_never_has_a_gap(postgres_world: PostgresWorld) -> None:
    """Several connections publish to shared partitions in opposite orders, while a reader looks at every moment."""
    world = postgres_world
    apps = [new_app(), new_app()]
    for partition, app_id in enumerate(apps, 1):
        await world.put_app(app_id, partition=partition)
    done = asyncio.Event()
    looks = 0

    async def look() -> None:
        nonlocal looks
        while not done.is_set():
            for count, first, last in await world.database.fetch(
                "SELECT count(*), min(seq), max(seq) FROM event GROUP BY partition"
            ):
                assert (first, last) == (1, count)
            looks += 1

    async def follow(partition: int) -> list[int]:
        seen: list[int] = []
        while not (done.is_set() and len(seen) == (await world.log.heads([partition]))[partition].seq):
            head = (await world.log.heads([partition]))[partition].seq
            seen += [event.seq for event in await world.log.read(partition, len(seen), since=None)]
            assert len(seen) >= min(head, 500), "what the head counts can be read"
        return seen

    async def write(writer: int) -> list[AppendResult]:
        results: list[AppendResult] = []
        order = apps if writer % 2 else apps[::-1]
        for _ in range(12):
            batch: list[Draft] = [draft(app_id) for app_id in order]
            results += await world.log.append(batch)
        return results

    looking = asyncio.create_task(look())
    following = [asyncio.create_task(follow(partition)) for partition in (1, 2)]
    written = [result for results in await asyncio.gather(*(write(n) for n in range(6))) for result in results]
    done.set()
    await looking
    assert looks > 0
    for partition, seen in zip((1, 2), await asyncio.gather(*following), strict=True):
        seqs = sorted(r.seq for r in written if isinstance(r, Appended) and r.partition == partition)
        assert seqs == seen == list(range(1, 73))


async def test_an_aborted_publish_leaves_no_gap(postgres_world: PostgresWorld) -> None:
    world = postgres_world
    app_id = new_app()
    await world.put_app(app_id, partition=1)
    async with world.database.connection() as doomed:
        transaction = doomed.transaction()
        await transaction.start()
        await doomed.execute("UPDATE log_head SET seq = seq + 10 WHERE partition = 1")
        waiting = asyncio.create_task(world.log.append([draft(app_id)]))
        await until_blocked(world, doomed.get_server_pid())
        await transaction.rollback()
    (result,) = await waiting
    assert isinstance(result, Appended)
    assert result.seq == 1


async def test_an_append_waits_for_the_doubtful_one_before_it(postgres_world: PostgresWorld) -> None:
    """The connection is lost, the server has not noticed, and the batch is sent again: it waits for the first to end."""
    world = postgres_world
    app_id = new_app()
    await world.put_app(app_id, partition=1)
    batch = [draft(app_id), draft(app_id, idempotency_key="k")]
    async with world.database.connection() as lost:
        transaction = lost.transaction()
        await transaction.start()
        await lost.fetch(LOG.publish, *_columns(batch))
        again = asyncio.create_task(world.log.append(batch))
        await until_blocked(world, lost.get_server_pid())
        await transaction.commit()
    results = await again
    assert [r.seq for r in results if isinstance(r, Appended)] == [1, 2]
    assert len(await world.log.read(1, 0, since=None)) == 2


async def test_an_event_is_stamped_with_configuration_that_was_committed_before_it(
    postgres_world: PostgresWorld,
) -> None:
    """A publish that waited for the head reads the app's version afterwards, not from its statement's first moment."""
    world = postgres_world
    app_id: AppId = new_app()
    await world.put_app(app_id, partition=1)
    async with world.database.connection() as holding:
        transaction = holding.transaction()
        await transaction.start()
        await holding.execute("SELECT 1 FROM log_head WHERE partition = 1 FOR UPDATE")
        waiting = asyncio.create_task(world.log.append([draft(app_id)]))
        await until_blocked(world, holding.get_server_pid())
        await world.put_endpoint(new_endpoint(), app_id, config())
        (app,) = await world.store.apps([app_id])
        await transaction.commit()
    (result,) = await waiting
    assert isinstance(result, Appended)
    assert result.config_version == app.version
