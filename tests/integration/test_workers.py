"""`posthouse serve` with several workers, and its end under load: real processes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import secrets
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.commands import PATIENCE_SECONDS, running
from tests.fakes import until
from tests.folders import FAST
from tests.integration.test_engine import ID
from tests.postgres import end_server
from tests.serving import KEY, call, exchange, request, serving
from tests.targets import OK, Peer, target

WORKERS = 2


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="posthouse-tests-", dir=FAST) as folder:
        os.chmod(folder, 0o755)
        try:
            yield Path(folder) / "data"
        finally:
            end_server(Path(folder) / "data")


def left_behind(folder: Path) -> list[Path]:
    return list(folder.glob("posthouse-workers-*"))


async def series(port: int, name: str) -> dict[str, float]:
    """The values of a gauge by worker."""
    text = (await exchange(port, request("GET", "/metrics", key=None))).body.decode()
    return {worker: float(value) for worker, value in re.findall(rf'^{name}{{worker="(\d)"}} (\S+)$', text, re.M)}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_workers_share_a_port_and_an_embedded_database_and_are_started_again(data_dir: Path) -> None:
    words = ("serve", "--port", "0", "--workers", str(WORKERS), "--data-dir", str(data_dir))
    with running(*words, POSTHOUSE_LOG_JSON="true", TMPDIR=str(data_dir.parent)) as server:
        port = int(await asyncio.to_thread(lambda: server.until(r"listens on http://127.0.0.1:(\d+)")[1]))
        await asyncio.to_thread(server.until, rf"(?s)(worker\.ready.*){{{WORKERS}}}")
        assert len(re.findall(r"^ph_\w+$", server.said, re.M)) == 1, "the first key is shown once"
        assert len(re.findall(rf"^  http://127.0.0.1:{port}/#/in\?code=\S{{43}}$", server.said, re.M)) == 1

        async def even() -> bool:
            return await series(port, "posthouse_partitions_owned") == {"0": 32.0, "1": 32.0}

        await until(even, "an even spread over both workers")
        assert await series(port, "posthouse_worker_up") == {"0": 1.0, "1": 1.0}
        pids = [int(pid) for pid in re.findall(r'"pid": (\d+), "event": "worker.ready"', server.said)]
        os.kill(pids[0], signal.SIGKILL)
        await asyncio.to_thread(server.until, r"worker\.died")
        assert await call_health(port) == 200, "the other one goes on"
        await asyncio.to_thread(server.until, rf"(?s)(worker\.ready.*){{{WORKERS + 1}}}")
        await until(even, "an even spread over both workers again")

        # A supervisor that dies takes its workers along, and they hand over in order.
        pids = [int(pid) for pid in re.findall(r'"pid": (\d+), "event": "worker.ready"', server.said)]
        server.process.kill()
        await until(lambda: not any(map(is_alive, pids)), "the workers to end by themselves")
        assert left_behind(data_dir.parent) == [], "and they leave nothing behind"


async def call_health(port: int) -> int:
    return (await exchange(port, request("GET", "/healthz", key=None))).status


async def test_workers_that_cannot_start_end_the_server(database: str) -> None:
    environment = {
        "POSTHOUSE_DATABASE_URL": database,
        "POSTHOUSE_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "POSTHOUSE_CALLBACKS": "nowhere.hooks",  # the supervisor imports none
    }
    with running("serve", "--port", "0", "--workers", str(WORKERS), **environment) as server:
        await asyncio.to_thread(server.until, r"a worker could not start")
        assert await asyncio.to_thread(server.process.wait, PATIENCE_SECONDS) == 1
        assert "nowhere.hooks" in server.said


# The end under load


class Client:
    """Publishes on one connection after another, each as long as the server keeps it, and counts what has no answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.accepted: list[str] = []
        self.closing_answers = 0
        self.dropped = 0

    async def run(self) -> None:
        """Until nobody takes connections any more."""
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return
            try:
                while await self._publish(reader, writer):
                    pass
            finally:
                writer.close()

    async def _publish(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may be used again."""
        body = {"type": "order.created", "data": {}}
        writer.write(request("POST", "/v1/apps/acme/events", body, headers={"Connection": "keep-alive"}))
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = re.search(r"content-length: (\d+)", head)
            assert length is not None
            answer = json.loads(await reader.readexactly(int(length[1])))
        except (asyncio.IncompleteReadError, OSError):
            self.dropped += 1
            return False
        assert head.startswith("http/1.1 202"), head
        self.accepted.append(answer["id"])
        closing = "connection: close" in head
        self.closing_answers += closing
        return not closing


@pytest.mark.parametrize("workers", [1, WORKERS])
async def test_sigterm_under_load_drops_no_request_and_loses_no_event(database: str, workers: int) -> None:
    arrived: Counter[str] = Counter()

    async def counting(peer: Peer) -> None:
        while True:
            found = ID.search(await peer.request())
            assert found is not None
            arrived[found[1].decode()] += 1
            await peer.send(OK)

    master_key = base64.b64encode(secrets.token_bytes(32)).decode()
    environment = {
        "POSTHOUSE_DATABASE_URL": database,
        "POSTHOUSE_MASTER_KEY": master_key,
        "POSTHOUSE_ADMIN_KEY": KEY,
        "POSTHOUSE_DRAIN_SECONDS": "0.5",
    }
    async with target(counting) as served:
        with running(
            "serve", "--dev", "--port", "0", "--workers", str(workers), "--auto-create-event-types", **environment
        ) as server:
            port = int(await asyncio.to_thread(lambda: server.until(r"listens on http://127.0.0.1:(\d+)")[1]))
            await call(port, "POST", "/v1/apps", {"uid": "acme", "name": "Acme"})
            await call(port, "POST", "/v1/apps/acme/endpoints", {"url": f"http://127.0.0.1:{served.port}/"})
            clients = [Client(port) for _ in range(8)]
            running_clients = [asyncio.create_task(client.run()) for client in clients]
            await until(lambda: all(len(client.accepted) > 20 for client in clients))
            server.process.send_signal(signal.SIGTERM)
            not_ready = 0
            with suppress(OSError):
                while not not_ready:
                    not_ready += (await exchange(port, request("GET", "/readyz", key=None))).status == 503
            assert not_ready, "it says so while it still accepts"
            await asyncio.gather(*running_clients)
            assert await asyncio.to_thread(server.process.wait, PATIENCE_SECONDS) == 0
        accepted = [event_id for client in clients for event_id in client.accepted]
        assert sum(client.dropped for client in clients) == 0
        assert sum(client.closing_answers for client in clients) > 0, "clients were asked to go elsewhere"
        async with serving(database, master_key=master_key):
            await until(lambda: not set(accepted) - set(arrived), "every accepted event to arrive")
        assert max(arrived.values()) == 1, "a planned end repeats nothing"
