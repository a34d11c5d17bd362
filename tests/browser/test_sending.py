"""Looking at one event and one attempt, and sending again: by a key, by the row, and all that a filter finds."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import pytest
from playwright.async_api import expect
from tests.browser.conftest import Desk
from tests.browser.station import ORDER, answering
from tests.serving import listed

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWED: Final = 30
AWKWARD: Final = {"shell": "it's '$HOME' `id` \"$(id)\" \\ ! %s @/etc/passwd", "text": "\ttab\r\n汉字 😀"}
OURS: Final = ("post ", "webhook-signature", "connection", "host", "content-length")


def told(request: bytes) -> tuple[list[str], bytes]:
    """What a copied command is to bring along: the headers but for those that curl writes itself, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.decode().split("\r\n") if not line.lower().startswith(OURS)]
    return sorted(lines), body


async def all_are_owed(desk: Desk, app: str) -> None:
    await listed(
        desk.station.port, f"/v1/apps/{app}/deliveries?limit=100", lambda rows: len(rows) == OWED, "what is owed"
    )


async def test_what_is_copied_as_curl_sends_the_same_request(desk: Desk) -> None:
    await desk.station.post("/apps", {"uid": "curl"})
    await desk.station.endpoint("curl", "copied", answering(200), headers={"X-Awkward": "it's `$(id)`"})
    await desk.station.publish(1, app="curl", type="user.registered", data=AWKWARD)
    (attempt,) = await desk.station.attempted("curl", "copied")
    async with desk.visit(f"/attempts?open={attempt['id']}") as visit:
        await visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await visit.button("Copy as curl", "复制为 curl").click()
        await expect(visit.page.locator(".words")).to_contain_text("Copied")
        command = await visit.page.evaluate("navigator.clipboard.readText()")
    shell = await asyncio.create_subprocess_exec("sh", "-c", f"{command} --silent --fail")
    assert await shell.wait() == 0
    first, again = (request for peer in desk.station.targets["copied"].peers for request in peer.requests)
    assert told(again) == told(first)


async def test_an_attempt_tells_what_was_signed_and_what_comes_next(desk: Desk) -> None:
    attempt = (await desk.station.attempted("acme", "broken", outcome="failed"))[0]
    async with desk.visit(f"/attempts?open={attempt['id']}") as visit:
        drawer = visit.page.locator(".drawer")
        await expect(drawer).to_contain_text("The target answered with a status other than 2xx.")
        await expect(drawer).to_contain_text("Attempt 2 ")
        await expect(drawer).to_contain_text("the till is closed")
        await expect(drawer.locator(".signed .code")).to_contain_text(f"{attempt['event']}.")
        await expect(drawer.locator(".phases")).to_be_visible()
        secret = drawer.locator(f"a[href$='?tab=secret&resend={attempt['event']}']")
        await expect(secret).to_be_visible()


async def test_keys_go_to_the_next_attempt_and_send_it_again(desk: Desk) -> None:
    async with desk.visit("/attempts?outcome=delivered") as visit:
        rows = visit.page.locator("[data-row]")
        await rows.first.click()
        await expect(visit.page).to_have_url(re.compile(r"/#/attempts\?outcome=delivered&open=att_"))
        opened = visit.page.url
        await expect(visit.page.locator(".drawer .phases")).to_be_visible()
        # It need not be the first any more: another attempt may have come in above it.
        names = [await row.get_attribute("data-row") for row in await rows.all()]
        below = names[names.index(opened.rpartition("=")[2]) + 1]
        await visit.page.keyboard.press("j")
        await expect(visit.page).to_have_url(f"{visit.origin}/#/attempts?outcome=delivered&open={below}")
        await visit.page.keyboard.press("k")
        await expect(visit.page).to_have_url(opened)
        await expect(visit.page.locator(".drawer .phases")).to_be_visible()
        await visit.page.keyboard.press("r")
        await expect(visit.page.locator(".words")).to_contain_text("It will be sent again")


async def test_an_event_for_many_apps_tells_whose_endpoint_is_whose(desk: Desk) -> None:
    """Apps call their endpoints alike."""
    for uid in ("north", "south"):
        await desk.station.post("/apps", {"uid": uid})
        await desk.station.post(f"/apps/{uid}/grants", {"types": ["*"], "subjects": ["shop:77"]})
        await desk.station.endpoint(uid, "main", answering(200))
    event = (await desk.station.post("/events", {"type": "order.created", "subject": "shop:77", "data": ORDER}))["id"]
    for uid in ("north", "south"):
        await desk.station.attempted(uid, "main")
    async with desk.visit(f"/events/{event}") as visit:
        for uid in ("north", "south"):
            await expect(visit.page.locator(".timeline")).to_contain_text(f"main · {uid}")
            ways = visit.page.get_by_role("region", name="Endpoints")
            await expect(ways.get_by_role("link", name=re.compile(rf"main\s*{uid}"))).to_be_visible()


async def test_an_app_without_a_uid_is_chosen_by_nobody_but_who_chooses_it(desk: Desk) -> None:
    app = (await desk.station.post("/apps", {}))["id"]
    async with desk.visit("/attempts") as visit:
        apps = visit.page.get_by_role("combobox", name="App")
        await expect(apps).to_have_value("")
        await apps.select_option(label=app)
        await expect(visit.page).to_have_url(f"{visit.origin}/#/attempts?app={app}")


async def test_an_event_tells_where_it_went_why_and_what_followed(desk: Desk) -> None:
    await desk.station.post("/apps", {"uid": "chain"})
    rule = {"when": "response.status == 200", "then": "emit", "type": "user.registered", "data": '{"n": 1}'}
    await desk.station.endpoint("chain", "asks", answering(200), events=["order.*"], on_response=[rule])
    await desk.station.endpoint("chain", "deaf", answering(200), events=["user.*"])
    (event,) = await desk.station.publish(1, app="chain")
    await desk.station.attempted("chain", "deaf")
    async with desk.visit(f"/events/{event}") as visit:
        timeline = visit.page.locator(".timeline")
        await expect(timeline).to_contain_text("asks")
        await expect(timeline).to_contain_text("delivered")
        await visit.button("Explain its routing", "解释路由").click()
        await expect(visit.page.locator(".heard")).to_contain_text("it listens to user.*")
        await timeline.get_by_role("link", name="user.registered").click()
        await expect(visit.page.locator("h1")).to_have_text("user.registered")
        await expect(visit.page.locator(f".timeline a[href$='{event}']")).to_be_visible()


async def test_all_that_a_filter_finds_is_sent_now_and_cancelled(desk: Desk) -> None:
    await desk.station.post("/apps", {"uid": "bulk"})
    await desk.station.endpoint("bulk", "closed", answering(200), paused=True)
    await desk.station.publish(OWED, app="bulk")
    await all_are_owed(desk, "bulk")
    async with desk.visit("/owed?app=bulk&reason=paused") as visit:
        await expect(visit.page.locator("[data-row]")).to_have_count(OWED)
        dialog = visit.page.get_by_role("dialog")
        await visit.button("Cancel all of these…", "全部取消…").click()
        await expect(dialog).to_contain_text(f"{OWED} deliveries are owed for it now.")
        await visit.button("Cancel them all", "全部取消").click()
        await expect(dialog).to_contain_text(f"Finished: {OWED} done.")
        await visit.button("Close", "关闭", dialog).click()
        await expect(visit.page.locator("[data-row]")).to_have_count(0)
        await expect(visit.page.locator(".empty")).to_contain_text("Nothing is owed for these filters.")
    found = await desk.station.get("/apps/bulk/attempts?limit=100")
    assert [one["reason"] for one in found["data"]] == ["cancelled"] * OWED


async def test_a_bulk_action_can_be_stopped(desk: Desk) -> None:
    await desk.station.post("/apps", {"uid": "stopped"})
    await desk.station.endpoint("stopped", "shut", answering(200), paused=True)
    await desk.station.publish(OWED, app="stopped")
    await all_are_owed(desk, "stopped")
    async with desk.visit("/owed?app=stopped") as visit:
        await expect(visit.page.locator("[data-row]")).to_have_count(OWED)
        goes_on = asyncio.Event()

        async def wait(route: object) -> None:
            await goes_on.wait()
            await route.continue_()  # type: ignore[attr-defined]

        await visit.page.route("**/deliveries/resend", wait)
        dialog = visit.page.get_by_role("dialog")
        await visit.button("Send all of these now…", "全部立即发送…").click()
        await visit.button("Start", "开始", dialog).click()
        await expect(dialog.locator("progress")).to_be_visible()
        await visit.button("Stop", "停止", dialog).click()
        goes_on.set()
        await expect(dialog).to_contain_text("Stopped: 0 done.")
