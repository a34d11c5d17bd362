"""`posthouse migrate` on the embedded database, with a server and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.commands import Served, run, served
from tests.postgres import open_folder

from posthouse.adapters.postgres import postmaster
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.postgres.examine import embedded_dsn
from posthouse.adapters.postgres.migrate import load
from posthouse.adapters.system.datadir import DataDir


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def query(data: Path, statement: str) -> None:
    async def go() -> None:
        dsn = embedded_dsn(data)
        assert isinstance(dsn, str)
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(go())


def test_what_is_pending_is_told_while_its_server_runs(server: Served) -> None:
    words = ("migrate", "--check", "--data-dir", str(server.data))
    told = run(*words)
    assert (told.returncode, told.stdout) == (0, ""), told.stderr
    assert "up to date" in told.stderr
    newest = load()[-1]
    query(server.data, f"CREATE TABLE kept AS SELECT * FROM schema_migration WHERE version = {newest.version}")
    query(server.data, f"DELETE FROM schema_migration WHERE version = {newest.version}")
    try:
        told = run(*words)
    finally:
        query(server.data, "INSERT INTO schema_migration SELECT * FROM kept; DROP TABLE kept")
    assert (told.returncode, told.stdout) == (1, f"{newest}\n"), told.stderr
    assert "1 pending" in told.stderr


def test_without_its_server_the_database_is_started_and_stopped_again(folder: Path) -> None:
    data = folder / "data"

    async def make() -> None:
        with DataDir.hold(data):
            postgres = EmbeddedPostgres(data, durable=False)
            await postgres.start()
            await postgres.stop()

    asyncio.run(make())
    everything = "".join(f"{migration}\n" for migration in load())
    for words, code, said in (
        (("--check",), 1, everything),
        ((), 0, everything),
        (("--check",), 0, ""),
        ((), 0, ""),
    ):
        told = run("migrate", "--data-dir", str(data), *words)
        assert (told.returncode, told.stdout) == (code, said), told.stderr
        assert postmaster.running(data / "postgres") is None, "it was only started for this"


def test_where_there_is_none_nothing_is_made(tmp_path: Path) -> None:
    told = run("migrate", "--check", "--data-dir", str(tmp_path / "none"))
    assert told.returncode == 1
    assert f"there is no database in {tmp_path / 'none'}" in told.stderr
    assert "--database-url" in told.stderr
    assert not (tmp_path / "none").exists()
