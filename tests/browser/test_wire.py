"""What goes over the wire: how much, where to, and from where: below a prefix, and from a page that is no secure context."""

from __future__ import annotations

import gzip
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect
from tests.browser.browsing import ELSEWHERE, Visit, visiting
from tests.browser.conftest import Desk
from tests.browser.mounting import mounted

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPT_BYTES_MAX = 70 * 1024


async def scripted(visit: Visit) -> int:
    """How many bytes of scripts, compressed, it took to show what is shown."""
    await expect(visit.page.locator("#main h1")).to_be_visible()
    await expect(visit.page.locator("#main .loading")).to_have_count(0)
    sizes = {}
    for request in visit.requests:
        answer = await request.response()
        assert answer is not None
        assert answer.status < 400, request.url
        if request.resource_type == "script":
            sizes[urlsplit(request.url).path] = len(gzip.compress(await answer.body()))
    print(f"\n{sum(sizes.values()) / 1024:.1f} KiB of scripts, compressed: {sizes}")
    return sum(sizes.values())


async def test_the_first_view_takes_few_bytes_and_asks_nobody_else(desk: Desk) -> None:
    async with desk.visit("/", fresh=True) as visit:
        assert 0 < await scripted(visit) <= SCRIPT_BYTES_MAX


async def test_what_never_changes_is_kept_and_what_may_change_is_asked_for(desk: Desk) -> None:
    async with desk.visit("/", fresh=True) as visit:
        await expect(visit.page.locator("#main h1")).to_be_visible()
        for request in visit.requests:
            answer = await request.response()
            assert answer is not None
            kept = (await answer.all_headers()).get("cache-control", "")
            path = urlsplit(request.url).path
            if path.startswith("/assets/"):
                assert "immutable" in kept, path
            else:
                assert "max-age" not in kept or "max-age=0" in kept, path


async def test_it_works_below_a_prefix(desk: Desk) -> None:
    async with mounted(desk.station.port, "/hooks/console") as (origin, _):
        code = (await desk.station.link()).rpartition("#")[2]
        async with visiting(desk.browser, origin) as visit:
            await visit.page.goto(f"{origin}/#{code}")
            await expect(visit.page.locator("#main h1")).to_be_visible()
            await visit.link("Events", "事件").click()
            await expect(visit.page.locator("[data-row]").first).to_be_visible()
            await visit.link("Attempts", "投递尝试").click()
            await expect(visit.page.locator("[data-row]").first).to_be_visible()
            await visit.page.reload()
            await expect(visit.page.locator("[data-row]").first).to_be_visible()
            assert visit.page.url == f"{origin}/#/attempts"


async def test_the_clipboard_works_on_plain_http(desk: Desk) -> None:
    origin = f"http://{ELSEWHERE}:{desk.station.port}"
    event = (await desk.station.get("/apps/acme/events?limit=1"))["data"][0]["id"]
    async with visiting(desk.browser, origin) as visit:
        await visit.page.goto(f"{origin}/#{(await desk.station.link()).rpartition('#')[2]}")
        await expect(visit.page.locator("#main h1")).to_be_visible()
        assert await visit.page.evaluate("isSecureContext") is False
        await visit.go(f"/events/{event}")
        await visit.button("Copy", "复制", exact=False).first.click()
        await expect(visit.page.locator(".words")).to_contain_text("Copied")
        # Whatever was copied can be pasted: into the field that searches.
        await visit.go("/events")
        search = visit.page.locator("[data-search]")
        await search.click()
        await search.press("Control+v")
        await expect(visit.page).to_have_url(f"{origin}/#/events/{event}")  # an id leads to what it is of
