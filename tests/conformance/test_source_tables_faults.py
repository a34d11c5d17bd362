"""Table triggers on databases that die, or are set up otherwise: nothing committed is lost, and nothing else is seen."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import re
import shutil
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress

import asyncpg
import psycopg
import pymysql
import pytest
from tests.clusters import Clusters
from tests.databases import MariaDb, mariadb_server, needs_mariadb
from tests.outboxes import Place
from tests.tables import (
    KIND,
    PATIENCE_SECONDS,
    again,
    all_of,
    changes,
    eventually,
    make_orders,
    observed,
    reading,
    run,
    spec,
    traces,
)

from posthouse.adapters.sources.tables.source import TableSource
from posthouse.domain.errors import SourceRefused, SourceUnavailable
from posthouse.ports.sources import Observation, Spec
from posthouse_sdk.outbox.dsn import parse

# pymysql leaves a socket open that could not connect; whichever test is on as it is collected would be blamed.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <socket\.socket .*family=1,:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()  # here, where it is expected


KILLS = 4
LOST = (psycopg.Error, pymysql.err.MySQLError, sqlite3.Error, OSError)


class Application:
    """Writes rows, rolls back others, and counts one up, whatever happens to its connection."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._done = threading.Event()
        self.committed = 0
        self._thread = asyncio.create_task(asyncio.to_thread(self._write))

    async def end(self) -> None:
        self._done.set()
        await self._thread

    def _write(self) -> None:
        number = 0
        while not self._done.is_set():
            with suppress(*LOST), closing(self._place.connect()) as connection:
                while not self._done.is_set():
                    number += 1
                    cursor = connection.cursor()
                    cursor.execute(f"INSERT INTO orders VALUES ({number}, 'new', 1)")
                    cursor.execute("UPDATE orders SET amount = amount + 1 WHERE id = 0")
                    if number % 5 == 0:
                        connection.rollback()
                    else:
                        connection.commit()
                        self.committed += 1


async def through_deaths(place: Place, die: Callable[[], Awaitable[None]]) -> None:
    make_orders(place)
    made = spec(place)
    await KIND.install(made)
    place.execute("INSERT INTO orders VALUES (0, 'counter', 0)")
    application = Application(place)
    found = dict[str, Observation]()
    ended = asyncio.Event()
    publishing = asyncio.create_task(publish(made, found, ended))
    chance = random.Random(7)
    try:
        for _ in range(KILLS):
            goal = application.committed + 20 + chance.randrange(50)
            await eventually(lambda goal=goal: application.committed >= goal)  # type: ignore[misc]
            await die()
    finally:
        await application.end()
        ended.set()
    await publishing
    events = [json.loads(seen.data or b"") for seen in found.values()]
    rows = {str(number) for (number,) in place.execute("SELECT id FROM orders")}
    assert {event["key"] for event in events if event["op"] == "insert"} == rows
    counted = [event["new"]["amount"] for event in events if event["op"] == "update"]
    assert counted == list(range(1, len(rows)))
    assert await observed(made) == []


async def publish(made: Spec, found: dict[str, Observation], ended: asyncio.Event) -> None:
    """Until all is read after the end: as the runner does it, with a new source after each that failed."""
    while True:
        source = KIND.source(made)
        assert isinstance(source, TableSource)
        try:
            await source.open(None)
            while True:
                is_last = ended.is_set()
                read = await source.read(limit=50, wait_seconds=0.05)
                for seen in read.observations:
                    found.setdefault(seen.key, seen)
                await source.acknowledge(read)
                if is_last and not read.observations:
                    return
        except SourceUnavailable:
            await asyncio.sleep(0.02)
        finally:
            await source.close()


async def test_nothing_is_lost_when_postgresql_dies(clusters: Clusters) -> None:
    server = clusters.server()
    await server.start()

    async def die() -> None:
        await server.kill()
        await server.start()

    await through_deaths(Place("postgresql", server.dsn, lambda: psycopg.connect(server.dsn)), die)


async def test_nothing_is_lost_when_mariadb_dies() -> None:
    needs_mariadb()
    with mariadb_server(durable=True) as server:
        server.end()  # what was never once shut down cannot be recovered
        server.start()
        dsn = server.fresh_database()
        name = parse(dsn).path

        async def die() -> None:
            server.kill()
            await asyncio.to_thread(server.start)

        await through_deaths(Place("mysql", dsn, lambda: server.connect(name, charset="utf8mb4")), die)


@pytest.mark.parametrize("place", ["sqlite", "postgresql", "mysql"], indirect=True)
async def test_nothing_is_lost_when_nobody_dies(place: Place) -> None:
    async def nothing() -> None: ...

    await through_deaths(place, nothing)


async def test_a_server_that_is_down_is_told_and_heals(clusters: Clusters) -> None:
    server = clusters.server()
    await server.start()
    place = Place("postgresql", server.dsn, lambda: psycopg.connect(server.dsn))
    make_orders(place)
    made = spec(place)
    await KIND.install(made)
    async with reading(made) as source:
        assert await all_of(source) == []
        await server.kill()
        for _ in range(2):
            with pytest.raises(SourceUnavailable):
                await source.read(limit=1, wait_seconds=1)
        with pytest.raises(SourceUnavailable):
            await source.lag()
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            await KIND.install(made)
        await server.start()
        place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
        assert len(await all_of(source)) == 1, "the same source goes on"


async def test_where_transactions_can_be_prepared_nobody_is_woken(clusters: Clusters) -> None:
    """A transaction that has notified cannot be prepared."""
    server = clusters.server()
    await server.start(max_prepared_transactions="5")
    place = Place("postgresql", server.dsn, lambda: psycopg.connect(server.dsn))
    make_orders(place)
    made = spec(place)
    await KIND.install(made)
    async with reading(made) as source:
        waiting = asyncio.create_task(source.read(limit=1, wait_seconds=PATIENCE_SECONDS))
        await asyncio.sleep(0.3)
        place.execute("UPDATE posthouse_change_trigger SET waits_until = now() + interval '1 hour'")
        run(place, "BEGIN", "INSERT INTO orders VALUES (1, 'new', 1)", "PREPARE TRANSACTION 'p'")
        assert not waiting.done()
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("COMMIT PREPARED 'p'")
        await connection.close()
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            assert len((await waiting).observations) == 1


async def test_a_standby_takes_no_triggers(clusters: Clusters) -> None:
    primary, standby = await clusters.pair(synchronous=True)
    place = Place("postgresql", primary.dsn, lambda: psycopg.connect(primary.dsn))
    make_orders(place)
    made = spec(place)
    await KIND.install(made)
    other = spec(Place("postgresql", standby.dsn, place.connect))
    for ask in (KIND.plan, KIND.install):
        with pytest.raises(SourceRefused, match="target_session_attrs=read-write"):
            await ask(other)


@pytest.fixture
def guarded() -> Iterator[MariaDb]:
    needs_mariadb()
    if shutil.which("mariadb-install-db") is None:
        pytest.skip("mariadb-install-db is not installed")
    with mariadb_server(guarded=True) as server:
        yield server


async def test_on_mariadb_who_writes_to_the_table_needs_no_right_to_ours(guarded: MariaDb) -> None:
    dsn = guarded.fresh_database()
    name = parse(dsn).path
    place = Place("mysql", dsn, lambda: guarded.connect(name, charset="utf8mb4"))
    make_orders(place)
    owner = dsn.replace("root@", "owner:pw@")
    run(place, "CREATE USER owner@localhost IDENTIFIED BY 'pw'", "CREATE USER app@localhost IDENTIFIED BY 'pw'")
    run(place, "GRANT INSERT, UPDATE ON orders TO app@localhost", f"GRANT SELECT ON {name}.* TO owner@localhost")
    made = spec(Place("mysql", owner, place.connect))
    with pytest.raises(SourceRefused, match=rf"GRANT (SELECT, INSERT, .*, TRIGGER, LOCK TABLES) ON `{name}`") as caught:
        await KIND.install(made)
    told = re.search("GRANT (.*) ON", str(caught.value))
    assert told is not None
    run(place, f"GRANT {told[1]} ON `{name}`.* TO owner@localhost")
    await KIND.install(made)
    await KIND.install(other := again(made, columns=["status"]), before=made)
    with closing(guarded.connect(name, user="app", password="pw")) as application:
        application.cursor().execute("INSERT INTO orders VALUES (1, 'new', 1)")
        application.commit()
        with pytest.raises(pymysql.err.OperationalError):
            application.cursor().execute("SELECT * FROM posthouse_change")
    assert [change["op"] for change in await changes(other)] == ["insert"]
    with pytest.raises(SourceRefused, match="refuses us"):
        await KIND.install(spec(Place("mysql", dsn.replace("root@", "owner:wrong@"), place.connect)))
    await KIND.remove(other)
    assert traces(place) == []
