"""Getting in: by the link that works once, or with a key; neither stays anywhere."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect
from tests.browser.browsing import EVERYWHERE, Language, Theme, Visit, visiting
from tests.browser.conftest import Desk
from tests.serving import KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def kept(visit: Visit) -> str:
    """All that a page could find again: its address, its history, its storage, its cookies."""
    page = visit.page
    found: str = await page.evaluate(
        "JSON.stringify([location.href, history.state, {...localStorage}, {...sessionStorage}, document.cookie, "
        "document.referrer])"
    )
    return found


def told(visit: Visit) -> str:
    """The addresses that a server, and its log, got to see."""
    return "\n".join(f"{one.url} {one.headers.get('referer', '')}" for one in visit.requests)


@pytest.mark.parametrize(("language", "theme"), EVERYWHERE)
async def test_a_link_signs_in_once_and_leaves_no_trace(desk: Desk, language: Language, theme: Theme) -> None:
    link = await desk.station.link()
    code = link.rpartition("code=")[2]
    assert len(code) > 20
    async with visiting(desk.browser, desk.station.origin, language=language, theme=theme) as visit:
        await visit.page.goto(f"{desk.station.origin}/healthz")
        await visit.page.goto(link)
        await expect(visit.page.locator("#main h1")).to_be_visible()
        assert visit.clicks == 0
        assert code not in told(visit)
        assert code not in await kept(visit)
        await visit.page.go_back()
        await expect(visit.page).to_have_url(f"{desk.station.origin}/healthz")  # not by way of the code
        await visit.page.go_forward()
        await expect(visit.page.locator("#main h1")).to_be_visible()
        assert "/in" not in visit.page.url
    async with visiting(desk.browser, desk.station.origin, language=language, theme=theme) as visit:
        await visit.page.goto(link)
        await expect(visit.page.get_by_role("alert")).to_be_visible()
        await expect(visit.page.locator("[name=key]")).to_be_visible()
        assert code not in await kept(visit)


async def test_a_link_leads_in_where_the_console_is_open_already(desk: Desk) -> None:
    async with visiting(desk.browser, desk.station.origin) as visit:
        await visit.go("/events")
        await expect(visit.page.locator("[name=key]")).to_be_visible()
        for _ in range(2):  # the second time somebody is signed in already
            link = await desk.station.link()
            await visit.page.goto(link)  # no page is loaded: the address alone is another one
            await expect(visit.page.locator("#main h1")).to_have_text("Overview")
            assert link.rpartition("code=")[2] not in await kept(visit)
        await visit.page.goto(link)
        await expect(visit.page.get_by_role("alert")).to_be_visible()  # it is spent


async def test_a_key_signs_in_and_is_kept_nowhere(desk: Desk) -> None:
    async with visiting(desk.browser, desk.station.origin) as visit:
        await visit.go("/events?type=order.created")
        key = visit.page.locator("[name=key]")
        await expect(key).to_be_focused()
        await key.fill("ph_wrong")
        await key.press("Enter")
        await expect(visit.page.get_by_role("alert")).to_be_visible()
        await key.fill(KEY)
        await key.press("Enter")
        await expect(visit.page.locator("#main h1")).to_be_visible()
        assert visit.page.url.endswith("#/events?type=order.created"), "where somebody wanted to go"
        assert KEY not in told(visit)
        assert KEY not in await kept(visit)
        assert await visit.page.evaluate("document.cookie") == "", "no script can read the session"
        await visit.page.reload()
        await expect(visit.page.locator("#main h1")).to_be_visible()


async def test_signing_out_ends_the_session_for_good(desk: Desk) -> None:
    async with visiting(desk.browser, desk.station.origin) as visit:
        await visit.page.goto(await desk.station.link())
        await expect(visit.page.locator("#main h1")).to_be_visible()
        cookies = await visit.page.context.cookies()
        await visit.button("Sign out", "退出").click()
        await expect(visit.page.locator("[name=key]")).to_be_visible()
        for one in cookies:
            await visit.page.context.add_cookies([{"name": one["name"], "value": one["value"], "url": visit.origin}])
        await visit.page.reload()
        await expect(visit.page.locator("[name=key]")).to_be_visible()


async def test_a_session_that_ends_meanwhile_asks_again_and_goes_on_where_it_was(desk: Desk) -> None:
    async with desk.visit("/events?type=order.created", fresh=True) as visit:
        rows = visit.page.locator("[data-row]")
        await expect(rows.first).to_be_visible()
        row = await rows.first.get_attribute("href")
        await visit.page.context.clear_cookies()
        # Not by a click: the page may have asked for a key already, as it looked for what is new.
        await visit.page.evaluate("row => { location.hash = row; }", row)
        key = visit.page.locator("[name=key]")
        await expect(key).to_be_visible()
        place = visit.page.url
        await key.fill(KEY)
        await key.press("Enter")
        await expect(visit.page.locator("#main h1")).to_have_text("order.created")
        assert visit.page.url == place


async def test_the_language_and_the_theme_are_kept(browser: Browser, desk: Desk) -> None:
    async with desk.visit("/events", fresh=True) as visit:
        await expect(visit.page.locator("html")).to_have_attribute("lang", "en")
        await visit.page.get_by_role("button", name="中文").click()
        await expect(visit.page.locator("html")).to_have_attribute("lang", "zh-CN")
        await visit.page.locator("header.top select").select_option("dark")
        await visit.page.reload()
        await expect(visit.page.locator("#main h1")).to_have_text("事件")
        await expect(visit.page.locator("html")).to_have_attribute("data-theme", "dark")
