"""Whether an app's events cost more where others have a hundred thousand endpoints.

On an empty platform, events at an even pace for one app of three endpoints: what they cost the server's process. Then a
thousand apps with a hundred endpoints each are configured, and each of those apps gets an event, so that all of them are in
memory; then the same events again.
"""

from __future__ import annotations

import asyncio
from typing import Final

from bench import bulk
from bench.bulk import NewEndpoint
from bench.figures import Figure, Report
from bench.harness import EVENT_TYPE, Bench, Run, busy
from bench.programs.generator import Route
from bench.scale import Scale

FEW: Final = 3
OTHER_TYPE: Final = "bench.other"
TOUCH_RATE: Final = 250


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    bench.renew()
    bench.api("POST", "/v1/event-types", {"name": OTHER_TYPE})
    app = bench.make_app("few", FEW)
    alone_rss = bench.rss_mb()
    alone = _runs(bench, scale, app)
    others = [f"many-{number}" for number in range(scale.many_apps)]
    asyncio.run(_fill(bench, scale, others))
    before_rss = bench.rss_mb()
    touch = [Route(other, EVENT_TYPE) for other in others]
    bench.measure("an event for each app", (), len(touch), routes=touch, rate=TOUCH_RATE)
    rss = bench.rss_mb()
    beside = _runs(bench, scale, app)
    many = f"{scale.many_apps * scale.many_endpoints:,} endpoints of {scale.many_apps:,} other apps"

    pairs = list(zip(beside, alone, strict=True))
    report.add(
        Figure(
            "many_endpoints_cost_ratio",
            tuple(after.cpu_us / before.cpu_us for after, before in pairs),
            f"CPU of the server's process for an event to {FEW} endpoints, at {scale.many_rate}/s, beside {many}, over the "
            "same with no others",
            2,
        ),
        Figure(
            "many_endpoints_all_cost_ratio",
            tuple((after.cpu_us + after.postgres_us) / (before.cpu_us + before.postgres_us) for after, before in pairs),
            "the same with PostgreSQL's CPU in it",
            2,
        ),
        Figure("many_endpoints_cpu_us", tuple(run.cpu_us * FEW for run in beside), "the server's CPU, beside them", 0),
        Figure(
            "many_endpoints_rss_mb",
            (rss,),
            f"the server's process, when each of those apps had had an event; before that {before_rss:.0f}, and with no "
            f"others {alone_rss:.0f}",
            0,
        ),
    )
    for sentence in busy("many endpoints", [*alone, *beside]):
        report.remark(sentence)


def _runs(bench: Bench, scale: Scale, app: str) -> list[Run]:
    """After one that does not count, which also brings the process to the memory that it needs by itself."""
    events = scale.many_rate * scale.many_seconds

    def run() -> Run:
        return bench.measure("one app of few endpoints", [app], events, fanout=FEW, rate=scale.many_rate)

    return [run() for _ in range(scale.runs + 1)][1:]


async def _fill(bench: Bench, scale: Scale, apps: list[str]) -> None:
    """Of each app's endpoints one takes the events that are published here."""
    async with bulk.writing(bench.data) as platform:
        await platform.apps(apps)
        await platform.endpoints(
            [
                NewEndpoint(app, f"http://127.0.0.1:{bench.target_port}/", (OTHER_TYPE if number else EVENT_TYPE,))
                for app in apps
                for number in range(scale.many_endpoints)
            ]
        )
        await platform.tidy()
