"""What operators come for, with the clicks that it takes them, in both languages and both themes.

Typing a text is no click; a button that is pressed with a key is one, and a choice out of a list is two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from tests.browser.browsing import Language, Theme
from tests.browser.conftest import Desk
from tests.browser.station import NEVER, OFTEN, ORDER, answering, bare
from tests.commands import running
from tests.postgres import PostgresServer, end_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAILED: Final = 10_000
EVERYWHERE: Final[list[tuple[Language, Theme]]] = [("en", "light"), ("en", "dark"), ("zh", "light"), ("zh", "dark")]
everywhere = pytest.mark.parametrize(("language", "theme"), EVERYWHERE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def failing(browser: Browser, postgres_server: PostgresServer) -> AsyncIterator[Desk]:
    """At a station with a target that has failed ten thousand times, whose circuit nothing opens."""
    dsn = await postgres_server.fresh_database()
    async with bare(dsn, circuit_requests_min=1_000_000) as station:
        await station.post("/event-types", {"name": "order.created", "schema": {"type": "object"}, "examples": [ORDER]})
        await station.post("/apps", {"uid": "acme", "name": "Acme"})
        await station.endpoint("acme", "till", answering(500, "the till is closed"), retry=OFTEN, events=["user.*"])
        await station.post("/event-types", {"name": "user.registered"})
        await station.publish(1, type="user.registered")
        await station.attempted("acme", "till")
        await station.post("/apps", {"uid": "globex", "name": "Globex"})
        await station.endpoint("globex", "shop", answering(500, "sold out"), retry=NEVER, concurrency=64)
        await station.publish(FAILED, app="globex")
        yield Desk(browser, station)
    await postgres_server.drop_database(dsn)


@contextmanager
def first_start() -> Iterator[tuple[str, Server]]:
    """A server as somebody starts it for the first time; the link that it prints."""
    with TemporaryDirectory(prefix="posthouse-console-", dir="/tmp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        try:
            with running("serve", "--port", "0", "--data-dir", f"{name}/data", "--dev") as server:
                yield server.until(r"(http://\S+/#/in\?code=\S+)\n")[1], server
        finally:
            end_server(Path(name) / "data")
