"""Replay stores in the user's own database: the work and its confirmation in one transaction, and what goes wrong."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from posthouse_sdk import ClaimLostError, ReceiverError, ReplayStoreError
from posthouse_sdk.receiving import Claim, ReceivedEvent, Receiver
from posthouse_sdk.receiving.stores.dbapi import DbApiReplayStore, spelled
from posthouse_sdk.receiving.stores.flow import Question
from posthouse_sdk.receiving.stores.redis import AsyncRedisReplayStore, RedisReplayStore
from posthouse_sdk.receiving.stores.sqlalchemy import AsyncSqlAlchemyReplayStore, SqlAlchemyReplayStore
from posthouse_sdk.receiving.stores.statements import DIALECTS, SWEEP_EVERY, statements
from posthouse_sdk.testing import SECRET, signed_request

Event = ReceivedEvent[Any]


class Orders:
    """A program whose work is a row in its database."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "orders.db"
        self.store = DbApiReplayStore(self.connect)
        self.store.create_table()
        self.store.create_table()
        with contextlib.closing(self.connect()) as connection:
            connection.execute("CREATE TABLE orders (number text)")

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30)

    def read(self, sql: str) -> list[Any]:
        with contextlib.closing(self.connect()) as connection:
            return connection.execute(sql).fetchall()

    def rows(self) -> int:
        (row,) = self.read("SELECT count(*) FROM orders")
        return int(row[0])


def test_the_work_and_its_confirmation_are_one_transaction(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    receiver, fails = Receiver(SECRET, store=orders.store), [True, False]

    @receiver.fallback
    def handler(event: Event) -> None:
        with contextlib.closing(orders.connect()) as connection, connection:
            connection.execute("INSERT INTO orders VALUES ('A-1')")
            orders.store.confirm_within(connection, event)
            if fails.pop(0):
                raise ValueError("after the confirmation, before the commit")

    request = signed_request()
    told = [(receiver.handle(request.body, request.headers).status, orders.rows()) for _ in range(3)]
    assert told == [(500, 0), (200, 1), (200, 1)]


def test_a_worker_that_lost_its_claim_rolls_back(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    receiver = Receiver(SECRET, store=orders.store, new_token=lambda: "slow")

    @receiver.fallback
    def handler(event: Event) -> None:
        orders.store.release(event.id, "slow")  # as if its time had run out, and
        assert orders.store.claim(event.id, "other") is Claim.GRANTED
        with contextlib.closing(orders.connect()) as connection, connection:
            connection.execute("INSERT INTO orders VALUES ('A-1')")
            with pytest.raises(ClaimLostError, match="roll back"):
                orders.store.confirm_within(connection, event)
            raise ClaimLostError

    request = signed_request()
    assert receiver.handle(request.body, request.headers).status == 500
    assert orders.rows() == 0
    assert orders.store.claim(request.id, "third") is Claim.HELD, "the other one is at it"


def test_an_event_without_a_claim_cannot_be_confirmed(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    receiver, request = Receiver(SECRET), signed_request()

    @receiver.fallback
    def handler(event: Event) -> None:
        with contextlib.closing(orders.connect()) as connection, pytest.raises(ReceiverError, match="was not claimed"):
            orders.store.confirm_within(connection, event)

    assert receiver.handle(request.body, request.headers).status == 200


def test_by_sqlalchemy_too(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/orders.db")
    store = SqlAlchemyReplayStore(engine)
    store.create_table()
    receiver, request, committed = Receiver(SECRET, store=store), signed_request(), []

    @receiver.fallback
    def handler(event: Event) -> None:
        with Session(engine) as session, session.begin():
            store.confirm_within(session, event)
        committed.append(event.id)
        raise ValueError("what comes after the commit no longer counts")

    assert receiver.handle(request.body, request.headers).status == 500
    assert receiver.handle(request.body, request.headers).reason == "this event was handled before"
    assert committed == [request.id]
    engine.dispose()


async def test_by_asynchronous_sqlalchemy_too(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/orders.db")
    store = AsyncSqlAlchemyReplayStore(engine)
    await store.create_table()
    receiver, request = Receiver(SECRET, store=store), signed_request()

    @receiver.fallback
    async def handler(event: Event) -> None:
        async with AsyncSession(engine) as session, session.begin():
            await store.confirm_within(session, event)

    answers = [await receiver.ahandle(request.body, request.headers) for _ in range(2)]
    assert [answer.reason for answer in answers] == ["", "this event was handled before"]
    await engine.dispose()


# What goes wrong says what to do


def test_a_missing_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DbApiReplayStore(lambda: sqlite3.connect(tmp_path / "empty.db"))
    with pytest.raises(
        ReplayStoreError, match=r"no table posthouse_received: make it with the store's create_table\(\)"
    ):
        store.claim("evt_1", "mine")
    engine = create_engine(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(ReplayStoreError, match="no table posthouse_received"):
        SqlAlchemyReplayStore(engine).claim("evt_1", "mine")
    engine.dispose()
    request = signed_request()
    receiver = Receiver(SECRET, store=store, fallback=lambda event: None)
    assert receiver.handle(request.body, request.headers).status == 503
    assert "create_table()" in caplog.text


async def test_the_missing_table_of_postgresql(database: str) -> None:
    import psycopg

    store = DbApiReplayStore(lambda: psycopg.connect(database))
    with pytest.raises(ReplayStoreError, match="no table posthouse_received"):
        store.claim("evt_1", "mine")
    store.close()


async def test_a_connection_that_was_cut_off_while_idle_is_replaced(database: str) -> None:
    import psycopg

    opened = []

    def connect() -> Any:
        opened.append(psycopg.connect(database))
        return opened[-1]

    store = DbApiReplayStore(connect)
    store.create_table()
    assert store.claim("evt_1", "mine") is Claim.GRANTED
    assert len(opened) == 1, "it is kept"
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [opened[0].info.backend_pid])
    store.confirm("evt_1", "mine")
    assert store.claim("evt_1", "other") is Claim.CONFIRMED
    assert len(opened) == 2
    store.close()


FORKS = """
import gc, os, sys, warnings
from posthouse_sdk.receiving.stores.dbapi import DbApiReplayStore
warnings.simplefilter("ignore", DeprecationWarning)

class Cursor:
    rowcount = 1
    def execute(self, sql, values=None): pass
    def fetchone(self): return (0, "")
    fetchall = fetchone
    def close(self): pass

class Connection:
    def __init__(self):
        self.process = os.getpid()
        opened.append(self.process)
    def touch(self):
        assert self.process == os.getpid(), "it is the parent's"
    def cursor(self):
        self.touch()
        return Cursor()
    def commit(self): self.touch()
    def close(self): self.touch()
    def __del__(self):
        if self.process != os.getpid():
            print("a destructor closed what is the parent's", flush=True)

opened = []
store = DbApiReplayStore(Connection, dialect="postgresql", paramstyle="named")
store.claim("evt_1", "mine")
kept = store._kept
kept.lock.acquire()  # as by a thread that is not there in the child
child = os.fork()
if not child:
    del kept
    for _ in range(2):
        store.claim("evt_2", "mine")
    assert opened[1:] == [os.getpid()], "one of its own, which it keeps"
    store.close()
    del store
    gc.collect()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
kept.lock.release()
store.claim("evt_3", "mine")
assert len(opened) == 1, "the parent keeps its own"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_a_fork_does_not_speak_on_its_parents_connections() -> None:
    told = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stdout) == (0, ""), told.stdout + told.stderr


def test_the_wrong_kind_of_engine_or_client(tmp_path: Path) -> None:
    import redis
    import redis.asyncio

    engine: Any = create_engine("sqlite://")
    async_engine: Any = create_async_engine("sqlite+aiosqlite://")
    with pytest.raises(ReceiverError, match="AsyncEngine goes into AsyncSqlAlchemyReplayStore"):
        SqlAlchemyReplayStore(async_engine)
    with pytest.raises(ReceiverError, match="Engine goes into SqlAlchemyReplayStore"):
        AsyncSqlAlchemyReplayStore(engine)
    blocking: Any = redis.Redis()
    asynchronous: Any = redis.asyncio.Redis()
    with pytest.raises(ReceiverError, match="goes into AsyncRedisReplayStore"):
        RedisReplayStore(asynchronous)
    with pytest.raises(ReceiverError, match="goes into RedisReplayStore"):
        AsyncRedisReplayStore(blocking)
    with pytest.raises(ReceiverError, match="no connection of a driver known here"):
        DbApiReplayStore(lambda: engine)
    with pytest.raises(ReceiverError, match="there is no replay store for 'oracle'"):
        statements("oracle")
    with pytest.raises(ReceiverError, match="letters, digits and underscores"):
        statements("sqlite", "received; DROP TABLE orders")


def test_what_has_ended_is_swept_as_others_are_claimed(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    engine = create_engine(f"sqlite:///{orders.path}")
    store = SqlAlchemyReplayStore(engine)
    store.confirm("evt_old", "x")
    with engine.begin() as connection:
        connection.execute(text("UPDATE posthouse_received SET until = 1"))
    for _ in range(SWEEP_EVERY):
        store.claim("evt_new", "mine")
    assert orders.read("SELECT id FROM posthouse_received") == [("evt_new",)]
    engine.dispose()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_may_have_a_schema(dialect: str) -> None:
    made = statements(dialect, "shop.received")
    assert made.create[0].startswith("CREATE TABLE IF NOT EXISTS shop.received (id varchar(400)")
    assert "received" in made.create[-1]


def test_parameters_are_written_as_the_driver_wants_them() -> None:
    question = Question("SELECT :id, :token, :id", {"id": 1, "token": 2, "more": 3})
    assert spelled(question, "qmark") == ("SELECT ?, ?, ?", [1, 2, 1])
    assert spelled(question, "format") == ("SELECT %s, %s, %s", [1, 2, 1])
    assert spelled(question, "pyformat") == ("SELECT %(id)s, %(token)s, %(id)s", question.values)
    assert spelled(question, "named") == (question.sql, question.values)
    with pytest.raises(ReceiverError, match="paramstyle 'numeric'"):
        spelled(question, "numeric")
