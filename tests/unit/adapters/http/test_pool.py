"""The pool: bounded, exact about its keys, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from posthouse.adapters.http.connection import Connection, PoolKey
from posthouse.adapters.http.pool import Pool
from posthouse.domain.cache_use import CacheFacts

KEY = PoolKey("https", "a.example", 443, "93.184.216.34")


class Register:
    def opened(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


class Kept(Connection):
    """A connection that notes its end."""

    def __init__(self, key: PoolKey, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(key, loop, Register())
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_what_was_put_last_is_taken_first(loop: asyncio.AbstractEventLoop) -> None:
    pool = Pool(per_key_max=4, total_max=10, seconds_max=30.0, surplus_seconds_max=1.0)
    first, second = Kept(KEY, loop), Kept(KEY, loop)
    pool.put(first, 100.0)
    pool.put(second, 101.0)
    assert (first.deadline, second.deadline) == (130.0, 131.0)
    assert pool.take(KEY) is second
    assert pool.take(KEY) is first
    assert pool.take(KEY) is None
    assert pool.cached == CacheFacts(entries=0, hits=2, misses=1)


@pytest.mark.parametrize(
    "change",
    [
        {"scheme": "http"},
        {"host": "b.example"},
        {"port": 8443},
        {"address": "93.184.216.35"},
        {"egress": "the identity of another way"},
    ],
)
def test_a_connection_serves_exactly_its_own_key(loop: asyncio.AbstractEventLoop, change: dict[str, Any]) -> None:
    pool = Pool(per_key_max=4, total_max=10, seconds_max=30.0, surplus_seconds_max=1.0)
    pool.put(Kept(KEY, loop), 100.0)
    assert pool.take(msgspec.structs.replace(KEY, **change)) is None
    assert pool.take(PoolKey("https", "a.example", 443, "93.184.216.34")) is not None


def test_surplus_of_a_key_is_kept_for_a_moment(loop: asyncio.AbstractEventLoop) -> None:
    pool = Pool(per_key_max=2, total_max=10, seconds_max=30.0, surplus_seconds_max=1.0)
    connections = [Kept(KEY, loop) for _ in range(3)]
    for connection in connections:
        pool.put(connection, 100.0)
    assert [connection.deadline for connection in connections] == [130.0, 130.0, 101.0]
    assert pool.take(KEY) is connections[2], "the surplus is used first, while there is need for it"
    assert pool.take(KEY) is connections[1]
    pool.put(connections[2], 100.5)
    assert connections[2].deadline == 130.5, "it is no surplus any more"


def test_surplus_of_a_key_takes_no_other_key_s_place(loop: asyncio.AbstractEventLoop) -> None:
    pool = Pool(per_key_max=1, total_max=4, seconds_max=30.0, surplus_seconds_max=1.0)
    other = Kept(PoolKey("http", "b.example", 80, "93.184.216.34"), loop)
    pool.put(other, 100.0)
    connections = [Kept(KEY, loop) for _ in range(8)]
    for connection in connections:
        pool.put(connection, 100.0)
    assert [connection.aborted for connection in connections] == [False, *[True] * 7]
    assert pool.take(other.key) is other


def test_over_the_total_the_one_idle_longest_goes(loop: asyncio.AbstractEventLoop) -> None:
    pool = Pool(per_key_max=2, total_max=3, seconds_max=30.0, surplus_seconds_max=1.0)
    connections = [Kept(PoolKey("http", f"{n}.example", 80, "93.184.216.34"), loop) for n in range(5)]
    for connection in connections:
        pool.put(connection, 100.0)
    assert [connection.aborted for connection in connections] == [True, True, False, False, False]
    assert len(pool) == 3
    assert pool.take(connections[0].key) is None
    assert pool.take(connections[4].key) is connections[4]


def test_a_closed_connection_is_forgotten_wherever_it_is(loop: asyncio.AbstractEventLoop) -> None:
    pool = Pool(per_key_max=4, total_max=10, seconds_max=30.0, surplus_seconds_max=1.0)
    idle, taken = Kept(KEY, loop), Kept(KEY, loop)
    pool.put(idle, 100.0)
    pool.put(taken, 100.0)
    assert pool.take(KEY) is taken
    pool.discard(taken)
    pool.discard(idle)
    pool.discard(idle)
    assert pool.take(KEY) is None
    assert len(pool) == 0
