"""One suite for every adapter: `world` is each of them in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.installed import installed
from tests.worlds import MemoryWorld, PostgresWorld, World


@pytest.fixture
async def postgres_world(shared_database: str) -> AsyncIterator[PostgresWorld]:
    """PostgreSQL as if it had just been installed."""
    async with installed(shared_database) as postgres:
        world = PostgresWorld(postgres)
        await world.clear()
        yield world


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return MemoryWorld()
    found: PostgresWorld = request.getfixturevalue("postgres_world")
    return found
