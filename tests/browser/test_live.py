"""What comes live, how much of it a page takes, and payloads that are as large as they may be."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.async_api import expect
from tests.browser.conftest import Desk
from tests.browser.mounting import mounted
from tests.browser.station import answering
from tests.serving import listed

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS_MAX: Final = 500
LINES_MAX: Final = 501  # of the JSON that is shown at first, and one more of a rest


async def test_what_happens_is_seen_as_it_happens(desk: Desk) -> None:
    async with desk.visit("/attempts") as visit:
        await expect(visit.page.locator(".live.connected")).to_be_visible()
        (event,) = await desk.station.publish(1, type="user.registered", data={"name": "Live"})
        (attempt, *_) = await listed(desk.station.port, f"/v1/events/{event}/attempts", bool, "its attempts")
        await expect(visit.page.locator(f"[data-row={attempt['id']}]")).to_be_visible()
        await visit.button("Pause", "暂停").click()
        await expect(visit.page.locator(".live.paused")).to_be_visible()
        count = await visit.page.locator("[data-row]").count()
        await desk.station.publish(1, type="user.registered", data={"name": "Not seen"})
        await expect(visit.page.locator("[data-row]")).to_have_count(count)
        await visit.button("Resume", "继续").click()
        await expect(visit.page.locator(".live.connected")).to_be_visible()


async def test_a_stream_that_breaks_is_told_and_taken_up_again(desk: Desk) -> None:
    async with mounted(desk.station.port, "/below") as (origin, proxy), desk.visit("/attempts", origin=origin) as visit:
        await expect(visit.page.locator(".live.connected")).to_be_visible()
        for peer in proxy.peers:
            peer.close()
        await expect(visit.page.locator(".live.reconnecting")).to_be_visible()
        (event,) = await desk.station.publish(1, app="globex")
        await expect(visit.page.locator(".live.connected")).to_be_visible()
        (attempt,) = await listed(desk.station.port, f"/v1/events/{event}/attempts", bool, "its attempt")
        await expect(visit.page.locator(f"[data-row={attempt['id']}]")).to_be_visible()


async def test_a_flood_is_sampled_and_says_so(desk: Desk) -> None:
    await desk.station.post("/apps", {"uid": "flood", "name": "Flood"})
    await desk.station.endpoint("flood", "fast", answering(200), concurrency=200)
    async with desk.visit("/attempts?app=flood") as visit:
        await expect(visit.page.locator(".live.connected")).to_be_visible()
        await desk.station.publish(6000, app="flood")
        await expect(visit.page.locator("#main")).to_contain_text("Showing 1 of")
        assert 0 < await visit.page.locator("[data-row]").count() <= ROWS_MAX
        await visit.page.keyboard.press("g")
        await visit.page.keyboard.press("s")
        await expect(visit.page).to_have_url(f"{visit.origin}/#/system")


async def test_a_large_payload_is_shown_piece_by_piece_and_exactly(desk: Desk) -> None:
    words = [{"n": 12345678901234567890123, "text": "word " * 20} for _ in range(6_500)]
    large = {"total": 1.50, "words": words}
    (event,) = [(await desk.station.post("/apps/acme/events", {"type": "user.registered", "data": large}))["id"]]
    async with desk.visit(f"/events/{event}") as visit:
        lines = visit.page.locator("#main .code .line")
        await expect(visit.page.locator("#main .code").filter(has_text="12345678901234567890123").first).to_be_visible()
        assert await lines.count() <= 4 * LINES_MAX
        await visit.page.keyboard.press("Shift+?")
        await expect(visit.page.get_by_role("dialog")).to_be_visible()
        await visit.page.keyboard.press("Escape")
        await visit.button("Show more", "显示更多", visit.page.locator("#main .code").first, exact=False).click()
        await expect(lines.nth(2_000)).to_be_attached()
