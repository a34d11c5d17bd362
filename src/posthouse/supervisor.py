"""`posthouse serve --workers N`: one process that holds the port and the embedded database, and keeps N others serving.

The supervisor itself answers nothing. It makes the database ready and the first key, gives each worker the listening socket
and the settings, starts again what dies, and ends all in order. A worker learns that its supervisor died by the end of its
standard input, and ends as well.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from asyncio.subprocess import Process as Child
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from pydantic import SecretStr

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.directory import PostgresDirectory
from posthouse.api import door
from posthouse.config import Settings
from posthouse.domain.errors import PosthouseError, SetupError
from posthouse.domain.restart import failures_after, restart_delay
from posthouse.manage.authenticator import Authenticator
from posthouse.manage.keys import Keys
from posthouse.manage.sessions import Sessions
from posthouse.ports.clock import set_or_over
from posthouse.process import Ground, Process

log = structlog.get_logger()

READY: Final = b"ready\n"
COMMAND: Final = (sys.executable, "-m", "posthouse.cli.worker")
REQUESTS_SECONDS_MAX: Final = 10.0  # that a worker gives requests under way as it stops


class Supervisor(Process):
    """Keeps `settings.workers` processes serving on one port.

    `ready` is set when every worker has served at least once. `serve` raises SetupError where the first workers refuse to
    start, and PosthouseError where one had to be killed in the end.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.ready = asyncio.Event()
        self.pids: dict[int, int] = {}
        """The process of each worker that runs, by its number."""
        self._been_ready: set[int] = set()
        self._children: dict[int, Child] = {}
        self._stopping = asyncio.Event()
        self._killed = 0
        self._folder: Path
        self._told: bytes
        self._ground: Ground

    async def open(self) -> None:
        self._listening = self._listen()
        ground = await self._prepare()
        self._told = msgspec.json.encode(revealed(self.settings, ground)) + b"\n"
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-workers-"))
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._ground = ground
        async with self._directory() as (directory, authenticator):
            keys = Keys(directory, ground.clock, authenticator)
            self.first_key = await keys.ensure_first_key(self.settings.given_admin_key)

    async def link_code(self) -> str | None:
        if not self.has_console:
            return None
        async with self._directory() as (directory, authenticator):
            return await Sessions(directory, self._ground.clock, authenticator).first_link()

    @asynccontextmanager
    async def _directory(self) -> AsyncIterator[tuple[PostgresDirectory, Authenticator]]:
        """The configuration, for a moment: whoever serves has connections of their own."""
        database = Database(self._ground.direct, size=1)
        await database.open()
        try:
            directory = PostgresDirectory(database, self._ground.sealer)
            yield directory, Authenticator(directory, self._ground.clock)
        finally:
            await database.close()

    async def serve(self) -> None:
        """Keep the workers serving until told to stop; returns when all have ended."""
        keeping = [asyncio.create_task(self._keep(number)) for number in range(self.settings.workers)]
        try:
            await asyncio.gather(*keeping)
        finally:
            self._stopping.set()
            self._signal(signal.SIGTERM)
            await asyncio.gather(*keeping, return_exceptions=True)
        if self._killed:
            raise PosthouseError(f"{self._killed} workers did not end in time and were killed")

    async def _keep(self, number: int) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            child = await self._start(number)
            await self._watch(number, child)
            if self._stopping.is_set():
                return
            if not self._been_ready:
                raise SetupError("a worker could not start; what it said stands above")
            failures = failures_after(failures, lived_seconds=time.monotonic() - began)
            delay = restart_delay(failures, draw=random.random())  # noqa: S311 - spreads restarts, and guards nothing
            log.error("worker.died", worker=number, status=child.returncode, restart_in_seconds=round(delay, 2))
            await set_or_over(self._stopping, delay)

    async def _start(self, number: int) -> Child:
        shared = self._listening.fileno()
        # A session of its own: Ctrl-C in the terminal is for the supervisor, who passes it on.
        child = await asyncio.create_subprocess_exec(
            *COMMAND,
            str(number),
            str(shared),
            str(self._folder),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=(shared,),
            start_new_session=True,
        )
        self._children[number], self.pids[number] = child, child.pid
        assert child.stdin is not None
        child.stdin.write(self._told)
        if self._stopping.is_set():
            child.terminate()
        return child

    async def _watch(self, number: int, child: Child) -> None:
        """Return when the worker has ended."""
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            if await child.stdout.readline() == READY:
                log.info("worker.ready", worker=number, pid=child.pid)
                self._been_ready.add(number)
                if len(self._been_ready) == self.settings.workers:
                    self.ready.set()
            await self._wait(child)
        finally:
            del self._children[number], self.pids[number]
            child.stdin.close()

    async def _wait(self, child: Child) -> None:
        ended = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            settings = self.settings
            patience = settings.drain_seconds + REQUESTS_SECONDS_MAX + 3 * settings.shutdown_seconds + 10.0
            if not ended.done():
                await asyncio.wait({ended}, timeout=patience)
            if not ended.done():
                log.critical("worker.killed", pid=child.pid, after_seconds=patience)
                self._killed += 1
                child.kill()
                await ended
        finally:
            stopping.cancel()

    def drain(self) -> None:
        """Let every worker drain."""
        self._end(signal.SIGTERM)
        asyncio.get_running_loop().call_later(self.settings.drain_seconds, self._shut_door)

    def stop(self) -> None:
        """Let every worker stop at once."""
        self._end(signal.SIGINT)
        self._shut_door()

    def _end(self, number: signal.Signals) -> None:
        self._stopping.set()
        self._signal(number)

    def _shut_door(self) -> None:
        if self._listening.fileno() >= 0:
            door.shut(self._listening)
            self._listening.close()  # the workers have it still, and accept whoever stands there

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children.values():
            with suppress(ProcessLookupError):
                child.send_signal(number)


def revealed(settings: Settings, ground: Ground) -> dict[str, Any]:
    """The settings of a worker, secrets in clear: database and master key are those that the supervisor found or made."""
    told = settings.model_dump(mode="json") | {
        name: value.get_secret_value() for name, value in settings if isinstance(value, SecretStr)
    }
    told |= {"worker_count": settings.workers, "workers": 1, "database_url": ground.dsn}
    told["database_direct_url"] = None if ground.direct == ground.dsn else ground.direct
    if ground.data_dir is not None and settings.master_key is None and settings.master_key_file is None:
        told["master_key_file"] = os.fspath(ground.data_dir / "master.key")
    return told
