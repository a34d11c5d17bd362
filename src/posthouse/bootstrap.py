"""The only place that picks adapters: one process of Posthouse, from its settings to its open port."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import structlog
import uvicorn

from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.transport import HttpTransport
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.directory import PostgresDirectory
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.postgres.grants import PostgresGrants
from posthouse.adapters.postgres.inspect import PostgresInspector
from posthouse.adapters.postgres.jobs import PostgresJobs
from posthouse.adapters.postgres.log import PostgresLog
from posthouse.adapters.postgres.migrate import migrate
from posthouse.adapters.postgres.routing import PostgresRoutingView
from posthouse.adapters.postgres.session import ProcessSession
from posthouse.adapters.postgres.store import PostgresStore
from posthouse.adapters.postgres.stream import PostgresStreamSource
from posthouse.adapters.postgres.upkeep import PostgresUpkeep
from posthouse.adapters.postgres.usage import PostgresUsage
from posthouse.adapters.system.clock import SystemClock
from posthouse.adapters.system.collector import calm_collector as calm_collector
from posthouse.adapters.system.datadir import DataDir, default_data_dir
from posthouse.adapters.system.keyring import Keyring, Sealer, load_keyring
from posthouse.adapters.system.telemetry import PrometheusTelemetry
from posthouse.adapters.system.telemetry import configure_logging as telemetry_logging
from posthouse.api.app import Services, build_app
from posthouse.api.models.routing import explanation_body
from posthouse.api.publish import PublishRoutes
from posthouse.api.server import Connection, Server
from posthouse.config import Settings
from posthouse.dispatch.engine import Engine
from posthouse.dispatch.gauges import watch
from posthouse.dispatch.janitor import Janitor
from posthouse.domain.errors import Invalid, SetupError
from posthouse.domain.event import Draft, Event
from posthouse.domain.limits import PUBLISH_CLASSES
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.operations import Operators
from posthouse.intake.publisher import Publisher
from posthouse.intake.quotas import QuotaGate
from posthouse.lane.budget import Budget
from posthouse.manage.explain import Explainer
from posthouse.ports.log import EventLog
from posthouse.ports.store import Store
from posthouse.ports.transport import Transport

log = structlog.get_logger()
T = TypeVar("T")

READING_CONNECTIONS: Final = 6
API_CONNECTIONS: Final = 8
STREAM_CONNECTIONS: Final = 4
READING_SETTINGS: Final = {"plan_cache_mode": "force_custom_plan"}  # a generic plan locks every day's partition
API_STATEMENT_SECONDS: Final = 10.0


class Posthouse:
    """One process: `open`, `serve` until `stop`, `close`. Or `async with`, then `serve`.

    After `open`, `port` is the port that is listened on, and `first_key` the admin key where one was just made: it is
    kept nowhere else. Raises SetupError with what to do where it cannot start.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.first_key: str | None = None
        self.port = settings.port
        self._stack = AsyncExitStack()
        self._ready = False
        self._stopping = False
        self._server: Server | None = None
        self._end_streams: Callable[[], None] = lambda: None
        self._hint_streams: Callable[[], None] = lambda: None
        self._listening: socket.socket
        self._engine: Engine
        self._app: Any

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        host = self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    # Where a test puts something in between, and sees to its end.

    def closing(self, end: Callable[[], Awaitable[None]]) -> None:
        """Await `end` as this process closes."""
        self._stack.push_async_callback(end)

    def wrap_log(self, event_log: EventLog) -> EventLog:
        return event_log

    def wrap_store(self, store: Store) -> Store:
        return store

    def wrap_transport(self, transport: Transport) -> Transport:
        return transport

    async def open(self) -> None:
        """Everything up to, but not including, answering requests; deliveries begin."""
        settings = self.settings
        listening = self._listen()
        dsn, data_dir = await self._database_url()
        await migrate(dsn)
        clock = SystemClock()
        owner = clock.new_id()
        publishing = await self._open(Database(dsn, size=PUBLISH_CLASSES + 1))
        journalling = await self._open(Database(dsn, size=2))
        reading = await self._open(Database(dsn, size=READING_CONNECTIONS, settings=READING_SETTINGS))
        managing = await self._open(
            Database(dsn, size=API_CONNECTIONS, statement_seconds=API_STATEMENT_SECONDS, settings=READING_SETTINGS)
        )
        streaming = await self._open(
            Database(dsn, size=STREAM_CONNECTIONS, statement_seconds=API_STATEMENT_SECONDS, settings=READING_SETTINGS)
        )
        upkeep = PostgresUpkeep(reading)

        async def anchor() -> None:
            asked_at = time.time()
            clock.anchor(await upkeep.database_time(), asked_at=asked_at, answered_at=time.time())

        await anchor()
        await upkeep.install(settings.partitions)
        await upkeep.ensure_days(clock.now())
        sealer = Sealer(self._keyring(data_dir, create=not await upkeep.has_secrets()))
        telemetry = PrometheusTelemetry()
        event_log = self.wrap_log(PostgresLog(publishing, reading))
        store = self.wrap_store(PostgresStore(journalling, reading, sealer.open))
        http = HttpTransport(
            GuardPolicy(
                allow_private=settings.allow_private_targets,
                allow_loopback=settings.allow_loopback_targets,
                allowed_networks=settings.allowed_networks,
            ),
            ca_file=settings.ca_file,
        )
        self._stack.push_async_callback(http.close)
        transport = self.wrap_transport(http)
        session = ProcessSession(dsn, reading, owner=owner)

        def appended(events: Sequence[Event]) -> None:
            session.notify(engine.offer(events))
            self._hint_streams()

        publisher = Publisher(
            event_log,
            clock,
            telemetry,
            appended=appended,
            pending_events_max=settings.pending_events_max,
            pending_bytes_max=settings.pending_bytes_max,
        )
        engine = Engine(
            event_log=event_log,
            store=store,
            transport=transport,
            clock=clock,
            telemetry=telemetry,
            owner=owner,
            exclusive=data_dir is not None,
            dead=session.dead,
            budget=Budget(sockets_max=settings.sockets_max, bytes_max=settings.in_flight_bytes_max),
            published=publisher.hand_off,
            circuits=settings.circuit_policy(),
            owed_max=settings.owed_per_endpoint_max,
            jobs=PostgresJobs(reading),
        )
        session.tell(appended=engine.tails.nudge, lost=engine.suspend)
        await session.start()
        self._stack.push_async_callback(session.close)
        self._task(session.run())
        self._engine = engine
        await engine.start()
        self._stack.push_async_callback(engine.stop, seconds=settings.shutdown_seconds)

        directory = PostgresDirectory(managing, sealer)
        catalogue = CatalogueCache(directory, clock, auto_create=settings.auto_create_event_types)
        self._stack.push_async_callback(publisher.close)
        operators = Operators(publisher, clock)
        self._stack.push_async_callback(operators.close)
        if engine.replays is not None:
            engine.replays.finished = operators.replay_ended
        engine.overflow.told = operators.owed_too_much
        days = settings.retention_days
        quotas = QuotaGate(PostgresUsage(managing), clock, retention_days=days, refused=operators.quota_refused)
        janitor = Janitor(upkeep, clock, retention_days=days, anchor=anchor, measure=quotas.measure)
        self._task(janitor.run())
        watch(telemetry, engine, publisher, janitor, clock)

        async def check_target(host: str, port: int) -> str | None:
            try:
                await http.addresses.check(host, port)
            except Invalid as error:
                return str(error)
            return None

        explainer = Explainer(PostgresRoutingView(managing))

        async def explain(draft: Draft) -> bytes:
            return explanation_body(await explainer.explain(draft))

        services: Services = Services.over(
            directory,
            PostgresGrants(managing),
            PostgresInspector(managing),
            clock,
            store=store,
            replay_book=PostgresJobs(managing),
            transport=transport,
            stream_source=PostgresStreamSource(streaming),
            retention_days=days,
            quota_refused=operators.quota_refused,
            check_target=check_target,
            cursor_key=sha256(b"cursor" + await directory.installation_id()).digest(),
            metrics=telemetry.render,
            ready=self._why_not_ready,
            front=lambda gate: PublishRoutes(
                gate,
                authenticator=services.authenticator,
                catalogue=catalogue,
                publisher=publisher,
                explain=explain,
                quotas=quotas,
                clock=clock,
                payload_bytes_max=settings.payload_bytes_max,
                batch_bytes_max=settings.batch_bytes_max,
                body_seconds=settings.body_seconds,
            ),
            body_seconds=settings.body_seconds,
        )
        self._end_streams, self._hint_streams = services.streams.lookout.end, services.streams.lookout.hint
        telemetry.watch("streams", lambda: services.streams.count)
        self._stack.push_async_callback(services.streams.lookout.close)
        given = settings.admin_key
        self.first_key = await services.keys.ensure_first_key(None if given is None else given.get_secret_value())
        self._app = build_app(services)
        self._listening = listening

    # The parts of `open`

    def _listen(self) -> socket.socket:
        """Take the port first: a server that cannot have it should not touch anything."""
        host, port = self.settings.host, self.settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server((host, port), family=family, backlog=2048)
        except OSError as error:
            raise SetupError(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another with --host and --port"
            ) from error
        self._stack.callback(listening.close)
        self.port = listening.getsockname()[1]
        return listening

    async def _database_url(self) -> tuple[str, Path | None]:
        """The database, and the data directory where it is the embedded one."""
        settings = self.settings
        if settings.database_url is not None:
            return settings.database_url.get_secret_value(), None
        held = DataDir.hold(settings.data_dir or default_data_dir())
        self._stack.callback(held.release)
        postgres = EmbeddedPostgres(held.path, report=lambda text: log.info("postgres", told=text))
        self._stack.push_async_callback(postgres.stop)
        dsn = await postgres.start()
        self._task(postgres.supervise())
        return dsn, held.path

    def _keyring(self, data_dir: Path | None, *, create: bool) -> Keyring:
        settings = self.settings
        value = None if settings.master_key is None else settings.master_key.get_secret_value()
        if data_dir is None and value is None and settings.master_key_file is None:
            raise SetupError(
                "a database of your own needs a master key of your own, the same for every server on it: set "
                "POSTHOUSE_MASTER_KEY (`openssl rand -base64 32` makes one) or POSTHOUSE_MASTER_KEY_FILE"
            )
        return load_keyring(value=value, file=settings.master_key_file, data_dir=data_dir, create=create)

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

    async def _why_not_ready(self) -> str | None:
        if not self._ready:
            return "the server is starting or stopping"
        if not self._engine.ownership.valid:
            return "the database does not answer"
        return None

    # Serving

    async def serve(self) -> None:
        """Answer requests until `stop`; then let those under way finish. Raises what a dead part of the engine raised."""
        server = self._server = Server(
            uvicorn.Config(
                self._app,
                http=Connection,
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                date_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=10,
                backlog=2048,
            )
        )
        self._engine.failed.add_done_callback(lambda _: self.stop())
        if self._stopping:
            return
        self._ready = True
        await server.serve(sockets=[self._listening])
        if self._engine.failed.done():
            self._engine.failed.result()

    def stop(self) -> None:
        """Begin to end: not ready any more, no new connections, no live streams."""
        self._ready = False
        self._stopping = True
        self._end_streams()
        if self._server is not None:
            self._server.should_exit = True

    def stop_on_signals(self) -> None:
        """Let SIGTERM and Ctrl-C `stop`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, self.stop)

    async def close(self) -> None:
        """End everything, in the opposite order of its beginning."""
        self._ready = False
        await self._stack.aclose()


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
