"""An outbox on each database that can hold one, for tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from tests.databases import MariaDb
from tests.postgres import PostgresServer

from posthouse_sdk.outbox.dsn import parse
from posthouse_sdk.outbox.schema import statements

DIALECTS = ("postgresql", "sqlite", "mysql")


class Place(NamedTuple):
    """A database. `connect` opens a DB-API connection that is not in autocommit mode."""

    dialect: str
    dsn: str
    connect: Callable[[], Any]

    def execute(self, statement: str, *parameters: object) -> list[Any]:
        """Run a statement, with its parameters marked by %s, and commit."""
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(statement.replace("%s", "?") if self.dialect == "sqlite" else statement, parameters)
            rows = list(cursor.fetchall()) if cursor.description else []
            connection.commit()
            return rows

    def pending(self) -> list[Any]:
        return [row[0] for row in self.execute("SELECT data FROM posthouse_outbox ORDER BY id")]


@pytest.fixture(params=DIALECTS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A database without an outbox, of each dialect in turn."""
    match request.param:
        case "postgresql":
            yield from _postgresql(request.getfixturevalue("postgres_server"))
        case "sqlite":
            yield sqlite_place(request.getfixturevalue("tmp_path"))
        case _:
            yield from _mysql(request.getfixturevalue("mariadb"))


@pytest.fixture
def outbox(place: Place) -> Place:
    """A database with an outbox."""
    return installed(place)


def installed(place: Place) -> Place:
    for statement in statements(place.dialect):
        place.execute(statement)
    return place


def sqlite_place(folder: Path) -> Place:
    path = folder / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = off")
    return Place("sqlite", f"sqlite:///{path}", lambda: sqlite3.connect(path, timeout=10))


def _postgresql(server: PostgresServer) -> Iterator[Place]:
    import asyncio

    dsn = asyncio.run(server.bare_database())
    yield Place("postgresql", dsn, lambda: psycopg.connect(dsn))
    asyncio.run(server.drop_database(dsn))


def _mysql(server: MariaDb) -> Iterator[Place]:
    dsn = server.fresh_database()
    name = parse(dsn).path
    yield Place("mysql", dsn, lambda: server.connect(name, charset="utf8mb4"))
    server.drop_database(dsn)
