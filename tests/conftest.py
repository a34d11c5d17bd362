"""Fixtures for every test: PostgreSQL, bare (tests/postgres.py) and installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

import pytest
from tests.installed import Installed, installed

from posthouse.adapters.system.collector import calm_collector, hold_collector

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

pytest_plugins = [
    "tests.changing",
    "tests.clusters",
    "tests.postgres",
    "tests.databases",
    "tests.outboxes",
    "tests.redis_server",
    "tests.wheel",
]


# Where one process runs a file after the other, these come first: the one that ends last should be a short one.
LONG_FILES: Final = (
    "tests/integration/test_schemathesis.py",
    "tests/integration/test_bench.py",
    "tests/chaos/test_kill.py",
    "tests/browser/test_screens.py",
    "tests/browser/test_tasks.py",
    "tests/integration/test_triggers_end_to_end.py",
    "tests/chaos/test_triggers.py",
    "tests/simulation/test_simulation.py",
    "tests/chaos/test_chaos.py",
    "tests/integration/test_flow.py",
    "tests/property/test_store_model.py",
    "tests/property/test_grants.py",
    "tests/unit/adapters/postgres/test_embedded.py",
    "tests/integration/test_doctor.py",
    "tests/integration/test_apply.py",
    "tests/integration/test_publish.py",
    "tests/integration/test_postgres_faults.py",
    "tests/integration/test_cli_resources.py",
    "tests/integration/test_stream.py",
    "tests/integration/test_workers.py",
    "tests/integration/test_replays.py",
    "tests/conformance/test_source_tables_installed.py",
    "tests/conformance/test_source_tables.py",
    "tests/conformance/test_source_tables_values.py",
    "tests/conformance/test_source_tables_faults.py",
)


def pytest_collection() -> None:
    """As in a process that serves, most of what is there stays: a seventh of the time would go by in looking through it."""
    hold_collector()


def pytest_collection_finish() -> None:
    calm_collector()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, all others in their order."""
    place = {name: n for n, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


@pytest.fixture(scope="session", autouse=True)
def waits_for_its_turn() -> Iterator[None]:
    """A process of tests that waits long for its turn, on a machine with more to do than it can, is no server that stalls."""
    with patch.dict("posthouse.adapters.postgres.database.SETTINGS", idle_in_transaction_session_timeout="20s"):
        yield


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Installed]:
    """A fresh, installed database with its days, and log and store on it."""
    async with installed(database) as made:
        yield made


@pytest.fixture(scope="session")
def shared_database(postgres_server: PostgresServer) -> str:
    """The DSN of a migrated database that many tests use, one after the other: each clears it first."""
    return asyncio.run(postgres_server.fresh_database())
