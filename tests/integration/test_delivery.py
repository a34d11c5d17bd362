"""Deliveries through a whole server: retried, spilled, paused, given up, sent again, and never lost."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from tests.serving import PATIENCE_SECONDS, ask, call, listed, serving
from tests.targets import OK, Peer, RawTarget, target

from posthouse import bootstrap
from posthouse_sdk import Webhook

APP = "/v1/apps/acme"
QUICK = {"schedule": [0.2, 0.2, 0.2], "jitter": 0}
MASTER_KEY = "00" * 32
ID = re.compile(rb"webhook-id: (\S+)")


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        await prepare(running.port)
        yield running


async def prepare(port: int) -> None:
    await call(port, "POST", "/v1/event-types", {"name": "order.created"})
    await call(port, "POST", "/v1/apps", {"uid": "acme"})


async def add(port: int, served: RawTarget, **more: Any) -> Any:
    return await call(
        port, "POST", f"{APP}/endpoints", {"url": f"http://127.0.0.1:{served.port}/", "retry": QUICK} | more
    )


async def publish(port: int, **more: Any) -> str:
    return str((await call(port, "POST", f"{APP}/events", {"type": "order.created", "data": 1} | more))["id"])


async def attempts(port: int, count: int) -> list[Any]:
    """At least so many attempts, oldest first."""
    found = await listed(port, f"{APP}/attempts?limit=250", lambda some: len(some) >= count, f"{count} attempts")
    return found[::-1]


async def until(fact: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await fact():  # noqa: ASYNC110 - the facts are in the database and at the target
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


@asynccontextmanager
async def looking(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database)
    try:
        yield connection
    finally:
        await connection.close()


def received(served: RawTarget) -> Counter[bytes]:
    return Counter(found[1] for request in served.requests if (found := ID.search(request)))


def answers(*statuses: int) -> Callable[[Peer], Awaitable[None]]:
    """A target that gives these answers over all its connections, the last one for ever."""
    left = list(statuses)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            status = left.pop(0) if len(left) > 1 else left[0]
            await peer.send(f"HTTP/1.1 {status} So\r\nContent-Length: 2\r\n\r\nok".encode())

    return script


async def test_a_failure_is_tried_again_until_it_is_confirmed(server: bootstrap.Posthouse) -> None:
    async with target(answers(503, 500, 204)) as served:
        await add(server.port, served)
        event = await publish(server.port)
        found = await attempts(server.port, 3)
        assert [(a["attempt"], a["status"], a["outcome"]) for a in found] == [
            (1, 503, "failed"),
            (2, 500, "failed"),
            (3, 204, "delivered"),
        ]
        assert received(served) == {event.encode(): 3}, "every attempt is under one webhook-id"
        assert (await call(server.port, "GET", f"{APP}/deliveries"))["data"] == []


async def test_exhausted_stays_visible_and_can_be_sent_again(server: bootstrap.Posthouse) -> None:
    async with target(answers(500, 500, 200)) as served:
        made = await add(server.port, served, retry={"schedule": [0.1], "jitter": 0})
        event = await publish(server.port)
        assert [a["outcome"] for a in await attempts(server.port, 2)] == ["failed", "gave_up"]
        assert (await call(server.port, "GET", f"{APP}/deliveries"))["data"] == []
        again = await ask(server.port, "POST", f"{APP}/deliveries/resend", {"event": event, "endpoint": made["id"]})
        assert again.status == 202
        last = (await attempts(server.port, 3))[-1]
        assert (last["outcome"], last["class"]) == ("delivered", "replay")
        assert b"webhook-replay: true" in served.requests[-1]


async def test_gone_disables_the_endpoint_and_it_can_be_enabled_again(server: bootstrap.Posthouse) -> None:
    async with target(answers(410, 200)) as served:
        made = await add(server.port, served)
        path = f"{APP}/endpoints/{made['id']}"
        await publish(server.port)
        assert [(a["outcome"], a["reason"]) for a in await attempts(server.port, 1)] == [("gave_up", "gone")]

        async def disabled() -> bool:
            return not (await call(server.port, "GET", path))["enabled"]

        await until(disabled, "the endpoint to be disabled")
        assert (await call(server.port, "GET", path))["disabled_reason"] == "gone"
        await publish(server.port)
        await call(server.port, "PATCH", path, {"enabled": True})
        last = await publish(server.port)
        found = await attempts(server.port, 2)
        assert [a["event"] for a in found[1:]] == [last], "what was published meanwhile was not for it"


async def test_a_flood_over_a_slow_target_spills_and_all_of_it_arrives(server: bootstrap.Posthouse) -> None:
    async def slow(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(0.005)
            await peer.send(OK)

    async with target(slow) as served:
        await add(server.port, served, concurrency=2)
        batch = [{"type": "order.created", "data": n} for n in range(600)]
        ids = {e["id"] for e in (await call(server.port, "POST", f"{APP}/events/batch", batch))["data"]}

        async def all_there() -> bool:
            return len(received(served)) >= 600

        await until(all_there, "600 deliveries")
        assert received(served) == dict.fromkeys((i.encode() for i in ids), 1), "each once: nothing died here"


async def test_the_cursor_passes_a_request_that_hangs(server: bootstrap.Posthouse, database: str) -> None:
    release = asyncio.Event()

    async def waits(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(OK)

    async with target(waits) as served, looking(database) as store:
        await add(server.port, served, timeouts={"first_byte": 20, "total": 30})
        await publish(server.port)

        async def passed() -> bool:
            rows = await store.fetch("SELECT reason FROM delivery")
            behind = await store.fetchval(
                "SELECT count(*) FROM partition JOIN log_head h ON h.partition = id WHERE cursor < seq"
            )
            return [r["reason"] for r in rows] == ["in_flight"] and behind == 0

        await until(passed, "the row that says it is in flight, and the cursor behind it")
        release.set()
        assert [a["outcome"] for a in await attempts(server.port, 1)] == ["delivered"]
        assert await store.fetchval("SELECT count(*) FROM delivery") == 0
        assert len(served.requests) == 1


async def test_a_paused_endpoint_is_owed_its_events(server: bootstrap.Posthouse) -> None:
    async with target(answers(200)) as served:
        made = await add(server.port, served)
        await call(server.port, "POST", f"{APP}/endpoints/{made['id']}/pause")
        ids = [await publish(server.port) for _ in range(3)]
        owed = await listed(server.port, f"{APP}/deliveries", lambda some: len(some) == 3, "three owed deliveries")
        assert {o["reason"] for o in owed} == {"paused"}
        assert not served.requests
        await call(server.port, "POST", f"{APP}/endpoints/{made['id']}/resume")
        await attempts(server.port, 3)
        assert received(served) == dict.fromkeys((i.encode() for i in ids), 1)


async def test_a_deleted_endpoint_is_owed_nothing(server: bootstrap.Posthouse) -> None:
    async with target(answers(500)) as served:
        made = await add(server.port, served, retry={"schedule": [1], "jitter": 0})
        await publish(server.port)
        await attempts(server.port, 1)
        assert (await ask(server.port, "DELETE", f"{APP}/endpoints/{made['id']}")).status == 204
        found = await attempts(server.port, 2)
        assert [(a["outcome"], a["reason"], a["sent"]) for a in found[1:]] == [("gave_up", "cancelled", False)]
        assert (await call(server.port, "GET", f"{APP}/deliveries"))["data"] == []


async def test_what_expired_is_given_up_without_a_request(server: bootstrap.Posthouse) -> None:
    async with target(answers(200)) as served:
        await add(server.port, served)
        await publish(server.port, expires_at="2020-01-01T00:00:00Z")
        assert [(a["outcome"], a["reason"], a["sent"]) for a in await attempts(server.port, 1)] == [
            ("gave_up", "expired", False)
        ]
        assert not served.requests


async def test_an_endpoint_made_a_moment_ago_gets_the_next_event(server: bootstrap.Posthouse) -> None:
    for count in range(1, 6):
        async with target(answers(200)) as served:
            made = await add(server.port, served)
            await publish(server.port)

            async def arrived(served: RawTarget = served) -> bool:
                return len(served.requests) == 1

            await until(arrived, f"the event at endpoint {count}")
            await call(server.port, "DELETE", f"{APP}/endpoints/{made['id']}")


async def test_both_secrets_sign_during_a_rotation(server: bootstrap.Posthouse) -> None:
    async with target(answers(200)) as served:
        made = await add(server.port, served)
        new = await call(server.port, "POST", f"{APP}/endpoints/{made['id']}/secret/rotate", {})
        await publish(server.port)
        await attempts(server.port, 1)
        head, _, body = served.requests[0].partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        for secret in (made["secret"], new["secret"]):
            Webhook(secret).verify(body, headers)
        assert made["secret"] != new["secret"]


async def test_a_stop_and_a_start_send_nothing_twice(database: str) -> None:
    async with target(answers(500, 200)) as served:
        async with serving(database, master_key=MASTER_KEY) as first:
            await prepare(first.port)
            await add(first.port, served, retry={"schedule": [1], "jitter": 0})
            event = await publish(first.port)
            await attempts(first.port, 1)
        async with serving(database, master_key=MASTER_KEY) as second:
            found = await attempts(second.port, 2)
            assert [a["outcome"] for a in found] == ["failed", "delivered"]
            assert received(served) == {event.encode(): 2}


async def test_with_another_master_key_what_is_owed_waits_and_readiness_warns(database: str) -> None:
    async with target(answers(200)) as served:
        async with serving(database, master_key=MASTER_KEY) as first:
            await prepare(first.port)
            await add(first.port, served)
        async with serving(database, master_key="11" * 32) as second:
            assert (await ask(second.port, "GET", "/readyz", key=None)).body["warnings"] == []
            event = await publish(second.port)

            async def warned() -> bool:
                ready = await ask(second.port, "GET", "/readyz", key=None)
                return ready.status == 200 and [one["code"] for one in ready.body["warnings"]] == ["secrets_unreadable"]

            await until(warned, "the warning")
            assert served.requests == []
        async with serving(database, master_key=MASTER_KEY) as third:
            await attempts(third.port, 1)
            assert received(served) == {event.encode(): 1}
            assert (await ask(third.port, "GET", "/readyz", key=None)).body["warnings"] == []


async def test_lost_connections_lose_no_event(server: bootstrap.Posthouse, database: str) -> None:
    """Every connection of the server is ended, again and again, while events are published and delivered."""
    async with target(answers(200)) as served, looking(database) as store:
        await add(server.port, served)
        accepted: set[bytes] = set()
        stop = asyncio.Event()

        async def publishing() -> None:
            while not stop.is_set():
                reply = await ask(server.port, "POST", f"{APP}/events", {"type": "order.created", "data": 1})
                if reply.status == 202:
                    accepted.add(reply.body["id"].encode())
                else:
                    assert reply.status == 503, reply
                    await asyncio.sleep(0.05)

        publishers = [asyncio.create_task(publishing()) for _ in range(4)]
        for _ in range(6):
            enough = len(accepted) + 20

            async def more(enough: int = enough) -> bool:
                return len(accepted) >= enough

            await until(more, "more events to be accepted")
            await store.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'posthouse' AND datname = current_database()"
            )
        stop.set()
        await asyncio.gather(*publishers)

        async def all_there() -> bool:
            return accepted <= set(received(served))

        await until(all_there, "every accepted event to arrive")
        assert await store.fetchval("SELECT count(*) FROM event") >= len(accepted)
