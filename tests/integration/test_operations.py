"""The operators' app through a whole server: reserved, told of what happens, once, and a target like any other."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import pytest
from tests.fakes import until
from tests.installed import installed
from tests.integration.api_world import World, world_over
from tests.making import new_endpoint, new_id, new_owner
from tests.serving import ask, call, listed, serving
from tests.targets import OK, Peer, target

from posthouse import bootstrap
from posthouse.adapters.postgres.migrate import load
from posthouse.domain.delivery import Effect, EffectKind, JournalBatch
from posthouse.domain.errors import InDoubt, StoreUnavailable
from posthouse.domain.event import Draft
from posthouse.domain.ids import APP, AttemptId, format_id
from posthouse.domain.limits import PARTITIONS
from posthouse.domain.operations import OPERATIONS_APP, OPERATIONS_NAME, OPERATIONS_UID
from posthouse.ports.log import Appended
from posthouse.ports.store import Store

OPERATIONS: Final = "/v1/apps/operations"
EVENTS: Final = f"{OPERATIONS}/events"
MASTER_KEY: Final = "a2V5cyBhcmUgdGhpcnR5LXR3byBieXRlcyBsb25nLi4="


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


# The app


async def test_the_app_is_there_and_is_what_the_code_thinks_it_is(world: World) -> None:
    shown = (await world.admin.get(OPERATIONS)).json()
    assert (shown["id"], shown["name"]) == (format_id(APP, OPERATIONS_APP), OPERATIONS_NAME)
    assert await world.query("SELECT partition FROM app WHERE uid = $1", OPERATIONS_UID) == [(0,)]
    await world.query("SELECT install($1)", PARTITIONS)
    assert (await world.admin.get(OPERATIONS)).json() == shown
    assert shown in (await world.admin.get("/v1/apps")).json()["data"]


async def test_the_app_has_a_name_and_endpoints_and_nothing_else_to_change(world: World) -> None:
    for change in ({"name": "Ours", "metadata": {"team": "sre"}}, {"uid": OPERATIONS_UID}):
        assert (await world.admin.patch(OPERATIONS, change)).status == 200
    assert (await world.admin.put(OPERATIONS, {"name": "Operators"})).status == 200
    endpoint = await world.endpoint(OPERATIONS_UID)
    assert (await world.admin.patch(f"{OPERATIONS}/endpoints/{endpoint}", {"paused": True})).status == 200
    for reply in (
        await world.admin.delete(OPERATIONS),
        await world.admin.patch(OPERATIONS, {"uid": "mine"}),
        await world.admin.patch(OPERATIONS, {"uid": None}),
        await world.admin.put(f"/v1/apps/{format_id(APP, OPERATIONS_APP)}", {"uid": "mine"}),
        await world.admin.post(f"{OPERATIONS}/grants", {"types": ["*"], "subjects": ["*"]}),
        await world.admin.put(f"{OPERATIONS}/grants/all", {"types": ["*"], "subjects": ["*"]}),
        await world.admin.post("/v1/keys", {"scope": "app", "app": OPERATIONS_UID}),
    ):
        assert (reply.status, reply.code) == (403, "reserved_app"), reply.body
    taken = await world.admin.post("/v1/apps", {"uid": OPERATIONS_UID})
    assert (taken.status, taken.code) == (409, "uid_taken")
    shown = (await world.admin.get(OPERATIONS)).json()
    assert (shown["uid"], shown["name"]) == (OPERATIONS_UID, "Operators")


async def test_an_app_knows_nothing_of_the_operators(world: World) -> None:
    await world.app("shop")
    client = await world.client_of("shop")
    for path in (OPERATIONS, f"{OPERATIONS}/endpoints", EVENTS, f"{OPERATIONS}/deliveries"):
        assert (await client.get(path)).code == "app_not_found"


async def test_a_database_whose_app_has_the_uid_is_not_taken_over(world: World) -> None:
    await world.query("DELETE FROM app WHERE id = $1 RETURNING 1", OPERATIONS_APP)
    await world.app(OPERATIONS_UID)
    (migration,) = [m for m in load() if m.name == "operations"]
    check = migration.sql.split("END $$;")[0] + "END $$;"
    with pytest.raises(StoreUnavailable, match="give that app another uid"):
        await world.database.execute(check)


# Through a server


async def test_nobody_but_posthouse_publishes_there(database: str) -> None:
    async with serving(database, auto_create_event_types=True) as server:
        event = {"type": "endpoint.disabled", "data": {}}
        for path, body in ((EVENTS, event), (f"{EVENTS}/batch", [event]), (f"{EVENTS}?dry_run=true", event)):
            reply = await ask(server.port, "POST", path, body)
            assert (reply.status, reply.body["code"]) == (403, "reserved_app")
        reply = await ask(server.port, "POST", f"/v1/apps/{format_id(APP, OPERATIONS_APP)}/events", event)
        assert reply.status == 403
        chinese = await ask(server.port, "POST", EVENTS, event, headers={"Accept-Language": "zh-CN"})
        assert "运维" in chinese.body["detail"]
        accepted = await call(server.port, "POST", "/v1/events", event)
        assert accepted["apps"] == 0, "a platform's event of the same name is another thing"


async def test_quotas_that_were_reached_are_told_once(database: str) -> None:
    async with serving(database, auto_create_event_types=True) as server:
        quotas = {"publish_per_second": 0.001, "endpoints_max": 1}
        app = await call(server.port, "POST", "/v1/apps", {"uid": "acme", "quotas": quotas})
        url = "https://example.com/"
        for status in (201, 403, 403):
            assert (await ask(server.port, "POST", "/v1/apps/acme/endpoints", {"url": url})).status == status
        for status in (202, 429, 429):
            event = {"type": "order.created", "data": {}}
            assert (await ask(server.port, "POST", "/v1/apps/acme/events", event)).status == status
        told = await listed(server.port, EVENTS, lambda rows: len(rows) >= 2, "two events")
        assert [row["type"] for row in told] == ["quota.reached"] * 2
        data = [(await call(server.port, "GET", f"{EVENTS}/{row['id']}"))["data"] for row in told]
        assert {(d["app"], d["quota"], d["limit"]) for d in data} == {
            (app["id"], "quota_endpoints", 1),
            (app["id"], "quota_publish_rate", 0.001),
        }


class Doubtful(bootstrap.Posthouse):
    """A server whose store does not say what became of the first times that effects were published."""

    doubts: Sequence[str] = ()

    def wrap_store(self, store: Store) -> Store:
        left = list(self.doubts)
        publish = store.publish_effects

        async def doubtful(effects: Sequence[Effect], drafts: Sequence[Draft]) -> list[Appended | None]:
            doubt = left.pop(0) if left else None
            if doubt != "before":
                results = await publish(effects, drafts)
            if doubt is not None:
                raise InDoubt("the connection ended")
            return results

        store.publish_effects = doubtful  # type: ignore[method-assign]
        return store


def emit(number: int) -> Effect:
    return Effect(
        id=AttemptId(new_id()),
        partition=number % 8,
        endpoint_id=new_endpoint(),
        kind=EffectKind.EMIT,
        reason="endpoint.disabled",
        data=json.dumps({"n": number}).encode(),
    )


async def journalled(dsn: str, effects: Sequence[Effect]) -> None:
    """A process wrote these, and died before it did them."""
    async with installed(dsn) as postgres:
        owner = new_owner()
        claims = await postgres.store.claim(owner, limit=PARTITIONS, lease_seconds=0.0, exclusive=True)
        batch = JournalBatch(owner=owner, epochs={c.partition: c.epoch for c in claims}, effects=tuple(effects))
        await postgres.store.journal(batch, now=time.time(), lease_seconds=0.0)


@pytest.mark.parametrize("doubts", [(), ("before", "before"), ("after",), ("before", "after", "after")])
async def test_what_was_journalled_is_published_once_and_delivered(database: str, doubts: Sequence[str]) -> None:
    kind = type("Doubting", (Doubtful,), {"doubts": doubts})
    arrived: list[Any] = []
    async with target(keeping(arrived)) as served:
        async with serving(database, master_key=MASTER_KEY) as server:
            url = f"http://127.0.0.1:{served.port}/"
            await call(server.port, "POST", f"{OPERATIONS}/endpoints", {"url": url, "events": ["endpoint.*"]})
        await journalled(database, [emit(number) for number in range(20)])
        async with serving(database, kind=kind, master_key=MASTER_KEY):
            await until(lambda: len(arrived) >= 20, "twenty webhooks")
    assert {event["type"] for event in arrived} == {"endpoint.disabled"}
    assert sorted(event["data"]["n"] for event in arrived) == list(range(20))
    async with installed(database) as postgres:
        assert await postgres.store.effects(range(PARTITIONS), limit=100) == []
        rows = await postgres.reading.fetch("SELECT payload FROM event WHERE app_id = $1", OPERATIONS_APP)
        assert sorted(json.loads(row["payload"])["n"] for row in rows) == list(range(20))


def keeping(arrived: list[Any]) -> Callable[[Peer], Awaitable[None]]:
    """A target that keeps what arrives."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            arrived.append(json.loads(request.partition(b"\r\n\r\n")[2]))
            await peer.send(OK)

    return script
