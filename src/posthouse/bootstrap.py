"""The only place that picks adapters (with `process.py` beneath it): a process that serves, from its settings to its port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import structlog

from posthouse.adapters.postgres.calls import PostgresCalls
from posthouse.adapters.postgres.directory import PostgresDirectory
from posthouse.adapters.postgres.grants import PostgresGrants
from posthouse.adapters.postgres.history import History
from posthouse.adapters.postgres.inspect import PostgresInspector
from posthouse.adapters.postgres.jobs import PostgresJobs
from posthouse.adapters.postgres.log import PostgresLog
from posthouse.adapters.postgres.pools import Pools
from posthouse.adapters.postgres.routing import PostgresRoutingView
from posthouse.adapters.postgres.session import ProcessSession
from posthouse.adapters.postgres.store import PostgresStore
from posthouse.adapters.postgres.stream import PostgresStreamSource
from posthouse.adapters.postgres.upkeep import PostgresUpkeep
from posthouse.adapters.postgres.usage import PostgresUsage
from posthouse.adapters.postgres.verifications import PostgresVerifications
from posthouse.adapters.sources.changes.kind import ChangesKind
from posthouse.adapters.sources.inbound import InboundKind
from posthouse.adapters.sources.loading import load_kinds
from posthouse.adapters.sources.tables.kind import TableKind
from posthouse.adapters.system.collector import calm_collector as calm_collector
from posthouse.adapters.system.links import Links
from posthouse.adapters.system.open_files import open_as_many_as_may_be, room_for_clients
from posthouse.adapters.system.siblings import Siblings, WorkerPlace
from posthouse.adapters.system.telemetry import PrometheusTelemetry
from posthouse.adapters.writing.processes import WritingProcesses, writing_limits
from posthouse.api.app import Services, build_app
from posthouse.api.express import Express, expressing
from posthouse.api.gate import App
from posthouse.api.models.routing import explanation_body
from posthouse.api.only_system import only_system
from posthouse.api.outbox import OwnOutbox
from posthouse.api.publish import PublishRoutes
from posthouse.api.server import Server, configured
from posthouse.api.texts.accepted import Language
from posthouse.config import Settings
from posthouse.dispatch.engine import Engine
from posthouse.dispatch.gauges import watch, watch_caches, watch_handshakes
from posthouse.dispatch.verifier import Verifier
from posthouse.domain.event import Draft, Event
from posthouse.domain.limits import PUBLISH_ANSWER_SECONDS_MAX, PUBLISH_STATEMENT_SECONDS_MAX
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.observed import ObservedEvents
from posthouse.intake.operations import Operators
from posthouse.intake.publisher import Publisher
from posthouse.intake.quotas import QuotaGate
from posthouse.keeping import Keeping, cautions
from posthouse.lane.budget import Budget
from posthouse.manage.explain import Explainer
from posthouse.manage.profiles import Profiles, in_directory, shipped
from posthouse.manage.sessions import Sessions
from posthouse.manage.verification import Verifications
from posthouse.ports.log import EventLog
from posthouse.ports.sources import TriggerKind
from posthouse.ports.store import Store
from posthouse.ports.transport import Transport
from posthouse.process import LISTEN_BACKLOG, Process, expressions_of, transport_of
from posthouse.watching import Watching

log = structlog.get_logger()


class Posthouse(Process):
    """A process that serves: by its role it answers the API, or owns partitions and delivers, or both.

    After `open`, deliveries begin. `worker`: it is one of several under a supervisor, which holds the port.
    """

    def __init__(self, settings: Settings, *, worker: WorkerPlace | None = None) -> None:
        super().__init__(settings)
        self._worker = worker
        self._ready = False
        self._delivering = False
        self._stopping = False
        self._express: Express | None = None
        self._server: Server | None = None
        self._end_streams: Callable[[], None] = lambda: None
        self._hint_streams: Callable[[], None] = lambda: None
        self._engine: Engine
        self._publisher: Publisher
        self._session: ProcessSession
        self._app: Any
        self._sessions: Sessions

    # Where a test puts something in between.

    def wrap_log(self, event_log: EventLog) -> EventLog:
        return event_log

    def wrap_store(self, store: Store) -> Store:
        return store

    def wrap_transport(self, transport: Transport) -> Transport:
        return transport

    def wrap_kinds(self, kinds: dict[str, TriggerKind]) -> dict[str, TriggerKind]:
        return kinds

    async def open(self) -> None:
        """Everything up to, but not including, answering requests; deliveries begin."""
        settings = self.settings
        owns, answers = settings.role != "api", settings.role != "worker"
        listening = self._listen()
        handlers = await self._load_handlers() if owns else None
        dsn, direct, data_dir, self._sealer, clock = await self._prepare()
        owner = clock.new_id()
        history = History(owner)
        pools = Pools(dsn, direct, history, publish_seconds=PUBLISH_STATEMENT_SECONDS_MAX)
        for database in pools.all:
            await self._open(database)
        reading, polling, managing = pools.reading, pools.polling, pools.managing
        upkeep = PostgresUpkeep(pools.upkeep)
        telemetry = PrometheusTelemetry()
        event_log = self.wrap_log(PostgresLog(pools.publishing, reading, polling=polling))
        postgres = PostgresStore(pools.journalling, reading, self._sealer.open, polling=polling, history=history)
        store = self.wrap_store(postgres)
        egress = settings.allowed_egress()
        http = transport_of(settings, egress)
        self._stack.push_async_callback(http.close)
        transport = self.wrap_transport(http)
        expressions, writer = expressions_of(settings), WritingProcesses(writing_limits(settings.payload_bytes_max))
        self._stack.push_async_callback(expressions.close)
        self._stack.push_async_callback(writer.close)
        session = self._session = ProcessSession(direct, polling, owner=owner, history=history)

        keeping = Keeping(reading, clock, settings, owner=owner)

        def appended(events: Sequence[Event]) -> None:
            session.notify(engine.offer(events))
            keeping.published(events)
            self._hint_streams()

        links = None
        if self._worker is not None:
            links = Links(
                self._worker.folder,
                self._worker.number,
                self._worker.count,
                owned=lambda: engine.ownership.epochs,
                take=lambda partition, drafts: publisher.take(partition, drafts),
            )
        publisher = self._publisher = Publisher(
            event_log,
            clock,
            telemetry,
            appended=appended,
            handing=links,
            sharing=lambda: engine.ownership.live,
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
            jobs=PostgresJobs(reading, polling=polling),
            changed=session.announce,
            expressions=expressions,
            writer=writer,
            call_book=PostgresCalls(reading),
            handlers=handlers,
            counted=keeping.traffic.counted,
            pressed=publisher.pressed,
        )
        history.tell(engine.replaced, held=lambda: engine.ownership.epochs)
        session.tell(appended=engine.tails.nudge, lost=engine.suspend, changed=engine.ownership.wake)
        await session.start()
        self._stack.push_async_callback(session.close)
        self._task(session.run())
        self._engine = engine
        self._stack.push_async_callback(keeping.close)
        self._task(keeping.count(engine))
        self._stack.push_async_callback(self._stop_engine)

        directory = PostgresDirectory(managing, self._sealer)
        catalogue = CatalogueCache(directory, clock, auto_create=settings.auto_create_event_types)
        history.tell(catalogue.forget)
        if links is not None:
            await links.start()
            self._stack.push_async_callback(links.close)
        self._stack.push_async_callback(publisher.close)
        operators = Operators(publisher, clock)
        self._stack.push_async_callback(operators.close)
        if engine.replays is not None:
            engine.replays.finished = operators.replay_ended
        engine.overflow.told = operators.owed_too_much
        engine.tails.alarmed = operators.log_rewound
        engine.effects.troubled = engine.chains.troubled = operators
        engine.effects.check = partial(catalogue.check, path="data")
        days = settings.retention_days
        quotas = QuotaGate(PostgresUsage(managing), clock, retention_days=days, refused=operators.quota_refused)
        janitor = keeping.janitor(upkeep, quotas)
        self._task(janitor.run())
        watch(telemetry, engine, publisher, janitor, clock)
        watch_caches(telemetry, engine, catalogue)
        telemetry.watch_cache("target_addresses", lambda: http.addresses.cached)
        telemetry.watch_cache("target_connections", lambda: http.idle_cached)
        telemetry.watch_cache("tls_contexts", lambda: http.contexts_cached)
        expressions.watch(telemetry)
        writer.watch(telemetry)
        telemetry.watch_cache("data_keys", lambda: self._sealer.cached)
        telemetry.watch("database_replacements", lambda: history.replacements)

        profiles = Profiles(shipped(), [] if settings.profiles is None else in_directory(settings.profiles))
        inbound = InboundKind(profiles.get, settings.public_url, settings.payload_bytes_max)
        watching = Watching.over(
            pools,
            self._sealer,
            self.wrap_kinds(load_kinds((TableKind(), ChangesKind(), inbound))),
            telemetry,
            operators,
            door=ObservedEvents(catalogue, quotas, publisher),
            catalogue=catalogue,
            directory=directory,
            expressions=expressions,
            clock=clock,
            owner=owner,
            payload_bytes_max=settings.payload_bytes_max,
        )
        self._stack.push_async_callback(watching.close)

        verifications = PostgresVerifications(managing, polling=polling)
        verifier = Verifier(verifications, store, transport, clock, public_url=settings.public_url)
        verifier.handshakes.told = operators.endpoint_verification
        watch_handshakes(telemetry, verifier)
        self._stack.push_async_callback(verifier.close)
        explainer = Explainer(PostgresRoutingView(managing), expressions, writer)

        async def explain(draft: Draft, language: Language) -> bytes:
            return explanation_body(await explainer.explain(draft), language)

        def front(gate: App) -> App:
            routes = PublishRoutes(
                gate,
                authenticator=services.authenticator,
                catalogue=catalogue,
                publisher=publisher,
                explain=explain,
                quotas=quotas,
                clock=clock,
                cookies=services.cookies,
                payload_bytes_max=settings.payload_bytes_max,
                batch_bytes_max=settings.batch_bytes_max,
                body_seconds=settings.body_seconds,
                answer_seconds=PUBLISH_ANSWER_SECONDS_MAX,
            )
            self._express = routes if answers else None
            self._task(OwnOutbox(direct, routes.relayed, there=upkeep.has_outbox).run())
            return watching.answering(routes, body_seconds=settings.body_seconds) if answers else routes

        warnings = partial(cautions, publisher, engine, self._sealer)
        services: Services = Services.over(
            directory,
            PostgresGrants(managing),
            PostgresInspector(managing),
            clock,
            store=store,
            replay_book=PostgresJobs(managing),
            schedules=watching.schedules,
            triggers=watching.triggers,
            refusals=watching.refusals,
            transport=transport,
            stream_source=PostgresStreamSource(pools.streaming),
            charts=keeping.charts(directory, managing),
            installation=await keeping.installation(
                managing, store, embedded=data_dir is not None, port=self.port, warnings=warnings
            ),
            explainer=explainer,
            retention_days=days,
            quota_refused=operators.quota_refused,
            check_target=http.addresses.refusal,
            egress=egress,
            cursor_key=sha256(b"cursor" + await directory.installation_id()).digest(),
            metrics=await self._metrics(telemetry),
            ready=self._why_not_ready,
            warnings=warnings,
            front=front,
            watch_cache=telemetry.watch_cache,
            body_seconds=settings.body_seconds,
            expressions=expressions,
            writer=writer,
            profiles=profiles,
            verifications=Verifications(directory, verifier.queue, verifier.handshakes),
            public_url=settings.public_url,
            pages=settings.pages,
            platform_name=settings.platform_name,
            unverified=verifier.wake,
        )
        self._end_streams, self._hint_streams = services.streams.lookout.end, services.streams.lookout.hint
        history.tell(services.streams.lookout.restart)
        telemetry.watch("streams", lambda: services.streams.count)
        self._stack.push_async_callback(services.streams.lookout.close)
        self._app = build_app(services) if answers else only_system(build_app(services))
        if owns:
            # Last of all: others hand over at once, and what they gave away shall not wait for the rest of our start.
            await engine.start()
            self._delivering = True
            watching.start()
            verifier.start()
        self._sessions = services.sessions
        telemetry.watch("sign_in_failures", lambda: services.sessions.failures + services.portal.failures)
        self.first_key = await services.keys.ensure_first_key(settings.given_admin_key)
        self._listening = listening

    async def link_code(self) -> str | None:
        return await self._sessions.first_link() if self.has_console else None

    # The parts of `open`

    async def _stop_engine(self) -> None:
        if self._delivering:
            await self._engine.stop(seconds=self.settings.shutdown_seconds)

    def _listen(self) -> socket.socket:
        if self._worker is None:
            return super()._listen()
        listening = socket.socket(fileno=self._worker.socket)
        self._stack.callback(listening.close)
        self.port = listening.getsockname()[1]
        return listening

    async def _metrics(self, telemetry: PrometheusTelemetry) -> Callable[[], Awaitable[tuple[bytes, str]]]:
        if self._worker is None:

            async def alone() -> tuple[bytes, str]:
                return telemetry.render()

            return alone
        siblings = Siblings(self._worker.folder, self._worker.number, self._worker.count, telemetry.render)
        await siblings.start()
        self._stack.push_async_callback(siblings.close)
        return siblings.render

    async def _why_not_ready(self) -> str | None:
        if not self._ready:
            return "the server is starting or stopping"
        up = self._session.up if self.settings.role == "api" else self._engine.ownership.valid
        if not up:
            return "the database does not answer"
        return None

    # Serving

    async def serve(self) -> None:
        """Answer requests until `stop`; then let those under way finish. Raises what a dead part of the engine raised."""
        clients_max = room_for_clients(open_as_many_as_may_be(), sockets_max=self.settings.sockets_max)
        server = self._server = Server(
            configured(self._app, http=expressing(self._express, clients_max=clients_max), backlog=LISTEN_BACKLOG),
            holds_door=self._worker is None,
        )
        self._engine.failed.add_done_callback(lambda _: self.stop())
        if self._stopping:
            return
        self._ready = True
        await server.serve(sockets=[self._listening])
        if self._engine.failed.done():
            self._engine.failed.result()

    def drain(self) -> None:
        """Not ready any more, and connections are asked to close, but whatever comes is answered, so that a load balancer can
        notice before `stop`."""
        self._ready = False
        if self._server is None or self.settings.drain_seconds == 0:
            self.stop()
            return
        self._server.part()
        asyncio.get_running_loop().call_later(self.settings.drain_seconds, self.stop)

    def stop(self) -> None:
        """Begin to end: not ready any more, no new connections, no live streams."""
        self._ready = False
        self._stopping = True
        self._end_streams()
        if self._server is not None:
            self._server.should_exit = True

    async def close(self) -> None:
        self._ready = False
        await super().close()
