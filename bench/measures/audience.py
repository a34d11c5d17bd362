"""Events addressed by subject: what five apps cost beside a million grants, and what an event for everybody does to others."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Final

from bench import bulk
from bench.bulk import NewEndpoint
from bench.figures import Figure, Report, percentile
from bench.harness import EVENT_TYPE, Bench, Run, Worker
from bench.programs import target
from bench.programs.generator import EVENT
from bench.scale import Scale
from bench.server import Broken
from posthouse.adapters.postgres.database import Database

SUBJECT: Final = "shop:audience"
NEWS: Final = "bench.news"
AUDIENCE: Final = 5
GRANTS_A_STATEMENT: Final = 10_000
BEFORE_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 60


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    apps = bench.make_apps("audience", AUDIENCE)
    for app in apps:
        bench.api("POST", f"/v1/apps/{app}/grants", {"types": [EVENT_TYPE], "subjects": [SUBJECT]})

    def five() -> Run:
        return bench.measure("an audience of five", (), scale.audience_events, fanout=AUDIENCE, subject=SUBJECT)

    five()
    empty = [five() for _ in range(scale.runs)]
    crowd = Worker(target.run)
    try:
        port: int = crowd.told()
        asyncio.run(_fill(bench, scale, port))
        five()
        full = [five() for _ in range(scale.runs)]
        report.add(
            Figure(
                "audience5_cost_ratio",
                tuple(_cost(after) / _cost(before) for after, before in zip(full, empty, strict=True)),
                f"CPU of server and PostgreSQL an event for {AUDIENCE} apps, beside {scale.crowd_grants:,} grants of "
                f"{scale.crowd_apps:,} apps, over the same on a platform with no others",
                2,
            ),
            Figure("audience5_cpu_us", tuple(map(_cost, full)), "that CPU, beside all those grants", 0),
        )
        _everybody(bench, scale, report, crowd)
    finally:
        crowd.stop(("stop",))


def _cost(run: Run) -> float:
    """Microseconds an event."""
    return (run.cpu_us + run.postgres_us) * AUDIENCE


def _everybody(bench: Bench, scale: Scale, report: Report, crowd: Worker) -> None:
    """One event for every app, while others publish to apps of their own."""
    others = bench.make_apps("others", 4)
    events = scale.crowd_rate * scale.crowd_seconds
    alone: list[Run] = []
    beside: list[Run] = []
    accepted: list[float] = []
    delivered: list[float] = []
    bench.api("POST", "/v1/event-types", {"name": NEWS})
    for number in range(scale.runs + 1):
        alone.append(bench.measure("alone", others, events, rate=scale.crowd_rate))
        told: list[tuple[float, float]] = []
        thread = threading.Thread(target=lambda n=number, t=told: t.append(_announce(bench, scale, crowd, n)))
        thread.start()
        beside.append(bench.measure("beside an event for everybody", others, events, rate=scale.crowd_rate))
        thread.join()
        if not told:
            raise Broken(f"an event for {scale.crowd_apps} apps did not reach them all; see above")
        accepted.append(told[0][0])
        delivered.append(told[0][1])
    report.add(
        Figure(
            "crowd_accepted_ms",
            tuple(seconds * 1000 for seconds in accepted[1:]),
            f"until the 202 for an event for {scale.crowd_apps:,} apps; the very first: {accepted[0] * 1000:.0f} ms",
            0,
        ),
        Figure(
            "crowd_delivered_seconds",
            tuple(delivered[1:]),
            f"until the last of them had it; the very first, with nothing in memory: {delivered[0]:.1f} s",
            2,
        ),
        Figure(
            "crowd_others_p99_ms",
            tuple(percentile(run.received.latencies_us, 0.99) for run in beside[1:]),
            f"p99 of other apps' events ({scale.crowd_rate}/s for {scale.crowd_seconds} s) around it",
            1,
        ),
        Figure(
            "crowd_others_alone_p99_ms",
            tuple(percentile(run.received.latencies_us, 0.99) for run in alone[1:]),
            "the same without it",
            1,
        ),
    )


def _announce(bench: Bench, scale: Scale, crowd: Worker, number: int) -> tuple[float, float]:
    """Publish one event for everybody: seconds until it was accepted, and until everybody had it."""
    crowd.ask(("reset", number, 1, 0.0))
    time.sleep(BEFORE_SECONDS)
    body = (EVENT % (number, 0, time.time_ns())).replace(EVENT_TYPE.encode(), NEWS.encode())
    began = time.monotonic()
    apps = json.loads(bench.server.send("POST", "/v1/events", body))["apps"]
    accepted = time.monotonic() - began
    if apps != scale.crowd_apps:
        raise Broken(f"the event was for {apps} apps, not for {scale.crowd_apps}")
    while (count := crowd.ask(("count",))) < apps:
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise Broken(f"only {count} of {apps} apps had the event after {PATIENCE_SECONDS} s")
        time.sleep(0.01)
    return accepted, time.monotonic() - began


async def _fill(bench: Bench, scale: Scale, port: int) -> None:
    """Apps with an endpoint each, and grants."""
    uids = [f"crowd-{number}" for number in range(scale.crowd_apps)]
    async with bulk.writing(bench.data) as platform:
        database = platform.database
        apps = await platform.apps(uids)
        await platform.endpoints(
            [NewEndpoint(uid, f"http://127.0.0.1:{port}/{number}") for number, uid in enumerate(uids)]
        )
        await _grant(database, apps, bulk.new_ids(len(apps)), "'bench.news'", "'*'", 0)
        # Of many shops, by type and by prefix: an app is granted a few of them, and a shop grants a few apps.
        done = 0
        while done < scale.crowd_grants:
            count = min(GRANTS_A_STATEMENT, scale.crowd_grants - done, len(apps))
            types = "(ARRAY['*', 'bench.*', 'order.created'])[1 + n % 3]"
            await _grant(database, apps[:count], bulk.new_ids(count), types, "'shop:' || ($3 + n) / 5", done)
            done += count
        await platform.tidy("app_grant", "grant_entry")


async def _grant(
    database: Database, apps: list[bytes], ids: list[bytes], event_type: str, subject: str, done: int
) -> None:
    """Grants of one type and one subject each, given as expressions over `n` and `$3`, how many there are already."""
    await database.execute(
        "WITH made AS (INSERT INTO app_grant (id, app_id, types, subjects)"
        f" SELECT g, a, ARRAY[{event_type}], ARRAY[{subject}]"
        " FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY u (g, a, n) WHERE $3::bigint >= 0"
        " RETURNING id, app_id, types, subjects)"
        " INSERT INTO grant_entry (subject, type, app_id, grant_id, partition)"
        " SELECT m.subjects[1], m.types[1], m.app_id, m.id, a.partition FROM made m JOIN app a ON a.id = m.app_id",
        ids,
        apps,
        done,
    )
