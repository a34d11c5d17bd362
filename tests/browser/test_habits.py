"""What holds everywhere: keys, addresses that lead back to the same view, and rows that are links."""

from __future__ import annotations

import re
from typing import Final

import pytest
from playwright.async_api import expect
from tests.browser.conftest import Desk
from tests.browser.test_screens import LISTS, is_shown

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOES: Final = {"o": "/", "e": "/events", "a": "/attempts", "w": "/owed", "r": "/replays", "n": "/endpoints",
    "p": "/apps", "t": "/types", "i": "/triggers", "l": "/playground", "k": "/keys", "u": "/audit", "s": "/system"}  # fmt: skip

FILTERED: Final = {
    "events": "/events?type=order.created&range=6h",
    "attempts": "/attempts?outcome=delivered&type=user.registered&range=6h",
    "owed": "/owed?app=acme",
    "endpoints": "/endpoints?app=acme",
    "apps": "/apps?q=Acme",
    "types": "/types?q=order",
    "audit": "/audit?range=7d",
}
"""Views that somebody would send to a colleague."""


async def test_keys_lead_to_every_screen(desk: Desk) -> None:
    assert set(GOES.values()) == set(LISTS.values())
    async with desk.visit("/system") as visit:
        await is_shown(visit)
        for key, place in GOES.items():
            await visit.page.keyboard.press("g")
            await visit.page.keyboard.press(key)
            await expect(visit.page).to_have_url(re.compile(rf"#{place}(\?.*)?$"))
            await is_shown(visit)
            await expect(visit.page.locator("#menu a[aria-current=page]")).to_have_attribute("href", f"#{place}")
        assert visit.clicks == 0


async def test_keys_walk_a_list_and_open_a_row(desk: Desk) -> None:
    async with desk.visit("/events") as visit:
        rows = visit.page.locator("[data-row]")
        await expect(rows.nth(2)).to_be_visible()
        press = visit.page.keyboard.press
        await press("j")
        await expect(rows.nth(0)).to_be_focused()
        await press("j")
        await press("j")
        await press("k")
        await expect(rows.nth(1)).to_be_focused()
        event = await rows.nth(1).get_attribute("data-row")
        assert event is not None
        await press("Enter")
        await expect(visit.page).to_have_url(re.compile(event))
        await expect(visit.page.locator("#main")).to_contain_text(event)
        await visit.page.go_back()
        await expect(rows.nth(1)).to_be_visible()


async def test_keys_search_help_and_close(desk: Desk) -> None:
    async with desk.visit("/events", language="zh") as visit:
        await is_shown(visit)
        press = visit.page.keyboard.press
        await press("/")
        search = visit.page.locator("[data-search]")
        await expect(search).to_be_focused()
        await visit.page.keyboard.type("g e?")  # a text while it is typed, and no key
        await expect(search).to_have_value("g e?")
        await press("Escape")
        await expect(search).not_to_be_focused()
        await press("Shift+?")
        help_ = visit.page.get_by_role("dialog")
        await expect(help_).to_contain_text("下一行")
        assert await visit.violations() == []
        await press("Escape")
        await expect(help_).to_have_count(0)


async def test_a_drawer_takes_the_keyboard_and_gives_it_back(desk: Desk) -> None:
    async with desk.visit("/attempts") as visit:
        rows = visit.page.locator("[data-row]")
        await expect(rows.first).to_be_visible()
        await visit.page.keyboard.press("j")
        opened = await visit.page.locator("[data-row]:focus").get_attribute("data-row")
        await visit.page.keyboard.press("Enter")
        drawer = visit.page.locator(".drawer")
        await expect(drawer).to_be_visible()
        assert f"open={opened}" in visit.page.url
        await expect(drawer).to_be_focused()
        await visit.page.keyboard.press("Escape")
        await expect(drawer).to_have_count(0)
        assert "open=" not in visit.page.url
        # It need not be the first any more: another attempt may have come in above it.
        await expect(visit.page.locator(f'[data-row="{opened}"]')).to_be_focused()


@pytest.mark.parametrize("name", FILTERED)
async def test_a_view_survives_a_reload_and_the_way_back(desk: Desk, name: str) -> None:
    async with desk.visit(FILTERED[name]) as visit:
        await is_shown(visit)
        address = visit.page.url
        rows = visit.page.locator("[data-row]")
        await expect(rows.first).to_be_visible()
        shown = [await one.get_attribute("data-row") for one in await rows.all()]
        await visit.page.reload()
        await is_shown(visit)
        assert visit.page.url == address
        await expect(rows).to_have_count(len(shown))
        await rows.first.click()
        await expect(visit.page).not_to_have_url(address)
        opened = visit.page.url
        await visit.page.reload()
        await expect(visit.page.locator("#main h1")).to_be_visible()
        assert visit.page.url == opened
        await visit.page.go_back()
        await expect(visit.page).to_have_url(address)
        await expect(rows).to_have_count(len(shown))
        assert [await one.get_attribute("data-row") for one in await rows.all()] == shown


async def test_every_row_is_a_link(desk: Desk) -> None:
    for place in ("/events", "/attempts", "/owed", "/endpoints", "/apps", "/types", "/triggers"):
        async with desk.visit(place) as visit:
            rows = visit.page.locator("[data-row]")
            await expect(rows.first).to_be_visible()
            leads = [await one.get_attribute("href") for one in await rows.all()]
            assert all(one is not None and one.startswith("#/") for one in leads), place
            body = visit.page.locator("tbody tr")
            assert await body.count() == len(leads), place


async def test_whoever_changes_the_language_reads_what_the_server_describes_in_it(desk: Desk) -> None:
    async with desk.visit("/triggers?new=1") as visit:
        form = visit.page.locator("aside form")
        await expect(form).to_contain_text("Which changes become events.")
        await form.locator("[name=uid]").fill("kept")
        await visit.page.get_by_role("button", name="中文").press("Enter")
        await expect(form).to_contain_text("哪些变更成为事件。")
        await expect(form).not_to_contain_text("Which changes become events.")
        await expect(form.locator("[name=uid]")).to_have_value("kept")
        await visit.shot("trigger-form-table")
        for kind, told in (
            ("changes", "您自己的复制槽，插件为 pgoutput"),
            ("inbound", "发送方怎样签名和书写"),
        ):
            await visit.choose(form.locator("select[name=kind]"), kind)
            await expect(form).to_contain_text(told)
            await visit.shot(f"trigger-form-{kind}")
        await visit.go("/playground?tab=profiles&open=stripe")
        await expect(visit.page.locator("aside")).to_contain_text("端点的签名密钥（whsec_…），按字面使用")
        await visit.shot("profile-chosen")
        await visit.go("/playground?tab=profiles")
        await expect(visit.page.locator("#main")).to_contain_text("表单，对 URL 和按名称排序的字段签名。")
        await visit.shot("profiles-all")
        await visit.go("/playground?tab=expressions")
        await visit.page.locator("textarea").first.fill("event.data.nothing > 1")
        result = visit.page.locator("[aria-live]").first
        await expect(result).to_contain_text("字段")
        await visit.page.get_by_role("button", name="English").press("Enter")
        await expect(result).to_contain_text("field")
