"""Texts of strangers are shown as text: payloads, headers, names, descriptions, schemas, subjects, and what targets answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from tests.browser.conftest import Desk
from tests.browser.station import HOSTILE, bare, furnish_hostile
from tests.browser.test_screens import is_shown
from tests.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACES: Final = {
    "overview": "/",
    "events": "/events",
    "event": "/events/{event}",
    "attempts": "/attempts",
    "attempt": "/attempts?open={attempt}",
    "owed": "/owed",
    "endpoints": "/endpoints",
    "endpoint": "/apps/hostile/endpoints/answers",
    "apps": "/apps",
    "app": "/apps/hostile",
    "types": "/types",
    "type": "/types/hostile.type",
    "keys": "/keys",
    "audit": "/audit",
}
SAYS: Final = {"event", "attempt", "endpoint", "apps", "app", "types", "type", "keys"}
"""Screens that have a hostile text to show."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hostile_desk(browser: Browser, postgres_server: PostgresServer) -> AsyncIterator[Desk]:
    async with bare(postgres_server) as station:
        await furnish_hostile(station)
        yield Desk(browser, station)


@pytest.mark.parametrize("name", PLACES)
async def test_a_hostile_text_is_only_ever_a_text(hostile_desk: Desk, name: str) -> None:
    place = PLACES[name]
    if "{event}" in place:
        place = place.format(event=(await hostile_desk.station.get("/apps/hostile/events?limit=1"))["data"][0]["id"])
    if "{attempt}" in place:
        place = place.format(attempt=(await hostile_desk.station.attempted("hostile", "answers"))[0]["id"])
    async with hostile_desk.visit(place) as visit:
        await is_shown(visit)
        if name in SAYS:
            await expect(visit.page.locator("#main")).to_contain_text("<img src=x onerror=")
        for tab in await visit.page.locator("#main [role=tab]").all():
            await tab.click()
            await expect(visit.page.locator("#main .loading")).to_have_count(0)
            assert await visit.page.locator("img, script:not([type=module]), iframe, object, embed").count() == 0
        await visit.shot(f"hostile-{name}")
        leads = await visit.page.evaluate(
            "[...document.querySelectorAll('[href]')].map((one) => one.getAttribute('href'))"
        )
        assert [one for one in leads if not one.startswith(("#", "./", "http://", "https://"))] == []


async def test_a_hostile_address_leads_nowhere(hostile_desk: Desk) -> None:
    for place in (f"/apps/{HOSTILE}", f"/events?type={HOSTILE}&open={HOSTILE}", f"/types/{HOSTILE}", "/%E0%A4%A/x"):
        async with hostile_desk.visit() as visit:
            await is_shown(visit)
            await visit.page.evaluate("(place) => { location.hash = place; }", place)
            await expect(visit.page.locator("#main")).not_to_be_empty()
            await expect(visit.page.locator("#main .loading")).to_have_count(0)
            assert await visit.page.locator("#main img").count() == 0
