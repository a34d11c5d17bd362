"""The driver's errors in the domain's words: whose fault it is decides what follows."""

from __future__ import annotations

import pytest
from tests.installed import Installed
from tests.making import draft, new_app, new_endpoint

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.store import PostgresStore
from posthouse.domain.errors import InDoubt, SetupError, StoreRejected, StoreUnavailable
from posthouse.domain.ids import AppId
from posthouse.lane.lane import Lane


async def an_app(postgres: Installed) -> AppId:
    app = new_app()
    await postgres.reading.execute("INSERT INTO app (id, partition, config_version) VALUES ($1, 0, 1)", app)
    return app


async def test_a_missing_day_is_our_fault_and_not_the_data_s(postgres: Installed) -> None:
    app = await an_app(postgres)
    for row in await postgres.reading.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'event'::regclass"
    ):
        await postgres.reading.execute(f"DROP TABLE IF EXISTS {row[0]}")
    with pytest.raises(StoreUnavailable, match="this day"):
        await postgres.log.append([draft(app)])


async def test_refused_data_are_the_data_s(postgres: Installed) -> None:
    with pytest.raises(StoreRejected):
        await postgres.log.append([draft(await an_app(postgres), type="nul\0")])


@pytest.mark.parametrize(
    ("sqlstate", "said"),
    [("25006", "takes no writes; name the primary"), ("53300", "no connection left; raise its max_connections")],
)
async def test_what_an_operator_can_do_is_told(postgres: Installed, sqlstate: str, said: str) -> None:
    with pytest.raises(StoreUnavailable, match=said):
        await postgres.reading.execute(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$")


async def test_what_the_database_s_owner_set_for_idle_sessions_ends_none_of_ours(database: str) -> None:
    name = database.split("/")[3].split("?")[0]
    before = Database(database, size=1)
    await before.open()
    await before.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '1s'")
    await before.close()
    opened = Database(database, size=1)
    await opened.open()
    try:
        assert await opened.fetchval("SHOW idle_session_timeout") == "0"
    finally:
        await opened.close()


async def test_a_connection_that_ends_in_a_statement_leaves_doubt_only_where_it_wrote(postgres: Installed) -> None:
    end = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(InDoubt):
        await postgres.reading.execute(end)
    with pytest.raises(StoreUnavailable) as caught:
        await postgres.reading.fetch(end)
    assert not isinstance(caught.value, InDoubt)
    assert await postgres.reading.fetchval("SELECT 1") == 1, "the next one gets another connection"


async def test_a_closed_store_says_so(postgres: Installed) -> None:
    await postgres.publishing.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await postgres.publishing.fetch("SELECT 1")


async def test_a_secret_that_does_not_open_keeps_no_other_from_its_events(postgres: Installed) -> None:
    def locked(sealed: bytes, *_: object) -> bytes:
        if sealed == b"moved":
            raise SetupError("this was sealed for another")
        return sealed

    store = PostgresStore(postgres.journalling, postgres.reading, locked)
    app = await an_app(postgres)
    for endpoint, sealed in ((new_endpoint(), b"moved"), (new_endpoint(), b"k" * 32)):
        await postgres.reading.execute(
            "INSERT INTO endpoint (id, app_id, config) VALUES ($1, $2, $3)",
            endpoint,
            app,
            '{"url": "https://example.com/"}',
        )
        await postgres.reading.execute(
            "INSERT INTO secret (owner_id, kind, version, ciphertext) VALUES ($1, 'v1', 1, $2)", endpoint, sealed
        )
    (config,) = await store.apps([app])
    assert sorted(s.key for e in config.endpoints for s in e.secrets) == [b"", b"k" * 32]
    shut, fine = sorted((Lane(e) for e in config.endpoints), key=lambda lane: not lane.closed)
    assert shut.closed
    assert not fine.closed
