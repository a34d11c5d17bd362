"""`emit` with everything that it knows to write with: in the caller's transaction, and refused outside of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiosqlite
import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool
from tests.outboxes import Place, installed, sqlite_place

from posthouse_sdk.outbox import NotInTransactionError, UnknownConnectionError, emit, emit_async
from posthouse_sdk.outbox.row import new_row
from posthouse_sdk.publishing.errors import EventError

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def engine(outbox: Place) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(DRIVERS[outbox.dialect] + "://", creator=outbox.connect, poolclass=NullPool)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Place:
    return installed(sqlite_place(tmp_path))


@pytest.fixture
def postgresql(request: pytest.FixtureRequest, database: str) -> Place:
    return installed(Place("postgresql", database, lambda: psycopg.connect(database)))


def test_dbapi(outbox: Place) -> None:
    with closing(outbox.connect()) as connection:
        cursor = connection.cursor()
        uid = emit(connection, "order.created", {"order": 1})
        emit(cursor, "order.created", {"order": 2})
        assert outbox.pending() == []
        connection.commit()
        emit(connection, "order.created", {"order": 3})
        connection.rollback()
    assert outbox.pending() == ['{"order":1}', '{"order":2}']
    assert outbox.execute("SELECT uid FROM posthouse_outbox ORDER BY id")[0][0] == uid


def test_a_connection_that_commits_by_itself_is_refused(outbox: Place) -> None:
    with closing(outbox.connect()) as connection:
        match outbox.dialect:
            case "mysql":
                connection.autocommit(True)
            case "sqlite":
                connection.isolation_level = None
            case _:
                connection.autocommit = True
        with pytest.raises(NotInTransactionError, match="Begin one first"):
            emit(connection, "order.created", 1)
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        emit(connection, "order.created", 2)
        cursor.execute("COMMIT")
    assert outbox.pending() == ["2"]


def test_sqlalchemy(engine: sqlalchemy.Engine, outbox: Place) -> None:
    with Session(engine) as session:
        session.add(Order(id=1))
        emit(session, "order.created", {"order": 1})
        session.commit()
        session.add(Order(id=2))
        emit(session, "order.created", {"order": 2})
        session.rollback()
    with Session(binds={Base: engine}) as bound:
        emit(bound, "order.created", {"order": 3})
        bound.commit()
    scoped = scoped_session(sessionmaker(engine))
    emit(scoped, "order.created", {"order": 4})
    scoped.commit()
    scoped.remove()
    with engine.begin() as connection:
        emit(connection, "order.created", {"order": 5})
    with engine.connect() as connection:
        emit(connection, "order.created", {"order": 6})
    assert outbox.pending() == ['{"order":1}', '{"order":3}', '{"order":4}', '{"order":5}']
    assert outbox.execute("SELECT count(*) FROM orders") == [(1,)]
    by_itself = engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(by_itself) as session, pytest.raises(NotInTransactionError, match="AUTOCOMMIT"):
        emit(session, "order.created", 1)
    with by_itself.connect() as connection, pytest.raises(NotInTransactionError, match="AUTOCOMMIT"):
        emit(connection, "order.created", 1)


async def test_sqlalchemy_async(file: Place) -> None:
    engine = create_async_engine(file.dsn.replace("sqlite:", "sqlite+aiosqlite:"), poolclass=NullPool)
    async with AsyncSession(engine) as session, session.begin():
        emit(session, "order.created", 1)
        await emit_async(session, "order.created", 2)
    async with AsyncSession(engine) as session:
        emit(session, "order.created", 3)
        await session.flush()
        await session.rollback()
    async with engine.begin() as connection:
        await emit_async(connection, "order.created", 4)
        with pytest.raises(UnknownConnectionError, match="await emit_async"):
            emit(connection, "order.created", 5)
    await engine.dispose()
    assert sorted(file.pending()) == ["1", "2", "4"]


async def test_awaited_drivers(file: Place, postgresql: Place) -> None:
    async with aiosqlite.connect(file.dsn.removeprefix("sqlite:///")) as light:
        await emit_async(light, "order.created", 1)
        with pytest.raises(UnknownConnectionError, match="await emit_async"):
            emit(light, "order.created", 2)
        await light.commit()
    assert file.pending() == ["1"]
    connection = await asyncpg.connect(postgresql.dsn)
    with pytest.raises(NotInTransactionError, match="transaction"):
        await emit_async(connection, "order.created", 1)
    async with connection.transaction():
        await emit_async(connection, "order.created", 2)
    await connection.close()
    other = await psycopg.AsyncConnection.connect(postgresql.dsn)
    await emit_async(other, "order.created", 3)
    await other.commit()
    await other.close()
    assert postgresql.pending() == ["2", "3"]


def test_a_missing_table_says_how_to_make_it(place: Place) -> None:
    with closing(place.connect()) as connection:
        with pytest.raises(Exception, match="posthouse_outbox") as caught:
            emit(connection, "order.created", 1)
        assert "posthouse outbox install" in caught.value.__notes__[0]


def test_what_is_no_connection_is_refused(file: Place) -> None:
    with pytest.raises(UnknownConnectionError, match=r"builtins\.str is no session or connection"):
        emit("postgresql://", "order.created", 1)


async def test_what_is_not_awaited_is_refused(file: Place) -> None:
    with closing(file.connect()) as connection, pytest.raises(UnknownConnectionError, match="use emit"):
        await emit_async(connection, "order.created", 1)


@dataclass
class Item:
    sku: str
    at: datetime


def test_a_row_holds_the_event() -> None:
    at = datetime(2026, 11, 28, tzinfo=UTC)
    row = new_row(
        "order.created", Item("驿", at), channels=["c"], attributes={"a": "b"}, expires_at=at, key="k", app="a"
    )
    assert row[1:6] == ("order.created", None, "k", "a", '{"sku":"驿","at":"2026-11-28T00:00:00+00:00"}')
    assert json.loads(row.extra or "") == {
        "channels": ["c"],
        "attributes": {"a": "b"},
        "expires_at": "2026-11-28T00:00:00+00:00",
    }
    assert new_row("a", 1).extra is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"what": "order created"}, "order.created"),
        ({"data": {1, object()}}, "cannot be JSON"),
        ({"data": float("nan")}, "JSON"),
        ({"data": "\ud800"}, "surrogate"),
        ({"data": "x" * 1024 * 1024}, "1048578 bytes"),
        ({"subject": ""}, "subject has 1 to 256"),
        ({"key": "k" * 257}, "key has 1 to 256 characters; this has 257"),
        ({"app": "a\n"}, r"app holds U\+000A"),
        ({"channels": ["c"] * 17}, "16 channels"),
        ({"attributes": {"a": 1}}, "attributes.a is a text"),
        ({"expires_at": datetime(2026, 1, 1)}, "time zone"),
    ],
)
def test_what_the_server_would_refuse_is_refused_at_once(arguments: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"what": "order.created", "data": 1} | arguments
    with pytest.raises(EventError, match=said):
        new_row(given.pop("what"), given.pop("data"), **given)


def test_a_deadline_may_be_a_span() -> None:
    extra = json.loads(new_row("a", 1, expires_at=timedelta(hours=1)).extra or "")
    left = datetime.fromisoformat(extra["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


def test_django(outbox: Place) -> None:
    """In a process of its own: Django's settings are a process's, once and for all."""
    import subprocess
    import sys

    parts = urlsplit(outbox.dsn)
    query = dict(parse_qsl(parts.query))
    for table in ("posthouse_outbox", "posthouse_outbox_dead", "posthouse_outbox_lease"):
        outbox.execute(f"DROP TABLE {table}")  # the migration makes them
    settings = {
        "postgresql": {"ENGINE": "django.db.backends.postgresql", "USER": parts.username, "PASSWORD": parts.password}
        | {"HOST": query.get("host"), "PORT": query.get("port"), "NAME": parts.path[1:]},
        "mysql": {"ENGINE": "django.db.backends.mysql", "USER": "root", "HOST": query.get("unix_socket")}
        | {"NAME": parts.path[1:]},
        "sqlite": {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path[1:]},
    }[outbox.dialect]
    program = Path(__file__).with_name("django_emits.py")
    ran = subprocess.run([sys.executable, program, json.dumps(settings)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert told["dsn_works"], told["dsn"]
    assert outbox.pending() == ['{"order":1}']
