"""Events addressed by subject: what five apps cost beside a million grants, and what an event for everybody does to others."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
import urllib.request
from typing import Final

from bench.figures import Figure, Report, percentile
from bench.harness import EVENT_TYPE, KEY, Bench, Broken, Run, Worker
from bench.programs import target
from bench.programs.generator import EVENT
from bench.scale import Scale
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.examine import embedded_dsn
from posthouse.adapters.system.keyring import Sealer, load_keyring
from posthouse.domain.ids import uuid7

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
    request = urllib.request.Request(
        f"http://127.0.0.1:{bench.port}/v1/events",
        data=body,
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=30) as answer:
        apps = json.load(answer)["apps"]
    accepted = time.monotonic() - began
    if apps != scale.crowd_apps:
        raise Broken(f"the event was for {apps} apps, not for {scale.crowd_apps}")
    while (count := crowd.ask(("count",))) < apps:
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise Broken(f"only {count} of {apps} apps had the event after {PATIENCE_SECONDS} s")
        time.sleep(0.01)
    return accepted, time.monotonic() - began


async def _fill(bench: Bench, scale: Scale, port: int) -> None:
    """Apps with an endpoint each, and grants. Beside the API, for which it would be minutes."""
    dsn = embedded_dsn(bench.folder / "data")
    if not isinstance(dsn, str):
        raise Broken(f"the database of the server cannot be reached: {dsn}")
    sealer = Sealer(load_keyring(data_dir=bench.folder / "data", create=False))
    now = int(time.time() * 1000)

    def new_ids(count: int) -> list[bytes]:
        return [uuid7(now, secrets.randbits(74)) for _ in range(count)]

    apps, endpoints = new_ids(scale.crowd_apps), new_ids(scale.crowd_apps)
    sealed = [sealer.seal(secrets.token_bytes(32), endpoint, "v1", 1) for endpoint in endpoints]
    database = Database(dsn, size=1, statement_seconds=300)
    await database.open()
    try:
        await database.execute(
            "INSERT INTO app (id, partition, config_version) SELECT i, n % (SELECT partitions FROM installation), 1"
            " FROM unnest($1::uuid[]) WITH ORDINALITY u (i, n)",
            apps,
        )
        await database.execute(
            "WITH made AS (INSERT INTO endpoint (id, app_id, config) SELECT e, a, jsonb_build_object('url', $3::text || n)"
            " FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY u (e, a, n) RETURNING id, config)"
            " INSERT INTO endpoint_revision (endpoint_id, revision, config) SELECT id, 1, config FROM made",
            endpoints,
            apps,
            f"http://127.0.0.1:{port}/",
        )
        await database.execute(
            "INSERT INTO secret (owner_id, kind, version, ciphertext)"
            " SELECT e, 'v1', 1, s FROM unnest($1::uuid[], $2::bytea[]) u (e, s)",
            endpoints,
            sealed,
        )
        await _grant(database, apps, new_ids(len(apps)), "'bench.news'", "'*'", 0)
        # Of many shops, by type and by prefix: an app is granted a few of them, and a shop grants a few apps.
        done = 0
        while done < scale.crowd_grants:
            count = min(GRANTS_A_STATEMENT, scale.crowd_grants - done, len(apps))
            types = "(ARRAY['*', 'bench.*', 'order.created'])[1 + n % 3]"
            await _grant(database, apps[:count], new_ids(count), types, "'shop:' || ($3 + n) / 5", done)
            done += count
        # Else it would do this by itself while we measure, and count as work of the events.
        for table in ("app", "endpoint", "endpoint_revision", "secret", "app_grant", "grant_entry"):
            await database.execute(f"VACUUM ANALYZE {table}")
    finally:
        await database.close()


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
