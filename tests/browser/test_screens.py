"""Every screen: what it shows, that it can be read by everybody, and what it says where there is nothing, or no answer."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from playwright.async_api import Route, ViewportSize, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout
from tests.browser.browsing import PATIENCE_MS, Language, Theme, Visit
from tests.browser.conftest import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTS: Final = {
    "overview": "/",
    "events": "/events",
    "attempts": "/attempts",
    "owed": "/owed",
    "replays": "/replays",
    "endpoints": "/endpoints",
    "apps": "/apps",
    "types": "/types",
    "triggers": "/triggers",
    "playground": "/playground",
    "keys": "/keys",
    "audit": "/audit",
    "system": "/system",
}
THINGS: Final = {
    "event": "/events/{event}",
    "attempt": "/attempts?open={attempt}",
    "replay": "/replays/acme/{replay}",
    "endpoint": "/apps/acme/endpoints/broken",
    "app": "/apps/acme",
    "type": "/types/order.created",
    "trigger": "/triggers/till",
}
NOWHERE: Final = {
    "event": "/events/evt_00000000000000000000000000",
    "replay": "/replays/acme/rpl_00000000000000000000000000",
    "endpoint": "/apps/acme/endpoints/nope",
    "app": "/apps/nope",
    "type": "/types/nope.nope",
    "trigger": "/triggers/nope",
    "place": "/nope/nope",
}
ALWAYS_SOMETHING: Final = {"overview", "playground", "apps", "keys", "audit", "system"}
"""Screens that are not lists, or of lists that have an entry from the first start on (apps: the platform's own)."""

TELEPHONE: Final[ViewportSize] = {"width": 400, "height": 800}
SEEN_BY: Final[list[tuple[Language, Theme]]] = [("en", "light"), ("zh", "dark")]


async def place_of(desk: Desk, name: str) -> str:
    place = (LISTS | THINGS)[name]
    if "{event}" in place:
        return place.format(event=(await desk.station.get("/apps/acme/events?limit=1"))["data"][0]["id"])
    if "{attempt}" in place:
        return place.format(attempt=(await desk.station.attempted("acme", "broken"))[0]["id"])
    if "{replay}" in place:
        made = (await desk.station.get("/apps/acme/replays"))["data"]
        if not made:
            since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
            wanted = {"endpoint": "healthy", "since": since, "select": "all"}
            made = [await desk.station.post("/apps/acme/replays", wanted)]
        return place.format(replay=made[0]["id"])
    return place


async def is_shown(visit: Visit) -> None:
    """The screen has come, and nothing of it is on its way still."""
    await expect(visit.page.locator("#main h1")).to_be_visible()
    await expect(visit.page.locator("#main .loading")).to_have_count(0)


async def fits(visit: Visit) -> None:
    """Nothing is wider than the window."""
    await visit.page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("name", [*LISTS, *THINGS])
@pytest.mark.parametrize(("language", "theme"), SEEN_BY)
async def test_a_screen_shows_what_is_there_to_everybody(
    desk: Desk, name: str, language: Language, theme: Theme
) -> None:
    async with desk.visit(await place_of(desk, name), language=language, theme=theme) as visit:
        await is_shown(visit)
        await expect(visit.page.locator("#main [role=alert]")).to_have_count(0)
        await visit.shot(name)
        assert await visit.violations() == []
        await fits(visit)
        await visit.page.set_viewport_size(TELEPHONE)
        await fits(visit)
        await visit.shot(f"small-{name}")


@pytest.mark.parametrize("name", LISTS)
async def test_where_there_is_nothing_a_screen_says_what_to_do(new_desk: Desk, name: str) -> None:
    async with new_desk.visit(LISTS[name]) as visit:
        await is_shown(visit)
        await expect(visit.page.locator("#main [role=alert]")).to_have_count(0)
        await visit.shot(f"empty-{name}")
        if name not in ALWAYS_SOMETHING:
            await expect(visit.page.locator("#main .empty").first).to_be_visible()
            assert len(await visit.page.locator("#main .empty").first.inner_text()) > 20
        assert await visit.violations() == []


async def try_all_again(visit: Visit) -> None:
    """A screen that asks for several things tells of each what went wrong."""
    alerts = visit.page.locator("#main [role=alert]")
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while await alerts.count() > 0:
            with suppress(PlaywrightTimeout):  # one may go by itself, as the screen asks again
                await visit.button("Try again", "重试", alerts.first).click(timeout=1000)


@pytest.mark.parametrize("name", [name for name in LISTS if name != "playground"])
async def test_a_fault_of_the_server_is_told_and_another_try_is_offered(desk: Desk, name: str) -> None:
    problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "code": "unavailable"}
    told = json.dumps(problem | {"detail": "the database does not answer"})

    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, content_type="application/problem+json", body=told)

    async def drop(route: Route) -> None:
        await route.abort()

    async with desk.visit("/replays" if name != "replays" else "/types") as visit:
        await is_shown(visit)
        await visit.page.route("**/v1/**", refuse)
        await visit.go(LISTS[name])
        alert = visit.page.locator("#main [role=alert]").first
        await expect(alert).to_contain_text("the database does not answer")
        assert await visit.violations() == []
        await visit.page.unroute("**/v1/**")
        await visit.page.route("**/v1/**", drop)
        await visit.button("Try again", "重试", alert).click()
        await expect(alert).to_contain_text("The server does not answer")
        await visit.page.unroute("**/v1/**")
        await try_all_again(visit)
        await is_shown(visit)


@pytest.mark.parametrize("name", NOWHERE)
async def test_what_is_not_there_is_said_to_be_missing(desk: Desk, name: str) -> None:
    async with desk.visit(NOWHERE[name]) as visit:
        await expect(visit.page.locator("#main .notice")).to_contain_text("There is no such thing here")
        await expect(visit.page.locator("#main [role=alert]")).to_have_count(0)
        assert await visit.violations() == []
