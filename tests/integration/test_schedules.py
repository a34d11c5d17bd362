"""Schedules fired by whole servers: one event an occurrence, whoever is there and whoever dies."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from tests.commands import environment
from tests.serving import KEY, PATIENCE_SECONDS, ask, call, serving

MASTER_KEY = base64.b64encode(b"m" * 32).decode()


async def until(fact: Callable[[], Awaitable[Any]], what: str) -> Any:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := await fact()):  # noqa: ASYNC110 - the facts are other processes'
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


async def firings(port: int) -> Counter[str]:
    """How many events there are for each time."""
    rows = (await call(port, "GET", "/v1/events?type=tick&limit=250"))["data"]
    found = [(await call(port, "GET", f"/v1/events/{row['id']}"))["attributes"] for row in rows]
    return Counter(attributes["scheduledtime"] for attributes in found)


async def progress(port: int, uid: str = "ticks") -> Any:
    return await call(port, "GET", f"/v1/schedules/{uid}")


async def test_two_servers_fire_each_occurrence_once(database: str) -> None:
    async with serving(database, master_key=MASTER_KEY) as one, serving(database, master_key=MASTER_KEY) as two:
        await call(one.port, "POST", "/v1/event-types", {"name": "tick"})
        await call(one.port, "POST", "/v1/schedules", {"type": "tick", "every": 1, "uid": "ticks"})

        async def fired_thrice() -> bool:
            return bool((await progress(two.port))["fired"] >= 3)

        await until(fired_thrice, "three occurrences")
        await call(two.port, "POST", "/v1/schedules/ticks/pause")
        found = await firings(one.port)
        assert set(found.values()) == {1}
        assert len(found) >= 3
        last = (await progress(one.port))["last_firing"]
        assert last["scheduled_at"].replace(".000", "") == max(found)
        metrics = (await ask(one.port, "GET", "/metrics")).body + (await ask(two.port, "GET", "/metrics")).body
        counted = [
            line for line in metrics.decode().splitlines() if line.startswith("posthouse_schedule_late_seconds_count")
        ]
        assert sum(float(line.split()[-1]) for line in counted) == len(found)


@pytest.mark.parametrize("point", ["before_append", "after_append"])
async def test_the_one_who_fires_is_killed(database: str, point: str) -> None:
    async with serving(database, master_key=MASTER_KEY, role="api") as api:
        await call(api.port, "POST", "/v1/event-types", {"name": "tick"})
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.chaos.server",
            env=environment(
                CHAOS_POINT=f"{point}:0",
                CHAOS_SCHEDULE_LEASE="1",
                POSTHOUSE_DATABASE_URL=database,
                POSTHOUSE_MASTER_KEY=MASTER_KEY,
                POSTHOUSE_ADMIN_KEY=KEY,
                POSTHOUSE_PORT="0",
                PYTHONPATH=os.getcwd(),
            ),
        )
        try:
            await call(
                api.port, "POST", "/v1/schedules", {"type": "tick", "every": 1, "uid": "ticks", "catch_up": "all"}
            )
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await process.wait() == -signal.SIGKILL
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        taken = await progress(api.port)
        before = await firings(api.port)
        assert (taken["fired"], len(before)) == (0, 1 if point == "after_append" else 0)
        async with serving(database, master_key=MASTER_KEY) as other:

            async def caught_up() -> bool:
                return bool((await progress(other.port))["fired"] >= 2)

            await until(caught_up, "its occurrence, and the next one")
            await call(other.port, "POST", "/v1/schedules/ticks/pause")
            found = await firings(other.port)
            assert set(found.values()) == {1}
            assert min(found) == taken["next_at"].replace(".000", "")
            assert before.keys() <= found.keys()
            times = sorted(datetime.fromisoformat(at).timestamp() for at in found)
            assert times == [times[0] + second for second in range(len(times))]  # nothing was left out


@pytest.mark.parametrize(("catch_up", "missed"), [("none", 0), ("last", 1), ("all", 3)])
async def test_after_downtime(database: str, catch_up: str, missed: int) -> None:
    async with serving(database, master_key=MASTER_KEY, role="api") as api:
        await call(api.port, "POST", "/v1/event-types", {"name": "tick"})
        starts = datetime.fromtimestamp(int(time.time()) + 1800, UTC).isoformat()
        fields = {"type": "tick", "every": 3600, "uid": "ticks", "catch_up": catch_up, "starts_at": starts}
        await call(api.port, "POST", "/v1/schedules", fields)
    # As if nothing had run for three hours.
    connection = await asyncpg.connect(database)
    await connection.execute(
        "UPDATE schedule SET "
        "config = jsonb_set(config, '{timing,starts_at}', to_jsonb((progress->>'due_at')::bigint - 10800)), "
        "progress = jsonb_set(progress, '{due_at}', to_jsonb((progress->>'due_at')::bigint - 10800)), "
        "wake_at = wake_at - interval '3 hours'"
    )
    await connection.close()
    async with serving(database, master_key=MASTER_KEY) as server:

        async def caught_up() -> bool:
            return bool((await progress(server.port))["next_at"] == starts.replace("+00:00", ".000Z"))

        await until(caught_up, "the next occurrence to be one that comes")
        known = await progress(server.port)
        assert known["fired"] == missed == sum((await firings(server.port)).values())
        assert (known["last_skip"] is None) == (catch_up == "all")


async def test_one_that_is_refused_says_why_and_holds_up_no_other(database: str) -> None:
    async with serving(database, master_key=MASTER_KEY) as server:
        port = server.port
        for name in ("tick", "other"):
            await call(port, "POST", "/v1/event-types", {"name": name})
        for uid, name in (("ticks", "tick"), ("broken", "other")):
            await call(port, "POST", "/v1/schedules", {"type": name, "every": 1, "uid": uid})
        await call(port, "DELETE", "/v1/event-types/other")

        async def refused() -> bool:
            return bool((await progress(port, "broken"))["state"] == "failing")

        await until(refused, "the refusal")
        known = await progress(port, "broken")
        assert known["refusal"]["code"] == "event_type_archived"
        chinese = {"Accept-Language": "zh-CN"}
        read = await ask(port, "GET", "/v1/schedules/broken", headers=chinese)
        assert re.search(r"[\u4e00-\u9fff]", read.body["refusal"]["detail"]), read.body
        assert (read.headers["content-language"], known["refusal"]["detail"].isascii()) == ("zh-CN", True)

        async def told() -> Any:
            return (await call(port, "GET", "/v1/apps/operations/events?type=schedule.failing"))["data"]

        news = await call(port, "GET", f"/v1/events/{(await until(told, 'word of it'))[0]['id']}")
        assert (news["data"]["schedule"], news["data"]["app"]) == ("broken", None)
        assert news["data"]["code"] == "event_type_archived"
        fired = (await progress(port))["fired"]

        async def goes_on() -> bool:
            return bool((await progress(port))["fired"] > fired)

        await until(goes_on, "the other one")
        assert (await ask(port, "GET", "/readyz")).status == 200
        await call(port, "PATCH", "/v1/event-types/other", {"archived": False})
        await call(port, "PATCH", "/v1/schedules/broken", {"name": "mended"})

        async def mended() -> bool:
            return bool((await progress(port, "broken"))["state"] == "active")

        await until(mended, "its recovery")
        assert (await progress(port, "broken"))["refusal"] is None
        assert len(await told()) == 1, "how often it is tried again, it began to fail once"
