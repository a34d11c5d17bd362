"""The catalogue: event types, who sees them, their versions, and what another schema would break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib import resources
from typing import Any

import asyncpg
import pytest
from tests.integration.api_world import World, raw, world_over
from tests.postgres import PostgresServer

from posthouse.adapters.postgres.migrate import migrate
from posthouse.domain.ids import APP, EVENT, format_id
from posthouse.domain.limits import EVENT_TYPE_VERSIONS_MAX, SAMPLE_EVENTS_MAX, SUBSCRIBERS_SHOWN_MAX

URL = "/v1/event-types"
ID: dict[str, Any] = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


async def test_event_types(world: World) -> None:
    schema = {"type": "object", "required": ["id"]}
    made = await world.admin.post(
        URL, {"name": "order.created", "schema": schema, "examples": [{"id": 1}], "description": "new"}
    )
    assert made.status == 201
    assert made.json() | {"created_at": "", "updated_at": ""} == {
        "name": "order.created",
        "description": "new",
        "schema": schema,
        "examples": [{"id": 1}],
        "visibility": "public",
        "redact": [],
        "version": 1,
        "archived": False,
        "created_at": "",
        "updated_at": "",
    }
    again = await world.admin.post(URL, {"name": "order.created"})
    assert (again.status, again.code) == (409, "event_type_exists")
    await world.admin.post(URL, {"name": "a_first"})
    names = [entry["name"] for entry in (await world.admin.get(URL)).json()["data"]]
    assert names == ["a_first", "order.created"]

    same = await world.admin.patch(f"{URL}/order.created", {"schema": {"required": ["id"], "type": "object"}})
    assert same.json()["version"] == 1
    changed = await world.admin.patch(f"{URL}/order.created", {"schema": None, "examples": None})
    assert (changed.json()["version"], changed.json()["schema"], changed.json()["examples"]) == (2, None, [])
    assert changed.json()["description"] == "new"

    assert (await world.admin.delete(f"{URL}/order.created")).status == 204
    assert (await world.admin.get(f"{URL}/order.created")).json()["archived"]
    assert len((await world.admin.get(URL)).json()["data"]) == 1
    assert len((await world.admin.get(f"{URL}?archived=true")).json()["data"]) == 2
    back = await world.admin.patch(f"{URL}/order.created", {"archived": False})
    assert not back.json()["archived"]
    assert (await world.admin.get(f"{URL}/nope")).code == "event_type_not_found"
    assert (await world.admin.delete(f"{URL}/nope")).code == "event_type_not_found"


async def test_they_are_found_by_a_part_of_their_name_or_description(world: World) -> None:
    for name, described in (
        ("order.created", "Somebody BOUGHT"),
        ("order.paid", None),
        ("user_100x", None),
        ("user_1000", None),
    ):
        assert (await world.admin.post(URL, {"name": name, "description": described})).status == 201

    async def found(text: str) -> list[str]:
        return [entry["name"] for entry in (await world.admin.get(f"{URL}?search={text}")).json()["data"]]

    assert await found("ORDER.") == ["order.created", "order.paid"]
    assert await found("bought") == ["order.created"]
    assert await found("r_1000") == ["user_1000"]
    assert await found("%25") == await found("%00") == []  # a text, not a pattern
    assert len(await found("")) == 4
    first = (await world.admin.get(f"{URL}?search=user&limit=1")).json()
    assert [entry["name"] for entry in first["data"]] == ["user_1000"]
    rest = (await world.admin.get(f"{URL}?search=user&limit=1&cursor={first['next']}")).json()
    assert [entry["name"] for entry in rest["data"]] == ["user_100x"]
    assert (await world.admin.get(f"{URL}?search={'x' * 201}")).status == 422


async def test_intake_sees_event_types_and_their_changes(world: World) -> None:
    before = await world.directory.version()
    await world.admin.post(URL, {"name": "order.created", "schema": {"type": "object"}})
    entry = await world.directory.event_type("order.created")
    assert entry is not None
    assert (entry.schema, entry.archived) == ('{"type": "object"}', False)
    assert await world.directory.version() > before
    await world.admin.delete(f"{URL}/order.created")
    entry = await world.directory.event_type("order.created")
    assert entry is not None
    assert entry.archived
    await world.directory.add_event_type("made.by.publishing")
    await world.directory.add_event_type("made.by.publishing")
    assert (await world.admin.get(f"{URL}/made.by.publishing")).status == 200
    assert len((await world.admin.get(f"{URL}/made.by.publishing/versions")).json()["data"]) == 1
    assert await world.directory.event_type("no\0such") is None


# Visibility


async def names_seen(client: Any, query: str = "") -> list[str]:
    return [entry["name"] for entry in (await client.get(f"{URL}?limit=250{query}")).json()["data"]]


async def test_an_app_sees_what_is_public_and_what_it_is_granted(world: World) -> None:
    await world.app("mine")
    await world.app("other")
    mine, other = await world.client_of("mine"), await world.client_of("other")
    for name, visibility in (
        ("order.created", "granted"),
        ("order.item.added", "granted"),
        ("orders", "granted"),
        ("shop.opened", "public"),
        ("order.secret", "private"),
    ):
        assert (await world.admin.post(URL, {"name": name, "visibility": visibility})).json()[
            "visibility"
        ] == visibility
    everything = ["order.created", "order.item.added", "order.secret", "orders", "shop.opened"]
    assert await names_seen(world.admin) == everything
    assert await names_seen(world.admin, "&visibility=granted") == ["order.created", "order.item.added", "orders"]
    assert await names_seen(mine) == ["shop.opened"]

    grants = "/v1/apps/mine/grants"
    grant = (await world.admin.post(grants, {"types": ["order.*"], "subjects": ["shop:42"]})).json()["id"]
    assert await names_seen(mine) == ["order.created", "order.item.added", "shop.opened"]
    assert await names_seen(mine, "&visibility=granted") == ["order.created", "order.item.added"]
    assert await names_seen(mine, "&visibility=private") == []
    assert await names_seen(other) == ["shop.opened"]
    pages = (await mine.get(f"{URL}?limit=2")).json()
    assert [entry["name"] for entry in pages["data"]] == ["order.created", "order.item.added"]
    assert [entry["name"] for entry in (await mine.get(f"{URL}?cursor={pages['next']}")).json()["data"]] == [
        "shop.opened"
    ]
    for client, name, seen in (
        (mine, "order.created", True),
        (mine, "orders", False),
        (mine, "order.secret", False),
        (mine, "shop.opened", True),
        (other, "order.created", False),
        (world.admin, "order.secret", True),
    ):
        for url in (f"{URL}/{name}", f"{URL}/{name}/versions"):
            reply = await client.get(url)
            if seen:
                assert reply.status == 200
            else:
                unknown = await client.get(url.replace(name, "no.such.type"))
                assert (reply.status, reply.body) == (404, unknown.body.replace(b"no.such.type", name.encode()))

    assert (await world.admin.delete(f"{grants}/{grant}")).status == 204
    assert await names_seen(mine) == ["shop.opened"]
    assert (await mine.get(f"{URL}/order.created")).status == 404
    await world.admin.post(grants, {"types": ["*"], "subjects": ["*"]})
    assert await names_seen(mine) == [name for name in everything if name != "order.secret"]
    await world.query("UPDATE grant_entry SET expires_at = now() - interval '1 second' RETURNING 1")
    assert await names_seen(mine) == ["shop.opened"]
    assert (await mine.get(f"{URL}/order.created")).status == 404


async def test_visibility_changes_and_goes_back_to_its_default(world: World) -> None:
    await world.admin.post(URL, {"name": "a"})
    assert (await world.admin.patch(f"{URL}/a", {"visibility": "private"})).json()["visibility"] == "private"
    assert (await world.admin.patch(f"{URL}/a", {"description": "x"})).json()["visibility"] == "private"
    assert (await world.admin.patch(f"{URL}/a", {"visibility": None})).json()["visibility"] == "public"
    for url, body in ((URL, {"name": "b", "visibility": "secret"}), (f"{URL}/a", {"visibility": "secret"})):
        reply = await world.admin.request("POST" if url == URL else "PATCH", url, json=body)
        assert (reply.status, reply.path) == (422, "visibility")
    reply = await world.admin.get(f"{URL}?visibility=secret")
    assert (reply.status, reply.path) == (422, "?visibility")


# Versions


async def test_every_version_of_a_schema_is_kept(world: World) -> None:
    schemas: list[Any] = [{"type": "object"}, None, {"type": "object", "required": ["id"]}]
    await world.admin.post(URL, {"name": "a", "schema": schemas[0], "examples": [{}]})
    await world.admin.patch(f"{URL}/a", {"description": "no version of its own"})
    await world.admin.patch(f"{URL}/a", {"schema": schemas[1], "examples": ["anything"]})
    await world.admin.patch(f"{URL}/a", {"schema": schemas[2], "examples": None})
    await world.admin.patch(f"{URL}/a", {"examples": [{"id": 7}]})
    page = (await world.admin.get(f"{URL}/a/versions")).json()
    assert [(row["version"], row["schema"], row["examples"]) for row in page["data"]] == [
        (3, schemas[2], [{"id": 7}]),
        (2, schemas[1], ["anything"]),
        (1, schemas[0], [{}]),
    ]
    assert page["next"] is None
    times = [row["created_at"] for row in page["data"]]
    assert times == sorted(times, reverse=True)
    found: list[int] = []
    cursor = ""
    while True:
        page = (await world.admin.get(f"{URL}/a/versions?limit=2{cursor}")).json()
        found += [row["version"] for row in page["data"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == [3, 2, 1]
    await world.admin.post(URL, {"name": "b"})
    assert (await world.admin.get(f"{URL}/b/versions?{cursor[1:]}")).code == "invalid_cursor"
    assert (await world.admin.get(f"{URL}/nope/versions")).code == "event_type_not_found"


async def test_versions_are_kept_up_to_a_bound(world: World) -> None:
    await world.admin.post(URL, {"name": "a"})
    await world.query(
        "INSERT INTO event_type_version (name, version) SELECT 'a', n FROM generate_series(2, $1::int) n RETURNING 1",
        EVENT_TYPE_VERSIONS_MAX,
    )
    await world.query("UPDATE event_type SET version = $1 WHERE name = 'a' RETURNING 1", EVENT_TYPE_VERSIONS_MAX)
    await world.admin.patch(f"{URL}/a", {"schema": {"type": "object"}})
    (counted,) = await world.query("SELECT count(*), min(version), max(version) FROM event_type_version")
    assert counted == (EVENT_TYPE_VERSIONS_MAX, 2, EVENT_TYPE_VERSIONS_MAX + 1)
    # One that an endpoint pins is kept as long as that is there.
    await world.app("shop")
    await world.endpoint("shop", uid="main", payload_versions={"a": 3})
    for schema in ({"type": "array"}, {"type": "string"}, {"type": "null"}):
        await world.admin.patch(f"{URL}/a", {"schema": schema})
    old = "SELECT array_agg(version ORDER BY version) FROM event_type_version WHERE version < 7"
    assert await world.query(old) == [([3, 5, 6],)]
    await world.admin.delete("/v1/apps/shop/endpoints/main")
    await world.admin.patch(f"{URL}/a", {"schema": {"type": "object"}})
    assert await world.query(old) == [([6],)]


async def test_types_from_before_there_were_versions_have_the_one_that_holds(postgres_server: PostgresServer) -> None:
    dsn = await postgres_server.fresh_database()
    files = resources.files("posthouse.adapters.postgres") / "migrations"
    connection = await asyncpg.connect(dsn)
    try:
        # As before this migration, and with types of the release before.
        await connection.execute("DROP TABLE event_type_version; DELETE FROM schema_migration WHERE version >= 4")
        await connection.execute(
            "INSERT INTO event_type (name, schema, version, updated_at) VALUES"
            " ('new', NULL, 1, now()), ('changed', '{\"type\": \"object\"}', 4, now() + interval '1 day')"
        )
        await connection.execute((files / "0004_event_type_version.sql").read_text())
        # A process of the release before goes on for a while.
        await connection.execute("INSERT INTO event_type (name) VALUES ('meanwhile')")
    finally:
        await connection.close()
    async with world_over(dsn) as world:
        rows = await world.query(
            "SELECT v.name, v.version, v.schema, v.created_at = y.updated_at OR v.version = 1"
            " FROM event_type_version v JOIN event_type y USING (name) ORDER BY 1"
        )
        assert rows == [("changed", 4, '{"type": "object"}', True), ("new", 1, None, True)]
        await world.admin.patch(f"{URL}/meanwhile", {"schema": {"type": "object"}})
        versions = (await world.admin.get(f"{URL}/meanwhile/versions")).json()["data"]
        assert [row["version"] for row in versions] == [2, 1]
    await postgres_server.drop_database(dsn)


async def test_all_migrations_can_be_applied_to_an_empty_database(postgres_server: PostgresServer) -> None:
    dsn = await postgres_server.bare_database()
    assert "0004_event_type_version" in [str(done) for done in await migrate(dsn)]
    await postgres_server.drop_database(dsn)


# PUT, and changes under a condition


async def test_put_makes_and_replaces_as_a_whole(world: World) -> None:
    body = {"schema": ID, "examples": [{"id": 1}], "description": "new", "visibility": "granted"}
    made = await world.admin.put(f"{URL}/a", body)
    assert made.status == 201
    assert (made.json()["version"], made.json()["visibility"], made.json()["examples"]) == (1, "granted", [{"id": 1}])
    same = await world.admin.put(f"{URL}/a", {"name": "a"} | body)
    assert (same.status, same.headers["etag"], same.json()) == (200, made.headers["etag"], made.json())
    await world.admin.delete(f"{URL}/a")
    back = await world.admin.put(f"{URL}/a", {})
    assert back.status == 200
    assert [back.json()[field] for field in ("schema", "examples", "description", "visibility", "version", "archived")] == [
        None, [], "", "public", 2, False,
    ]  # fmt: skip
    for url, wrong, path in (
        (f"{URL}/a", {"name": "b"}, "name"),
        (f"{URL}/a", {"archived": True}, "archived"),
        (f"{URL}/a", {"schema": ID, "examples": [{}]}, "examples[0]"),
        (f"{URL}/a%20b", {}, "name"),
        (f"{URL}/new", {"schema": {"type": "nope"}}, "schema"),
    ):
        reply = await world.admin.put(url, wrong)
        assert (reply.status, reply.path) == (422, path), (wrong, reply.body)
    assert (await world.admin.get(f"{URL}/new")).status == 404
    changes = [entry for entry in await world.audit() if entry[0].startswith("event_type")]
    assert changes == [("event_type.created", "a"), ("event_type.changed", "a"), ("event_type.replaced", "a")]


async def test_conditions_are_checked_with_the_change(world: World) -> None:
    made = await world.admin.put(f"{URL}/a", {}, headers={"If-None-Match": "*"})
    assert made.status == 201
    tag = made.headers["etag"]
    assert (await world.admin.get(f"{URL}/a")).headers["etag"] == tag
    assert (await world.admin.get(f"{URL}/a", headers={"If-None-Match": tag})).status == 304
    stale = {"If-Match": '"stale"'}
    for reply in (
        await world.admin.put(f"{URL}/a", {}, headers={"If-None-Match": "*"}),
        await world.admin.put(f"{URL}/a", {"description": "x"}, headers=stale),
        await world.admin.put(f"{URL}/b", {}, headers={"If-Match": "*"}),
        await world.admin.patch(f"{URL}/a", {"description": "x"}, headers=stale),
        await world.admin.delete(f"{URL}/a", headers=stale),
    ):
        assert (reply.status, reply.code) == (412, "precondition_failed")
    assert (await world.admin.get(f"{URL}/a")).headers["etag"] == tag
    assert (await world.admin.get(f"{URL}/b")).status == 404
    changed = await world.admin.patch(f"{URL}/a", {"description": "x"}, headers={"If-Match": tag})
    assert changed.status == 200
    assert changed.headers["etag"] != tag
    assert (await world.admin.delete(f"{URL}/a", headers={"If-Match": changed.headers["etag"]})).status == 204


async def test_of_many_who_put_at_once_under_a_condition_one_does(world: World) -> None:
    replies = await asyncio.gather(
        *(world.admin.put(f"{URL}/a", {"description": str(n)}, headers={"If-None-Match": "*"}) for n in range(8))
    )
    assert sorted(reply.status for reply in replies) == [201] + [412] * 7
    tag = (await world.admin.get(f"{URL}/a")).headers["etag"]
    replies = await asyncio.gather(
        *(world.admin.patch(f"{URL}/a", {"description": f"again {n}"}, headers={"If-Match": tag}) for n in range(8))
    )
    assert sorted(reply.status for reply in replies) == [200] + [412] * 7
    free = await asyncio.gather(*(world.admin.put(f"{URL}/b", {"description": str(n)}) for n in range(8)))
    assert sorted(reply.status for reply in free) == [200] * 7 + [201]


# What another schema would break


async def test_a_check_tells_what_would_break_and_whom(world: World) -> None:
    await world.admin.post(URL, {"name": "order.created", "schema": ID})
    app = await world.app("shop")
    heard = [
        await world.endpoint("shop", uid="all"),
        await world.endpoint("shop", events=["other", "order.*"], url="https://example.com/orders"),
        await world.endpoint("shop", events=["order.created"]),
        await world.endpoint("shop", events=["*"]),
    ]
    for fields in ({"events": ["order.created.late"]}, {"events": ["order"]}, {"enabled": False}):
        await world.endpoint("shop", **fields)
    await world.endpoint("shop", uid="deleted")
    await world.admin.delete("/v1/apps/shop/endpoints/deleted")
    await world.app("gone")
    await world.endpoint("gone")
    await world.admin.delete("/v1/apps/gone")

    wider = {"schema": ID | {"required": [], "properties": {"id": {"type": ["integer", "null"]}}}}
    before = await world.query("SELECT * FROM config_head ORDER BY 1")
    told = (await world.admin.post(f"{URL}/order.created/check", wider)).json()
    assert (told["name"], told["version"]) == ("order.created", 1)
    assert (told["consumers"], told["publishers"], told["truncated"]) == ("breaks", "safe", False)
    assert {(change["path"], change["kind"], change["consumers"]) for change in told["changes"]} == {
        ("", "required_removed", "breaks"),
        ("id", "nullable_added", "breaks"),
    }
    subscribers = told["subscribers"]
    assert (subscribers["total"], subscribers["truncated"]) == (4, False)
    assert [row["endpoint"] for row in subscribers["data"]] == sorted(heard)
    assert {
        "app": app,
        "app_uid": "shop",
        "endpoint": heard[0],
        "uid": "all",
        "url": "https://example.com/hooks",
    } in subscribers["data"]
    assert told["recent"] == {"events": 0, "fit": 0, "errors": []}
    assert await world.query("SELECT * FROM config_head ORDER BY 1") == before

    # It is advice: such a schema may be set.
    assert (await world.admin.patch(f"{URL}/order.created", wider)).json()["version"] == 2
    told = (await world.admin.post(f"{URL}/order.created/check", wider)).json()
    assert (told["version"], told["consumers"], told["publishers"], told["changes"]) == (2, "safe", "safe", [])
    told = (await world.admin.post(f"{URL}/order.created/check", {"schema": None})).json()
    assert (told["consumers"], told["publishers"]) == ("breaks", "safe")


async def test_a_check_tries_recent_events(world: World) -> None:
    await world.admin.post(URL, {"name": "order.created"})
    app = await world.app("shop")
    good = await world.publish(app, *(b'{"id": %d}' % number for number in range(SAMPLE_EVENTS_MAX)))
    await world.publish(app, b"<order/>", content_type="application/xml")
    await world.publish(app, b'{"id": "other"}', type="other.type")
    (bad,) = await world.publish(app, b'{"id": {"n": [0, "text"]}}')
    schema = {"properties": {"id": {"properties": {"n": {"items": {"type": "integer"}}}}}}
    told = (await world.admin.post(f"{URL}/order.created/check", {"schema": schema})).json()["recent"]
    assert (told["events"], told["fit"]) == (SAMPLE_EVENTS_MAX, SAMPLE_EVENTS_MAX - 1)
    (error,) = told["errors"]
    assert (error["event"], error["path"]) == (format_id(EVENT, bad.id), "data.id.n[1]")
    assert "integer" in error["detail"]
    told = (await world.admin.post(f"{URL}/order.created/check", {"schema": {"type": "string"}})).json()["recent"]
    assert (told["events"], told["fit"], len(told["errors"])) == (SAMPLE_EVENTS_MAX, 0, 5)
    newest = [format_id(EVENT, event.id) for event in (bad, *reversed(good))]
    assert [error["event"] for error in told["errors"]] == newest[:5]
    assert (await world.admin.post(f"{URL}/order.created/check", {"schema": None})).json()["recent"]["fit"] == 100


async def test_recent_events_are_read_up_to_their_bounds(world: World) -> None:
    app = await world.app("shop")
    events = await world.publish(app, *(b'"%b"' % (b"x" * 1000) for _ in range(10)))
    await world.publish(app, *(b"1" for _ in range(10)), type="other")
    recent = world.directory.recent_payloads
    found = await recent("order.created", searched_max=100, limit=100, bytes_max=2_500)
    assert [event_id for event_id, _ in found] == [event.id for event in reversed(events[-3:])]
    assert len(await recent("order.created", searched_max=100, limit=4, bytes_max=10**6)) == 4
    assert len(await recent("order.created", searched_max=12, limit=100, bytes_max=10**6)) == 2
    assert len(await recent("order.created", searched_max=100, limit=100, bytes_max=1)) == 1
    assert await recent("no\0such", searched_max=100, limit=100, bytes_max=1) == []


async def test_subscribers_are_shown_and_counted_up_to_a_bound(world: World) -> None:
    app = raw(APP, await world.app("shop"))
    await world.admin.post(URL, {"name": "order.created"})
    await world.query(
        'INSERT INTO endpoint (id, app_id, config) SELECT gen_random_uuid(), $1, \'{"url": "https://example.com/"}\''
        " FROM generate_series(1, $2::int) RETURNING 1",
        app,
        SUBSCRIBERS_SHOWN_MAX + 50,
    )
    told = (await world.admin.post(f"{URL}/order.created/check", {"schema": {}})).json()["subscribers"]
    assert (len(told["data"]), told["total"], told["truncated"]) == (
        SUBSCRIBERS_SHOWN_MAX,
        SUBSCRIBERS_SHOWN_MAX + 50,
        True,
    )
    found, counted = await world.directory.subscribers("order.created", limit=10, counted_max=60)
    assert (len(found), counted) == (10, 60)


async def test_checks_that_cannot_be_made(world: World) -> None:
    await world.admin.post(URL, {"name": "a"})
    await world.app("shop")
    client = await world.client_of("shop")
    assert (await client.post(f"{URL}/a/check", {"schema": {}})).code == "forbidden"
    assert (await world.admin.post(f"{URL}/nope/check", {"schema": {}})).code == "event_type_not_found"
    for body, path in (
        ({}, "schema"),
        ({"schema": {"type": "nope"}}, "schema"),
        ({"schema": {"$ref": "https://example.com/"}}, "schema"),
        ({"schema": {"description": "x" * 300_000}}, "schema"),
        ({"schema": {}, "dry_run": True}, "dry_run"),
    ):
        reply = await world.admin.post(f"{URL}/a/check", body)
        assert (reply.status, reply.path) == (422, path), reply.body
