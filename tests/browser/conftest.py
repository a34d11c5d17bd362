"""A browser and a station for each module of tests: both take seconds to come up, a visit does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, StorageState, expect
from tests.browser.browsing import PATIENCE_MS, Language, Theme, Visit, chromium, visiting
from tests.browser.station import Station, bare, furnish
from tests.postgres import PostgresServer


class Desk:
    """Where somebody sits who is signed in: visits to one station."""

    def __init__(self, browser: Browser, station: Station) -> None:
        self.browser = browser
        self.station = station
        self._cookies: StorageState | None = None

    @asynccontextmanager
    async def visit(
        self,
        place: str = "/",
        *,
        language: Language = "en",
        theme: Theme = "light",
        origin: str | None = None,
        **options: Any,
    ) -> AsyncIterator[Visit]:
        """Somebody who has signed in before goes to a place, by way of a proxy's origin where there is one."""
        if self._cookies is None:
            self._cookies = await self._signed_in()
        who: dict[str, Any] = {"language": language, "theme": theme, "storage_state": self._cookies}
        async with visiting(self.browser, origin or self.station.origin, **who | options) as visit:
            await visit.go(place)
            yield visit

    async def _signed_in(self) -> StorageState:
        async with visiting(self.browser, self.station.origin) as visit:
            await visit.page.goto(await self.station.link())
            await expect(visit.page.locator("#main h1")).to_be_visible()
            return await visit.page.context.storage_state()


@pytest.fixture(autouse=True)
def patience() -> None:
    expect.set_options(timeout=PATIENCE_MS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(browser: Browser, postgres_server: PostgresServer) -> AsyncIterator[Desk]:
    """At a station where much has happened."""
    async with bare(postgres_server) as station:
        await furnish(station)
        yield Desk(browser, station)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def new_desk(browser: Browser, postgres_server: PostgresServer) -> AsyncIterator[Desk]:
    """At a station where nothing has happened yet."""
    async with bare(postgres_server) as station:
        yield Desk(browser, station)
