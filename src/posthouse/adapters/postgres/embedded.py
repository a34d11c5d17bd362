"""The embedded PostgreSQL: a real server on a Unix socket in the data directory, started, watched and stopped by us.

It runs in a session of its own: Ctrl-C in the terminal reaches Posthouse alone, which then stops it in order; and it
outlives a Posthouse that is killed. The next Posthouse adopts it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

from posthouse.adapters.postgres import postmaster
from posthouse.adapters.postgres.cluster import DATABASE, PORT, ROLE, Cluster, render_settings, socket_name
from posthouse.adapters.postgres.runtime import account_for, identity, locate, runtime_for
from posthouse.domain.errors import SetupError, StoreUnavailable

START_SECONDS_MAX: Final = 900.0
"""The longest start: recovery after a crash reads up to `max_wal_size` of log."""

STOP_FAST_SECONDS_MAX: Final = 30.0
STOP_IMMEDIATE_SECONDS_MAX: Final = 10.0
STOP_KILL_SECONDS_MAX: Final = 5.0
WATCH_SECONDS: Final = 0.2
RESTART_SECONDS_MIN: Final = 0.2
RESTART_SECONDS_MAX: Final = 10.0
ORPHANS_GRACE_SECONDS: Final = 2.0
ORPHANS_SECONDS_MAX: Final = 60.0

_POLL_SECONDS: Final = 0.01
_CONNECT_SECONDS_MAX: Final = 10.0
_LOG_TAIL_BYTES: Final = 64 * 1024
# PostgreSQL's words for "processes of the server before this one still hold its shared memory".
ORPHANS_MESSAGE: Final = "still in use"


def _silent(_: str) -> None:
    pass


class EmbeddedPostgres:
    """PostgreSQL on the cluster in `data_dir`, whose lock the caller holds.

    At most one method runs at a time, except that `supervise` runs as a task beside the others. `durable=False` turns
    off fsync, and a crash of the machine destroys the cluster: for tests only. `settings` are further ones of postgresql.conf,
    with the last word. `report` hears, in a sentence, what happens to the server without being asked for. `install`
    takes PostgreSQL's programs from elsewhere than the installed wheel.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        shared_buffers_mb: int = 128,
        max_connections: int = 60,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        report: Callable[[str], None] = _silent,
        install: Path | None = None,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self._shared_buffers_mb = shared_buffers_mb
        self._max_connections = max_connections
        self._durable = durable
        self._extra = dict(settings or {})
        self._report = report
        self._install = install

        self._cluster: Cluster
        self._postgres: Path
        self._socket_dir: Path
        self._settings: str
        self._dsn = ""
        self._version = ""

        self._process: subprocess.Popen[bytes] | None = None
        self._adopted: int | None = None
        self._wanted = False
        self._up_since = 0.0
        self._changing = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The postmaster's process number while it is alive; None otherwise."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        if self._adopted is not None and postmaster.serves(self._adopted, self._cluster.path):
            return self._adopted
        return None

    @property
    def dsn(self) -> str:
        """How to connect, password included; known after `start`."""
        return self._dsn

    @property
    def version(self) -> str:
        """The server's version, as `18.4`; known after `start`."""
        return self._version

    async def start(self) -> str:
        """Make the cluster if there is none, start or adopt its server, and return the DSN once it accepts connections.

        Raises: SetupError where this machine or data directory will not do, which says what to change.
        """
        async with self._changing:
            return await self._begin()

    async def stop(self) -> None:
        """End the server, adopted or not: in order; by crash (nothing committed is lost) where that takes too long."""
        self._wanted = False
        async with self._changing:
            await self._end()
            if self._dsn:
                self._cluster.forget_socket_dir(self._socket_dir)

    async def restart(self) -> str:
        """Stop and start again."""
        async with self._changing:
            await self._end()
            return await self._begin()

    async def supervise(self) -> None:
        """Start the server again whenever it has died, until `stop` is called or this task is cancelled.

        Waits longer and longer where it dies again at once, or does not come back. To be called after `start`.
        """
        delay, not_before = RESTART_SECONDS_MIN, 0.0
        while self._wanted:
            await asyncio.sleep(WATCH_SECONDS)
            async with self._changing:
                now = time.monotonic()
                if self.pid is not None:
                    if now - self._up_since > RESTART_SECONDS_MAX:
                        delay = RESTART_SECONDS_MIN
                elif self._wanted and now >= not_before:
                    await self._revive()
                    not_before = time.monotonic() + delay
                    delay = min(delay * 2, RESTART_SECONDS_MAX)

    async def _revive(self) -> None:
        self._report(f"PostgreSQL has died{self._exit_text()}; starting it again")
        try:
            await self._bring_up()
        except (SetupError, StoreUnavailable, OSError) as error:
            self._report(f"PostgreSQL did not come back: {error}")
        else:
            self._report(f"PostgreSQL is back as process {self.pid}")

    async def _begin(self) -> str:
        self._wanted = True
        try:
            # Where this is cancelled the thread goes on; what it makes is complete or not there.
            await asyncio.to_thread(self._prepare)
            await self._bring_up()
            await self._make_database()
        except Exception:
            self._wanted = False
            await self._end()
            raise
        except BaseException:
            self._wanted = False
            # Without waiting: a cancellation does not wait. SIGTERM, since a server that has just been started may still
            # ignore SIGINT, as a shell lets the programs do that it runs in the background; nobody is connected yet.
            self._signal(signal.SIGTERM)
            raise
        return self._dsn

    def _prepare(self) -> None:
        """All that happens on disk before a start."""
        account = account_for(self.data_dir, self.data_dir / "postgres")
        self._cluster = cluster = Cluster(self.data_dir, account)
        cluster.prepare()
        try:
            install = runtime_for(self._install or locate(), self.data_dir, account)
            self._postgres = install / "bin" / "postgres"
            password = cluster.password()
            if cluster.create(install, password, durable=self._durable):
                self._report(f"made a PostgreSQL cluster in {cluster.path}")
            self._socket_dir = cluster.socket_dir()
            self._settings = render_settings(
                cluster_name=cluster.name,
                socket_dir=self._socket_dir,
                shared_buffers_mb=self._shared_buffers_mb,
                max_connections=self._max_connections,
                wal_compression=cluster.wal_compression(install),
                durable=self._durable,
                extra=self._extra,
            )
        except OSError as error:
            raise SetupError(f"the data directory {self.data_dir} cannot be used: {error}") from error
        self._dsn = (
            f"postgresql://{ROLE}:{password}@/{DATABASE}?host={quote(str(self._socket_dir), safe='')}&port={PORT}"
        )

    async def _bring_up(self) -> None:
        """Adopt the server that runs, or start one; outlast what is left of one that died."""
        began = time.monotonic()
        while True:
            self._require_wanted()
            if self.pid is not None or await self._adopt():
                return
            refusal = await self._launch()
            if refusal is None:
                return
            waited = time.monotonic() - began
            if waited > ORPHANS_SECONDS_MAX or not self._may_pass(refusal):
                raise SetupError(f"PostgreSQL did not start: {_reason(refusal)} (its log is {self._cluster.log})")
            if waited > ORPHANS_GRACE_SECONDS and postmaster.end_orphans(self._cluster.name):
                self._report("ended what was left of the PostgreSQL before")
            await asyncio.sleep(WATCH_SECONDS)

    def _may_pass(self, refusal: str) -> bool:
        """Whether it refused for what is left of an earlier server, or for one that a killed Posthouse just started."""
        return ORPHANS_MESSAGE in refusal or postmaster.running(self._cluster.path) is not None

    async def _adopt(self) -> bool:
        """Take over a server that an earlier Posthouse left running, if it is the one that we would start.

        One with other settings or of another version is stopped in order instead.
        """
        found = postmaster.running(self._cluster.path)
        if found is None:
            return False
        self._process, self._adopted = None, found.pid
        same_program = postmaster.command_line(found.pid).startswith(f"{self._postgres} ")
        if not same_program or self._cluster.settings() != self._settings:
            self._report(f"stopping PostgreSQL {found.pid}, which runs with another version or other settings")
            await self._end()
            return False
        began = time.monotonic()
        while (now := postmaster.running(self._cluster.path)) is not None and now.status != postmaster.READY:
            await self._check_patience(began)
        if now is None:
            self._adopted = None
            return False
        self._adopted, self._up_since = now.pid, time.monotonic()
        self._report(f"adopted PostgreSQL {now.pid}, which was still running")
        return True

    async def _launch(self) -> str | None:
        """Start a server and wait until it accepts connections: None; or what it logged before it gave up."""
        cluster = self._cluster
        postmaster.clear_the_way(cluster.path, self._socket_dir / socket_name())
        if cluster.settings() != self._settings:
            cluster.write_settings(self._settings)
        log = cluster.open_log()
        try:
            log_starts_at = os.fstat(log).st_size
            # Here and not in a thread, though it takes a few milliseconds: a cancellation must not lose the process.
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220
                [self._postgres, "-D", cluster.path],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **identity(cluster.account),
            )
        finally:
            os.close(log)
        self._adopted = None
        began = time.monotonic()
        while self._process.poll() is None:
            said = postmaster.read(cluster.path)
            if said == postmaster.Postmaster(self._process.pid, postmaster.READY):
                self._up_since = time.monotonic()
                return None
            await self._check_patience(began)
        with open(cluster.log, "rb") as opened:  # noqa: ASYNC230
            opened.seek(log_starts_at)
            return opened.read(_LOG_TAIL_BYTES).decode("utf-8", errors="replace")

    async def _check_patience(self, began: float) -> None:
        """Wait a little longer for a server that is starting, unless that has become pointless."""
        self._require_wanted()
        if time.monotonic() - began > START_SECONDS_MAX:
            raise SetupError(
                f"PostgreSQL is not ready after {START_SECONDS_MAX:.0f} s. Its log {self._cluster.log} says why."
            )
        await asyncio.sleep(_POLL_SECONDS)

    def _require_wanted(self) -> None:
        if not self._wanted:
            raise StoreUnavailable("PostgreSQL was stopped while it was starting")

    async def _make_database(self) -> None:
        """Create the database on the first start, and learn the version."""
        try:
            connection = await asyncpg.connect(self._dsn, database="postgres", timeout=_CONNECT_SECONDS_MAX)
            try:
                if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE):
                    await connection.execute(f"CREATE DATABASE {DATABASE}")
                found = connection.get_server_version()
                self._version = f"{found.major}.{found.micro}"
            finally:
                await connection.close()
        except asyncpg.InvalidPasswordError as error:
            raise SetupError(
                f"the password in {self.data_dir / 'postgres.password'} is not that of the database. Restore both from "
                "the same backup."
            ) from error
        except (asyncpg.PostgresError, OSError) as error:
            raise StoreUnavailable(f"the embedded PostgreSQL does not answer: {error}") from error

    async def _end(self) -> None:
        """Fast shutdown, then an immediate one, then the end: each as long as its limit allows."""
        ways = (
            (signal.SIGINT, STOP_FAST_SECONDS_MAX),
            (signal.SIGQUIT, STOP_IMMEDIATE_SECONDS_MAX),
            (signal.SIGKILL, STOP_KILL_SECONDS_MAX),
        )
        for way, seconds in ways:
            self._signal(way)
            until = time.monotonic() + seconds
            while self.pid is not None and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)
            if self.pid is None:
                break
            self._report(f"PostgreSQL has not ended within {seconds:.0f} s of {way.name}")
        self._process = self._adopted = None

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _exit_text(self) -> str:
        return "" if self._process is None else f" (exit status {self._process.returncode})"


def _reason(log: str) -> str:
    """What a server's log says about why it ended."""
    lines = [line for line in log.splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    said = [line.partition(":  ")[2] or line.strip() for line in lines]
    last = max((n for n, line in enumerate(lines) if "FATAL:" in line or "PANIC:" in line), default=len(lines) - 1)
    if last > 0 and "contains errors" in said[last]:  # in a settings file: which, is said before
        return f"{said[last - 1]}; {said[last]}"
    return said[last]
