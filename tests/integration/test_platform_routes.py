"""Platform routes through a whole server: a target for events of apps that have none of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from tests.installed import installed
from tests.integration.api_world import World, world_over
from tests.integration.test_grants import QUICK, an_app, announce, explain, heard, ok, until
from tests.serving import ask, call, listed, serving
from tests.targets import OK, Peer, RawTarget, target

from posthouse import bootstrap
from posthouse.adapters.postgres.migrate import load
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.ids import APP, format_id
from posthouse.domain.limits import PARTITIONS
from posthouse.domain.platform_routes import PLATFORM_APP, PLATFORM_NAME, PLATFORM_UID

PLATFORM: Final = "/v1/apps/platform"
FAILED: Final = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        for name in ("order.created", "order.paid"):
            await call(running.port, "POST", "/v1/event-types", {"name": name})
        yield running


async def a_route(running: bootstrap.Posthouse, to: RawTarget, **endpoint: Any) -> None:
    """A platform route that the server knows of."""
    url = f"http://127.0.0.1:{to.port}/platform"
    made = {"uid": "route", "url": url, "retry": QUICK} | endpoint
    await call(running.port, "POST", f"{PLATFORM}/endpoints", made)
    routes = running._engine.platform
    await until(lambda: any(e.url == made["url"] for e in routes.endpoints), "the route to be known")


async def publish(port: int, app: str, **event: Any) -> str:
    made = await call(port, "POST", f"/v1/apps/{app}/events", {"type": "order.created", "data": {"n": 1}} | event)
    return str(made["id"])


def bodies(served: RawTarget, path: str = "/platform") -> list[Any]:
    mine = [request for request in served.requests if request.startswith(f"POST {path} ".encode())]
    return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in mine]


# The app


async def test_the_app_is_reserved_as_that_of_the_operators_is(world: World) -> None:
    shown = (await world.admin.get(PLATFORM)).json()
    assert (shown["id"], shown["name"]) == (format_id(APP, PLATFORM_APP), PLATFORM_NAME)
    assert await world.query("SELECT partition FROM app WHERE uid = $1", PLATFORM_UID) == [(0,)]
    await world.query("SELECT install($1)", PARTITIONS)
    assert (await world.admin.get(PLATFORM)).json() == shown
    assert (await world.admin.patch(PLATFORM, {"name": "Ours"})).status == 200
    for reply in (
        await world.admin.delete(PLATFORM),
        await world.admin.patch(PLATFORM, {"uid": "mine"}),
        await world.admin.put(f"/v1/apps/{format_id(APP, PLATFORM_APP)}", {"uid": "mine"}),
        await world.admin.post(f"{PLATFORM}/grants", {"types": ["*"], "subjects": ["*"]}),
        await world.admin.post("/v1/keys", {"scope": "app", "app": PLATFORM_UID}),
    ):
        assert (reply.status, reply.code) == (403, "reserved_app"), reply.body
        assert b"for platform routes" in reply.body
    await world.app("shop")
    client = await world.client_of("shop")
    assert (await client.get(f"{PLATFORM}/endpoints")).code == "app_not_found"


async def test_a_database_whose_app_has_the_uid_is_not_taken_over(world: World) -> None:
    await world.query("DELETE FROM app WHERE id = $1 RETURNING 1", PLATFORM_APP)
    await world.app(PLATFORM_UID)
    (migration,) = [m for m in load() if m.name == "platform"]
    check = migration.sql.split("END $$;")[0] + "END $$;"
    with pytest.raises(StoreUnavailable, match="give that app another uid"):
        await world.database.execute(check)


# Through a server


async def test_what_an_app_has_no_endpoint_for_goes_to_a_platform_route(server: bootstrap.Posthouse) -> None:
    port = server.port
    answers: list[bytes] = [FAILED, OK]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answers.pop(0) if len(answers) > 1 else answers[0])

    async with target(script) as served:
        base = f"http://127.0.0.1:{served.port}"
        app = await call(port, "POST", "/v1/apps", {"uid": "bare"})
        await a_route(
            server,
            served,
            url=f"{base}/otherwise",
            filter="event.data.total > 100",
            dynamic_url={"template": f"{base}/apps/{{event.attributes.app}}"},
        )
        reply = await ask(port, "POST", f"{PLATFORM}/events", {"type": "order.created", "data": 1})
        assert (reply.status, reply.body["code"]) == (403, "reserved_app")
        small = await publish(port, "bare", data={"total": 5})
        large = await publish(
            port, "bare", data={"total": 500}, subject="shop:42", key="k", attributes={"region": "eu", "app": "mine"}
        )
        path = f"/apps/{app['id']}"
        await until(lambda: len(bodies(served, path)) == 2, "the try that fails, and the retry")
        assert bodies(served, path)[0]["data"] == {"total": 500}
        copies = await listed(port, f"{PLATFORM}/events", lambda rows: len(rows) == 2, "both events")
        assert [copy["cause"] for copy in copies] == [large, small], "the filter is the route's own"
        shown = await call(port, "GET", f"{PLATFORM}/events/{copies[0]['id']}")
        assert (shown["type"], shown["subject"], shown["key"]) == ("order.created", "shop:42", "k")
        assert shown["attributes"] == {"app": app["id"], "region": "eu"}
        tries = await listed(
            port, f"{PLATFORM}/events/{copies[0]['id']}/attempts", lambda rows: len(rows) == 2, "two attempts"
        )
        assert [one["outcome"] for one in tries] == ["delivered", "failed"]
        assert await listed(port, f"{PLATFORM}/attempts", lambda rows: len(rows) == 2, "no attempt of the other")
        # What the event itself shows.
        for event in (small, large):
            for where in ("/v1", "/v1/apps/bare"):
                whole = await call(port, "GET", f"{where}/events/{event}")
                (route,) = whole["routes"]
                assert (route["state"], route["reason"], route["app"]) == ("delivered", "platform_route", app["id"])
                (one,) = (await call(port, "GET", f"{where}/events/{event}/attempts"))["data"]
                assert (one["outcome"], one["reason"], one["sent"]) == ("delivered", "platform_route", False)
                single = await call(port, "GET", f"{where}/attempts/{one['id']}")
                assert (single["request"], single["response"]) == (None, None)
        everything = (await call(port, "GET", "/v1/attempts"))["data"]
        assert sum(one["reason"] == "platform_route" for one in everything) == 2
        metrics = str((await ask(port, "GET", "/metrics")).body)
        assert "posthouse_platform_routed_events_total 2.0" in metrics
        resent = await ask(
            port, "POST", "/v1/apps/bare/deliveries/resend", {"event": large, "endpoint": route["endpoint"]}
        )
        assert (resent.status, resent.body["code"]) == (404, "endpoint_not_found")


async def test_an_app_that_gets_an_endpoint_is_not_routed_any_more(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await a_route(server, served, events=["order.*"])
        await call(port, "POST", "/v1/apps", {"uid": "shop"})
        first = await publish(port, "shop")
        await until(lambda: len(bodies(served)) == 1, "the first, by the route")
        url = f"http://127.0.0.1:{served.port}/shop"
        await call(port, "POST", "/v1/apps/shop/endpoints", {"uid": "main", "url": url, "events": ["order.paid"]})
        paid = await publish(port, "shop", type="order.paid")
        second = await publish(port, "shop")
        await until(lambda: heard(served, "shop") == [paid], "the app's own endpoint")
        await until(lambda: len(bodies(served)) == 2, "what that does not listen to")
        await call(port, "PATCH", "/v1/apps/shop/endpoints/main", {"enabled": False})
        third = await publish(port, "shop", type="order.paid")
        await until(lambda: len(bodies(served)) == 3, "a disabled endpoint is none")
        copies = await listed(port, f"{PLATFORM}/events", lambda rows: len(rows) == 3, "three events")
        assert [copy["cause"] for copy in copies] == [third, second, first]
        assert heard(served, "shop") == [paid]


async def test_an_event_of_the_platform_is_routed_for_each_app_without_an_endpoint(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await a_route(server, served)
        bare = []
        for number in range(3):
            await an_app(port, f"bare{number}", ("order.*", "shop:42"))
            bare.append((await call(port, "GET", f"/v1/apps/bare{number}"))["id"])
        await an_app(port, "shop", ("order.*", "shop:42"), to=served)
        made = await announce(port, "order.created", "shop:42")
        assert made["apps"] == 4
        await until(lambda: len(bodies(served)) == 3, "one for each")
        await until(lambda: heard(served, "shop") == [made["id"]], "the app that listens")
        nobody = await announce(port, "order.created", "shop:7")
        copies = await listed(port, f"{PLATFORM}/events", lambda rows: len(rows) == 4, "four events")
        assert [copy["cause"] for copy in copies] == [nobody["id"], *[made["id"]] * 3]
        shown = [await call(port, "GET", f"{PLATFORM}/events/{copy['id']}") for copy in copies]
        assert sorted((one["attributes"] or {}).get("app", "") for one in shown) == sorted(["", *bare])
        await until(lambda: len(bodies(served)) == 4, "the one for nobody")
        routes = (await call(port, "GET", f"/v1/events/{made['id']}"))["routes"]
        assert sorted(route["app"] for route in routes if route["reason"] == "platform_route") == sorted(bare)
        (route,) = (await call(port, "GET", f"/v1/events/{nobody['id']}"))["routes"]
        assert (route["app"], route["reason"]) == (format_id(APP, PLATFORM_APP), "platform_route")


async def test_a_dry_run_says_which_platform_routes_would_hear_it(server: bootstrap.Posthouse) -> None:
    port = server.port
    async with target(ok) as served:
        await call(port, "POST", "/v1/apps", {"uid": "bare"})
        event = {"type": "order.created", "data": {"total": 5}}
        assert (await explain(port, "/v1/apps/bare/events", event))["reached"] == [
            {"app": (await call(port, "GET", "/v1/apps/bare"))["id"], "uid": "bare", "endpoints": []}
        ]
        await a_route(server, served, filter="event.data.total > 100 && has(event.attributes.app)")
        await a_route(server, served, uid="all", url=f"http://127.0.0.1:{served.port}/all")
        told = await explain(port, "/v1/apps/bare/events", event)
        (_, platform) = told["reached"]
        assert platform["uid"] == "platform"
        ((one,),) = [platform["endpoints"]]
        assert (one["uid"], one["reason"]) == ("all", "platform_route")
        assert "bare has no enabled endpoint" in one["explanation"]
        missed = [(miss["uid"], miss["reason"]) for miss in told["not_reached"]]
        assert missed == [("bare", "no_endpoints"), ("platform", "filtered")]
        told = await explain(port, "/v1/apps/bare/events", {"type": "order.created", "data": {"total": 500}})
        assert [e["uid"] for e in told["reached"][1]["endpoints"]] == ["route", "all"]
        told = await explain(port, "/v1/events", event)
        ((platform),) = told["reached"]
        assert [(e["uid"], e["explanation"]) for e in platform["endpoints"]] == [("all", "the event is for no app")]
        await an_app(port, "shop", to=served)
        told = await explain(port, "/v1/apps/shop/events", event)
        assert [app["uid"] for app in told["reached"]] == ["shop"]
        assert told["not_reached"] == []
        assert served.requests == []


async def test_what_a_routes_answer_asks_for_never_comes_back_to_the_routes_for_ever(
    server: bootstrap.Posthouse,
) -> None:
    port = server.port
    async with target(ok) as served:
        again = [{"then": "emit", "type": "order.created"}]
        await a_route(server, served, on_response=again)
        await call(port, "POST", "/v1/apps", {"uid": "bare"})
        await publish(port, "bare")
        await listed(
            port,
            "/v1/apps/operations/events",
            lambda rows: any(row["type"] == "chain.stopped" for row in rows),
            "the chain to be stopped",
        )
        copies = (await call(port, "GET", f"{PLATFORM}/events"))["data"]
        depths = [(await call(port, "GET", f"{PLATFORM}/events/{copy['id']}"))["depth"] for copy in copies]
        assert depths == list(range(len(copies), 0, -1))


@pytest.mark.parametrize("hung", ["publish_effects", "effects"])
async def test_what_was_on_record_before_a_crash_is_published_once(database: str, hung: str) -> None:
    """The journal has the attempt and the effect; the process dies before the effect is done, or before that is known."""

    class Hanging(bootstrap.Posthouse):
        def wrap_store(self, store: Any) -> Any:
            async def never(*_: Any, **__: Any) -> Any:
                await asyncio.get_running_loop().create_future()

            setattr(store, hung, never)
            return store

    master_key = "a2V5cyBhcmUgdGhpcnR5LXR3byBieXRlcyBsb25nLi4="
    async with target(ok) as served:
        async with serving(database, kind=Hanging, master_key=master_key, auto_create_event_types=True) as server:
            await a_route(server, served)
            await call(server.port, "POST", "/v1/apps", {"uid": "bare"})
            events = [await publish(server.port, "bare") for _ in range(5)]
            await until(lambda: server._engine.effects.pending >= 5, "all of them on record")
        async with installed(database) as postgres:
            recorded = await postgres.store.effects(range(PARTITIONS), limit=100)
            assert len(recorded) == 5
            # As if the cursor had not been written: all is derived again.
            await postgres.reading.execute("UPDATE partition SET cursor = 0")
        async with serving(database, master_key=master_key) as server:
            copies = await listed(server.port, f"{PLATFORM}/events", lambda rows: len(rows) >= 5, "five events")
            last = await publish(server.port, "bare")
            await until(lambda: len(bodies(served)) == 6, "all of them, and one more")
            copies = await listed(server.port, f"{PLATFORM}/events", lambda rows: len(rows) >= 6, "six events")
            assert sorted(copy["cause"] for copy in copies) == sorted([*events, last])
