"""A browser and a station for each module of tests: both take seconds to come up, a visit does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, StorageState, expect
from tests.browser.browsing import PATIENCE_MS, Language, Theme, Visit, chromium, opened, visiting
from tests.browser.station import Station, bare, furnish
from tests.postgres import PostgresServer


class Desk:
    """Where somebody sits who is signed in: visits to one station. An operator; with an `app`, a third party in its portal."""

    def __init__(self, browser: Browser, station: Station, app: str | None = None) -> None:
        self.browser = browser
        self.station = station
        self.home = "/" if app is None else "/portal"
        self._app = app
        self._state: StorageState | None = None
        self._rests: dict[tuple[Language, Theme], Visit] = {}

    @asynccontextmanager
    async def visit(
        self,
        place: str = "/",
        *,
        language: Language = "en",
        theme: Theme = "light",
        origin: str | None = None,
        fresh: bool = False,
    ) -> AsyncIterator[Visit]:
        """Somebody who has signed in before goes to a place, by way of a proxy's origin where there is one.

        The tab is one in which another visit was before, and which has forgotten it: to open one takes most of a second of CPU.
        `fresh` opens one: for those who look at what a browser keeps.
        """
        if self._state is None:
            self._state = await self._signed_in()
        if fresh or origin is not None:
            who: dict[str, Any] = {
                "language": language,
                "theme": theme,
                "home": self.home,
                "storage_state": self._state,
            }
            async with visiting(self.browser, origin or self.station.origin, **who) as visit:
                await visit.go(place)
                yield visit
            return
        if (language, theme) in self._rests:
            visit = self._rests.pop((language, theme))
        else:
            visit = await opened(
                self.browser,
                self.station.origin,
                language=language,
                theme=theme,
                home=self.home,
                storage_state=self._state,
            )
        try:
            await visit.go(place)
            yield visit
            visit.check()
            await visit.forget(self._state)
        except BaseException:
            await visit.page.context.close()
            raise
        if (language, theme) in self._rests:
            await visit.page.context.close()
        else:
            self._rests[language, theme] = visit

    async def link(self) -> str:
        return await (self.station.link() if self._app is None else self.station.portal_link(self._app))

    async def _signed_in(self) -> StorageState:
        async with visiting(self.browser, self.station.origin) as visit:
            await visit.page.goto(await self.link())
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
