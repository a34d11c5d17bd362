"""kill -9 of a server with an embedded database, and of that database: what was answered 202 arrives, and repeats stay within
their bound. Many servers on one database are test_chaos.py's."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.chaos.server import EFFECT_POINTS, POINTS
from tests.folders import FAST

from posthouse.domain.limits import LANE_CONCURRENCY, UNWRITTEN_RESULTS_MAX

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(540)]

KEY = "ph_chaos_" + "k" * 40
APPS = 4
PUBLISHERS = 8
SERVER_KILLS = int(os.environ.get("POSTHOUSE_CHAOS_KILLS", "2"))
POSTGRES_KILLS = max(4, SERVER_KILLS // 4)
PATIENCE_SECONDS = 60.0


async def until(fact: Callable[[], bool], what: str) -> None:
    """Wait for a fact."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not fact():  # noqa: ASYNC110 - the facts are other processes'
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited {PATIENCE_SECONDS:.0f} s in vain for {what}")


async def request(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """One request on a connection of its own. Raises OSError, EOFError where the server dies under it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        content = b"" if body is None else json.dumps(body).encode()
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: chaos\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        answer = await reader.read()
    finally:
        writer.close()
    head, separator, told = answer.partition(b"\r\n\r\n")
    if not separator:
        raise EOFError("the server closed the connection without an answer")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    if len(told) < length:
        raise EOFError("the answer was cut off")
    return int(head.split(b" ", 2)[1]), told


class Target:
    """Counts each webhook-id that arrives, and answers 200 but for a few that it fails first."""

    def __init__(self) -> None:
        self.arrivals: Counter[str] = Counter()
        self._failing = random.Random(7)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                await reader.readexactly(int(headers["content-length"]))
                fails = self._failing.random() < 0.02
                if not fails:
                    self.arrivals[headers["webhook-id"]] += 1
                status = "500 Oops" if fails else "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the sender died, or the test ends
        finally:
            writer.close()


class Chaos:
    """One installation under fire."""

    def __init__(self, folder: Path, target_port: int, target: Target) -> None:
        self.folder = folder
        self.target = target
        self.target_port = target_port
        self.acknowledged: set[str] = set()
        self.kills = 0
        self._server: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    async def start(self, point: str = "") -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "POSTHOUSE_DATA_DIR": str(self.folder / "data"),
            "POSTHOUSE_PORT": str(self.port),
            "CHAOS_POINT": point,
            "POSTHOUSE_ADMIN_KEY": KEY,
        }
        command = [sys.executable, "-m", "tests.chaos.server"]
        server = self._server = subprocess.Popen(command, env=environment)  # noqa: ASYNC220
        async with asyncio.timeout(PATIENCE_SECONDS):
            while server.poll() is None:
                try:
                    if (await request(self.port, "GET", "/readyz"))[0] == 200:
                        break
                except (OSError, EOFError):
                    await asyncio.sleep(0.02)
        return server

    async def configure(self) -> None:
        await request(self.port, "POST", "/v1/event-types", {"name": "chaos.event"})
        for app in range(APPS):
            status, told = await request(self.port, "POST", "/v1/apps", {"uid": f"app-{app}"})
            assert status == 201, told
            endpoint = {"url": f"http://127.0.0.1:{self.target_port}/{app}", "retry": {"schedule": [0.2] * 20}}
            status, told = await request(self.port, "POST", f"/v1/apps/app-{app}/endpoints", endpoint)
            assert status == 201, told

    async def publish(self, publisher: int) -> None:
        """Publish until cancelled, noting what was answered 202."""
        path = f"/v1/apps/app-{publisher % APPS}/events"
        number = 0
        while True:
            number += 1
            body = {"type": "chaos.event", "data": {"publisher": publisher, "number": number}}
            try:
                status, told = await request(self.port, "POST", path, body)
            except (OSError, EOFError):
                await asyncio.sleep(0.02)
                continue
            if status == 202:
                self.acknowledged.add(json.loads(told)["id"])
            else:
                assert status == 503, told
                await asyncio.sleep(0.02)

    async def more(self, events: int) -> None:
        """Wait until so many more events are acknowledged."""
        enough = len(self.acknowledged) + events
        await until(lambda: len(self.acknowledged) >= enough, f"{events} more events to be acknowledged")

    @property
    def postmaster(self) -> int | None:
        """The process id of PostgreSQL, None while there is none."""
        try:
            return int((self.folder / "data" / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None

    async def died(self, server: subprocess.Popen[bytes], what: str) -> None:
        await until(lambda: server.poll() is not None, what)
        assert server.returncode == -signal.SIGKILL, f"the server ended by itself ({server.returncode}): {what}"
        self.kills += 1

    def end(self) -> None:
        """End what was started, whatever state it is in."""
        if self._server is not None and self._server.poll() is None:
            self._server.terminate()
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        if (postmaster := self.postmaster) is not None:
            with suppress(OSError):
                os.kill(postmaster, signal.SIGINT)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="posthouse-chaos-", dir=FAST, ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield Path(name)


@asynccontextmanager
async def under_fire(folder: Path, kind: type[Chaos] = Chaos) -> AsyncIterator[Chaos]:
    target = Target()
    listening = await asyncio.start_server(target, "127.0.0.1", 0, backlog=512)
    chaos = kind(folder, listening.sockets[0].getsockname()[1], target)
    try:
        await chaos.start()
        await chaos.configure()
        publishers = [asyncio.create_task(chaos.publish(n)) for n in range(PUBLISHERS)]
        try:
            yield chaos
        finally:
            for task in publishers:
                task.cancel()
            ended = await asyncio.gather(*publishers, return_exceptions=True)
            listening.close()
        assert all(isinstance(e, asyncio.CancelledError) for e in ended), ended
    finally:
        chaos.end()


async def everything_arrived(chaos: Chaos) -> None:
    acknowledged = set(chaos.acknowledged)
    await until(lambda: acknowledged <= set(chaos.target.arrivals), "every acknowledged event to arrive")


async def test_a_server_killed_again_and_again_loses_nothing(folder: Path) -> None:
    async with under_fire(folder) as chaos:
        chance = random.Random(20261124)
        server = chaos._server
        assert server is not None
        named = chance.sample(POINTS * SERVER_KILLS, SERVER_KILLS // 2)
        kinds = named + ["anywhere"] * (SERVER_KILLS - len(named))
        chance.shuffle(kinds)
        for kind in kinds:
            # The server that runs dies anywhere; the next one at the named point.
            await chaos.more(chance.randrange(20, 60))
            if server.poll() is None:
                server.kill()
            await chaos.died(server, "the kill")
            if kind == "anywhere":
                server = await chaos.start()
            else:
                server = await chaos.start(f"{kind}:{chance.randrange(5, 40)}")
                await chaos.died(server, f"the crash at {kind}")
                server = await chaos.start()
        await chaos.more(50)
        await everything_arrived(chaos)
        assert chaos.kills >= SERVER_KILLS
        repeats = sum(chaos.target.arrivals.values()) - len(chaos.target.arrivals)
        print(f"{chaos.kills} kills, {len(chaos.acknowledged)} acknowledged, {repeats} repeated")
        assert repeats <= chaos.kills * (LANE_CONCURRENCY * APPS + UNWRITTEN_RESULTS_MAX)
        # The bound is for a server at its limits. At this pace what is unwritten is what 20 ms of journal hold.
        assert repeats <= chaos.kills * 200, "far more repeats than the unwritten results of so slow a stream explain"


async def test_a_database_killed_again_and_again_loses_nothing(folder: Path) -> None:
    async with under_fire(folder) as chaos:
        for _ in range(POSTGRES_KILLS):
            await chaos.more(60)
            await until(lambda: chaos.postmaster is not None, "PostgreSQL to run")
            killed = chaos.postmaster
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            await until(lambda: chaos.postmaster != killed, "PostgreSQL to be gone, or another")  # noqa: B023
        await chaos.more(50)
        await everything_arrived(chaos)
        server = chaos._server
        assert server is not None
        assert server.poll() is None, "the server outlives its database"
        repeats = sum(chaos.target.arrivals.values()) - len(chaos.target.arrivals)
        assert repeats <= POSTGRES_KILLS * (LANE_CONCURRENCY * APPS + UNWRITTEN_RESULTS_MAX)


class Chained(Chaos):
    """Each answer asks for an event."""

    async def configure(self) -> None:
        await super().configure()
        await request(self.port, "POST", "/v1/event-types", {"name": "chaos.follow"})
        for app in range(APPS):
            asking = {
                "url": f"http://127.0.0.1:{self.target_port}/asking",
                "events": ["chaos.event"],
                "retry": {"schedule": [0.2] * 20},
                "on_response": [{"when": "response.status == 200", "then": "emit", "type": "chaos.follow"}],
            }
            status, told = await request(self.port, "POST", f"/v1/apps/app-{app}/endpoints", asking)
            assert status == 201, told

    async def all(self, what: str) -> list[dict[str, object]]:
        """Everything in a list."""
        found: list[dict[str, object]] = []
        cursor = ""
        while True:
            status, told = await request(self.port, "GET", f"/v1/{what}&limit=100{cursor}")
            assert status == 200, told
            page = json.loads(told)
            found += page["data"]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"


async def test_what_answers_ask_for_happens_once_for_each_that_is_on_record(folder: Path) -> None:
    """Killed between an answer and its record, between that and its event, and after that. A short run has the two that come
    after the record."""
    points = EFFECT_POINTS if SERVER_KILLS > 2 else EFFECT_POINTS[2::2]
    async with under_fire(folder, Chained) as chaos:
        assert isinstance(chaos, Chained)
        server = chaos._server
        assert server is not None
        for point in points:
            await chaos.more(20)
            if server.poll() is None:
                server.kill()
            await chaos.died(server, "the kill")
            server = await chaos.start(f"{point}:3")
            await chaos.died(server, f"the crash at {point}")
            server = await chaos.start()
        await chaos.more(20)
        await everything_arrived(chaos)
    # Nobody publishes any more, and the server has stopped: what is there now was done, or never will be by itself.
    quiet = Chained(folder, chaos.target_port, chaos.target)
    listening = await asyncio.start_server(chaos.target, "127.0.0.1", chaos.target_port, backlog=512)
    try:
        await quiet.start()
        met: list[dict[str, object]] = []
        followed: list[object] = []
        for _ in range(600):
            attempts = await quiet.all("attempts?type=chaos.event")
            met = [attempt for attempt in attempts if attempt["reaction"] is not None]
            followed = [event["cause"] for event in await quiet.all("events?type=chaos.follow")]
            if len(met) >= len(chaos.acknowledged) and len(followed) == len(met):
                break
            await asyncio.sleep(0.1)
        assert len(met) >= len(chaos.acknowledged)
        assert Counter(followed) == Counter(attempt["event"] for attempt in met)
        assert max(Counter(followed).values()) == 1
    finally:
        quiet.end()
        listening.close()
