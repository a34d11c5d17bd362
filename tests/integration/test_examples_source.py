"""The kind that examples/ndjson_source brings: built and installed as a package, found by a server, and read by it, whatever is
killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from tests.commands import COMMAND, PATIENCE_SECONDS, environment
from tests.serving import KEY, Reply, ask
from tests.wheel import REPOSITORY, UV

EXAMPLE: Final = REPOSITORY / "examples" / "ndjson_source"
MASTER_KEY: Final = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
KILLS: Final = 2


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the package is installed, as `pip install` does it."""
    uv = UV if UV.exists() else Path(shutil.which("uv") or "uv")
    folder = tmp_path_factory.mktemp("ndjson")
    source = shutil.copytree(EXAMPLE, folder / "source")  # what building leaves behind is not ours to keep
    subprocess.run([uv, "build", "--wheel", "--out-dir", folder / "dist", source],
                   check=True, capture_output=True, timeout=300)  # fmt: skip
    (wheel,) = (folder / "dist").glob("posthouse_ndjson-*.whl")
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", folder / "site", wheel],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    yield folder / "site"
    shutil.rmtree(folder, ignore_errors=True)


class Server:
    """`posthouse serve` as a process that is killed, and a file that it reads."""

    def __init__(self, site: Path, database: str, file: Path) -> None:
        self.file = file
        self.appended: list[int] = []
        self._database = database
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._environment = environment(
            PYTHONPATH=str(site),
            POSTHOUSE_DATABASE_URL=database,
            POSTHOUSE_MASTER_KEY=MASTER_KEY,
            POSTHOUSE_ADMIN_KEY=KEY,
            POSTHOUSE_LOG_LEVEL="warning",
        )

    async def start(self) -> None:
        self._process = subprocess.Popen([*COMMAND, "serve", "--port", str(self.port)], env=self._environment)  # noqa: ASYNC220
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                assert self._process.poll() is None, "the server ended by itself"
                try:
                    if (await ask(self.port, "GET", "/readyz")).status == 200:
                        return
                except (OSError, IndexError):
                    await asyncio.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    async def ask(self, method: str, path: str, body: object = None) -> Reply:
        return await ask(self.port, method, path, body)

    async def create(self, **settings: Any) -> Reply:
        body: dict[str, Any] = {"uid": "log", "kind": "ndjson", "type": "log.{level}", "key": "{host}", "app": "ops"}
        body["settings"] = settings
        return await self.ask("POST", "/v1/triggers", body)

    def append(self, count: int) -> None:
        with self.file.open("a") as file:
            for _ in range(count):
                number = len(self.appended)
                file.write(json.dumps({"level": "info", "host": f"h{number % 3}", "n": number}) + "\n")
                self.appended.append(number)
                file.flush()

    async def published(self) -> list[int]:
        """The numbers in the order of the log, once there are as many as were appended."""
        connection = await asyncpg.connect(self._database)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    found = await connection.fetch("SELECT payload FROM event ORDER BY partition, seq")
                    if len(found) >= len(self.appended):
                        return [json.loads(row["payload"])["n"] for row in found]
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(
                f"{len(found)} of {len(self.appended)} came; {(await self.ask('GET', '/v1/triggers/log')).body}"
            )
        finally:
            await connection.close()


@pytest.fixture
async def server(installed: Path, database: str, tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(installed, database, tmp_path / "shop.ndjson")
    try:
        await made.start()
        assert (await made.ask("POST", "/v1/event-types", {"name": "log.info"})).status == 201
        assert (await made.ask("POST", "/v1/apps", {"uid": "ops"})).status == 201
        yield made
    finally:
        made.kill()


async def test_lines_are_events_in_order_whatever_is_killed_and_rotated(server: Server) -> None:
    (kind,) = [k for k in (await server.ask("GET", "/v1/trigger-kinds")).body["data"] if k["name"] == "ndjson"]
    assert kind["settings"]["required"] == ["path"]
    await _bad_settings_are_refused(server)

    server.append(3)
    made = await server.create(path=str(server.file))
    assert made.status == 201, made
    assert await server.published() == server.appended
    for _ in range(KILLS):
        writing = asyncio.create_task(asyncio.to_thread(_by_and_by, server, 300))
        await asyncio.sleep(0)
        before = len(server.appended)
        while len(server.appended) < before + 100:  # noqa: ASYNC110 - a thread's fact
            await asyncio.sleep(0.005)
        server.kill()
        await writing
        await server.start()
    # A line is one when its end is there.
    with server.file.open("a") as file:
        file.write('{"level": "info", "host": "h0", ')
        file.flush()
        await server.published()
        file.write(f'"n": {len(server.appended)}}}\n')
        server.appended.append(len(server.appended))
    assert await server.published() == server.appended

    # Rotated by renaming, and by emptying: where another file may begin at the same place as the one before.
    server.file.rename(server.file.with_suffix(".1"))
    server.append(5)
    assert await server.published() == server.appended
    server.file.write_bytes(b"")
    server.append(2)
    assert await server.published() == server.appended
    server.file.unlink()
    server.append(1)
    assert await server.published() == server.appended
    found = (await server.ask("GET", "/v1/triggers/log")).body
    assert found["counts"]["set_aside"] == 0

    # Back to the beginning of the file that is there.
    assert (await server.ask("POST", "/v1/triggers/log/rewind", {})).status == 200
    server.appended.append(server.appended[-1])
    assert await server.published() == server.appended


def _by_and_by(server: Server, count: int) -> None:
    for _ in range(count):
        server.append(1)


async def _bad_settings_are_refused(server: Server) -> None:
    for settings, path, words in (
        ({}, "settings.path", "/var/log/shop.ndjson"),
        ({"path": "shop.ndjson"}, "settings.path", "the whole path"),
        ({"path": os.fspath(server.file)}, "settings.path", "make it"),
        ({"path": os.fspath(server.file), "colour": "red"}, "settings.colour", "there is path"),
    ):
        reply = await server.create(**settings)
        assert (reply.status, reply.body["path"]) == (422, path), reply
        assert words in reply.body["detail"]
    assert (await server.ask("GET", "/v1/triggers")).body["data"] == []
