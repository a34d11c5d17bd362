"""Replays through a whole server: everything that is selected is sent, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from tests.commands import COMMAND, environment
from tests.serving import KEY, PATIENCE_SECONDS, ask, call, serving
from tests.targets import OK, Peer, RawTarget, target

from posthouse import bootstrap
from posthouse.domain.limits import LANE_PAGED_MAX, REPLAY_OUTSTANDING_ROWS_MAX

APP = "/v1/apps/acme"
REPLAYS = f"{APP}/replays"
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
    made = {"uid": "main", "url": f"http://127.0.0.1:{served.port}/", "retry": {"schedule": [0.05], "jitter": 0}}
    return await call(port, "POST", f"{APP}/endpoints", made | more)


async def publish(port: int, count: int, **more: Any) -> list[bytes]:
    """Events of the app; their ids, in order."""
    body = [{"type": "order.created", "data": n} | more for n in range(count)]
    return [one["id"].encode() for one in (await call(port, "POST", f"{APP}/events/batch", body))["data"]]


async def unheard(port: int, count: int) -> list[bytes]:
    """Events that were dispatched before anybody was there to hear of them; their ids, in order."""
    ids = await publish(port, count)

    async def dispatched() -> bool:
        return not (await call(port, "GET", f"{APP}/events/{ids[-1].decode()}"))["pending"]

    await until(dispatched, "the events to be dispatched")
    return ids


def since() -> str:
    return datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()


async def start(port: int, select: str, **more: Any) -> str:
    body = {"endpoint": "main", "since": since(), "select": select} | more
    return str((await call(port, "POST", REPLAYS, body))["id"])


async def counted(port: int, select: str) -> int:
    """What a dry run says, once everything was dispatched."""
    body = {"endpoint": "main", "since": since(), "select": select}
    found: dict[str, Any] = {}

    async def exact() -> bool:
        found.update(await call(port, "POST", f"{REPLAYS}?dry_run=true", body))
        return bool(found["exact"])

    await until(exact, "an exact count")
    return int(found["selected"])


async def until(fact: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await fact():  # noqa: ASYNC110 - the facts are in the database and at the target
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


async def replayed(port: int, replay: str, fact: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """The replay, once it is so."""
    found: dict[str, Any] = {}

    async def so() -> bool:
        found.update(await call(port, "GET", f"{REPLAYS}/{replay}"))
        return fact(found)

    await until(so, what)
    return found


async def finished(port: int, replay: str) -> dict[str, Any]:
    return await replayed(port, replay, lambda found: found["state"] == "finished", "the replay's end")


class Target:
    """Counts what arrives, and answers as it is told. While `gate` is shut nothing is answered."""

    def __init__(self) -> None:
        self.status = 200
        self.gate = asyncio.Event()
        self.gate.set()
        self.live: Counter[bytes] = Counter()
        self.replays: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            found = ID.search(request)
            assert found is not None
            if b"webhook-replay: true" in request:
                self.replays.append(found[1])
            else:
                self.live[found[1]] += 1
            await self.gate.wait()
            await peer.send(OK if self.status == 200 else b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def arrived(target: Target, count: int) -> None:
    async def there() -> bool:
        return len(target.live) >= count

    await until(there, f"{count} events")


async def settled(port: int) -> None:
    async def empty() -> bool:
        return not (await call(port, "GET", f"{APP}/deliveries?limit=1"))["data"]

    await until(empty, "an empty backlog")


async def test_what_was_given_up_is_sent_again_and_nothing_else(server: bootstrap.Posthouse) -> None:
    hook, port = Target(), server.port
    async with target(hook) as served:
        await add(port, served)
        good = await publish(port, 5)
        await arrived(hook, 5)
        await settled(port)
        hook.status = 404
        lost = await publish(port, 7)
        await until_gave_up(port, 7)
        hook.status = 200
        assert await counted(port, "failed") == 7
        assert await counted(port, "missing") == 0
        assert await counted(port, "all") == 12
        assert hook.replays == [], "a dry run sends nothing"
        found = await finished(port, await start(port, "failed"))
        assert Counter(hook.replays) == Counter(lost)
        assert found["progress"] == {"scanned": 12, "selected": 7, "sent": 7, "total": 7}
        assert await counted(port, "failed") == 0, "they were delivered"
        await finished(port, await start(port, "all"))
        assert Counter(hook.replays) == Counter(lost) + Counter(lost) + Counter(good)


async def until_gave_up(port: int, count: int) -> None:
    async def so() -> bool:
        found = await call(port, "GET", f"{APP}/attempts?outcome=gave_up&limit=250")
        return len(found["data"]) >= count

    await until(so, f"{count} deliveries that were given up")


async def test_an_endpoint_that_was_not_there_gets_what_it_missed(server: bootstrap.Posthouse) -> None:
    hook, port = Target(), server.port
    async with target(hook) as served:
        ids = await unheard(port, 30)
        await add(port, served)
        ids += await publish(port, 3)
        await arrived(hook, 3)
        assert await counted(port, "missing") == 30
        found = await finished(port, await start(port, "missing"))
        assert found["progress"]["sent"] == 30
        assert Counter(hook.replays) == Counter(ids[:30])


@contextmanager
def process(dsn: str, port: int, master_key: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server as a process of its own, ended with kill -9."""
    words = [*COMMAND, "serve", "--database-url", dsn, "--port", str(port), "--allow-network", "127.0.0.1/32"]
    made = subprocess.Popen(
        words,
        env=environment(POSTHOUSE_ADMIN_KEY=KEY, POSTHOUSE_MASTER_KEY=master_key),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield made
    finally:
        if made.poll() is None:
            os.kill(made.pid, signal.SIGKILL)
        made.wait()


async def answering(port: int) -> None:
    async def ready() -> bool:
        try:
            return (await ask(port, "GET", "/readyz")).status == 200
        except (OSError, IndexError):
            return False

    await until(ready, "a server that answers")


async def test_killed_in_the_middle_it_goes_on_and_skips_nothing(database: str) -> None:
    hook = Target()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    count = 2 * REPLAY_OUTSTANDING_ROWS_MAX + 300
    async with target(hook) as served:
        with process(database, port, key):
            await answering(port)
            await prepare(port)
            ids = await unheard(port, 900)
            ids += await unheard(port, count - 900)
            await add(port, served)
            replay = await start(port, "missing")
            for share in (0.2, 0.7):
                wanted = int(count * share)

                async def many(wanted: int = wanted) -> bool:
                    return len(set(hook.replays)) >= wanted

                await until(many, f"{wanted} events")
                if share == 0.2:
                    await call(port, "POST", f"{REPLAYS}/{replay}/pause")
                    await call(port, "POST", f"{REPLAYS}/{replay}/resume")
        with process(database, port, key):
            await answering(port)
            found = await finished(port, replay)
    assert set(hook.replays) == set(ids), "each at least once"
    assert found["progress"] == {"scanned": count, "selected": count, "sent": count, "total": count}
    # What was in flight, and what was not written yet, may come twice; what was enqueued is enqueued once.
    assert max(Counter(hook.replays).values()) == 2 or len(hook.replays) == count


async def test_handed_over_it_goes_on(database: str) -> None:
    hook = Target()
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    async with target(hook) as served:
        async with serving(database, master_key=key) as one:
            await prepare(one.port)
            ids = await unheard(one.port, 900)
            await add(one.port, served)
            replay = await start(one.port, "missing")

            async def some() -> bool:
                return len(hook.replays) > 100

            await until(some, "a hundred events")
        async with serving(database, master_key=key) as other:
            await finished(other.port, replay)
        assert set(hook.replays) == set(ids)


async def test_paused_it_puts_nothing_more_in(server: bootstrap.Posthouse) -> None:
    hook, port = Target(), server.port
    hook.gate.clear()
    count = REPLAY_OUTSTANDING_ROWS_MAX + 100
    async with target(hook) as served:
        await unheard(port, count)
        await add(port, served)
        replay = await start(port, "missing")
        full = REPLAY_OUTSTANDING_ROWS_MAX
        await replayed(port, replay, lambda found: found["progress"]["selected"] == full, "a full line")
        paused = await call(port, "POST", f"{REPLAYS}/{replay}/pause")
        assert (paused["state"], paused["eta_seconds"]) == ("paused", None)
        hook.gate.set()
        await replayed(port, replay, lambda found: found["progress"]["sent"] == full, "what was put in")
        await settled(port)
        assert len(hook.replays) == full
        await call(port, "POST", f"{REPLAYS}/{replay}/resume")
        await finished(port, replay)
        assert len(hook.replays) == len(set(hook.replays)) == count


async def test_cancelled_it_takes_back_what_is_not_in_hand(server: bootstrap.Posthouse) -> None:
    hook, port = Target(), server.port
    hook.gate.clear()
    async with target(hook) as served:
        await unheard(port, 400)
        await add(port, served, concurrency=4)
        replay = await start(port, "missing")
        await replayed(port, replay, lambda found: found["progress"]["selected"] == 400, "all of them")

        async def some() -> bool:
            return len(hook.replays) == 4

        await until(some, "four requests")
        found = await call(port, "POST", f"{REPLAYS}/{replay}/cancel")
        assert found["state"] == "cancelled"
        hook.gate.set()
        await settled(port)
        live = await publish(port, 1)
        await arrived(hook, 1)
        assert set(hook.live) == set(live)
        assert len(hook.replays) <= LANE_PAGED_MAX + 2 * 4, "what its lane had in hand is not called back"
        refused = await ask(port, "POST", f"{REPLAYS}/{replay}/resume")
        assert (refused.status, refused.body["code"]) == (409, "replay_ended")


async def test_live_events_do_not_wait_for_it(server: bootstrap.Posthouse) -> None:
    hook, port = Target(), server.port
    async with target(hook) as served:
        await unheard(port, 900)
        await add(port, served)
        replay = await start(port, "missing")
        await replayed(port, replay, lambda found: found["progress"]["sent"] > 50, "a beginning")
        before = len(hook.replays)
        (event,) = await publish(port, 1)
        await arrived(hook, 1)
        assert set(hook.live) == {event}
        assert before < 900
        await finished(port, replay)


async def test_on_an_ordered_endpoint_it_goes_in_order(database: str, server: bootstrap.Posthouse) -> None:
    hook, port = Target(), server.port
    async with target(hook) as served:
        ids = await unheard(port, REPLAY_OUTSTANDING_ROWS_MAX + 100)
        await add(port, served)
        connection = await asyncpg.connect(database)
        try:
            await connection.execute('UPDATE endpoint SET config = config::jsonb || \'{"ordering": "endpoint"}\'')
            await connection.execute("SELECT bump_config(app_id) FROM endpoint")
        finally:
            await connection.close()
        await finished(port, await start(port, "missing"))
        assert hook.replays == ids
