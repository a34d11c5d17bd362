"""Replay stores of every kind, each in a world where time can be made to pass."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pymysql
import pytest
import redis
import redis.asyncio
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.databases import MariaDb
from tests.postgres import PostgresServer

from posthouse_sdk.receiving.stores.dbapi import DbApiReplayStore
from posthouse_sdk.receiving.stores.django_cache import DjangoCacheReplayStore
from posthouse_sdk.receiving.stores.memory import MemoryReplayStore
from posthouse_sdk.receiving.stores.redis import PREFIX, AsyncRedisReplayStore, RedisReplayStore
from posthouse_sdk.receiving.stores.sqlalchemy import AsyncSqlAlchemyReplayStore, SqlAlchemyReplayStore

CLAIM_SECONDS: Final = 100.0
KEEP_SECONDS: Final = 1000.0
SPANS: Final[Any] = {"claim_seconds": CLAIM_SECONDS, "keep_seconds": KEEP_SECONDS}
_DROP: Final = "DROP TABLE IF EXISTS posthouse_received"
_OLDER: Final = "UPDATE posthouse_received SET until = until - {}"


class StoreWorld:
    """A store, and `age`: makes everything in it so many seconds older."""

    def __init__(self, store: Any, age: Callable[[float], Any]) -> None:
        self.store = store
        self.is_async = inspect.iscoroutinefunction(store.claim)
        self._age = age

    async def age(self, seconds: float) -> None:
        await _done(self._age(seconds))

    async def claim(self, key: str, token: str) -> str:
        claim = await _done(self.store.claim(key, token))
        name: str = claim.value
        return name

    async def confirm(self, key: str, token: str) -> None:
        await _done(self.store.confirm(key, token))

    async def release(self, key: str, token: str) -> None:
        await _done(self.store.release(key, token))

    async def forget(self, key: str) -> None:
        await _done(self.store.forget(key))


async def _done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


@asynccontextmanager
async def memory_world(_: str) -> AsyncIterator[StoreWorld]:
    now = [0.0]

    def age(seconds: float) -> None:
        now[0] += seconds

    yield StoreWorld(MemoryReplayStore(clock=lambda: now[0], **SPANS), age)


@asynccontextmanager
async def redis_world(socket: str) -> AsyncIterator[StoreWorld]:
    client = redis.Redis(unix_socket_path=socket)
    client.flushall()
    with contextlib.closing(client):
        yield StoreWorld(RedisReplayStore(client, **SPANS), lambda seconds: _age_redis(client, seconds))


@asynccontextmanager
async def async_redis_world(socket: str) -> AsyncIterator[StoreWorld]:
    with contextlib.closing(redis.Redis(unix_socket_path=socket)) as other:
        other.flushall()
        client = redis.asyncio.Redis(unix_socket_path=socket, decode_responses=True)
        try:
            yield StoreWorld(AsyncRedisReplayStore(client, **SPANS), lambda seconds: _age_redis(other, seconds))
        finally:
            await client.aclose()


def _age_redis(client: Any, seconds: float) -> None:
    for name in client.scan_iter(f"{PREFIX}*"):
        client.pexpire(name, client.pttl(name) - round(seconds * 1000))


@asynccontextmanager
async def django_world(_: str) -> AsyncIterator[StoreWorld]:
    from django.core.cache.backends.locmem import LocMemCache

    cache = LocMemCache("replays", {"max_entries": 10_000})
    cache.clear()

    def age(seconds: float) -> None:
        for name in cache._expire_info:
            cache._expire_info[name] -= seconds

    yield StoreWorld(DjangoCacheReplayStore(cache, **SPANS), age)


def sqlite_world(folder: str) -> AbstractAsyncContextManager[StoreWorld]:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"{folder}/received.db", timeout=30)
        connection.execute("PRAGMA synchronous = off")  # a test has nothing to lose
        return connection

    return dbapi_world(connect)


def mariadb_world(dsn: str) -> AbstractAsyncContextManager[StoreWorld]:
    parts = urlsplit(dsn)
    return dbapi_world(
        lambda: pymysql.connect(unix_socket=parts.query.partition("=")[2], user="root", database=parts.path[1:])
    )


def psycopg_world(dsn: str) -> AbstractAsyncContextManager[StoreWorld]:
    return dbapi_world(lambda: psycopg.connect(dsn))


@asynccontextmanager
async def dbapi_world(connect: Callable[[], Any]) -> AsyncIterator[StoreWorld]:
    def execute(statement: str) -> None:
        with contextlib.closing(connect()) as connection:
            connection.cursor().execute(statement)
            connection.commit()

    execute(_DROP)
    store = DbApiReplayStore(connect, **SPANS)
    store.create_table()
    with contextlib.closing(store):
        yield StoreWorld(store, lambda seconds: execute(_OLDER.format(seconds)))


@asynccontextmanager
async def sqlalchemy_world(url: str) -> AsyncIterator[StoreWorld]:
    engine = create_engine(url)

    def execute(statement: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(statement))

    execute(_DROP)
    store = SqlAlchemyReplayStore(engine, **SPANS)
    store.create_table()
    try:
        yield StoreWorld(store, lambda seconds: execute(_OLDER.format(seconds)))
    finally:
        engine.dispose()


@asynccontextmanager
async def async_sqlalchemy_world(url: str) -> AsyncIterator[StoreWorld]:
    engine = create_async_engine(url)

    async def execute(statement: str) -> None:
        async with engine.begin() as connection:
            await connection.execute(text(statement))

    await execute(_DROP)
    store = AsyncSqlAlchemyReplayStore(engine, **SPANS)
    await store.create_table()
    try:
        yield StoreWorld(store, lambda seconds: execute(_OLDER.format(seconds)))
    finally:
        await engine.dispose()


def as_driver(dsn: str, driver: str) -> str:
    """The URL by which SQLAlchemy reaches a PostgreSQL."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(scheme=f"postgresql+{driver}"))


Making = Callable[[str], AbstractAsyncContextManager[StoreWorld]]

WORLDS: Final[dict[str, tuple[str, Making]]] = {
    "memory": ("tmp_path", memory_world),
    "redis": ("redis_socket", redis_world),
    "async-redis": ("redis_socket", async_redis_world),
    "django-cache": ("tmp_path", django_world),
    "sqlite": ("tmp_path", sqlite_world),
    "psycopg": ("received_dsn", psycopg_world),
    "pymysql": ("received_mariadb", mariadb_world),
    "sqlalchemy-sqlite": ("tmp_path", lambda folder: sqlalchemy_world(f"sqlite:///{folder}/received.db")),
    "sqlalchemy-pymysql": ("received_mariadb", lambda dsn: sqlalchemy_world(dsn.replace("mysql:", "mysql+pymysql:"))),
    "sqlalchemy-psycopg": ("received_dsn", lambda dsn: sqlalchemy_world(as_driver(dsn, "psycopg"))),
    "sqlalchemy-aiosqlite": (
        "tmp_path",
        lambda folder: async_sqlalchemy_world(f"sqlite+aiosqlite:///{folder}/received.db"),
    ),
    "sqlalchemy-asyncpg": ("received_dsn", lambda dsn: async_sqlalchemy_world(as_driver(dsn, "asyncpg"))),
}
"""Each kind: the fixture that says where, and how it is made there."""


@pytest.fixture(scope="session")
def received_dsn(postgres_server: PostgresServer) -> str:
    """The DSN of a database that the worlds use one after the other."""
    return asyncio.run(postgres_server.bare_database())


@pytest.fixture(scope="session")
def received_mariadb(mariadb: MariaDb) -> str:
    """The same of a MariaDB, where one is installed."""
    return mariadb.fresh_database()


@pytest.fixture(params=WORLDS)
def store_making(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[StoreWorld]:
    # The fixtures that start servers want no event loop around them.
    where, making = WORLDS[request.param]
    return making(str(request.getfixturevalue(where)))


@pytest.fixture
async def store_world(store_making: AbstractAsyncContextManager[StoreWorld]) -> AsyncIterator[StoreWorld]:
    """Each kind in turn, empty."""
    async with store_making as world:
        yield world
