"""The day tables: made ahead, by anybody, however often; dropped when old, settled and not in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import pytest
from tests.installed import Installed, installed, without_days
from tests.making import app_of, config, new_endpoint, new_id, new_owner, owed
from tests.world_steps import LEASE, owns, publish, rows
from tests.worlds import PostgresWorld

from posthouse.adapters.postgres import days
from posthouse.adapters.postgres.days import ensure_days, retire_days
from posthouse.domain.delivery import AttemptOutcome, JournalBatch
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.event import Event
from posthouse.domain.ids import EndpointId

DAY: Final = 86_400.0
TABLES: Final = ("event", "attempt", "event_key", "rollup_minute", "traffic", "traffic_latency")


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Installed]:
    """A database that was installed without any day, and then got its first ones."""
    async with installed(await without_days(database)) as made:
        yield made


def long_ago(postgres: Installed) -> float:
    """Noon, forty days ago."""
    return (postgres.at // DAY - 40 + 0.5) * DAY


def names(at: float) -> list[str]:
    """The tables of a day."""
    day = datetime.fromtimestamp(at, UTC)
    return sorted(f"{parent}_{day:%Y%m%d}" for parent in TABLES)


async def attached(postgres: Installed) -> set[str]:
    found = await postgres.reading.fetch("SELECT inhrelid::regclass::text FROM pg_inherits WHERE NOT inhdetachpending")
    return {row[0] for row in found if row[0].rpartition("_")[2].isdigit()}


async def retire(postgres: Installed, *, retention_days: int = 30) -> list[str]:
    return sorted(await retire_days(postgres.reading, now=postgres.at, retention_days=retention_days))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up waiting for locks soon."""
    monkeypatch.setattr(days, "LOCK_TIMEOUT", "20ms")


async def old_event(postgres: Installed, *, at: float) -> Event:
    """An event that was published, and passed by its cursor, at a time whose day exists."""
    world = PostgresWorld(postgres)
    (event,) = await publish(world, 1)
    old_id = new_id(at=at)
    await postgres.reading.execute(
        "UPDATE event SET id = $2, created_at = to_timestamp($3) WHERE id = $1", event.id, old_id, at
    )
    await postgres.reading.execute("UPDATE partition SET cursor = $1 WHERE id = 1", event.seq)
    (read,) = [e for e in await world.log.read(1, event.seq - 1, since=None) if e.id == old_id]
    return read


async def owe(postgres: Installed, *events: Event) -> EndpointId:
    """A row for each event, all of one endpoint."""
    world, endpoint_id, owner = PostgresWorld(postgres), new_endpoint(), new_owner()
    await world.put_endpoint(endpoint_id, app_of(events[0]), config("https://example.com/old"))
    mine = await owns(world, owner)
    batch = JournalBatch(owner=owner, epochs=mine, owed=tuple(owed(event, endpoint_id) for event in events))
    await world.store.journal(batch, now=0.0, lease_seconds=LEASE)
    await world.store.release(owner, mine)
    return endpoint_id


# Making


async def test_days_are_made_once_from_yesterday_on(postgres: Installed) -> None:
    there = await attached(postgres)
    assert there == {name for offset in (-1, 0, 1) for name in names(postgres.at + offset * DAY)}
    made = await ensure_days(postgres.reading, now=postgres.at, ahead=3)
    assert sorted(made) == sorted(names(postgres.at + 2 * DAY) + names(postgres.at + 3 * DAY))
    assert await attached(postgres) == there | set(made)
    assert await ensure_days(postgres.reading, now=postgres.at, ahead=3) == []


async def test_what_a_large_day_consists_of_is_looked_at_when_it_has_doubled(postgres: Installed) -> None:
    told = await postgres.reading.fetch(
        "SELECT relname::text, reloptions FROM pg_class WHERE relkind = 'r' AND relname = ANY ($1)", names(postgres.at)
    )
    patient = {"autovacuum_analyze_threshold=1000", "autovacuum_analyze_scale_factor=1"}
    assert {name.rpartition("_")[0]: {*(options or ())} for name, options in told} == {
        parent: patient if parent in ("event", "attempt") else set() for parent in TABLES
    }


async def test_an_id_of_the_last_moment_of_a_day_has_a_place_and_so_has_the_next(postgres: Installed) -> None:
    midnight = (postgres.at // DAY + 1) * DAY
    for at, day in ((midnight - 0.001, postgres.at), (midnight, postgres.at + DAY)):
        event = await old_event(postgres, at=at)
        (table,) = await postgres.reading.fetch("SELECT tableoid::regclass::text FROM event WHERE id = $1", event.id)
        assert table[0] in names(day)


async def test_several_processes_may_make_days_at_once(postgres: Installed) -> None:
    made = await asyncio.gather(
        *(ensure_days(postgres.publishing, now=postgres.at + 9 * DAY, ahead=2) for _ in range(4))
    )
    assert sorted(name for names_made in made for name in names_made) == sorted(
        name for offset in range(8, 12) for name in names(postgres.at + offset * DAY)
    )


async def test_a_table_that_a_crash_left_over_is_attached(postgres: Installed) -> None:
    at = postgres.at + 2 * DAY
    for name in names(at):
        parent = name.rpartition("_")[0]
        await postgres.reading.execute(f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL)")
    assert sorted(await ensure_days(postgres.reading, now=postgres.at, ahead=2)) == names(at)
    assert set(names(at)) <= await attached(postgres)


async def test_a_connection_that_ends_in_between_is_made_up_for(postgres: Installed) -> None:
    waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with postgres.reading.transaction() as holding:
        await holding.fetch(days.SQL.days_lock, days._MAKING)
        making = asyncio.create_task(ensure_days(postgres.publishing, now=postgres.at, ahead=2))

        async def another(than: int | None) -> int:
            async with asyncio.timeout(30):
                while (pid := await holding.fetchval(waiting)) in (None, than):  # noqa: ASYNC110 - the server's fact
                    await asyncio.sleep(0.01)
            return int(pid)

        first = await another(None)
        await holding.fetchval("SELECT pg_terminate_backend($1)", first)
        await another(first)
    assert sorted(await making) == names(postgres.at + 2 * DAY)


@pytest.mark.usefixtures("impatient")
async def test_a_lock_in_the_way_is_told_and_nothing_is_half_made(postgres: Installed) -> None:
    async with postgres.reading.transaction() as holding:
        await holding.execute("LOCK TABLE rollup_minute IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable):
            await ensure_days(postgres.publishing, now=postgres.at, ahead=2)
        # Publishing goes on meanwhile.
        await publish(PostgresWorld(postgres), 1)
    assert sorted(await ensure_days(postgres.publishing, now=postgres.at, ahead=2)) == names(postgres.at + 2 * DAY)


# Retiring


async def test_old_days_are_dropped_and_others_are_not(postgres: Installed) -> None:
    recent = postgres.at - 20 * DAY
    await ensure_days(postgres.reading, now=long_ago(postgres), ahead=0)
    await ensure_days(postgres.reading, now=recent, ahead=0)
    await old_event(postgres, at=long_ago(postgres))
    keys = [name for at in (recent - DAY, recent) for name in names(at) if name.startswith("event_key")]
    assert await retire(postgres) == sorted(names(long_ago(postgres)) + names(long_ago(postgres) - DAY) + keys)
    left = await attached(postgres)
    assert set(names(recent)) - set(keys) <= left
    assert set(names(postgres.at)) <= left
    assert await retire(postgres) == []


async def test_a_day_stays_until_every_cursor_is_past_it(postgres: Installed) -> None:
    await ensure_days(postgres.reading, now=long_ago(postgres), ahead=0)
    await old_event(postgres, at=long_ago(postgres))
    # Partition 2 has an event after its cursor, which may be as old as the cursor.
    await publish(PostgresWorld(postgres), 1, partition=2)
    await postgres.reading.execute(
        "UPDATE partition SET cursor_at = to_timestamp($1) WHERE id = 2", long_ago(postgres) + 60
    )
    dropped = await retire(postgres)
    assert {name for name in dropped if name.startswith(("event_2", "attempt"))} == {
        name for name in names(long_ago(postgres) - DAY) if name.startswith(("event_2", "attempt"))
    }
    await postgres.reading.execute("UPDATE partition SET cursor = 1 WHERE id = 2")
    assert {name for name in names(long_ago(postgres)) if name.startswith(("event_2", "attempt"))} <= set(
        await retire(postgres)
    )


async def test_what_is_owed_of_a_dropped_day_is_given_up_on_record(
    postgres: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days, "OUTSIDE_ROWS_MAX", 3)  # so that it takes several chunks
    world = PostgresWorld(postgres)
    await ensure_days(postgres.reading, now=long_ago(postgres), ahead=0)
    old = [await old_event(postgres, at=long_ago(postgres) + n) for n in range(8)]
    (young,) = await publish(world, 1)
    endpoint_id = await owe(postgres, *old, young)
    await postgres.reading.execute("UPDATE partition SET cursor = $1 WHERE id = 1", young.seq)
    pokes = (await world.log.heads([1]))[1].poke

    assert next(name for name in names(long_ago(postgres)) if name.startswith("event_2")) in await retire(postgres)

    assert [row.event_id for row in await rows(world, 1, endpoint_id)] == [young.id]
    attempts = await world.attempts()
    assert {a.event_id: a.seq for a in attempts} == {event.id: event.seq for event in old}
    for attempt in attempts:
        assert (attempt.outcome, attempt.reason, attempt.sent) == (AttemptOutcome.GAVE_UP, "expired", False)
        assert (attempt.number, attempt.url, attempt.revision) == (2, "https://example.com/old", 1)
        assert attempt.app_id in {event.app_id for event in old}
    assert (await world.log.heads([1]))[1].poke > pokes


@pytest.mark.usefixtures("impatient")
async def test_a_reader_delays_the_drop_and_an_interrupted_detach_is_finished(postgres: Installed) -> None:
    await ensure_days(postgres.reading, now=long_ago(postgres), ahead=0)
    old = {name for at in (long_ago(postgres), long_ago(postgres) - DAY) for name in names(at)}
    events = sorted(name for name in old if name.startswith("event_2"))
    async with postgres.reading.transaction() as reader:
        await reader.fetch("SELECT count(*) FROM event")
        first = set(await retire(postgres))
        # The others went; of the days of `event` one is half detached, and a second one cannot be begun.
        assert first == old - set(events)
        pending = await postgres.reading.fetch(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending"
        )
        assert [row[0] for row in pending] == events[:1]
        # Publishing, and making days, go on meanwhile.
        await publish(PostgresWorld(postgres), 1)
        assert sorted(await ensure_days(postgres.publishing, now=postgres.at, ahead=2)) == names(postgres.at + 2 * DAY)
    assert await retire(postgres) == events
    assert not {*events} & await attached(postgres)


async def test_a_day_that_was_detached_and_not_dropped_is_dropped(postgres: Installed) -> None:
    await ensure_days(postgres.reading, now=long_ago(postgres), ahead=0)
    (name,) = [name for name in names(long_ago(postgres)) if name.startswith("attempt")]
    await postgres.reading.execute(f"ALTER TABLE attempt DETACH PARTITION {name}")
    assert name in await retire(postgres)
    assert await postgres.reading.fetchval("SELECT to_regclass($1)::text", name) is None


async def test_one_process_at_a_time_retires(postgres: Installed) -> None:
    await ensure_days(postgres.reading, now=long_ago(postgres), ahead=0)
    async with postgres.publishing.connection() as other:
        await other.fetchval("SELECT pg_advisory_lock($1)", days._RETIRING)
        assert await retire(postgres) == []
        await other.fetchval("SELECT pg_advisory_unlock($1)", days._RETIRING)
    assert await retire(postgres) != []


async def test_the_session_is_left_as_it_was(postgres: Installed) -> None:
    async with postgres.reading.connection() as before:
        expected = await before.fetchval("SHOW lock_timeout")
    await retire(postgres)
    for _ in range(6):
        assert await postgres.reading.fetchval("SHOW lock_timeout") == expected
    assert await postgres.reading.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
