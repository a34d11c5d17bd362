"""The portal: what a third party does there, what every screen of it shows, and that nothing of anybody else is there."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect
from tests.browser.browsing import Language, Theme, visiting
from tests.browser.conftest import Desk
from tests.browser.mounting import mounted
from tests.browser.station import HOSTILE, NEVER, answering, bare, furnish, furnish_hostile
from tests.browser.test_screens import SEEN_BY, TELEPHONE, fits, is_shown, try_all_again
from tests.browser.test_signing_in import kept, told
from tests.browser.test_wire import SCRIPT_BYTES_MAX, scripted
from tests.postgres import PostgresServer
from tests.serving import listed

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEARING: Final = 3  # endpoints that `furnish` gives the app, each of which hears of an event or does not
NOWHERE: Final = "There is no such thing here"
OPERATORS_WORDS: Final = re.compile(
    r"(?i)posthouse(?!/)|\b(?:operator|partition|grant|audit)s?\b|驿站|运维|分区|授权|审计"
)
"""What a third party has nothing to do with; the footer, and the `user-agent` of a request, alone say whose software it is."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(browser: Browser, postgres_server: PostgresServer) -> AsyncIterator[Desk]:
    """At the portal of an app, on a platform where other apps do much as well."""
    async with bare(postgres_server, platform_name="Fair & Co") as station:
        await furnish(station)
        yield Desk(browser, station, app="acme")


async def verified(snippet: str, secret: str, request: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    """What a receiver answers that has the secret, and the lines that it was shown."""
    monkeypatch.setitem(os.environ, "WEBHOOK_SECRET", secret)
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    program: dict[str, Any] = {}
    exec(snippet, program)  # it is ours, and this is what people do with it
    answer: int = program["receive"](body, headers)
    assert program["receive"](body + b" ", headers) == 401
    return answer


@pytest.mark.parametrize(("language", "theme"), SEEN_BY)
async def test_a_third_party_looks_after_his_own_endpoints(
    shop: Desk, language: Language, theme: Theme, monkeypatch: pytest.MonkeyPatch
) -> None:
    station, app = shop.station, f"story-{language}-{theme}"
    await station.post("/apps", {"uid": app, "name": "Night Market"})
    closed = answering(500, "the till is closed")
    till = await station.endpoint(app, f"till-{app}", closed, retry=NEVER, events=["user.registered"])
    await station.publish(1, app=app, type="user.registered")
    await station.attempted(app, till["id"])
    url = await station.target(app, answering(200, "thank you"))
    async with visiting(shop.browser, station.origin, language=language, theme=theme, home="/portal") as visit:
        page, main = visit.page, visit.page.locator("#main")
        await page.goto(await station.portal_link(app))
        await expect(page.locator(".brand")).to_have_text(re.compile(r"Fair & Co\s*Night Market"))
        await expect(main.locator("[data-row]")).to_have_count(1)

        await visit.link("Add an endpoint", "添加端点").click()
        await page.locator("input[name=url]").fill(url)
        await page.get_by_label(visit.say("Only these", "仅以下类型")).first.check()
        await page.get_by_label("order.created").check()
        await visit.button("Add an endpoint", "添加端点").click()
        secret = await page.locator(".secret-once code").first.inner_text()
        assert secret.startswith("whsec_")
        snippet = await page.locator(".code pre").first.inner_text()
        await visit.button("Send a test", "发送测试").click()
        await expect(main).to_contain_text(visit.say("delivered", "已送达"))
        await expect(main).to_contain_text("thank you")
        await visit.shot("portal-added")
        assert await visit.violations() == []
        (request,) = station.targets[app].requests
        assert await verified(snippet, secret, request, monkeypatch) == 204

        await visit.link("Attempts", "投递尝试").click()
        await expect(page.locator(".live.connected")).to_be_visible()
        (event,) = await station.publish(1, app=app)
        (attempt,) = await listed(station.port, f"/v1/events/{event}/attempts", bool, "its attempt")
        await expect(page.locator(f"[data-row={attempt['id']}]")).to_be_visible()

        await page.get_by_label(visit.say("Outcome", "结果")).select_option("gave_up")
        await expect(page.locator("[data-row]")).to_have_count(1)
        await page.locator("[data-row]").click()
        drawer = page.locator(".drawer")
        await expect(drawer).to_contain_text("the till is closed")

        await drawer.locator("a[href*='tab=secret']").press("Enter")
        rotate = ("Rotate the secret", "轮换密钥")
        await visit.button(*rotate, main).click()
        await visit.button(*rotate, page.get_by_role("dialog")).click()
        await expect(main).to_contain_text("whsec_")
        await visit.button("Replay", "重放").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.locator("button[type=submit]")).to_contain_text("1")
        await dialog.locator("button[type=submit]").click()
        await expect(page).to_have_url(re.compile(r"/portal#/replays/rpl_"))
        await expect(main).to_contain_text(visit.say("finished", "已完成"))
        await station.attempted(app, till["id"], 2)

        await visit.button("Sign out", "退出").click()
        await expect(page.locator("h1")).to_have_text(visit.say("You are signed out", "您已退出"))
        await page.reload()
        await expect(page.locator("h1")).to_have_text(re.compile(visit.say("Sign in through", "登录")))


async def places(desk: Desk) -> dict[str, str]:
    """Every screen of the portal."""
    station = desk.station
    endpoint = (await station.get("/apps/acme/endpoints/broken"))["id"]
    event = (await station.get("/apps/acme/events?limit=1&type=order.created"))["data"][0]["id"]
    attempt = (await station.attempted("acme", "broken"))[0]["id"]
    replays = (await station.get("/apps/acme/replays"))["data"]
    if not replays:
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        wanted = {"endpoint": "healthy", "since": since, "select": "all"}
        replays = [await station.post("/apps/acme/replays", wanted)]
    tabs = ("attempts", "owed", "settings", "secret", "revisions")
    return {
        "endpoints": "/",
        "add": "/add?type=order.created",
        "endpoint": f"/endpoints/{endpoint}",
        **{f"endpoint-{tab}": f"/endpoints/{endpoint}?tab={tab}" for tab in tabs},
        "events": "/events",
        "event": f"/events/{event}",
        "attempts": "/attempts",
        "attempt": f"/attempts?open={attempt}",
        "types": "/types",
        "type": "/types/order.created",
        "type-versions": "/types/order.created?tab=versions",
        "replays": "/replays",
        "new-replay": "/replays?new=true",
        "replay": f"/replays/{replays[0]['id']}",
    }


@pytest.mark.parametrize(("language", "theme"), SEEN_BY)
async def test_every_screen_shows_what_is_there_to_everybody_on_a_telephone_too(
    shop: Desk, language: Language, theme: Theme
) -> None:
    async with shop.visit(language=language, theme=theme) as visit:
        for name, place in (await places(shop)).items():
            await visit.go(place)
            await is_shown(visit)
            await expect(visit.page.locator("#main [role=alert]")).to_have_count(0)
            if name == "event":  # who hears of it, and why: of the app's endpoints alone
                await visit.button("Explain its routing", "解释路由").click()
                await expect(visit.page.locator(".heard li")).to_have_count(HEARING)
            await visit.shot(f"portal-{name}")
            assert await visit.violations() == [], name
            assert OPERATORS_WORDS.findall(await visit.page.locator("#main").text_content() or "") == [], name
            size = visit.page.viewport_size
            assert size is not None
            await visit.page.set_viewport_size(TELEPHONE)
            await fits(visit)
            await visit.shot(f"portal-small-{name}")
            await visit.page.set_viewport_size(size)


async def test_of_another_app_nothing_is_there(shop: Desk) -> None:
    station = shop.station
    endpoint = (await station.get("/apps/globex/endpoints/slow"))["id"]
    event = (await station.get("/apps/globex/events?limit=1"))["data"][0]["id"]
    attempt = (await station.attempted("globex", "slow"))[0]["id"]
    nowhere = (f"/endpoints/{endpoint}", f"/events/{event}", f"/attempts?open={attempt}", "/replays/rpl_x")
    async with shop.visit() as visit:
        await is_shown(visit)
        for place in (*nowhere, "/types/nope.nope", "/keys"):
            await visit.go(place)
            await expect(visit.page.locator("#main .notice")).to_contain_text(NOWHERE)
        await visit.go("/attempts")
        await expect(visit.page.locator("[data-row]").first).to_be_visible()
        assert "globex" not in (await visit.page.content()).lower()
        asked = {request.url.partition("?")[0].removeprefix(station.origin) for request in visit.requests}
        assert not [path for path in asked if path in ("/v1/apps", "/v1/endpoints", "/v1/audit", "/v1/keys")], asked


async def test_where_there_is_nothing_a_screen_says_what_to_do(shop: Desk) -> None:
    async with Desk(shop.browser, shop.station, app="idle").visit() as visit:
        await is_shown(visit)
        await expect(visit.page.locator("#main .empty")).to_contain_text("Tell us where to send your webhooks")
        await visit.shot("portal-empty")
        assert await visit.violations() == []
        for place in ("/events", "/attempts", "/replays"):
            await visit.go(place)
            await is_shown(visit)
            await expect(visit.page.locator("#main .empty")).to_be_visible()
            assert "ublish" not in await visit.page.locator("#main .empty").inner_text(), "what nobody can do here"
        await expect(visit.page).to_have_title("Replays · Fair & Co")
        await visit.page.route("**/v1/session", unnamed)
        await visit.page.reload()
        await expect(visit.page.locator(".brand")).to_have_text(re.compile(r"Webhooks\s*Idle"))
        await expect(visit.page).to_have_title("Replays · Webhooks")


async def unnamed(route: Route) -> None:
    """Of a platform that does not say what it is called."""
    answer = await route.fetch()
    await route.fulfill(response=answer, json=await answer.json() | {"platform": ""})


async def test_event_types_are_on_their_way_before_there_are_none(shop: Desk) -> None:
    come = asyncio.Event()

    async def late(route: Route) -> None:
        await come.wait()
        await route.continue_()

    async with shop.visit() as visit:
        await is_shown(visit)
        await visit.page.route("**/v1/event-types*", late)
        await visit.go("/add?type=order.created")
        await expect(visit.page.locator(".choosing .loading")).to_be_visible()
        await expect(visit.page.locator(".choosing .chip")).to_have_count(0)
        come.set()
        await expect(visit.page.get_by_label("order.created")).to_be_checked()


async def test_a_fault_of_the_server_is_told_and_another_try_is_offered(shop: Desk) -> None:
    problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "code": "unavailable"}

    async def refuse(route: Route) -> None:
        body = json.dumps(problem | {"detail": "the database does not answer"})
        await route.fulfill(status=503, content_type="application/problem+json", body=body)

    async with shop.visit("/types") as visit:
        await is_shown(visit)
        await visit.page.route("**/v1/**", refuse)
        await visit.go("/")
        await expect(visit.page.locator("#main [role=alert]").first).to_contain_text("the database does not answer")
        await visit.page.unroute("**/v1/**")
        await try_all_again(visit)
        await expect(visit.page.locator("[data-row]").first).to_be_visible()
        await visit.page.route("**/v1/session", refuse)
        await visit.page.reload()
        await expect(visit.page.get_by_role("alert")).to_contain_text("the database does not answer")
        await visit.page.unroute("**/v1/session")
        await visit.button("Try again", "重试").click()
        await is_shown(visit)


async def test_a_link_is_the_only_way_in_and_works_once_beside_the_console(shop: Desk) -> None:
    page_of: dict[str, Any] = {"language": "zh", "theme": "dark", "home": "/portal"}
    async with visiting(shop.browser, shop.station.origin, **page_of) as visit:
        page = visit.page
        await visit.go("/events")
        await expect(page.locator("h1")).to_have_text("请从平台的开发者页面登录")
        await expect(page.locator("input")).to_have_count(0)
        await visit.shot("portal-outside")
        assert await visit.violations() == []
        await page.goto(await shop.station.link())  # an operator, who looks at both
        await is_shown(visit)
        await page.goto("about:blank")
        link = await shop.link()
        code = link.rpartition("code=")[2]
        await page.goto(link)
        await is_shown(visit)
        assert code not in told(visit)
        assert code not in await kept(visit)
        await page.goto(f"{shop.station.origin}/#/keys")
        await is_shown(visit)
        await visit.go("/events")
        await is_shown(visit)
        await expect(page.locator("header.top")).to_contain_text("Fair & Co")
        # It ends meanwhile: what was seen is not what is not there.
        await page.context.clear_cookies()
        await page.evaluate("location.hash = '#/types'")
        await expect(page.locator("h1")).to_have_text("会话已结束")
        await page.goto(await shop.link())  # in the same tab: no page is loaded, and yet it leads in
        await is_shown(visit)
        await page.goto(link)
        await expect(page.get_by_role("alert")).to_contain_text("此链接已失效")
        assert code not in await kept(visit)
        assert await visit.violations() == []


async def test_it_takes_few_bytes_and_works_below_a_prefix(shop: Desk) -> None:
    async with shop.visit("/", fresh=True) as visit:
        assert 0 < await scripted(visit) <= SCRIPT_BYTES_MAX
    async with mounted(shop.station.port, "/hooks") as (origin, _), shop.visit("/types", origin=origin) as visit:
        await expect(visit.page.locator("[data-row]").first).to_be_visible()
        await visit.link("Endpoints", "端点").click()
        await expect(visit.page.locator("[data-row]").first).to_be_visible()
        await visit.page.reload()
        await expect(visit.page.locator("[data-row]").first).to_be_visible()
        assert visit.page.url == f"{origin}/portal#/"


async def test_no_text_becomes_markup(shop: Desk) -> None:
    station = shop.station
    await furnish_hostile(station)
    attempt = (await station.attempted("hostile", "answers"))[0]
    async with Desk(shop.browser, station, app="hostile").visit() as visit:
        for place, shown in {
            "/": HOSTILE,
            "/add": "hostile.type",
            f"/attempts?open={attempt['id']}": HOSTILE,
            f"/events/{attempt['event']}": HOSTILE,
            "/types": HOSTILE,
            "/types/hostile.type": HOSTILE,
        }.items():
            await visit.go(place)
            await is_shown(visit)
            if place == "/add":
                await visit.page.get_by_label("Only these").first.check()
            await expect(visit.page.locator("body")).to_contain_text(shown)


async def test_keys_lead_to_every_screen(shop: Desk) -> None:
    async with shop.visit() as visit:
        await is_shown(visit)
        for key, place in {"e": "/events", "a": "/attempts", "t": "/types", "r": "/replays", "n": "/"}.items():
            await visit.page.keyboard.press("g")
            await visit.page.keyboard.press(key)
            await expect(visit.page).to_have_url(re.compile(rf"/portal#{place}$"))
            await is_shown(visit)
            await expect(visit.page.locator("#menu a[aria-current=page]")).to_have_attribute("href", f"#{place}")
        assert visit.clicks == 0


async def test_settings_are_changed_and_what_is_the_operators_is_not_among_them(shop: Desk) -> None:
    station = shop.station
    await station.post("/apps", {"uid": "changing"})
    made = await station.endpoint("changing", "main", answering(200), events=["order.*"])
    async with Desk(shop.browser, station, app="changing").visit(f"/endpoints/{made['id']}?tab=settings") as visit:
        page = visit.page
        covered = page.get_by_label("order.created")
        await expect(covered).to_be_checked()
        await expect(covered).to_be_disabled()
        await page.get_by_label("user.registered").check()
        await page.locator("input[name=description]").fill("Changes")
        await page.get_by_text("How it is sent").click()
        await expect(page.locator("select[name=method]")).to_be_visible()
        await expect(page.locator("[name=proxy]")).to_have_count(0)
        await visit.button("Save", "保存").click()
        await expect(page.locator(".words")).to_contain_text("Saved")
    now = await station.get("/apps/changing/endpoints/main")
    assert (sorted(now["events"]), now["description"]) == (["order.*", "user.registered"], "Changes")
