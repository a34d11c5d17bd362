"""The console in Debian's Chromium, on the machine of the server: its first view, and how it feels while attempts pour in.

The delay of an input is what somebody feels as a page that hangs: from the key to the first line of script that hears of it.
"""

from __future__ import annotations

import gzip
import os
import shutil
import time
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Response, sync_playwright

from bench.figures import Figure, Report
from bench.harness import Bench
from bench.scale import Scale

QUIET: Final = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
KEY_PAUSE_MS: Final = 100.0
FIRST_FIGURES: Final = "#main .figure"
LISTENING: Final = """
  window.inputDelays = [];
  window.inputShown = [];
  addEventListener("keydown", (pressed) => {
    inputDelays.push(performance.now() - pressed.timeStamp);
    requestAnimationFrame(() => setTimeout(() => inputShown.push(performance.now() - pressed.timeStamp)));
  }, true);
"""


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    program = shutil.which("chromium")
    if program is None:
        report.remark("Chromium is not installed: nothing of the console was measured.")
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(QUIET), chromium_sandbox=os.geteuid() != 0)
        try:
            cookies = _signed_in(bench, browser)
            _first_view(bench, scale, report, browser, cookies)
            _live(bench, scale, report, browser, cookies)
        finally:
            browser.close()


def _signed_in(bench: Bench, browser: Browser) -> Any:
    context = browser.new_context()
    page = context.new_page()
    page.goto(bench.api("POST", "/v1/session/links")["url"])
    page.locator("#main h1").wait_for()
    cookies = context.storage_state()
    context.close()
    return cookies


def _context(browser: Browser, cookies: Any) -> BrowserContext:
    return browser.new_context(storage_state=cookies, viewport={"width": 1280, "height": 900})


def _first_view(bench: Bench, scale: Scale, report: Report, browser: Browser, cookies: Any) -> None:
    views = [_view(bench, browser, cookies) for _ in range(scale.console_views + 1)][1:]
    report.add(
        Figure(
            "console_first_view_ms",
            tuple(ms for ms, _ in views),
            "an empty cache to the overview with its figures, on loopback",
        ),
        Figure("console_script_kib", (views[0][1] / 1024,), "all scripts of that view, compressed", 1),
    )


def _view(bench: Bench, browser: Browser, cookies: Any) -> tuple[float, int]:
    """Milliseconds until the overview has its figures, with nothing in the cache of the browser; and bytes of scripts."""
    context = _context(browser, cookies)
    page = context.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(f"http://127.0.0.1:{bench.port}/")
    page.locator(FIRST_FIGURES).first.wait_for()
    took: float = page.evaluate("performance.now()")
    scripts = sum(len(gzip.compress(one.body())) for one in answers if one.request.resource_type == "script")
    context.close()
    return took, scripts


def _live(bench: Bench, scale: Scale, report: Report, browser: Browser, cookies: Any) -> None:
    """Keys are pressed in the live list of attempts, as attempts are made at the rate of `latency`."""
    apps = bench.make_apps("watched", scale.apps)
    rate = scale.paced_rate
    events = rate * scale.console_seconds
    context = _context(browser, cookies)
    page = context.new_page()
    page.add_init_script(LISTENING)
    page.goto(f"http://127.0.0.1:{bench.port}/#/attempts")
    page.locator(".live.connected").wait_for()
    run = bench.begin(events)
    load = bench.load(run, apps, events, rate=rate)
    bench.generator.tell(load)
    page.locator("[data-row]").first.wait_for()
    over = time.monotonic() + scale.console_seconds * 0.9
    while time.monotonic() < over:
        page.keyboard.press("j")
        page.wait_for_timeout(KEY_PAUSE_MS)
    delays, shown, rows = page.evaluate("[inputDelays, inputShown, document.querySelectorAll('[data-row]').length]")
    context.close()
    published = bench.published(load)
    bench.wait_received(events)
    bench.received("the watched run")
    took = published.ended - published.started
    how = f"{len(delays)} keys in the live list of attempts, which come at {events / took:,.0f}/s"
    for share, name in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
        report.add(Figure(f"console_input_delay_{name}_ms_at_{rate}", (_at(delays, share),), how, 1))
    report.add(
        Figure(
            f"console_input_shown_p99_ms_at_{rate}", (_at(shown, 0.99),), "the same keys, until the page was drawn", 1
        ),
        Figure(f"console_rows_at_{rate}", (rows,), "rows of that list in the end"),
    )


def _at(samples: list[float], share: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
