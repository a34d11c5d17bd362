"""Three servers on one PostgreSQL, each behind a proxy of its own, and what is done to them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from tests.chaos.api import KEY, Lost, Unreached, ask
from tests.chaos.history import Exit, History, Kind, Trouble
from tests.chaos.plan import PROCESSES, Act, Step
from tests.chaos.proxy import Proxy

READY_SECONDS_MAX: Final = 60.0
EXIT_SECONDS_MAX: Final = 30.0
CRASH_SECONDS_MAX: Final = 5.0  # for a process to come to its point
SHUTDOWN_SECONDS: Final = 5
ALARMS: Final = ("error", "critical")  # levels of what is logged


class Process:
    """One server: `life` counts its beginnings. All that is done to it is noted."""

    def __init__(self, number: int, history: History, folder: Path, environment: dict[str, str], store: Proxy) -> None:
        self.number = number
        self.life = 0
        self.store = store
        self._history = history
        self._log = folder / f"server-{number}.log"
        self._environment = environment
        self._running: subprocess.Popen[bytes]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    async def start(self, point: str = "") -> None:
        """Begin a life; `point` is where it ends by itself."""
        self.life += 1
        environment = os.environ | self._environment
        environment |= {
            "POSTHOUSE_PORT": str(self.port),
            "CHAOS_SENDER": f"{self.number}.{self.life}",
            "CHAOS_POINT": point,
        }
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "tests.chaos.server"]
            self._running = subprocess.Popen(command, env=environment, stderr=log)  # noqa: ASYNC220

    async def ready(self) -> None:
        """Wait until it answers that it is. Raises TimeoutError, RuntimeError (it has ended)."""
        async with asyncio.timeout(READY_SECONDS_MAX):
            while True:
                if self._running.poll() is not None:
                    raise RuntimeError(f"server {self.number} ended with {self._running.returncode}:\n{self.told()}")
                try:
                    if (await ask(self.port, "GET", "/readyz"))[0] == 200:
                        return
                except (Unreached, Lost):
                    pass
                await asyncio.sleep(0.05)

    async def suffer(self, step: Step) -> None:
        """One step of the plan; returns when it is over and the process serves again."""
        began = time.time()
        chance = random.Random(step.at)
        match step.act:
            case Act.KILL:
                await self._kill(began, step.seconds)
            case Act.HASTEN:
                self._running.terminate()
                await asyncio.sleep(step.seconds)
                await self._kill(began, 0.0)
            case Act.CRASH:
                await self._crash(began, step.detail)
            case Act.STOP:
                trouble = self._note(Kind.STOPPED, began)
                self._running.send_signal(signal.SIGSTOP)
                await asyncio.sleep(step.seconds)
                self._running.send_signal(signal.SIGCONT)
                trouble.end = time.time()
            case Act.RESTART:
                await self._restart(began, step.seconds)
            case Act.SEVER_STORE:
                trouble = self._note(Kind.STORE, began)
                self.store.refusing = step.seconds > 0
                self.store.sever(step.share, chance)
                await asyncio.sleep(step.seconds)
                self.store.refusing = False
                trouble.end = time.time() + 0.5
            case Act.STALL_STORE:
                trouble = self._note(Kind.STORE, began)
                self.store.stall(step.share, chance)
                await asyncio.sleep(step.seconds)
                self.store.flow()
                trouble.end = time.time() + 0.5
            case _:
                raise ValueError(f"not for a process: {step}")

    def _note(self, kind: Kind, begin: float) -> Trouble:
        trouble = Trouble(kind, begin, float("inf"), self.number)
        self._history.troubles.append(trouble)
        return trouble

    async def _kill(self, began: float, seconds: float) -> None:
        trouble = self._note(Kind.KILLED, began)
        self._running.kill()
        await self._ended()
        await asyncio.sleep(seconds)
        await self.start()
        await self.ready()
        trouble.end = time.time()

    async def _crash(self, began: float, point: str) -> None:
        """Killed, started anew, and killed at a point: or anywhere, where that is not passed so often."""
        trouble = self._note(Kind.KILLED, began)
        self._running.kill()
        await self._ended()
        await self.start(point)
        waited = time.time() + CRASH_SECONDS_MAX
        while self._running.poll() is None:
            if time.time() >= waited:
                break
            await asyncio.sleep(0.02)
        self._running.kill()
        await self._ended()
        if self._running.returncode != -signal.SIGKILL:
            self._history.exits.append(Exit(self.number, time.time(), self._running.returncode, planned=False))
        await self.start()
        await self.ready()
        trouble.end = time.time()

    async def _restart(self, began: float, seconds: float) -> None:
        trouble = self._note(Kind.RESTARTED, began)
        self._running.terminate()
        await self._ended()
        self._history.exits.append(Exit(self.number, time.time(), self._running.returncode, planned=True))
        await asyncio.sleep(seconds)
        await self.start()
        await self.ready()
        trouble.end = time.time()

    async def _ended(self) -> None:
        async with asyncio.timeout(EXIT_SECONDS_MAX):
            while self._running.poll() is None:  # noqa: ASYNC110 - the fact is another process
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """A planned end, for good."""
        self._running.terminate()
        await self._ended()
        self._history.exits.append(Exit(self.number, time.time(), self._running.returncode, planned=True))

    def check_alive(self) -> None:
        """Note an end that nobody planned."""
        if self._running.poll() is not None:
            self._history.exits.append(Exit(self.number, time.time(), self._running.returncode, planned=False))

    def end(self) -> None:
        """End it, whatever state it is in."""
        if hasattr(self, "_running") and self._running.poll() is None:
            self._running.kill()
            self._running.wait()

    def told(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""

    def alarms(self) -> list[str]:
        """What it logged as an error, or said otherwise than in a log."""
        found = []
        for line in self._log.read_text(errors="replace").splitlines():
            try:
                level = json.loads(line).get("level")
            except (ValueError, AttributeError):
                level = "error"
            if level in ALARMS:
                found.append(f"server {self.number}: {line if len(line) < 1400 else f'{line[:200]} … {line[-1200:]}'}")
        return found


class Cluster:
    """The servers, and the proxies before their database."""

    def __init__(self, dsn: str, folder: Path, history: History) -> None:
        self._dsn = dsn
        self._folder = folder
        self._history = history
        self.processes: list[Process] = []

    async def start(self) -> None:
        """One after the other: the first installs, and owns most."""
        parts = urlsplit(self._dsn)
        where = dict(parse_qsl(parts.query))
        socket_path = f"{where['host']}/.s.PGSQL.{where['port']}"
        master_key = base64.b64encode(secrets.token_bytes(32)).decode()
        for number in range(PROCESSES):
            proxy = Proxy(socket_path, late=True)
            await proxy.start()
            netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
            environment = {
                "POSTHOUSE_DATABASE_URL": urlunsplit(parts._replace(netloc=netloc, query="")),
                "POSTHOUSE_ADMIN_KEY": KEY,
                "POSTHOUSE_MASTER_KEY": master_key,
                "POSTHOUSE_PARTITIONS": "12",
                "POSTHOUSE_SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS),
                "POSTHOUSE_CIRCUIT_PROBE_SECONDS": "0.5",
                "POSTHOUSE_CIRCUIT_PROBE_SECONDS_MAX": "2",
            }
            process = Process(number, self._history, self._folder, environment, proxy)
            self.processes.append(process)
            await process.start()
            await process.ready()

    @property
    def ports(self) -> list[int]:
        return [process.port for process in self.processes]

    async def stop(self) -> None:
        """Planned ends, and what the logs say."""
        for process in self.processes:
            process.check_alive()
        await asyncio.gather(*(process.stop() for process in self.processes))
        self._history.alarms += [alarm for process in self.processes for alarm in process.alarms()]

    async def close(self) -> None:
        """End what is left."""
        for process in self.processes:
            process.end()
            await process.store.close()
