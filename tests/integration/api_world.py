"""The API in one process over a real database, with a log and a store beside it to make things happen."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import jsonschema_rs
import msgspec
from docs.http_page import openapi_document
from tests.asgi import Client, Reply
from tests.fakes import FakeTransport
from tests.making import app_of

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.days import ensure_days
from posthouse.adapters.postgres.directory import PostgresDirectory
from posthouse.adapters.postgres.grants import PostgresGrants
from posthouse.adapters.postgres.inspect import PostgresInspector
from posthouse.adapters.postgres.jobs import PostgresJobs
from posthouse.adapters.postgres.log import PostgresLog
from posthouse.adapters.postgres.overview import PostgresOverview
from posthouse.adapters.postgres.routing import PostgresRoutingView
from posthouse.adapters.postgres.store import PostgresStore
from posthouse.adapters.postgres.stream import PostgresStreamSource
from posthouse.adapters.postgres.traffic import PostgresTraffic
from posthouse.adapters.postgres.usage import PostgresUsage
from posthouse.adapters.postgres.verifications import PostgresVerifications
from posthouse.adapters.system.clock import SystemClock
from posthouse.adapters.system.keyring import Keyring, Sealer
from posthouse.adapters.system.telemetry import PrometheusTelemetry
from posthouse.api.app import Services, build_app
from posthouse.dispatch.verifier import Verifier
from posthouse.domain.delivery import Attempt, AttemptOutcome, Cursor, DeliveryClass, JournalBatch, Owed, OwedReason
from posthouse.domain.event import Draft, Event
from posthouse.domain.exchange import Timings
from posthouse.domain.ids import APP, ENDPOINT, AppId, AttemptId, EndpointId, EventId, parse_id
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.observed import ObservedEvents
from posthouse.intake.operations import Operators
from posthouse.intake.publisher import Publisher
from posthouse.intake.quotas import QuotaGate
from posthouse.manage.explain import Explainer
from posthouse.manage.overview import Installation
from posthouse.manage.traffic import TrafficCharts
from posthouse.manage.verification import Verifications
from posthouse.ports.expressions import NO_EXPRESSIONS
from posthouse.ports.log import Appended
from posthouse.ports.sources import TriggerKind
from posthouse.watching import Watching

OWNER: Final = b"o" * 16
PARTITIONS: Final = 4
REFUSED_HOST: Final = "10.0.0.1"


def sealer() -> Sealer:
    """Secrets sealed as in production."""
    return Sealer(Keyring([b"k" * 32]))


class World:
    """`admin` is a client with an administrator's key."""

    def __init__(
        self, database: Database, services: Services, client: Client, clock: SystemClock, sealer: Sealer
    ) -> None:
        self.database = database
        self.services = services
        self.admin = client
        self.clock = clock
        self.directory = PostgresDirectory(database, sealer)
        self.inspector = PostgresInspector(database)
        self.log = PostgresLog(database, database)
        self.store = PostgresStore(database, database, sealer.open)
        self._epochs: dict[int, int] = {}

    async def app(self, uid: str) -> str:
        """A new app; its id."""
        reply = await self.admin.post("/v1/apps", {"uid": uid})
        assert reply.status == 201, reply.body
        app_id: str = reply.json()["id"]
        return app_id

    async def endpoint(self, app: str, **fields: Any) -> str:
        """A new endpoint; its id."""
        reply = await self.admin.post(f"/v1/apps/{app}/endpoints", {"url": "https://example.com/hooks"} | fields)
        assert reply.status == 201, reply.body
        endpoint_id: str = reply.json()["id"]
        return endpoint_id

    async def replay(self, app: str, endpoint: str, **fields: Any) -> str:
        """A new replay; its id."""
        body = {"endpoint": endpoint, "since": ago(3600), "select": "all"} | fields
        reply = await self.admin.post(f"/v1/apps/{app}/replays", body)
        assert reply.status == 202, reply.body
        replay_id: str = reply.json()["id"]
        return replay_id

    async def client_of(self, app: str) -> Client:
        """A client with a new key of an app."""
        reply = await self.admin.post("/v1/keys", {"scope": "app", "app": app})
        assert reply.status == 201, reply.body
        return self.admin.with_key(reply.json()["key"])

    async def publisher(self, app: str | None = None) -> Client:
        """A client with a new key that may only publish: of one app, or of all."""
        reply = await self.admin.post("/v1/keys", {"scope": "publish", "app": app})
        assert reply.status == 201, reply.body
        return self.admin.with_key(reply.json()["key"])

    async def publish(self, app: str, *payloads: bytes, type: str = "order.created", **fields: Any) -> list[Event]:
        """Append events to the log."""
        app_id = AppId(raw(APP, app))
        drafts = [
            Draft(id=EventId(self.clock.new_id()), app_id=app_id, type=type, payload=payload, **fields)
            for payload in payloads or (b'{"n": 1.50}',)
        ]
        events = []
        for draft, result in zip(drafts, await self.log.append(drafts), strict=True):
            assert isinstance(result, Appended)
            events.append(
                Event(
                    id=draft.id,
                    partition=result.partition,
                    seq=result.seq,
                    app_id=app_id,
                    type=type,
                    payload=draft.payload,
                    content_type=draft.content_type,
                    created_at=result.created_at,
                    config_version=result.config_version,
                )
            )
        return events

    async def record(
        self, events: Sequence[Event], endpoint: str, outcome: AttemptOutcome = AttemptOutcome.DELIVERED, **fields: Any
    ) -> list[Attempt]:
        """Journal an attempt an event, and the cursor past them."""
        defaults: dict[str, Any] = {
            "number": 1,
            "kind": DeliveryClass.LIVE,
            "outcome": outcome,
            "reason": "confirmed" if outcome is AttemptOutcome.DELIVERED else "http_status",
            "revision": 1,
            "url": "https://example.com/hooks",
            "status": 200 if outcome is AttemptOutcome.DELIVERED else 500,
            "address": "192.0.2.1",
            "timings": Timings(connect_us=1500, first_byte_us=2500, total_us=3000),
        }
        attempts = [
            Attempt(
                id=AttemptId(self.clock.new_id()),
                partition=event.partition,
                app_id=app_of(event),
                endpoint_id=EndpointId(raw(ENDPOINT, endpoint)),
                event_id=event.id,
                seq=event.seq,
                **{"started_at": event.created_at + 0.01} | defaults | fields,
            )
            for event in events
        ]
        await self.journal(attempts=tuple(attempts), cursors=cursors(events))
        return attempts

    async def owe(self, events: Sequence[Event], endpoint: str, *, due_at: float, **fields: Any) -> None:
        """Journal an owed row an event, and the cursor past them."""
        given: dict[str, Any] = {"number": 2, "reason": OwedReason.FAILED} | fields
        owed = tuple(
            Owed(
                partition=event.partition,
                endpoint_id=EndpointId(raw(ENDPOINT, endpoint)),
                event_id=event.id,
                seq=event.seq,
                due_at=due_at,
                payload_bytes=len(event.payload),
                **given,
            )
            for event in events
        )
        await self.journal(owed=owed, cursors=cursors(events))

    async def journal(self, **fields: Any) -> None:
        if not self._epochs:
            claims = await self.store.claim(OWNER, limit=PARTITIONS, lease_seconds=600, exclusive=True)
            self._epochs = {claim.partition: claim.epoch for claim in claims}
        await self.store.journal(JournalBatch(owner=OWNER, epochs=self._epochs, **fields), now=0.0, lease_seconds=600)

    async def query(self, sql: str, *arguments: object) -> list[Any]:
        return [tuple(row) for row in await self.database.fetch(sql, *arguments)]

    async def audit(self) -> list[tuple[str, str]]:
        """Who did what, in order: (action, object)."""
        return await self.query("SELECT action, object FROM audit ORDER BY id")


class Contract:
    """The OpenAPI document as a promise: `check` raises for an answer that it does not describe."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._validators: dict[str, Any] = {}
        self._paths = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path)), path, operations)
            for path, operations in document["paths"].items()
        ]

    def check(self, method: str, path: str, reply: Reply) -> None:
        for pattern, template, operations in self._paths:
            if pattern.fullmatch(path) and method.lower() in operations:
                responses = operations[method.lower()]["responses"]
                assert str(reply.status) in responses, (method, template, reply.status, reply.body)
                described = self._resolved(responses[str(reply.status)])
                if "content" not in described:
                    assert reply.body == b"", (method, template)
                    return
                kind = reply.headers["content-type"].partition(";")[0]
                assert kind in described["content"], (method, template, kind)
                if kind.endswith("json"):
                    self._validate(described["content"][kind]["schema"], reply.body)
                return

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in node:
            return node
        found: dict[str, Any] = self._document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return found

    def _validate(self, schema: dict[str, Any], body: bytes) -> None:
        key = msgspec.json.encode(schema).decode()
        if key not in self._validators:
            whole = schema | {"components": self._document["components"]}
            self._validators[key] = jsonschema_rs.validator_for(whole, validate_formats=True)
        self._validators[key].validate(msgspec.json.decode(body))


@cache
def contract() -> Contract:
    """What all routes promise: the same in every world, and it takes most of a second to make."""
    return Contract(openapi_document())


def raw(prefix: str, text: str) -> bytes:
    """The bytes of an id."""
    found = parse_id(prefix, text)
    assert found is not None, text
    return found


def ago(seconds: float) -> str:
    """A time so long ago, as the API reads it."""
    return datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()


def cursors(events: Sequence[Event]) -> tuple[Cursor, ...]:
    last = {event.partition: event for event in events}
    return tuple(Cursor(event.partition, event.seq, event.created_at) for event in last.values())


async def check_target(host: str, port: int) -> str | None:
    return f"{host} is not to be spoken to" if host == REFUSED_HOST else None


async def ready() -> str | None:
    return None


async def metrics() -> tuple[bytes, str]:
    return PrometheusTelemetry().render()


@dataclass
class OneForAll:
    """`posthouse.watching.Databases`."""

    reading: Database
    polling: Database
    managing: Database


@asynccontextmanager
async def world_over(
    dsn: str, *, sealed: Sealer | None = None, kinds: dict[str, TriggerKind] | None = None, **services: Any
) -> AsyncIterator[World]:
    """A world over a migrated database."""
    seals = sealed or sealer()
    database = Database(dsn, size=6, settings={"plan_cache_mode": "force_custom_plan"})
    await database.open()
    try:
        await database.execute("SELECT install($1)", PARTITIONS)
        await ensure_days(database, now=time.time(), ahead=1)
        clock = SystemClock()
        directory = PostgresDirectory(database, seals)
        given: dict[str, Any] = {"ready": ready} | services
        telemetry = PrometheusTelemetry()
        publisher = Publisher(PostgresLog(database, database), clock, telemetry, appended=lambda _: None)
        quotas = QuotaGate(PostgresUsage(database), clock, retention_days=30, refused=lambda _app, _refusal: None)
        catalogue = CatalogueCache(directory, clock)
        door = ObservedEvents(catalogue, quotas, publisher)
        watching = Watching.over(
            OneForAll(database, database, database),
            seals,
            kinds or {},
            telemetry,
            Operators(publisher, clock),
            door=door,
            catalogue=catalogue,
            directory=directory,
            expressions=NO_EXPRESSIONS,
            clock=clock,
            owner=OWNER,
            payload_bytes_max=2**20,
        )
        store = PostgresStore(database, database, seals.open)
        verifier = Verifier(PostgresVerifications(database), store, FakeTransport(), clock)
        made = Services.over(
            directory,
            PostgresGrants(database),
            PostgresInspector(database),
            clock,
            store=store,
            replay_book=PostgresJobs(database),
            schedules=watching.schedules,
            triggers=watching.triggers,
            refusals=watching.refusals,
            transport=FakeTransport(),
            verifications=Verifications(directory, verifier.queue, verifier.handshakes),
            stream_source=PostgresStreamSource(database),
            charts=TrafficCharts(directory, PostgresTraffic(database)),
            installation=Installation(
                PostgresOverview(database, clock), version="0", process=OWNER, settings={"role": "all"}, warnings=tuple
            ),
            explainer=Explainer(PostgresRoutingView(database), given.get("expressions", NO_EXPRESSIONS)),
            check_target=check_target,
            cursor_key=await directory.installation_id(),
            metrics=metrics,
            **given,
        )
        key = await made.keys.ensure_first_key(None)
        app = build_app(made)
        promised = await asyncio.to_thread(contract)
        yield World(database, made, Client(app, key=key, check=promised.check), clock, seals)
    finally:
        await database.close()
