"""What operators do with the screens, and what the platform has of it afterwards."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect
from tests.browser.conftest import Desk
from tests.browser.station import answering
from tests.browser.test_screens import is_shown
from tests.serving import ask

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_app_its_endpoint_and_how_it_is_spoken_to(desk: Desk) -> None:
    url = await desk.station.target("shop", answering(200))
    async with desk.visit("/apps") as visit:
        page, dialog = visit.page, visit.page.get_by_role("dialog")
        await page.get_by_text("New app", exact=True).click()
        await dialog.locator("[name=name]").fill("The shop")
        await dialog.locator("[name=uid]").fill("the shop")
        await dialog.locator("button[type=submit]").click()
        await expect(dialog.locator("[name=uid]")).to_have_attribute(
            "aria-invalid", "true"
        )  # what is wrong, where it is
        await dialog.locator("[name=uid]").fill("shop")
        await dialog.locator("button[type=submit]").click()
        await expect(page.locator("#main h1")).to_have_text("The shop")

        await visit.go("/endpoints?new=1&app=shop")
        await dialog.locator("[name=url]").fill("http://10.0.0.1/hook")
        await dialog.locator("button[type=submit]").click()
        await expect(dialog.locator("[name=url]")).to_have_attribute("aria-invalid", "true")
        await dialog.locator("[name=url]").fill(url)
        await dialog.locator("button[type=submit]").click()
        await expect(dialog).to_contain_text("whsec_")
        await dialog.locator("a.primary").click()

        await page.get_by_role("tab", name="Settings").or_(page.get_by_role("link", name="Settings")).click()
        pace = page.locator("details", has=page.locator("[name=concurrency]"))
        await pace.locator("summary").first.click()
        await page.locator("[name=concurrency]").fill("3")
        await visit.button("Save", "保存").click()
        await expect(page.locator(".words")).to_contain_text("Saved")
        await is_shown(visit)
    (made,) = (await desk.station.get("/apps/shop/endpoints"))["data"]
    assert (made["url"], made["concurrency"]) == (url, 3)


async def test_a_key_is_shown_once_and_can_be_revoked(desk: Desk) -> None:
    async with desk.visit("/keys?new=1", language="zh") as visit:
        dialog = visit.page.get_by_role("dialog")
        await dialog.locator("[name=name]").fill("李娜")
        await dialog.locator("button[type=submit]").click()
        await expect(dialog).to_contain_text("ph_")
        key = await dialog.locator(".once code").inner_text()
        told = await ask(desk.station.port, "GET", "/v1/keys", key=key)
        assert (told.status, told.body["code"]) == (403, "forbidden"), "unless one says more, it may only publish"
        await dialog.locator("button.primary").click()
        await expect(dialog).to_have_count(0)
        await visit.page.reload()
        await expect(visit.page.locator("#main")).to_contain_text("李娜")
        assert key not in await visit.page.content()
        await expect(visit.page.locator("tr", has_text="李娜")).to_contain_text("发布")
        await visit.page.locator("[data-row]", has_text="李娜").click()
        await visit.page.locator(".drawer button.danger").click()
        await dialog.locator("button.danger").click()
        await expect(visit.page.locator(".drawer")).to_have_count(0)
        await expect(visit.page.locator("[data-row]", has_text="李娜")).to_have_count(0)
    assert (await ask(desk.station.port, "GET", "/v1/keys", key=key)).status == 401


async def test_a_key_may_publish_in_one_app_alone(desk: Desk) -> None:
    async with desk.visit("/keys?new=1") as visit:
        dialog = visit.page.get_by_role("dialog")
        await dialog.locator("[name=name]").fill("orders of acme")
        await dialog.locator("[name=app]").fill("acme")
        await dialog.locator("button[type=submit]").click()
        await expect(dialog).to_contain_text("ph_")
        await visit.page.reload()
        await expect(visit.page.locator("tr", has_text="orders of acme")).to_contain_text("publish: Acme")
    made = (await desk.station.get("/keys"))["data"][0]
    assert (made["scope"], made["app"]) == ("publish", (await desk.station.get("/apps/acme"))["id"])


async def test_an_attempt_is_made_again_with_a_key(desk: Desk) -> None:
    attempts = await desk.station.attempted("acme", "hopeless")
    async with desk.visit(f"/attempts?open={attempts[0]['id']}") as visit:
        await expect(visit.page.locator(".drawer")).to_contain_text("404")
        await visit.page.keyboard.press("r")
        await expect(visit.page.locator(".words p")).to_be_visible()
        assert visit.clicks == 0
    await desk.station.attempted("acme", "hopeless", len(attempts) + 1)


async def test_what_is_owed_is_sent_at_once_as_the_filter_has_it(desk: Desk) -> None:
    """It says how many, how far it is, and how many it was."""
    endpoint = (await desk.station.get("/apps/globex/endpoints/paused"))["id"]
    owed = len((await desk.station.get("/apps/globex/deliveries"))["data"])
    assert owed == 4
    async with desk.visit(f"/owed?app=globex&endpoint={endpoint}") as visit:
        await visit.button("Cancel all of these…", "").click()
        dialog = visit.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("4 deliveries")
        assert await visit.violations() == []
        await visit.button("Cancel them all", "", dialog).click()
        await expect(dialog).to_contain_text("Finished: 4 done.")
        await visit.button("Close", "", dialog).click()
        await expect(visit.page.locator("#main .empty")).to_be_visible()
    assert (await desk.station.get("/apps/globex/deliveries"))["data"] == []


async def test_what_is_owed_tells_whom_on_a_narrow_screen_too(desk: Desk) -> None:
    await desk.station.post("/apps", {"uid": "narrow"})
    await desk.station.endpoint("narrow", "later", answering(200), paused=True)
    await desk.station.publish(1, app="narrow")
    async with desk.visit("/owed?app=narrow") as visit:
        link = visit.page.locator("#main td a.row-link")
        await expect(link.get_by_text("narrow")).to_be_hidden()
        wide = visit.page.viewport_size
        assert wide is not None
        await visit.page.set_viewport_size({"width": 390, "height": 844})
        await expect(link).to_contain_text("later · narrow")
        await expect(link.get_by_text("narrow")).to_be_visible()
        await visit.page.set_viewport_size(wide)


async def test_an_expression_is_tried_as_it_is_typed_and_its_address_can_be_sent(desk: Desk) -> None:
    async with desk.visit("/playground") as visit:
        expression = visit.page.locator("[name=expression]")
        await expression.fill("event.data.id > 12345678901234567")
        result = visit.page.locator("[aria-live=polite]", has=visit.page.get_by_role("heading"))
        await expect(result).to_contain_text("false")
        await expression.fill("event.data.id >")
        await expect(result.get_by_role("alert").or_(result.locator(".bad")).first).to_be_visible()
        await expression.fill("event.data.id > 1")
        await expect(result).to_contain_text("true")
        await expect(visit.page).to_have_url(re.compile(r"x=event\.data\.id"))
        await visit.page.reload()
        await expect(expression).to_have_value("event.data.id > 1")
