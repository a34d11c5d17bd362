"""PostgreSQL servers that a test may break: on a port of their own, with standbys, started and ended as the test says.

They are copies of one migrated cluster, which is made once a session; nothing is synced to disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from tests.folders import FAST

from posthouse.adapters.postgres.cluster import DATABASE, ROLE, Cluster
from posthouse.adapters.postgres.embedded import ORPHANS_MESSAGE
from posthouse.adapters.postgres.migrate import migrate
from posthouse.adapters.postgres.runtime import Account, account_for, identity, locate, runtime_for

PATIENCE_SECONDS: Final = 30
_PASSWORD: Final = "password-of-a-test"
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "dynamic_shared_memory_type": "mmap",  # in the cluster's folder: what a killed server leaves goes with it
    "max_wal_senders": "4",
    "wal_keep_size": "256MB",
    "hot_standby": "on",
    "wal_receiver_timeout": "2s",
    "wal_retrieve_retry_interval": "100ms",
    "timezone": "UTC",
}


class Postgres:
    """One server. `settings` may be changed between two starts."""

    def __init__(self, folder: Path, install: Path, account: Account | None) -> None:
        self.cluster = folder / "postgres"
        self._log = folder / "postgres.log"
        self._install = install
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self.settings = dict(_SETTINGS)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @property
    def dsn(self) -> str:
        return dsn_of(self)

    async def start(self, **settings: str) -> None:
        """Start, and wait until it answers."""
        self.settings |= settings
        lines = [f"{name} = '{value}'" for name, value in {**self.settings, "port": str(self.port)}.items()]
        (self.cluster / "posthouse.conf").write_text("\n".join(lines) + "\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._launch():  # noqa: ASYNC110 - other processes' fact
                await asyncio.sleep(0.02)

    async def _launch(self) -> bool:
        """Start it, and wait until it answers; false if a process of the killed server before still has its memory.

        One that was forked as `kill` looked lives on until it notices that its postmaster is gone.
        """
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        with self._log.open("ab") as log:
            told_before = log.tell()
            self._process = subprocess.Popen(  # noqa: ASYNC220
                [self._install / "bin" / "postgres", "-D", self.cluster],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **identity(self._account),
            )
        while self._process.poll() is None:
            try:
                connection = await asyncpg.connect(self.dsn, database="postgres")
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.02)
            else:
                await connection.close()
                return True
        told = self._log.read_bytes()[told_before:].decode("utf-8", errors="replace")
        assert ORPHANS_MESSAGE in told, told[-2000:]
        return False

    async def stop(self, way: signal.Signals = signal.SIGINT) -> None:
        """End it: fast, or immediately (SIGQUIT). Returns when it is gone."""
        assert self._process is not None
        self._process.send_signal(way)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._process.poll() is None:  # noqa: ASYNC110 - another process's fact
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """kill -9 of every process of it, as when its machine loses power."""
        self.signal_all(signal.SIGKILL)
        await self.stop(signal.SIGKILL)

    def signal_all(self, number: signal.Signals) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def processes(self) -> list[int]:
        """The postmaster and its children."""
        if self._process is None or self._process.poll() is not None:
            return []
        found = [self._process.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self._process.pid:
                    found.append(int(stat.parent.name))
        return found

    async def execute(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def promote(self) -> None:
        assert (await self.execute("SELECT pg_promote(true, 30)"))[0][0]


def dsn_of(*servers: Postgres) -> str:
    """The DSN of several servers, of which one takes writes."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://{ROLE}:{_PASSWORD}@{hosts}/{DATABASE}"


class Clusters:
    """Where servers of one test come from."""

    def __init__(self, template: Path, account: Account | None) -> None:
        self._template = template
        self._account = account
        self._install = runtime_for(locate(), template, account)
        self._made: list[Postgres] = []
        self._folders: list[Path] = []

    def server(self, of: Postgres | None = None) -> Postgres:
        """A server on a copy of the migrated cluster, or of another one that is stopped."""
        folder = Path(tempfile.mkdtemp(prefix="posthouse-fault-", dir=FAST))
        self._folders.append(folder)
        folder.chmod(0o755)
        made = Postgres(folder, self._install, self._account)
        _copy(self._template / "postgres" if of is None else of.cluster, made.cluster)
        self._made.append(made)
        return made

    async def pair(self, *, synchronous: bool) -> tuple[Postgres, Postgres]:
        """A primary and its standby, both running."""
        primary = self.server()
        standby = self.server(primary)
        (standby.cluster / "standby.signal").touch()
        if synchronous:
            primary.settings |= {"synchronous_standby_names": "standby"}
        await primary.start()
        await standby.start(
            primary_conninfo=f"host=127.0.0.1 port={primary.port} user={ROLE} password={_PASSWORD} "
            "application_name=standby"
        )
        state = "sync" if synchronous else "async"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await primary.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = $1", state):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return primary, standby

    async def close(self) -> None:
        for server in self._made:
            server.signal_all(signal.SIGCONT)
            if server.processes():
                await server.kill()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


def _copy(cluster: Path, to: Path) -> None:
    subprocess.run(["/bin/cp", "-a", cluster, to], check=True)


@pytest.fixture(scope="session")
def cluster_template() -> Iterator[tuple[Path, Account | None]]:
    """A migrated cluster that is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="posthouse-fault-", dir=FAST))
    folder.chmod(0o755)
    account = account_for(folder, folder / "postgres")
    install = runtime_for(locate(), folder, account)

    async def make() -> None:
        cluster = Cluster(folder, account)
        cluster.prepare()
        cluster.create(install, _PASSWORD, durable=False)
        server = Postgres(folder, install, account)
        await server.start()
        connection = await asyncpg.connect(server.dsn, database="postgres")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.close()
        await migrate(server.dsn)
        await server.stop()

    try:
        asyncio.run(make())
        yield folder, account
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def clusters(cluster_template: tuple[Path, Account | None]) -> AsyncIterator[Clusters]:
    """Servers for one test."""
    async with _closing(Clusters(*cluster_template)) as made:
        yield made


@asynccontextmanager
async def _closing(made: Clusters) -> AsyncIterator[Clusters]:
    try:
        yield made
    finally:
        await made.close()
