from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from tests.postgres import PostgresServer

from posthouse.adapters.postgres import migrate as migrate_module
from posthouse.adapters.postgres.dsn import dsn_for_humans
from posthouse.adapters.postgres.migrate import Migration, check, load, migrate, pending
from posthouse.domain.errors import SetupError, StoreUnavailable


@pytest.fixture
async def bare(postgres_server: PostgresServer) -> AsyncIterator[str]:
    dsn = await postgres_server.bare_database()
    yield dsn
    await postgres_server.drop_database(dsn)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "0001_first", "CREATE TABLE one (n int); INSERT INTO one VALUES (1)")
    write(tmp_path, "0002_second", "CREATE TABLE two (n int)")
    return tmp_path


def write(folder: Path, name: str, sql: str) -> None:
    (folder / f"{name}.sql").write_text(sql)


async def query(dsn: str, sql: str) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return [row[0] for row in await connection.fetch(sql)]
    finally:
        await connection.close()


def names(migrations: list[Migration]) -> list[str]:
    return [str(migration) for migration in migrations]


async def test_applies_in_order_what_is_missing(bare: str, folder: Path) -> None:
    assert names(await check(bare, folder=folder)) == ["0001_first", "0002_second"]
    assert await query(bare, "SELECT to_regclass('schema_migration')") == [None], "check writes nothing"
    assert names(await migrate(bare, folder=folder)) == ["0001_first", "0002_second"]
    assert await migrate(bare, folder=folder) == []
    write(folder, "0003_third", "ALTER TABLE two ADD m int")
    assert names(await migrate(bare, folder=folder)) == ["0003_third"]
    assert await check(bare, folder=folder) == []
    assert await query(bare, "SELECT name FROM schema_migration ORDER BY version") == ["first", "second", "third"]


async def test_several_at_once_apply_each_once(bare: str, folder: Path) -> None:
    write(folder, "0003_slow", "INSERT INTO one SELECT 2 FROM pg_sleep(0.2)")
    applied = await asyncio.gather(*(migrate(bare, folder=folder) for _ in range(5)))
    assert sorted(name for each in applied for name in names(each)) == ["0001_first", "0002_second", "0003_slow"]
    assert await query(bare, "SELECT n FROM one ORDER BY n") == [1, 2]


async def test_one_that_fails_changes_nothing_and_keeps_those_before(bare: str, folder: Path) -> None:
    write(folder, "0003_wrong", "CREATE TABLE three (n int); SELECT 1/0")
    with pytest.raises(SetupError, match=r"0003_wrong failed, and nothing of it was changed: division by zero"):
        await migrate(bare, folder=folder)
    assert names(await check(bare, folder=folder)) == ["0003_wrong"]
    assert await query(bare, "SELECT to_regclass('three')") == [None]


async def test_a_newer_schema_is_refused(bare: str, folder: Path) -> None:
    write(folder, "0003_third", "SELECT 1")
    await migrate(bare, folder=folder)
    (folder / "0003_third.sql").unlink()
    for refused in (migrate, check):
        with pytest.raises(
            SetupError, match=r"has schema version 3 \(third\).* knows 2 at most.* Install that version"
        ):
            await refused(bare, folder=folder)


async def test_a_changed_migration_is_refused(bare: str, folder: Path) -> None:
    await migrate(bare, folder=folder)
    write(folder, "0001_first", "CREATE TABLE one (n bigint)")
    for refused in (migrate, check):
        with pytest.raises(SetupError, match="0001_first is not the one that was applied"):
            await refused(bare, folder=folder)


def test_line_ends_do_not_change_a_migration() -> None:
    assert Migration(1, "a", "SELECT 1;\nSELECT 2").checksum == Migration(1, "a", "SELECT 1;\r\nSELECT 2").checksum


def test_gaps_and_unknown_versions_are_refused() -> None:
    one, two, three = (Migration(n, "x", f"SELECT {n}") for n in (1, 2, 3))
    with pytest.raises(SetupError, match="version 2 without 0001_x, which comes before it"):
        pending([one, two], {2: ("x", two.checksum)})
    with pytest.raises(SetupError, match="version 2, which this Posthouse does not know"):
        pending([one, three], {1: ("x", one.checksum), 2: ("x", two.checksum), 3: ("x", three.checksum)})
    assert pending([one, two], {1: ("x", one.checksum)}) == [two]


def test_files_are_named_and_numbered(folder: Path) -> None:
    (folder / "README.md").write_text("not a migration")
    assert names(list(load(folder))) == ["0001_first", "0002_second"]
    write(folder, "0002_again", "SELECT 1")
    with pytest.raises(ValueError, match="two migrations have the number 0002"):
        load(folder)
    (folder / "0002_again.sql").rename(folder / "3_third.sql")
    with pytest.raises(ValueError, match="not 3_third"):
        load(folder)


async def test_a_table_in_use_is_waited_for(bare: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(bare, folder=folder)
    write(folder, "0003_alter", "ALTER TABLE one ADD m int")
    monkeypatch.setattr(migrate_module, "TABLE_LOCK_SECONDS_MAX", 0.2)
    monkeypatch.setattr(migrate_module, "TABLE_LOCK_PAUSE_SECONDS", 0.05)
    connection = await asyncpg.connect(bare)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT * FROM one")
        monkeypatch.setattr(migrate_module, "TABLE_LOCK_ATTEMPTS_MAX", 2)
        with pytest.raises(SetupError, match=r"another session holds a lock .* pg_stat_activity"):
            await migrate(bare, folder=folder)
        monkeypatch.setattr(migrate_module, "TABLE_LOCK_ATTEMPTS_MAX", 100)
        migrating = asyncio.create_task(migrate(bare, folder=folder))
        while not await query(bare, "SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await transaction.rollback()
        assert names(await migrating) == ["0003_alter"]
    finally:
        await connection.close()


async def test_the_roles_own_timeouts_do_not_end_a_migration(bare: str, folder: Path) -> None:
    await query(
        bare, "ALTER ROLE posthouse IN DATABASE " + bare.split("/")[3].split("?")[0] + " SET statement_timeout = 50"
    )
    write(folder, "0003_long", "SELECT pg_sleep(0.2)")
    assert len(await migrate(bare, folder=folder)) == 3


async def test_a_user_that_may_not_is_told_what_to_grant(bare: str, folder: Path) -> None:
    name = bare.split("/")[3].split("?")[0]
    await query(bare, f"CREATE ROLE {name}_poor LOGIN PASSWORD 'pass'")
    poor = "postgresql://" + f"{name}_poor:pass@" + bare.split("@", 1)[1]
    try:
        with pytest.raises(SetupError, match=r"permission denied for schema public.*OWNER TO"):
            await migrate(poor, folder=folder)
    finally:
        await query(bare, f"DROP ROLE {name}_poor")


async def test_a_database_that_another_program_uses_is_told_as_that(bare: str, folder: Path) -> None:
    for there in ("CREATE TABLE one (id int)", "CREATE TYPE one AS (id int)"):
        await query(bare, there)
        with pytest.raises(SetupError, match=r"already exists, and it is not Posthouse's.*search_path"):
            await migrate(bare, folder=folder)
        await query(bare, f"DROP {there.split()[1]} one")


async def test_a_database_of_another_encoding_is_refused(
    postgres_server: PostgresServer, bare: str, folder: Path
) -> None:
    name = bare.split("/")[3].split("?")[0]
    await query(
        bare, f"CREATE DATABASE {name}_latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    )
    latin = bare.replace(name, f"{name}_latin")
    try:
        for bring in (migrate, check):
            with pytest.raises(SetupError, match=r"encoding LATIN1.*ENCODING 'UTF8'"):
                await bring(latin, folder=folder)
    finally:
        await postgres_server.drop_database(latin)


async def test_an_old_server_is_refused(bare: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncpg.Connection, "get_server_version", lambda _: SimpleNamespace(major=14))
    for refused in (migrate, check):
        with pytest.raises(
            SetupError, match=r"needs PostgreSQL 15 or newer, and postgresql://posthouse@/.* is PostgreSQL 14"
        ):
            await refused(bare, folder=folder)


async def test_wrong_password_and_database_are_named_without_the_password(bare: str, folder: Path) -> None:
    password = bare.split(":")[2].split("@")[0]
    with pytest.raises(SetupError, match=r"lets us not in .*Check user and password") as refused:
        await migrate(bare.replace(password, "hunter2"), folder=folder)
    assert "hunter2" not in str(refused.value)
    missing = bare.split("@")[0] + "@/missing?" + bare.split("?")[1]
    with pytest.raises(SetupError, match=r'database "missing" does not exist .*Create it') as refused:
        await check(missing, folder=folder)
    assert password not in str(refused.value)


async def test_a_server_that_is_not_there_is_named_without_the_password(folder: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(
            StoreUnavailable, match=rf"postgresql://u@127\.0\.0\.1:{port}/d.*Check that it runs"
        ) as refused:
            await migrate(f"postgresql://u:hunter2@127.0.0.1:{port}/d?sslmode=disable", folder=folder)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await migrate("postgresql://u:hunter2@/d?host=/nowhere", folder=folder)


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:hunter2@h:port/d", "host=h password=hunter2", "mysql://u:hunter2@h/d", ""]
)
async def test_a_dsn_that_cannot_be_read_is_not_repeated(dsn: str, folder: Path) -> None:
    with pytest.raises(SetupError, match="--database-url cannot be read") as refused:
        await migrate(dsn, folder=folder)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://u:hunter2@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://u:hun@ter2@h/d", "postgresql://u@h/d"),
        ("postgresql://u%40x:hunter2@h/d", "postgresql://u%40x@h/d"),
        ("postgresql://u:hunter2@a:1,b:2/d?sslmode=require", "postgresql://u@a:1,b:2/d?sslmode=require"),
        ("postgres://[::1]:5432/d", "postgres://[::1]:5432/d"),
        ("postgresql://u:hunter2@/d?host=%2Frun%2Fpg&password=hunter2", "postgresql://u@/d?host=/run/pg"),
        ("postgresql://u:hun/ter2@h/d", "a DSN that cannot be read"),
        ("postgresql://u:hun?ter2@h/d", "a DSN that cannot be read"),
        ("postgresql://u:hun#ter2@h/d", "a DSN that cannot be read"),
        ("postgresql://u:hunter2/d", "a DSN that cannot be read"),
        ("postgresql://u:hunter2@[h/d", "a DSN that cannot be read"),
        ("host=h password=hunter2", "a DSN that cannot be read"),
        ("hunter2", "a DSN that cannot be read"),
    ],
)
def test_a_dsn_is_shown_without_its_secrets(dsn: str, shown: str) -> None:
    assert dsn_for_humans(dsn) == shown
