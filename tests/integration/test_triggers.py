"""Triggers on whole servers: what is seen is published, in its order, by one process at a time, whatever fails."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from tests.serving import PATIENCE_SECONDS, Reply, ask, call, serving
from tests.shelf import Shelf

from posthouse import bootstrap
from posthouse.domain.errors import SourceRefused, SourceUnavailable, StoreUnavailable
from posthouse.ports.sources import TriggerKind

MASTER_KEY = base64.b64encode(b"m" * 32).decode()
SHELF: dict[str, Any] = {"uid": "s", "kind": "shelf", "type": "row.{op}", "settings": {"password": "hidden"}}


async def until(fact: Callable[[], Awaitable[Any]], what: str) -> Any:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := await fact()):  # noqa: ASYNC110 - the facts are the server's
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


def server_with(shelf: Shelf, *others: Any) -> type[bootstrap.Posthouse]:
    class Served(bootstrap.Posthouse):
        def wrap_kinds(self, kinds: dict[str, TriggerKind]) -> dict[str, TriggerKind]:
            return kinds | {kind.name: kind for kind in (shelf, *others)}

    return Served


class World:
    def __init__(self, port: int, shelf: Shelf) -> None:
        self.port = port
        self.shelf = shelf

    async def create(self, **fields: Any) -> Any:
        return await call(self.port, "POST", "/v1/triggers", SHELF | fields)

    async def get(self, uid: str = "s") -> Any:
        return await call(self.port, "GET", f"/v1/triggers/{uid}")

    async def ask(self, method: str, path: str, body: object = None, **options: Any) -> Reply:
        return await ask(self.port, method, f"/v1/triggers{path}", body, **options)

    async def published(self, count: int) -> list[Any]:
        """The data of the first events, in the order of the log."""

        async def there() -> Any:
            rows = (await call(self.port, "GET", "/v1/events?limit=250"))["data"]
            return rows if len(rows) >= count else None

        rows = await until(there, f"{count} events")
        assert len(rows) == count
        return [(await call(self.port, "GET", f"/v1/events/{row['id']}"))["data"] for row in reversed(rows)]

    async def in_state(self, state: str, uid: str = "s") -> Any:
        async def so() -> Any:
            found = await self.get(uid)
            return found if found["state"] == state else None

        return await until(so, f"a trigger that is {state}")

    async def counted(self, uid: str = "s", **counts: int) -> Any:
        async def so() -> Any:
            found = await self.get(uid)
            return found if counts.items() <= found["counts"].items() else None

        return await until(so, f"{counts}")


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    shelf = Shelf()
    async with serving(database, kind=server_with(shelf), master_key=MASTER_KEY) as server:
        for name in ("row.insert", "row.update"):
            await call(server.port, "POST", "/v1/event-types", {"name": name})
        yield World(server.port, shelf)


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [{"op": "insert", "n": n} for n in range(first, first + count)]


async def test_from_beginning_to_end(world: World) -> None:
    made = await world.create(name="A shelf")
    assert made["id"].startswith("trg_")
    assert made["settings"] == {"label": "first"}
    assert list(world.shelf.made) == [made["id"]]
    world.shelf.put(*rows(0, 3))
    assert [row["n"] for row in await world.published(3)] == [0, 1, 2]
    found = await world.counted(published=3)
    assert (found["position"], found["state"], found["failure"]) == ("3", "active", None)
    event = (await call(world.port, "GET", "/v1/events?limit=1"))["data"][0]
    assert (await call(world.port, "GET", f"/v1/events/{event['id']}"))["attributes"] == {"trigger": "s"}

    paused = await call(world.port, "POST", "/v1/triggers/s/pause")
    assert (paused["state"], paused["enabled"]) == ("paused", False)
    await until(lambda: _is(lambda: not world.shelf.open), "its source closed")
    world.shelf.put(*rows(3, 2))
    assert (await call(world.port, "POST", "/v1/triggers/s/resume"))["enabled"]
    assert [row["n"] for row in await world.published(5)] == [0, 1, 2, 3, 4]

    assert (await world.ask("DELETE", "/s")).status == 204
    assert world.shelf.made == {}
    assert (await world.ask("GET", "/s")).body["code"] == "trigger_not_found"
    actions = [row["action"] for row in (await call(world.port, "GET", "/v1/audit"))["data"]]
    assert [a for a in actions if a.startswith("trigger.")][::-1] == [
        "trigger.created",
        "trigger.paused",
        "trigger.resumed",
        "trigger.deleted",
    ]


async def _is(fact: Callable[[], bool]) -> bool:
    return fact()


async def test_secrets_are_not_shown_and_lie_sealed(world: World, database: str) -> None:
    await world.create(uid="s", settings={"password": "hidden-word", "label": "x"})
    for path in ("/v1/triggers/s", "/v1/triggers", "/v1/audit"):
        assert "hidden-word" not in json.dumps(await call(world.port, "GET", path))
    connection = await asyncpg.connect(database)
    try:
        stored = await connection.fetch("SELECT config::text, standing::text FROM trigger")
        sealed = await connection.fetch("SELECT ciphertext FROM secret WHERE kind = 'trigger'")
    finally:
        await connection.close()
    assert "hidden-word" not in str(stored)
    assert len(sealed) == 1
    assert b"hidden-word" not in sealed[0][0]
    # What is not given of the settings stays; null brings a default back.
    changed = await call(world.port, "PATCH", "/v1/triggers/s", {"settings": {"label": None}})
    assert changed["settings"] == {"label": "first"}
    assert next(iter(world.shelf.made.values())) == {"label": "first", "password": "hidden-word"}


async def test_rewound_it_publishes_anew(world: World) -> None:
    await world.create()
    world.shelf.put(*rows(0, 2))
    await world.published(2)
    assert (await world.ask("POST", "/s/rewind", {"to": "2026-01-01T00:00:00Z"})).body["path"] == "to"
    assert (await world.ask("POST", "/s/rewind", {})).body["generation"] == 1
    assert [row["n"] for row in await world.published(4)] == [0, 1, 0, 1]


async def test_what_can_be_no_event_is_set_aside_and_tried_again(world: World) -> None:
    await world.create(map='event.data.n == 1 ? {"type": "Ω"} : {}')
    world.shelf.put(
        {"op": "insert", "n": 0}, {"op": "delete", "n": 9}, {"op": "insert", "n": 1}, {"op": "insert", "n": 2}
    )
    assert [row["n"] for row in await world.published(2)] == [0, 2]
    await world.counted(published=2, set_aside=2)
    refused = await call(world.port, "GET", "/v1/triggers/s/refusals?limit=1")
    (first,) = refused["data"]
    assert (first["code"], first["seen"]) == ("event_type_not_found", {"op": "delete", "n": 9})
    rest = (await call(world.port, "GET", f"/v1/triggers/s/refusals?cursor={refused['next']}"))["data"]
    assert [row["code"] for row in rest] == ["invalid_event_type"]

    told = await call(world.port, "POST", "/v1/triggers/s/refusals/retry", {"ids": [first["id"]]})
    assert (told["published"], told["refused"]) == (0, 1)
    again = (await call(world.port, "GET", "/v1/triggers/s/refusals"))["data"]
    assert sorted(row["tries"] for row in again) == [1, 2]
    await call(world.port, "POST", "/v1/event-types", {"name": "row.delete"})
    told = await call(world.port, "POST", "/v1/triggers/s/refusals/retry", {})
    assert (told["published"], told["refused"], told["postponed"]) == (1, 1, None)
    assert (await world.published(3))[-1]["n"] == 9
    assert await call(world.port, "POST", "/v1/triggers/s/refusals/discard", {}) == {"discarded": 1}
    await world.counted(set_aside=0)
    bad = await world.ask("POST", "/s/refusals/discard", {"ids": ["ref_x"]})
    assert (bad.status, bad.body["path"]) == (422, "ids[0]")


async def test_schemas_are_checked_on_the_way_in(world: World) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await call(world.port, "PATCH", "/v1/event-types/row.insert", {"schema": schema})
    await world.create(when="event.data.n != 5")
    world.shelf.put({"op": "insert", "n": "one"}, {"op": "insert", "n": 5}, {"op": "insert", "n": 6})
    assert [row["n"] for row in await world.published(1)] == [6]
    await world.counted(published=1, left_out=1, set_aside=1)
    (refused,) = (await call(world.port, "GET", "/v1/triggers/s/refusals"))["data"]
    assert refused["code"] == "schema_mismatch"
    assert not re.search(r"[\u4e00-\u9fff]", refused["reason"])
    told = await ask(world.port, "GET", "/v1/triggers/s/refusals", headers={"Accept-Language": "zh-CN"})
    assert told.headers["content-language"] == "zh-CN"
    assert re.search(r"[\u4e00-\u9fff]", told.body["data"][0]["reason"]), told.body


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (SourceUnavailable("nobody answers at shelf:1"), "source_unavailable"),
        (SourceRefused("grant us something: GRANT SELECT", code="not_granted"), "not_granted"),
    ],
)
async def test_a_source_that_fails_is_told_and_comes_back_by_itself(
    world: World, failure: SourceUnavailable | SourceRefused, code: str
) -> None:
    await world.create()
    await world.in_state("active")
    world.shelf.fails = failure
    world.shelf.put(*rows(0, 1))
    failing = await world.in_state("failing")
    assert failing["failure"]["code"] == code
    assert failing["failure"]["detail"] == str(failure)
    metrics = (await ask(world.port, "GET", "/metrics")).body.decode()
    assert 'posthouse_trigger_healthy{kind="shelf",trigger="s"} 0.0' in metrics
    world.shelf.fails = None
    assert (await world.published(1))[0]["n"] == 0
    assert (await world.in_state("active"))["failure"] is None
    metrics = (await ask(world.port, "GET", "/metrics")).body.decode()
    assert 'posthouse_trigger_published_total{kind="shelf",trigger="s"} 1.0' in metrics
    assert 'posthouse_trigger_healthy{kind="shelf",trigger="s"} 1.0' in metrics


async def test_operators_are_told_once_of_one_that_fails(world: World) -> None:
    await world.create()
    await world.in_state("active")
    world.shelf.fails = SourceRefused("free a slot", code="no_slot")

    async def told() -> Any:
        return (await call(world.port, "GET", "/v1/apps/operations/events?type=trigger.failing"))["data"]

    (event,) = await until(told, "an operational event")
    data = (await call(world.port, "GET", f"/v1/events/{event['id']}"))["data"]
    assert (data["trigger"], data["kind"], data["code"], data["reason"]) == ("s", "shelf", "no_slot", "free a slot")


async def test_one_that_fails_never_stops_another(database: str) -> None:
    ill, well = Shelf(), Shelf()
    ill.name = "ill"
    async with serving(database, kind=server_with(well, ill), master_key=MASTER_KEY) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "row.insert"})
        world = World(server.port, well)
        await world.create(uid="ill", kind="ill")
        ill.fails = SourceUnavailable("down")
        await world.create()
        await world.in_state("failing", "ill")
        well.put(*rows(0, 2))
        assert [row["n"] for row in await world.published(2)] == [0, 1]


async def test_an_app_stays_while_triggers_publish_to_it(world: World) -> None:
    await call(world.port, "POST", "/v1/apps", {"uid": "acme"})
    for n in range(6):
        await world.create(uid=f"s{n}", app="acme")
    unnamed = await world.create(uid=None, app="acme")
    refused = await ask(world.port, "DELETE", "/v1/apps/acme")
    assert (refused.status, refused.body["code"]) == (409, "app_has_triggers")
    assert "s0, s1, s2, s3, s4, …;" in refused.body["detail"]
    assert (await ask(world.port, "GET", "/v1/apps/acme")).status == 200
    for n in range(6):
        assert (await world.ask("DELETE", f"/s{n}")).status == 204
    assert f"{unnamed['id']};" in (await ask(world.port, "DELETE", "/v1/apps/acme")).body["detail"]
    await call(world.port, "PATCH", f"/v1/triggers/{unnamed['id']}", {"app": None})
    assert (await ask(world.port, "DELETE", "/v1/apps/acme")).status == 204


async def test_refused_settings_make_no_trigger(world: World) -> None:
    for fields, status, path, code in (
        ({"kind": "nothing"}, 422, "kind", "invalid"),
        ({"settings": {"colour": 1}}, 422, "settings.colour", "invalid"),
        ({"settings": {"label": "taken"}}, 422, None, "label_taken"),
        ({"type": "row.{"}, 422, "type", "invalid"),
        ({"type": "nothing.such"}, 404, "type", "event_type_not_found"),
        ({"when": "1 +"}, 422, "when", "invalid"),
        ({"map": "nobody.knows"}, 422, "map", "invalid"),
        ({"app": "nobody"}, 404, "app", "app_not_found"),
        ({"uid": "a b"}, 422, "uid", "invalid"),
        ({"colour": 1}, 422, "colour", "invalid"),
    ):
        reply = await world.ask("POST", "", SHELF | fields)
        assert (reply.status, reply.body.get("path"), reply.body["code"]) == (status, path, code), (fields, reply)
    assert (await call(world.port, "GET", "/v1/triggers"))["data"] == []
    assert world.shelf.made == {}
    kinds = (await call(world.port, "GET", "/v1/trigger-kinds"))["data"]
    assert "shelf" in [kind["name"] for kind in kinds]
    plan = await call(world.port, "POST", "/v1/triggers/plan", SHELF)
    assert plan == {"install": ["MAKE first"], "remove": ["TAKE AWAY"], "remarks": ["It is a shelf."]}
    await world.create()
    assert (await world.ask("POST", "", SHELF)).body["code"] == "uid_taken"
    assert len(world.shelf.made) == 1
    assert (await world.ask("PATCH", "/s", {"kind": "table"})).status == 422
    assert await call(world.port, "GET", "/v1/triggers/s/plan") == plan


async def test_put_makes_and_replaces(world: World) -> None:
    body = {name: value for name, value in SHELF.items() if name != "uid"}
    assert (await world.ask("PUT", "/other", body)).status == 201
    before = await world.get("other")
    replaced = await world.ask("PUT", "/other", body | {"settings": {"label": "second"}, "type": "row.update"})
    assert (replaced.status, replaced.body["id"], replaced.body["settings"]) == (200, before["id"], {"label": "second"})
    assert world.shelf.made == {before["id"]: {"label": "second"}}
    stale = await world.ask("DELETE", "/other", headers={"If-Match": '"x"'})
    assert stale.status == 412
    world.shelf.fails = SourceUnavailable("down")
    assert (await world.ask("DELETE", "/other")).status == 503
    assert (await world.ask("DELETE", "/other?force=true")).status == 204


async def test_keys_of_apps_see_none(world: World) -> None:
    await call(world.port, "POST", "/v1/apps", {"uid": "acme"})
    key = (await call(world.port, "POST", "/v1/keys", {"scope": "app", "app": "acme"}))["key"]
    await world.create(app="acme")
    for method, path in (("GET", ""), ("GET", "/s"), ("POST", "/s/pause"), ("DELETE", "/s"), ("GET", "/s/refusals")):
        assert (await world.ask(method, path, key=key)).status == 403
    assert (await ask(world.port, "GET", "/v1/trigger-kinds", key=key)).status == 403
    world.shelf.put(*rows(0, 1))
    await world.published(1)
    assert len((await ask(world.port, "GET", "/v1/apps/acme/events", key=key)).body["data"]) == 1


async def test_two_servers_share_the_triggers(database: str) -> None:
    shelves = [Shelf() for _ in range(4)]
    for number, shelf in enumerate(shelves):
        shelf.name = f"shelf-{number}"
    kind = server_with(*shelves)
    async with serving(database, kind=kind, master_key=MASTER_KEY) as one:
        await call(one.port, "POST", "/v1/event-types", {"name": "row.insert"})
        world = World(one.port, shelves[0])
        for number in range(4):
            await world.create(uid=f"s{number}", kind=f"shelf-{number}")
            await world.in_state("active", f"s{number}")

        async def working() -> int:
            connection = await asyncpg.connect(database)
            try:
                owners: int = await connection.fetchval("SELECT count(DISTINCT owner) FROM trigger")
            finally:
                await connection.close()
            return owners

        assert await working() == 1
        async with serving(database, kind=kind, master_key=MASTER_KEY):

            async def both() -> bool:
                return await working() == 2

            await until(both, "both servers at work")
            for shelf in shelves:
                shelf.put(*rows(0, 2))
            await world.published(8)

        async def alone() -> bool:
            return await working() == 1 and all(shelf.open for shelf in shelves)

        await until(alone, "one server at work on all")
        for shelf in shelves:
            shelf.put(*rows(2, 1))
        await world.published(12)


async def test_our_own_store_fails_and_nothing_is_lost_or_set_aside(database: str) -> None:
    shelf = Shelf()
    failing = True

    class Served(server_with(shelf)):  # type: ignore[misc]
        def wrap_log(self, event_log: Any) -> Any:
            append = event_log.append

            async def appended(drafts: Any) -> Any:
                if failing:
                    raise StoreUnavailable("the disk is full")
                return await append(drafts)

            event_log.append = appended
            return event_log

    async with serving(database, kind=Served, master_key=MASTER_KEY) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "row.insert"})
        world = World(server.port, shelf)
        await world.create()
        shelf.put(*rows(0, 3))
        found = await world.in_state("failing")
        assert found["failure"]["code"] == "postponed"
        assert found["counts"]["set_aside"] == 0
        failing = False
        assert [row["n"] for row in await world.published(3)] == [0, 1, 2]


async def test_the_lease_is_lost_to_another(world: World, database: str) -> None:
    """Whoever took it meanwhile is fenced off by the epoch: what the first one publishes collapses, and changes nothing."""
    await world.create()
    world.shelf.put(*rows(0, 1))
    await world.counted(published=1)
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(
            "UPDATE trigger SET owner = gen_random_uuid(), epoch = epoch + 1, position = '0', "
            "lease_until = now() + interval '2 s'"
        )
        world.shelf.put(*rows(1, 1))
        await until(lambda: _is(lambda: not world.shelf.open), "its source closed")
        assert await connection.fetchval("SELECT position FROM trigger") == "0"
    finally:
        await connection.close()
    # Its lease ends, and from the position that the other one left everything is seen again, and is the same.
    assert [row["n"] for row in await world.published(2)] == [0, 1]

    async def caught_up() -> bool:
        return bool((await world.get())["position"] == "2")

    await until(caught_up, "the position of the end")
    assert (await world.get())["counts"]["repeated"] in (1, 2)
