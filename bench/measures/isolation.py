"""What ill targets and a loud tenant do to the latency of everybody else, at a scale at which they would matter.

On an empty platform, apps of ten endpoints each; every event reaches one endpoint, by its type. In a control run all are well
and get the same. In the run after it (other apps, of the same shape) one endpoint in twenty hangs for half a minute, another
one in twenty answers 500, one in a hundred drips a byte a second, and one app, a hanging and a dripping endpoint among its
ten, publishes half of all events. The p99 of the healthy endpoints over the control run's is the figure, pair by pair,
each pair on a platform of its own: an endpoint that failed in one run would still be tried again in the next. Last, what
goes to the hanging ones is as large as an event may be, and the memory of the server's process is what is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from bench import bulk
from bench.bulk import NewEndpoint
from bench.figures import Figure, Report, percentile
from bench.harness import Bench, Run, Worker, busy
from bench.programs import ailing
from bench.programs.ailing import DRIP, FAIL, HANG
from bench.programs.generator import Route
from bench.scale import Scale
from posthouse.domain.limits import PAYLOAD_BYTES_MAX

CONNECTIONS: Final = 128
PER_APP: Final = 10
TYPES: Final = tuple(f"bench.line{number}" for number in range(PER_APP))
LOUD: Final = 4  # the app that publishes half of everything
LARGE_PACE: Final = 1 / 3  # of the rate, for large events: else it would be how fast those are stored that is measured
PACE_KEPT: Final = 0.95
VERBS: Final = {HANG: "hang", FAIL: "fail", DRIP: "drip"}


class Pair(NamedTuple):
    """A control run, and one beside ill targets, on the same platform."""

    control: Run
    beset: Run


def behaviour(endpoint: int) -> str | None:
    """What is wrong with an endpoint, counted over all apps; None: nothing."""
    if endpoint % 100 == 41:
        return DRIP
    return {7: HANG, 13: FAIL}.get(endpoint % 20)


def routes(prefix: str, apps: int) -> list[Route]:
    """All endpoints in turn, all of them well."""
    return [Route(f"{prefix}-{app}", event_type) for app in range(apps) for event_type in TYPES]


def beset_routes(prefix: str, apps: int, *, large: bool = False) -> list[Route]:
    """Every second event is the loud app's; those between them go to the others' endpoints in turn."""

    def route(endpoint: int) -> Route:
        ill = behaviour(endpoint)
        body_bytes = PAYLOAD_BYTES_MAX if large and ill == HANG else 0
        return Route(f"{prefix}-{endpoint // PER_APP}", TYPES[endpoint % PER_APP], ill is None, body_bytes)

    loud = range(LOUD * PER_APP, (LOUD + 1) * PER_APP)
    others = [endpoint for endpoint in range(apps * PER_APP) if endpoint not in loud]
    turns = []
    for turn, endpoint in enumerate(others):
        turns += [route(loud[turn % PER_APP]), route(endpoint)]
    return turns


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    ill = Worker(ailing.run)
    try:
        port: int = ill.told()
        pairs = [_pair(bench, scale, port) for _ in range(scale.runs)]
        rss = bench.server.peak_rss_mb()
        large = _beset(bench, scale, "with large events for the hanging", scale.isolation_large_seconds, large=True)
        large_rss = bench.server.peak_rss_mb()
        requests, open_max = ill.ask(("seen",))
    finally:
        ill.stop(("stop",))
    _tell(scale, report, pairs)
    report.add(
        Figure("isolation_rss_mb", (rss,), "the most that the server's process had held by then, one platform", 0),
        Figure(
            "isolation_large_rss_mb",
            (large_rss,),
            f"the most after {scale.isolation_large_seconds} s more at a third of the pace, with events of "
            f"{PAYLOAD_BYTES_MAX:,} bytes for the hanging",
            0,
        ),
        Figure("isolation_large_p99_ms", (_p99(large),), "healthy p99 of those", 2),
        Figure("isolation_ill_open", (float(open_max),), "requests at the ill targets at one time, at most", 0),
    )
    seen = ", ".join(f"{requests.get(name, 0):,} that {verb}" for name, verb in VERBS.items())
    report.remark(f"All in all the ill targets were asked {seen}.")
    for sentence in busy("isolation", [run for pair in pairs for run in pair]):
        report.remark(sentence)
    _say_pace(report, "the last run", large, scale.isolation_large_seconds)
    for number, pair in enumerate(pairs, 1):
        _say_pace(report, f"control run {number}", pair.control, scale.isolation_control_seconds)
        _say_pace(report, f"run {number} beside ill targets", pair.beset, scale.isolation_seconds)


def _tell(scale: Scale, report: Report, pairs: list[Pair]) -> None:
    how = (
        f"{scale.isolation_apps * PER_APP:,} endpoints of {scale.isolation_apps} apps at {scale.isolation_rate:,} events/s, "
        "5 % hang, 5 % fail, 1 % drip, one app publishes half"
    )
    report.add(
        Figure(
            "isolation_healthy_p99_ratio",
            tuple(_p99(pair.beset) / _p99(pair.control) for pair in pairs),
            f"{how}: healthy p99 over the control run's, pair by pair",
            2,
        ),
        Figure("isolation_control_p99_ms", tuple(_p99(pair.control) for pair in pairs), "the control runs", 2),
        Figure("isolation_healthy_p99_ms", tuple(_p99(pair.beset) for pair in pairs), "the runs beside them", 2),
        Figure(
            "isolation_healthy_max_ms",
            tuple(pair.beset.received.latencies_us[-1] / 1000 for pair in pairs),
            "slowest healthy delivery of those runs",
            1,
        ),
        Figure(
            "isolation_server_load",
            tuple(pair.beset.shares["server"] for pair in pairs),
            "share of one core of the server's process in those runs",
            2,
        ),
    )


def _p99(run: Run) -> float:
    return percentile(run.received.latencies_us, 0.99)


def _say_pace(report: Report, what: str, run: Run, seconds: int) -> None:
    if seconds < PACE_KEPT * run.published_seconds:
        report.remark(f"In {what} the pace was not kept: {seconds} s of events took {run.published_seconds:.1f} s.")


def _pair(bench: Bench, scale: Scale, ill_port: int) -> Pair:
    bench.renew()
    for event_type in TYPES:
        bench.api("POST", "/v1/event-types", {"name": event_type})
    asyncio.run(_fill(bench, scale, ill_port))
    well = routes("well", scale.isolation_apps)
    cold = list(dict.fromkeys(route for route in beset_routes("beset", scale.isolation_apps) if route.counted))
    # The first event of each app loads its configuration, and that of each endpoint opens a connection.
    for turns in (well, cold):
        bench.measure("warming up", (), len(turns), routes=turns, rate=scale.isolation_rate, connections=CONNECTIONS)
    control = bench.measure(
        "control",
        (),
        scale.isolation_rate * scale.isolation_control_seconds,
        routes=well,
        rate=scale.isolation_rate,
        connections=CONNECTIONS,
    )
    return Pair(control, _beset(bench, scale, "beside ill targets", scale.isolation_seconds))


def _beset(bench: Bench, scale: Scale, what: str, seconds: int, *, large: bool = False) -> Run:
    rate = int(scale.isolation_rate * (LARGE_PACE if large else 1))
    return bench.measure(
        what,
        (),
        rate * seconds,
        routes=beset_routes("beset", scale.isolation_apps, large=large),
        rate=rate,
        connections=CONNECTIONS,
    )


async def _fill(bench: Bench, scale: Scale, ill_port: int) -> None:
    apps = scale.isolation_apps
    async with bulk.writing(bench.data) as platform:
        await platform.apps([f"{prefix}-{app}" for prefix in ("well", "beset") for app in range(apps)])
        await platform.endpoints([*_endpoints(bench, "well", apps), *_endpoints(bench, "beset", apps, ill_port)])
        await platform.tidy()


def _endpoints(bench: Bench, prefix: str, apps: int, ill_port: int | None = None) -> Iterator[NewEndpoint]:
    for endpoint in range(apps * PER_APP):
        ill = None if ill_port is None else behaviour(endpoint)
        url = f"http://127.0.0.1:{bench.target_port}/" if ill is None else f"http://127.0.0.1:{ill_port}/{ill}"
        yield NewEndpoint(f"{prefix}-{endpoint // PER_APP}", url, (TYPES[endpoint % PER_APP],))
