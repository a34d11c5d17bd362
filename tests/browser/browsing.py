"""A browser that watches: what a page asks for, what it complains of, and how often somebody has to click.

Debian's Chromium, driven by playwright. Nothing it asks for may leave the origin of the console; nothing may break its content
security policy, or end up in its console as an error: `Visit.trouble` tells, and whoever ends a visit fails with it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    StorageState,
    async_playwright,
)

Language = Literal["en", "zh"]
Theme = Literal["light", "dark"]

EVERYWHERE: Final[list[tuple[Language, Theme]]] = [("en", "light"), ("en", "dark"), ("zh", "light"), ("zh", "dark")]
LOCALES: Final[dict[Language, str]] = {"en": "en-GB", "zh": "zh-CN"}
SCREENSHOTS: Final = Path(__file__).parent / "screenshots"
PATIENCE_MS: Final = 20_000
WIDTH: Final = 1280
HEIGHT: Final = 900

ELSEWHERE: Final = "console.test"
"""A name that leads the browser to this machine, and is not this machine's: over plain HTTP its pages are no secure context."""

ARGUMENTS: Final = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # No other name leads anywhere: what wants to leave fails, and is seen.
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

# In every page, before its own scripts. The policy of the page does not bind it.
WATCHING: Final = """
  addEventListener("securitypolicyviolation", (one) =>
    heard("policy", `${one.violatedDirective} forbids ${one.blockedURI} (${one.sourceFile}:${one.lineNumber})`));
  addEventListener("mousedown", (one) => one.isTrusted && heard("click", ""), true);
  addEventListener("keydown", (one) => {
    // A key that presses a button is a click; one that is part of a text is not.
    const pressed = one.key === "Enter" || (one.key === " " && one.target.matches("button, [type=checkbox], summary"));
    if (one.isTrusted && pressed) heard("click", "");
  }, true);
"""

# The browser's own words: on an answer that refuses, which a screen may well expect and tell; and on a header that is of no use
# to a page that is no secure context.
NOT_OURS: Final = re.compile(r"Failed to load resource: |The Cross-Origin-Opener-Policy header has been ignored")


def chromium_program() -> str | None:
    return shutil.which("chromium")


def needs_chromium() -> str:
    found = chromium_program()
    if found is None:
        pytest.skip("Chromium is not installed; `make test-browser` installs it where that is permitted")
    return found


@dataclass
class Visit:
    """One tab of somebody with a language and a theme."""

    page: Page
    origin: str
    language: Language
    theme: Theme
    home: str = "/"
    clicks: int = 0
    requests: list[Request] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def say(self, en: str, zh: str) -> str:
        """What the console calls it, in the language of this visit."""
        return zh if self.language == "zh" else en

    def button(self, en: str, zh: str, within: Locator | None = None, *, exact: bool = True) -> Locator:
        return (within or self.page).get_by_role("button", name=self.say(en, zh), exact=exact)

    def link(self, en: str, zh: str, within: Locator | None = None, *, exact: bool = True) -> Locator:
        return (within or self.page).get_by_role("link", name=self.say(en, zh), exact=exact)

    async def go(self, place: str) -> None:
        """To a place of the page, as by its address: "/events?type=order.created"."""
        await self.page.goto(f"{self.origin}{self.home}#{place}")

    async def choose(self, select: Locator, value: str) -> None:
        """Choose of a list: somebody opens it, and takes one."""
        await select.select_option(value)
        self.clicks += 2

    async def shot(self, name: str) -> None:
        """Keep a picture, for those who want to look."""
        SCREENSHOTS.mkdir(exist_ok=True)
        await self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.language}-{self.theme}.png")

    async def violations(self) -> list[str]:
        """What axe finds in what is shown, of what it calls serious or critical."""
        await self.page.evaluate(axe_source())
        found: dict[str, Any] = await self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{one['impact']}: {one['id']} ({one['help']}): {node['html'][:200]} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def check(self) -> None:
        if self.trouble:
            pytest.fail("\n".join(self.trouble))

    async def forget(self, state: StorageState) -> None:
        """As if it had just been opened by somebody with this state."""
        await self.page.unroute_all(behavior="ignoreErrors")
        await self.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        await self.page.goto("about:blank")
        await self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        await self.page.context.clear_cookies()
        await self.page.context.add_cookies(state["cookies"])  # type: ignore[arg-type] # what it gave, it takes
        self.clicks = 0
        self.requests.clear()
        self.trouble.clear()


def axe_source() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser for many visits."""
    program = needs_chromium()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=program, args=list(ARGUMENTS), chromium_sandbox=os.geteuid() != 0
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visiting(browser: Browser, origin: str, **who: Any) -> AsyncIterator[Visit]:
    """A tab with cookies and storage of its own; at the end nothing may have gone wrong."""
    visit = await opened(browser, origin, **who)
    try:
        yield visit
        visit.check()
    finally:
        await visit.page.context.close()


async def opened(
    browser: Browser,
    origin: str,
    *,
    language: Language = "en",
    theme: Theme = "light",
    width: int = WIDTH,
    height: int = HEIGHT,
    home: str = "/",
    **options: Any,
) -> Visit:
    context = await browser.new_context(
        locale=LOCALES[language], color_scheme=theme, viewport={"width": width, "height": height}, **options
    )
    try:
        return await watched(context, Visit(await context.new_page(), origin, language, theme, home))
    except BaseException:
        await context.close()
        raise


async def watched(context: BrowserContext, visit: Visit) -> Visit:
    context.set_default_timeout(PATIENCE_MS)
    page, origin = visit.page, visit.origin

    def heard(_: object, what: str, told: str) -> None:
        if what == "click":
            visit.clicks += 1
        else:
            visit.trouble.append(f"{what}: {told}")

    def asked(request: Request) -> None:
        visit.requests.append(request)
        if not request.url.startswith((f"{origin}/", "data:")):
            visit.trouble.append(f"leaves the origin: {request.method} {request.url}")

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not NOT_OURS.match(message.text):
            visit.trouble.append(f"{message.type}: {message.text}")

    await context.expose_binding("heard", heard)
    await context.add_init_script(WATCHING)
    context.on("request", asked)
    context.on("console", said)
    page.on("pageerror", lambda error: visit.trouble.append(f"error: {error.message}"))
    return visit
