"""What every process of Posthouse begins with, one that serves as much as one that keeps workers: the port, the database, the
master key, and a stack that ends it all in the opposite order."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

import structlog

from posthouse.adapters.cel.expressions import CelExpressions, CelLimits
from posthouse.adapters.handlers.processes import HandlerProcesses
from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.proxy import parse_proxy
from posthouse.adapters.http.transport import HttpTransport
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.postgres.migrate import migrate
from posthouse.adapters.postgres.upkeep import PostgresUpkeep
from posthouse.adapters.system.clock import SystemClock
from posthouse.adapters.system.datadir import DataDir, default_data_dir
from posthouse.adapters.system.keyring import Keyring, Sealer, load_keyring
from posthouse.adapters.system.listening import cannot_listen
from posthouse.adapters.system.telemetry import configure_logging as telemetry_logging
from posthouse.config import Settings, environment_of_others
from posthouse.domain.egress import AllowedEgress
from posthouse.domain.errors import SetupError
from posthouse.domain.limits import CONNECTIONS_PER_PROCESS
from posthouse.manage.signing_in import sign_in_url

log = structlog.get_logger()

T = TypeVar("T")

LISTEN_BACKLOG: Final = 2048
CONNECTIONS_SPARE: Final = 35  # for the janitors of the database, `posthouse doctor`, pg_dump

NO_POOLER: Final = "database_direct_url is for a pooler at database_url, and that is not set"
NO_MASTER_KEY: Final = (
    "a database of your own needs a master key of your own, the same for every server on it: set POSTHOUSE_MASTER_KEY "
    "(`openssl rand -base64 32` makes one) or POSTHOUSE_MASTER_KEY_FILE"
)


class Ground(NamedTuple):
    """A database that is ready for use: migrated, with its partitions and days. `direct` is PostgreSQL itself where `dsn` names
    a pooler, else the same. `data_dir` is there where the database is the embedded one. `clock` was set by the database's."""

    dsn: str
    direct: str
    data_dir: Path | None
    sealer: Sealer
    clock: SystemClock


class Process:
    """`open`, `serve` until `stop`, `close`. Or `async with`, then `serve`.

    After `open`, `port` is the port that is listened on, and `first_key` the admin key where one was just made: it is
    kept nowhere else. Raises SetupError with what to do where it cannot start.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.first_key: str | None = None
        self.port = settings.port
        self._stack = AsyncExitStack()
        self._starting: asyncio.Task[Any] | None = None
        self._instead: BaseException | None = None
        self._listening: socket.socket

    async def open(self) -> None:
        """Everything up to, but not including, answering requests."""
        raise NotImplementedError

    def stop(self) -> None:
        """Begin to end, at once."""
        raise NotImplementedError

    def drain(self) -> None:
        """Begin to end, without dropping what others may still send for a moment."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._starting = asyncio.current_task()
        try:
            await self.open()
            if self._instead is not None:
                raise self._instead
        except BaseException:
            await self.close()
            if self._instead is not None:
                raise self._instead from None
            raise
        self._starting = None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End everything, in the opposite order of its beginning."""
        await self._stack.aclose()

    @property
    def url(self) -> str:
        host = self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def has_console(self) -> bool:
        return self.settings.console and self.settings.role != "worker"

    async def link_code(self) -> str | None:
        """What signs in to the console once; it is kept nowhere else. None where there is no console."""
        raise NotImplementedError

    async def sign_in_link(self) -> str | None:
        """The address to open with such a code: the public one, or else one that leads here from this machine."""
        code = await self.link_code()
        if code is None:
            return None
        # Listening everywhere is no address to open.
        here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.settings.host)  # noqa: S104 - it is what is compared with
        return sign_in_url(
            self.settings.public_url or (f"http://{here}:{self.port}" if here else self.url), "console", code
        )

    def closing(self, end: Callable[[], Awaitable[None]]) -> None:
        """Await `end` as this process closes."""
        self._stack.push_async_callback(end)

    def end(self, way: Callable[[], None], *, early: BaseException) -> None:
        """End by `way`, which is `drain` or `stop`; while `async with` still opens it, close what was begun in order, and raise
        `early` there."""
        if self._starting is None:
            way()
        else:
            self._instead = early
            self._starting.cancel()

    def stop_on_signals(self) -> None:
        """Let SIGTERM `drain`, and Ctrl-C `stop`: at a terminal nobody waits for a load balancer. A second one stops. SIGHUP (a
        terminal was closed) is as SIGTERM, unless it is ignored (nohup).

        To be called before `open`: process 1 of a container hears no signal that it does not handle, and whoever just dies of
        one leaves the embedded PostgreSQL running. What is told to end while it starts ends with exit code 0, as later on.
        """
        loop = asyncio.get_running_loop()
        told = 0

        def tell(first: Callable[[], None], early: BaseException) -> None:
            nonlocal told
            told += 1
            self.end(first if told == 1 else self.stop, early=early)

        with suppress(NotImplementedError):
            loop.add_signal_handler(signal.SIGTERM, tell, self.drain, SystemExit(0))
            loop.add_signal_handler(signal.SIGINT, tell, self.stop, KeyboardInterrupt())
            if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
                loop.add_signal_handler(signal.SIGHUP, tell, self.drain, SystemExit(0))

    # The parts of `open`

    def _listen(self) -> socket.socket:
        """Take the port first: a server that cannot have it should not touch anything."""
        host, port = self.settings.host, self.settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
        except OSError as error:
            raise cannot_listen(f"{host}:{port}", error, options="--host and --port") from error
        self._stack.callback(listening.close)
        self.port = listening.getsockname()[1]
        return listening

    async def _prepare(self) -> Ground:
        """Find or start the database, and make it ready."""
        dsn, direct, data_dir = await self._database_urls()
        await migrate(direct)
        database = Database(direct, size=1)
        await database.open()
        try:
            upkeep = PostgresUpkeep(database)
            clock = SystemClock()
            await anchor(clock, upkeep)
            installed = await upkeep.install(self.settings.partitions)
            if installed != self.settings.partitions and "partitions" in self.settings.model_fields_set:
                log.warning("partitions.as_installed", installed=installed, asked_for=self.settings.partitions)
            needed = CONNECTIONS_PER_PROCESS * self.settings.workers
            if (most := await upkeep.connections_max()) < needed:
                log.warning("database.few_connections", most=most, needed=needed)
            await upkeep.ensure_days(clock.now())
            sealer = Sealer(self._keyring(data_dir, create=not await upkeep.has_secrets()))
            return Ground(dsn, direct, data_dir, sealer, clock)
        finally:
            await database.close()

    async def _database_urls(self) -> tuple[str, str, Path | None]:
        """The database, how to reach it without a pooler, and the data directory where it is the embedded one."""
        settings = self.settings
        direct = None if settings.database_direct_url is None else settings.database_direct_url.get_secret_value()
        if settings.database_url is not None:
            dsn = settings.database_url.get_secret_value()
            return dsn, direct or dsn, None
        if direct is not None:
            raise SetupError(NO_POOLER)
        held = DataDir.hold(settings.data_dir or default_data_dir())
        self._stack.callback(held.release)
        postgres = EmbeddedPostgres(
            held.path,
            max_connections=CONNECTIONS_PER_PROCESS * settings.workers + CONNECTIONS_SPARE,
            report=lambda text: log.info("postgres", told=text),
        )
        self._stack.push_async_callback(postgres.stop)
        dsn = await postgres.start()
        self._task(postgres.supervise())
        return dsn, dsn, held.path

    def _keyring(self, data_dir: Path | None, *, create: bool) -> Keyring:
        settings = self.settings
        value = None if settings.master_key is None else settings.master_key.get_secret_value()
        if data_dir is None and value is None and settings.master_key_file is None:
            raise SetupError(NO_MASTER_KEY)
        return load_keyring(value=value, file=settings.master_key_file, data_dir=data_dir, create=create)

    async def _load_handlers(self) -> HandlerProcesses | None:
        """The handlers of callbacks. First of all: whoever wrote them wants to know at once what is wrong with them."""
        settings = self.settings
        if not settings.callbacks:
            return None
        handlers = HandlerProcesses(
            settings.callbacks,
            processes=settings.callback_processes,
            seconds=settings.callback_seconds,
            memory_bytes=settings.callback_memory_bytes,
            environment=environment_of_others(),
        )
        self._stack.push_async_callback(handlers.close)
        await handlers.start()
        return handlers

    async def _open(self, database: Database) -> Database:
        await database.open()
        self._stack.push_async_callback(database.close)
        return database

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        """A task beside everything else, ended as the stack unwinds."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._task_ended)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(end)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("process.task_died", exc_info=error)
            self.stop()


def transport_of(settings: Settings, egress: AllowedEgress) -> HttpTransport:
    """What requests go out by, and no further than they may."""
    return HttpTransport(
        GuardPolicy(
            allow_private=settings.allow_private_targets,
            allow_loopback=settings.allow_loopback_targets,
            allowed_networks=settings.allowed_networks,
        ),
        ca_file=settings.ca_file,
        proxies={name: parse_proxy(name, url.get_secret_value()) for name, url in settings.proxies.items()},
        source_addresses=egress.source_addresses,
    )


def expressions_of(settings: Settings) -> CelExpressions:
    """What expressions are evaluated by, within its limits."""
    return CelExpressions(
        CelLimits(
            workers=settings.expression_processes,
            memory_bytes=settings.expression_memory_bytes,
            seconds=settings.expression_seconds,
            payload_bytes_max=settings.payload_bytes_max,
        )
    )


async def anchor(clock: SystemClock, upkeep: PostgresUpkeep) -> None:
    """Set the clock by the database's."""
    asked_at = time.time()
    clock.anchor(await upkeep.database_time(), asked_at=asked_at, answered_at=time.time())


def configure_logging(settings: Settings) -> None:
    """Logs to stderr: for people on a terminal, lines of JSON elsewhere or where told so."""
    telemetry_logging(json=settings.log_json, level=settings.log_level)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)
