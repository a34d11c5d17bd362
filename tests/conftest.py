"""Fixtures for every test: PostgreSQL, bare (tests/postgres.py) and installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from tests.installed import Installed, installed

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

pytest_plugins = [
    "tests.clusters",
    "tests.postgres",
    "tests.databases",
    "tests.outboxes",
    "tests.redis_server",
    "tests.wheel",
]


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Installed]:
    """A fresh, installed database with its days, and log and store on it."""
    async with installed(database) as made:
        yield made


@pytest.fixture(scope="session")
def shared_database(postgres_server: PostgresServer) -> str:
    """The DSN of a migrated database that many tests use, one after the other: each clears it first."""
    return asyncio.run(postgres_server.fresh_database())
