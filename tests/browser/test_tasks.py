"""What operators come for, with the clicks that it takes them, in both languages and both themes.

Typing a text is no click; a button that is pressed with a key is one, and a choice out of a list is two.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from tests.browser.browsing import EVERYWHERE, Language, Theme, Visit, visiting
from tests.browser.conftest import Desk
from tests.browser.station import NEVER, OFTEN, ORDER, ORDER_SCHEMA, answering, bare
from tests.commands import Running, running
from tests.postgres import PostgresServer, open_folder
from tests.serving import listed
from tests.targets import Peer

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAILED: Final = 10_000
TILLS: Final = [f"till-{language}-{theme}" for language, theme in EVERYWHERE]
everywhere = pytest.mark.parametrize(("language", "theme"), EVERYWHERE)


class Shop:
    """A target that is sold out, and says so after a while."""

    seconds = 0.0

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(self.seconds)
            await peer.send(b"HTTP/1.1 500 Told\r\nContent-Length: 8\r\n\r\nsold out")


SHOP: Final = Shop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def failing(browser: Browser, postgres_server: PostgresServer) -> AsyncIterator[Desk]:
    """At a station with a target that has failed ten thousand times, whose circuit nothing opens."""
    async with bare(postgres_server, circuit_requests_min=1_000_000) as station:
        await station.post("/event-types", {"name": "order.created", "schema": ORDER_SCHEMA, "examples": [ORDER]})
        await station.post("/apps", {"uid": "acme", "name": "Acme"})
        for uid in TILLS:
            closed = answering(500, "the till is closed")
            await station.endpoint("acme", uid, closed, retry=OFTEN, events=["user.registered"])
        await station.post("/event-types", {"name": "user.registered"})
        await station.publish(1, type="user.registered")
        for uid in TILLS:
            await station.attempted("acme", uid)
        await station.post("/apps", {"uid": "globex", "name": "Globex"})
        await station.endpoint("globex", "shop", SHOP, retry=NEVER, concurrency=64)
        await station.publish(FAILED, app="globex")
        connection = await asyncpg.connect(station.dsn)
        try:
            # A page that still moves may take what is to be clicked away from under the pointer.
            while await connection.fetchval("SELECT count(*) FROM attempt WHERE outcome = 'gave_up'") < FAILED:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        finally:
            await connection.close()
        yield Desk(browser, station)


async def sees_the_first_event(visit: Visit) -> None:
    """(1) From the link to an event that is delivered as somebody looks on."""
    await expect(visit.page.locator("input[name=url]")).not_to_have_value("")
    await visit.button("Send a first event", "发送第一个事件").click()
    await expect(visit.page).to_have_url(re.compile(r"#/events/evt_"))
    await expect(visit.page.locator("#main")).to_contain_text(visit.say("delivered", "已送达"))
    await expect(visit.page.locator("#main a[href*='open=att_']").first).to_be_visible()
    await visit.shot("task-first-event")
    assert visit.clicks <= 3


@everywhere
async def test_from_the_first_start_to_a_first_event_delivered(
    browser: Browser, postgres_server: PostgresServer, language: Language, theme: Theme
) -> None:
    async with (
        bare(postgres_server, allow_loopback_targets=True) as station,
        visiting(browser, station.origin, language=language, theme=theme) as visit,
    ):
        await visit.page.goto(await station.link())
        await sees_the_first_event(visit)


@contextmanager
def first_start() -> Iterator[Running]:
    """A server that somebody starts for the first time."""
    with open_folder() as folder, running("serve", "--port", "0", "--data-dir", f"{folder}/data", "--dev") as server:
        yield server


async def test_the_link_that_a_first_start_prints_is_enough_and_its_log_keeps_no_secret(browser: Browser) -> None:
    with first_start() as server:
        link = server.until(r"(http://\S+/)(#/in\?code=(\S+))\n")
        async with visiting(browser, link[1].rstrip("/")) as visit:
            await visit.page.goto(link[1] + link[2])
            await sees_the_first_event(visit)
            (cookie,) = await visit.page.context.cookies()
            assert all(link[3] not in request.url for request in visit.requests)
        server.process.terminate()
        told = server.rest()
    assert told.count(link[3]) == 1, "where it was printed"
    assert cookie.get("httpOnly")
    assert cookie.get("value", "") not in told


@everywhere
async def test_from_the_overview_to_what_a_target_answered(failing: Desk, language: Language, theme: Theme) -> None:
    """(2)"""
    async with failing.visit("/", language=language, theme=theme) as visit:
        await expect(visit.page.locator("#main a[href*='/endpoints/']").first).to_be_visible()
        await visit.page.locator("#main a[href*='open=att_']").first.click()
        drawer = visit.page.locator(".drawer")
        await expect(drawer).to_contain_text(re.compile("sold out|the till is closed"))
        await visit.shot("task-answer")
        assert visit.clicks <= 3


@everywhere
async def test_from_a_failed_attempt_to_another_secret_and_another_try(
    failing: Desk, language: Language, theme: Theme
) -> None:
    """(3)"""
    till = f"till-{language}-{theme}"
    (attempt,) = await failing.station.attempted("acme", till)
    before = (await failing.station.get(f"/apps/acme/endpoints/{till}/secret"))["secret"]
    async with failing.visit(f"/attempts?open={attempt['id']}", language=language, theme=theme) as visit:
        drawer = visit.page.locator(".drawer")
        await expect(drawer).to_contain_text("the till is closed")  # all is there, and nothing moves any more
        # By keyboard: what is told below may still grow, and move it from under a pointer.
        await drawer.locator("a[href*='tab=secret']").press("Enter")
        await visit.button("Rotate the secret", "轮换密钥", visit.page.locator("#main")).click()
        await visit.button("Rotate the secret", "轮换密钥", visit.page.get_by_role("dialog")).click()
        await expect(visit.page.locator("#main")).to_contain_text("whsec_")
        await visit.button("Send the failed attempt again", "重新发送失败的那次").click()
        (made, _) = await failing.station.attempted("acme", till, 2)
        await expect(visit.page.locator(f"#main a[href*='{made['id']}']")).to_be_visible()
        await visit.shot("task-secret")
        assert visit.clicks <= 4
    assert (await failing.station.get(f"/apps/acme/endpoints/{till}/secret"))["secret"] != before


@everywhere
async def test_from_the_overview_to_ten_thousand_that_are_sent_again(
    failing: Desk, language: Language, theme: Theme
) -> None:
    """(4) The first goes to its end; the others take their time, and are cancelled."""
    to_the_end = (language, theme) == EVERYWHERE[0]
    SHOP.seconds = 0.0 if to_the_end else 0.2
    async with failing.visit("/", language=language, theme=theme) as visit:
        await visit.page.locator(f"#main a[href$='/endpoints/{await shop(failing)}']").first.click()
        await visit.button("Replay", "重放").click()
        dialog = visit.page.get_by_role("dialog")
        await expect(dialog.get_by_role("status")).to_contain_text("10,000")
        await dialog.locator("button[type=submit]").click()
        await expect(visit.page).to_have_url(re.compile(r"#/replays/app_"))
        await expect(visit.page.get_by_role("progressbar")).to_be_visible()
        assert visit.clicks <= 5
        main = visit.page.locator("#main")
        sent = re.compile(visit.say(r"[1-9][\d,]* of (about )?[\d,]+ sent", r"已发送 [1-9]"))
        await expect(main).to_contain_text(sent)
        await visit.shot("task-replay")
        if not to_the_end:
            await visit.button("Cancel the replay", "取消重放", main).click()
            await visit.button("Cancel it", "取消重放", dialog).click()
        # Ten thousand take some twenty seconds where nothing else is at work.
        await expect(main).to_contain_text(
            visit.say("finished", "已完成") if to_the_end else visit.say("cancelled", "已取消"), timeout=120_000
        )
    path = "/v1/apps/globex/deliveries"
    await listed(failing.station.port, path, lambda owed: not owed, "nothing to be owed any more")


async def shop(desk: Desk) -> str:
    found: str = (await desk.station.get("/apps/globex/endpoints/shop"))["id"]
    return found


@everywhere
async def test_from_the_overview_to_an_event_out_of_a_form(failing: Desk, language: Language, theme: Theme) -> None:
    """(5)"""
    async with failing.visit("/", language=language, theme=theme) as visit:
        await visit.link("Event types", "事件类型").click()
        await visit.page.locator("[data-row='order.created']").click()
        total = visit.page.locator("[name$=total]")
        await expect(total).to_have_value(str(ORDER["total"]))
        await total.fill("12345678901234567890")
        await visit.button("Publish", "发布", visit.page.locator("#publish")).click()
        await expect(visit.page).to_have_url(re.compile(r"#/events/evt_"))
        await expect(visit.page.locator("#main")).to_contain_text("12345678901234567890")
        await visit.shot("task-publish")
        assert visit.clicks <= 4
