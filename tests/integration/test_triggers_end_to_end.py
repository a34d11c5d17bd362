"""Triggers from the application's own commit to the target's receipt, on whole servers and whole databases: by the commands
that a person gives, and with what is wrong told by the server."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import pytest
from tests.clusters import Clusters, Postgres
from tests.commands import rows, run
from tests.outboxes import Place, sqlite_place
from tests.postgres import PostgresServer
from tests.receiving import Received, Receiver, ok, receiving, status
from tests.serving import KEY, PATIENCE_SECONDS, ask, call, serving
from tests.shop import SHOPS, TABLE, Heard, Shop

from posthouse import bootstrap
from posthouse_sdk.outbox.dsn import parse

FAILS_EACH: Final = 9
ID: Final = re.compile(r"trg_[0-9a-z]{26}")


class World:
    """A server, a target of an app that is granted all shops but the last, and the commands."""

    def __init__(self, port: int, target: Receiver) -> None:
        self.port = port
        self.target = target
        self.reach = {"POSTHOUSE_URL": f"http://127.0.0.1:{port}", "POSTHOUSE_KEY": KEY}

    async def command(self, *words: str, code: int = 0) -> str:
        """What it said; on standard error, too, where it fails."""
        told = await asyncio.to_thread(run, *words, **self.reach)
        assert told.returncode == code, told.stdout + told.stderr
        return told.stdout + (told.stderr if code else "")

    async def listed(self, *words: str) -> list[dict[str, Any]]:
        return rows(await asyncio.to_thread(run, *words, **self.reach))

    async def get(self, uid: str = "orders") -> Any:
        return await call(self.port, "GET", f"/v1/triggers/{uid}")

    async def until(self, fact: Callable[[Any], Any], what: str, uid: str = "orders") -> Any:
        """The trigger, once it is so."""
        found: Any = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not fact(found := await self.get(uid)):  # noqa: ASYNC110 - the facts are the server's
                    await asyncio.sleep(0.02)
                return found
        except TimeoutError:
            pytest.fail(f"waited in vain for {what}; there is {found}")

    async def heard(self, count: int) -> list[dict[str, Any]]:
        """What the target has confirmed, in the order in which it came, once it is so much."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(self.confirmed()) < count:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"{len(self.confirmed())} of {count} came; {await self.get()}")
        return self.confirmed()

    def confirmed(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.target.requests if request.confirmed]


@asynccontextmanager
async def worlds(database: str, kind: type[bootstrap.Posthouse] = bootstrap.Posthouse) -> AsyncIterator[World]:
    async with receiving() as target, serving(database, kind=kind) as server:
        count = 0

        async def now_and_then(_: Received) -> bytes:
            nonlocal count
            count += 1
            return status(503) if count % FAILS_EACH == 0 else ok()

        target.answer = now_and_then
        for done in ("insert", "update", "delete", "snapshot"):
            await call(server.port, "POST", "/v1/event-types", {"name": f"order.{done}"})
        await call(server.port, "POST", "/v1/apps", {"uid": "isv"})
        granted = {"types": ["order.*"], "subjects": [str(n) for n in range(SHOPS - 1)]}
        await call(server.port, "POST", "/v1/apps/isv/grants", granted)
        endpoint = {"url": target.url(), "ordering": "key", "retry": {"schedule": [0.05] * 20, "jitter": 0}}
        await call(server.port, "POST", "/v1/apps/isv/endpoints", endpoint)
        yield World(server.port, target)


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with worlds(database) as made:
        yield made


@pytest.fixture
async def logical(clusters: Clusters) -> Postgres:
    """A PostgreSQL whose log has row changes, and which may be stopped."""
    server = clusters.server()
    await server.start(wal_level="logical", max_replication_slots="8", max_wal_senders="8")
    return server


def place_of(server: Postgres) -> Place:
    return Place("postgresql", server.dsn, lambda: psycopg.connect(server.dsn))


def by_order(heard: list[dict[str, Any]]) -> dict[int, list[Heard]]:
    """What was heard of each order, in its order."""
    found = defaultdict[int, list[Heard]](list)
    for told in heard:
        data = told["data"]
        done = told["type"].removeprefix("order.")
        assert done == data["op"]
        row = data["old"] if done == "delete" else data["new"]
        found[row["id"]].append((done, row["status"]))
    return found


def granted(committed: dict[int, list[Heard]]) -> dict[int, list[Heard]]:
    return {order: changes for order, changes in committed.items() if order % SHOPS != SHOPS - 1}


async def all_heard(world: World, shop: Shop) -> list[dict[str, Any]]:
    """Everything that was committed, and nothing else, has come in the order of each order."""
    expected = granted(shop.committed)
    heard = await world.heard(sum(map(len, expected.values())))
    assert by_order(heard) == expected
    return heard


async def from_commit_to_receipt(world: World, shop: Shop, *words: str) -> list[dict[str, Any]]:
    """Rows are made, changed and removed, some of it rolled back, while columns come and go."""
    await world.command(
        "triggers", "create", "--uid", "orders", *words, "--type", "order.{op}", "--subject", "shop_id"
    )  # fmt: skip
    await asyncio.to_thread(shop.write, 60)
    await all_heard(world, shop)

    # A new column is part of it: at once, or as soon as the reader has seen that it is there.
    shop.place.execute("ALTER TABLE orders ADD COLUMN note varchar(20)")
    await asyncio.to_thread(shop.write, 20)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not any((told["data"]["new"] or {}).get("note") == "a word" for told in world.confirmed()):
            await asyncio.to_thread(shop.update, 1, note="a word")
            await all_heard(world, shop)

    # And one that goes is part of it no more.
    if shop.place.dialect == "sqlite":
        with pytest.raises(sqlite3.OperationalError, match="posthouse"):
            shop.place.execute("ALTER TABLE orders DROP COLUMN amount")
    else:
        shop.place.execute("ALTER TABLE orders DROP COLUMN amount")
        shop.amounts = False
    await asyncio.to_thread(shop.write, 40)
    heard = await all_heard(world, shop)
    await asyncio.to_thread(shop.update, 1)
    last = (await all_heard(world, shop))[-1]["data"]
    assert ("amount" in last["new"]) == (shop.place.dialect == "sqlite")
    assert shop.rolled_back > 10
    committed = sum(map(len, shop.committed.values()))

    def caught_up(found: Any) -> bool:
        # A reading that was interrupted is read again, and what was published of it is told as repeated.
        counts = found["counts"]
        return bool(found["lag"]["seconds"] == 0 and counts["published"] + counts["repeated"] >= committed)

    found = await world.until(caught_up, "a trigger that has caught up")
    assert found["state"] == "active"
    assert found["counts"] == found["counts"] | {"set_aside": 0, "left_out": 0}
    return heard


async def test_a_table_from_the_applications_commit_to_the_targets_receipt(
    world: World, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.adapters.sources.tables.source.COMPARED_SECONDS", 0.1)
    shop = Shop(place).open()
    with closing(place.connect()) as other:  # what was begun before the trigger is there, and what is never committed
        if place.dialect != "sqlite":
            other.cursor().execute("SELECT 1")
        await from_commit_to_receipt(world, shop, "--dsn", place.dsn, "--table", "orders")
    # Nothing of it is left behind.
    await world.command("triggers", "delete", "orders")
    assert traces(place) == []
    shop.write(5)


async def test_changes_from_the_applications_commit_to_the_targets_receipt(world: World, logical: Postgres) -> None:
    shop = Shop(place_of(logical)).open()
    shop.place.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    words = ("--kind", "changes", "--dsn", shop.place.dsn, "--tables", "public.orders")
    with shop.elsewhere():
        shop.write(0)
    await from_commit_to_receipt(world, shop, *words)
    # Back to the beginning: the rows that are there now, as other events.
    refusal = await world.command("triggers", "rewind", "orders", "--to", "30m", code=2)
    assert "Without a time, all rows that are there now" in " ".join(refusal.split())
    before = len(world.confirmed())
    there = shop.place.execute("SELECT id, status FROM orders WHERE shop_id < %s ORDER BY id", SHOPS - 1)
    await world.command("triggers", "rewind", "orders")
    heard = (await world.heard(before + len(there)))[before:]
    assert sorted((told["data"]["new"]["id"], told["data"]["new"]["status"]) for told in heard) == there
    assert {told["type"] for told in heard} == {"order.snapshot"}
    await world.command("triggers", "delete", "orders")
    assert shop.place.execute("SELECT slot_name FROM pg_replication_slots") == []
    assert shop.place.execute("SELECT pubname FROM pg_publication") == []


async def test_rows_that_were_there_before_come_first_where_that_is_wanted(world: World, logical: Postgres) -> None:
    shop = Shop(place_of(logical)).open()
    shop.write(30)
    before = {order: [("snapshot", changes[-1][1])] for order, changes in shop.committed.items()}
    there = [row[0] for row in shop.place.execute("SELECT id FROM orders")]
    shop.committed = defaultdict(list, {order: list[Heard](before[order]) for order in there})
    words = ("--kind", "changes", "--dsn", shop.place.dsn, "--tables", "orders", "--snapshot")
    shop.place.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    await world.command(
        "triggers", "create", "--uid", "orders", *words, "--type", "order.{op}", "--subject", "shop_id"
    )  # fmt: skip
    await world.heard(sum(map(len, granted(shop.committed).values())))
    await asyncio.to_thread(shop.write, 20)
    await all_heard(world, shop)


def traces(place: Place) -> list[Any]:
    """What of ours is in a database."""
    question = {
        "postgresql": "SELECT relname FROM pg_class WHERE relname LIKE '%posthouse%' UNION ALL "
        "SELECT tgname FROM pg_trigger WHERE tgname LIKE '%posthouse%' UNION ALL "
        "SELECT proname FROM pg_proc WHERE proname LIKE '%posthouse%'",
        "sqlite": "SELECT name FROM sqlite_master WHERE name LIKE '%posthouse%'",
        "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND table_name LIKE "
        "'%posthouse%' UNION ALL SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database()",
    }[place.dialect]
    with closing(place.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(question)
        return list(cursor.fetchall())


# By hand


@pytest.fixture
def other_place(place: Place, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Another database of the same dialect."""
    match place.dialect:
        case "postgresql":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            dsn = asyncio.run(server.bare_database())
            yield Place(place.dialect, dsn, lambda: psycopg.connect(dsn))
            asyncio.run(server.drop_database(dsn))
        case "sqlite":
            (tmp_path / "other").mkdir()
            yield sqlite_place(tmp_path / "other")
        case _:
            mariadb = request.getfixturevalue("mariadb")
            dsn = mariadb.fresh_database()
            yield Place(place.dialect, dsn, lambda: mariadb.connect(parse(dsn).path, charset="utf8mb4"))
            mariadb.drop_database(dsn)


_MADE: Final = {
    "postgresql": (
        "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE '%posthouse%' ORDER BY 1",
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname LIKE '%posthouse%' ORDER BY 1",
        "SELECT table_name, column_name, data_type, column_default, is_nullable FROM information_schema.columns "
        "WHERE table_name LIKE 'posthouse%' ORDER BY table_name, ordinal_position",
        "SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'posthouse%' ORDER BY 1",
        "SELECT relname, reloptions FROM pg_class WHERE relname LIKE 'posthouse%' ORDER BY relname",
    ),
    "sqlite": ("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name LIKE '%posthouse%' ORDER BY name",),
    "mysql": (
        "SELECT trigger_name, event_manipulation, action_timing, action_statement, sql_mode, character_set_client "
        "FROM information_schema.triggers WHERE trigger_schema = database() ORDER BY trigger_name",
        "SELECT table_name, column_name, column_type, column_default, is_nullable, collation_name "
        "FROM information_schema.columns WHERE table_schema = database() AND table_name LIKE 'posthouse%' "
        "ORDER BY table_name, ordinal_position",
        "SELECT table_name, index_name, column_name FROM information_schema.statistics WHERE table_schema = database() "
        "AND table_name LIKE 'posthouse%' ORDER BY table_name, index_name, seq_in_index",
    ),
}
_ALSO: Final = (
    "SELECT trigger_id, made_for FROM posthouse_change_trigger",
    "SELECT id, version FROM posthouse_change_version",
)


def made_in(place: Place) -> str:
    """All that is made there, without what differs from one trigger, and one database, to the next."""
    found = []
    with closing(place.connect()) as connection:
        cursor = connection.cursor()
        for question in (*_MADE[place.dialect], *_ALSO):
            cursor.execute(question)
            found += [str(row) for row in cursor.fetchall()]
    named = ID.sub("ID", "\n".join(found)).replace(parse(place.dsn).path, "DATABASE")
    lines = re.sub(r"(ID(?:_insert|_update|_delete)?)_[0-9a-f]{8}", r"\1_DIGEST", named).splitlines()
    return "\n".join(sorted(lines))


async def test_statements_that_are_printed_make_what_would_have_been_made(
    world: World, place: Place, other_place: Place
) -> None:
    words = ("triggers", "create", "--uid", "orders", "--table", "orders", "--type", "order.{op}", "--dsn")
    for each in (place, other_place):
        each.execute(TABLE)
    printed = await world.command(*words, other_place.dsn, "--print-sql")
    assert traces(other_place) == []
    assert await world.listed("triggers", "list") == []
    await by_hand(other_place, printed, await world.listed(*words, other_place.dsn, "--print-sql", "--json"))
    await world.command(*words, place.dsn)
    assert made_in(other_place) == made_in(place)
    assert await world.command("triggers", "sql", "orders") == "", "there is nothing to do any more"
    # It works: a commit is written down, under the id that was printed.
    Shop(other_place).update(1)
    found = other_place.execute("SELECT trigger_id, op FROM posthouse_change ORDER BY id")
    assert [row[1] for row in found] == ["insert", "update"]
    assert found[0][0] in printed or place.dialect == "mysql"


async def by_hand(place: Place, printed: str, plan: list[dict[str, Any]]) -> None:
    """Run what was printed, as each database's own client would."""
    match place.dialect:
        case "postgresql":
            connection = await asyncpg.connect(place.dsn)
            try:
                await connection.execute(printed)
            finally:
                await connection.close()
        case "sqlite":
            with closing(sqlite3.connect(parse(place.dsn).path)) as file:
                file.executescript(f"BEGIN;\n{printed}\nCOMMIT;")
        case _:
            with closing(place.connect()) as other:
                for statement in plan[0]["install"]:
                    other.cursor().execute(statement)
                other.commit()


async def test_statements_of_change_capture_make_what_would_have_been_made(world: World, logical: Postgres) -> None:
    place = place_of(logical)
    await logical.execute("CREATE DATABASE other")
    dsn = urlunsplit(urlsplit(place.dsn)._replace(path="/other"))
    other = Place("postgresql", dsn, lambda: psycopg.connect(dsn))
    for each in (place, other):
        each.execute(TABLE)
    words = ("triggers", "create", "--uid", "orders", "--kind", "changes", "--tables", "orders", "--type", "order.{op}")
    (plan,) = await world.listed(*words, "--dsn", dsn, "--print-sql", "--json")
    printed = await world.command(*words, "--dsn", dsn, "--print-sql")
    assert "CREATE PUBLICATION" in printed
    assert "pg_create_logical_replication_slot" in printed
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in plan["install"]:
            connection.execute(statement.encode())
    await world.command(*words, "--dsn", place.dsn)

    def made(of: Place) -> list[str]:
        found = of.execute(
            "SELECT p.pubname, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot, t.schemaname, t.tablename, "
            "t.attnames, t.rowfilter, obj_description(p.oid, 'pg_publication') "
            "FROM pg_publication p JOIN pg_publication_tables t USING (pubname)"
        ) + of.execute(
            "SELECT slot_name, plugin, slot_type, temporary, two_phase FROM pg_replication_slots "
            "WHERE database = current_database()"
        )
        return [re.sub(r"[0-9A-F]+/[0-9A-F]+", "LSN", ID.sub("ID", str(row))) for row in found]

    assert len(made(place)) == 2
    assert made(other) == made(place)


# By commands


async def test_it_is_paused_resumed_rewound_and_what_is_set_aside_is_tried_again(
    world: World, postgres_server: PostgresServer
) -> None:
    dsn = await postgres_server.bare_database()
    place = Place("postgresql", dsn, lambda: psycopg.connect(dsn))
    place.execute(TABLE)
    await world.command(
        "triggers", "create", "--uid", "orders", "--dsn", dsn, "--table", "orders", "--type", "order.{row.status}",
        "--subject", "shop_id", "--event-key", "shop_id", "--when", "event.data.op != 'delete'",
    )  # fmt: skip
    place.execute(
        "INSERT INTO orders (id, shop_id, status) VALUES (1, 1, 'insert'), (2, 1, 'odd'), (3, 1, 'Ω'), (4, 1, 'update')"
    )
    place.execute("DELETE FROM orders WHERE id = 1")
    assert [told["data"]["new"]["id"] for told in await world.heard(2)] == [1, 4]
    counts = {"published": 2, "repeated": 0, "left_out": 1, "set_aside": 2}
    await world.until(lambda found: counts.items() <= found["counts"].items(), "two that are set aside")
    odd, omega = await world.listed("triggers", "refused", "orders")
    assert (odd["code"], omega["code"]) == ("event_type_not_found", "invalid_event_type")
    assert "order.odd" in odd["reason"]

    await call(world.port, "POST", "/v1/event-types", {"name": "order.odd"})
    (told,) = await world.listed("triggers", "retry", "orders")
    assert (told["published"], told["refused"]) == (1, 1)
    assert [told["data"]["new"]["id"] for told in await world.heard(3)] == [1, 4, 2]
    (left,) = await world.listed("triggers", "refused", "orders")
    assert (left["id"], left["tries"]) == (omega["id"], 2)
    assert await world.listed("triggers", "discard", "orders", "--id", left["id"]) == [{"discarded": 1}]
    assert await world.listed("triggers", "refused", "orders") == []

    await world.command("triggers", "pause", "orders")
    assert (await world.get())["state"] == "paused"
    place.execute("INSERT INTO orders (id, shop_id, status) VALUES (5, 1, 'insert')")
    await world.command("triggers", "resume", "orders")
    assert (await world.heard(4))[-1]["data"]["new"]["id"] == 5

    # To before all of it: everything again, as other events; what cannot be one is set aside again.
    before = {request.request_id for request in world.target.requests}
    await world.command("triggers", "rewind", "orders")
    again = (await world.heard(8))[4:]
    assert [told["data"]["new"]["id"] for told in again] == [1, 2, 4, 5]
    assert not before & {request.request_id for request in world.target.requests[-4:]}
    found = await world.until(lambda found: found["counts"]["set_aside"] == 1, "the one that is set aside again")
    assert found["generation"] == 1
    await postgres_server.drop_database(dsn)


# What is wrong


async def refused(world: World, fields: dict[str, Any], **settings: Any) -> tuple[int, str | None, str, str]:
    body = {"uid": "bad", "type": "order.{op}", **fields, "settings": settings}
    reply = await ask(world.port, "POST", "/v1/triggers", body)
    assert (await ask(world.port, "GET", "/v1/triggers/bad")).status == 404, "there is no such trigger then"
    return reply.status, reply.body.get("path"), reply.body["code"], reply.body["detail"]


def as_visitor(dsn: str, name: str) -> str:
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{name}:visitor@{host}"))


async def test_a_bad_table_is_refused_with_what_to_do(world: World, place: Place) -> None:
    place.execute(TABLE)
    place.execute("CREATE TABLE loose (id int)")
    place.execute("CREATE VIEW all_orders AS SELECT * FROM orders")
    dsn = place.dsn
    for fields, settings, path, words in (
        ({}, {"dsn": dsn, "table": "order"}, "settings.table", r"there is orders"),
        ({}, {"dsn": dsn, "table": "Orders"}, "settings.table", r"there is orders"),
        ({}, {"dsn": dsn, "table": "loose"}, "settings.table", r"no primary key"),
        ({}, {"dsn": dsn, "table": "all_orders"}, "settings.table", r"a view.*name the table behind it"),
        ({}, {"dsn": dsn, "table": "orders", "columns": ["id", "state"]}, "settings.columns[1]", r"no column state"),
        ({}, {"dsn": dsn, "table": "orders", "on": ["upsert"]}, "settings.on[0]", r"insert, update, delete"),
        ({}, {"dsn": dsn}, "settings.table", r"name the table"),
        ({}, {"table": "orders"}, "settings.dsn", r"give the DSN.*postgresql://.*mysql://.*sqlite:///"),
        ({}, {"dsn": "oracle://u@h/d", "table": "orders"}, "settings.dsn", r"postgresql://.*mysql://.*sqlite:///"),
        ({}, {"dsn": dsn, "table": "orders", "colour": "red"}, "settings.colour", r"there are dsn, table"),
        ({"when": "event.data.new.amount >"}, {"dsn": dsn, "table": "orders"}, "when", r"."),
        ({"map": "nobody.knows"}, {"dsn": dsn, "table": "orders"}, "map", r"nobody"),
        ({"when": "'a text'"}, {"dsn": dsn, "table": "orders"}, "when", r"true or false"),
    ):
        found_status, found_path, code, detail = await refused(world, {"kind": "table", **fields}, **settings)
        assert (found_status, found_path, code) == (422, path, "invalid"), (settings, detail)
        assert re.search(words, detail), (settings, detail)
    assert traces(place) == []


async def test_a_user_without_rights_is_told_which_are_missing(world: World, logical: Postgres) -> None:
    place = place_of(logical)
    place.execute(TABLE)
    for statement in (
        "CREATE ROLE visitor LOGIN PASSWORD 'visitor'",
        "CREATE ROLE reader LOGIN REPLICATION PASSWORD 'visitor'",
        "GRANT SELECT ON orders TO visitor, reader",
    ):
        place.execute(statement)
    visitor, reader = (as_visitor(place.dsn, name) for name in ("visitor", "reader"))
    for kind, settings, code, words in (
        ("table", {"dsn": visitor, "table": "orders"}, "missing_privilege", r"owner|GRANT|CREATE"),
        ("changes", {"dsn": visitor, "tables": ["orders"]}, "no_replication_privilege", r'ALTER ROLE "visitor" REPLIC'),
        ("changes", {"dsn": reader, "tables": ["orders"]}, "not_owner_of_table", r"GRANT .* TO \"reader\""),
    ):
        found_status, _, found_code, detail = await refused(world, {"kind": kind}, **settings)
        assert (found_status, found_code) == (422, code), detail
        assert re.search(words, detail), detail
        assert ":visitor@" not in detail, "no password is told"
    assert traces(place) == []
    wrong = visitor.replace(":visitor@", ":guess@")
    for kind, settings in (
        ("table", {"dsn": wrong, "table": "orders"}),
        ("changes", {"dsn": wrong, "tables": ["orders"]}),
    ):
        found_status, _, _, detail = await refused(world, {"kind": kind}, **settings)
        assert found_status == 422
        assert "password" in detail.lower()
        assert "guess" not in detail


async def test_bad_change_capture_is_refused_with_what_to_do(
    world: World, logical: Postgres, postgres_server: PostgresServer
) -> None:
    place = place_of(logical)
    place.execute(TABLE)
    place.execute("CREATE TABLE loose (id int)")
    dsn = place.dsn
    for fields, settings, path, words in (
        ({}, {"dsn": dsn, "tables": ["public.Orders"]}, "settings.tables[0]", r"but public\.orders"),
        ({}, {"dsn": dsn, "tables": ["orders", "nothing"]}, "settings.tables[1]", r"no table"),
        ({}, {"dsn": dsn, "tables": ["loose"]}, "settings.tables[0]", r"REPLICA IDENTITY FULL"),
        ({}, {"dsn": dsn, "tables": []}, "settings.tables", r"public\.orders"),
        ({}, {"dsn": "mysql://u@h/d", "tables": ["orders"]}, "settings.dsn", r"the kind table\b"),
        ({}, {"dsn": "oracle://u@h/d", "tables": ["orders"]}, "settings.dsn", r"postgresql://"),
        ({}, {"dsn": dsn, "tables": ["orders"], "slot": "none"}, "settings.slot", r"pg_create_logical_replication"),
        ({}, {"dsn": dsn, "tables": ["orders"], "publication": "no"}, "settings.publication", r"CREATE PUBLICATION"),
        ({"when": "event.data."}, {"dsn": dsn, "tables": ["orders"]}, "when", r"."),
    ):
        found_status, found_path, code, detail = await refused(world, {"kind": "changes", **fields}, **settings)
        assert (found_status, found_path, code) == (422, path, "invalid"), (settings, detail)
        assert re.search(words, detail), (settings, detail)
    elsewhere = await postgres_server.bare_database()
    found_status, _, code, detail = await refused(world, {"kind": "changes"}, dsn=elsewhere, tables=["orders"])
    assert (found_status, code) == (422, "wal_level"), detail
    assert "wal_level = logical" in detail
    await postgres_server.drop_database(elsewhere)
    assert place.execute("SELECT slot_name FROM pg_replication_slots") == []
    assert place.execute("SELECT pubname FROM pg_publication") == []


async def test_a_slot_that_another_reads_is_told_and_taken_when_it_is_free(world: World, logical: Postgres) -> None:
    place = place_of(logical)
    place.execute(TABLE)
    place.execute("CREATE PUBLICATION theirs FOR TABLE orders")
    with psycopg.connect(place.dsn, autocommit=True) as plain:
        plain.execute("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')")
    other = psycopg.pq.PGconn.connect(f"{place.dsn}?replication=database&application_name=another".encode())
    try:
        other.send_query(
            b"START_REPLICATION SLOT theirs LOGICAL 0/0 (proto_version '1', publication_names 'theirs', messages 'true')"
        )
        other.get_result()
        await call(
            world.port,
            "POST",
            "/v1/triggers",
            {
                "uid": "orders",
                "kind": "changes",
                "type": "order.{op}",
                "subject": "{row.shop_id}",
                "settings": {"dsn": place.dsn, "tables": ["orders"], "slot": "theirs", "publication": "theirs"},
            },
        )
        found = await world.until(lambda found: found["state"] == "failing", "a trigger that fails")
        assert found["failure"]["code"] == "slot_taken"
        assert re.search(r"another.*slot of its own.*pg_terminate_backend\(\d+\)", found["failure"]["detail"])
    finally:
        other.finish()
    place.execute("INSERT INTO orders (id, shop_id, status) VALUES (1, 1, 'new')")
    assert [told["data"]["new"]["id"] for told in await world.heard(1)] == [1]


async def test_a_source_that_is_down_is_told_tried_again_and_stops_no_other(
    world: World, logical: Postgres, tmp_path: Path
) -> None:
    far, near = place_of(logical), sqlite_place(tmp_path)
    for each in (far, near):
        each.execute(TABLE)
    far.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    common = {"type": "order.{op}", "subject": "{row.shop_id}"}
    for uid, kind, settings in (
        ("far-table", "table", {"dsn": far.dsn, "table": "orders"}),
        ("far-changes", "changes", {"dsn": far.dsn, "tables": ["orders"]}),
        ("near", "table", {"dsn": near.dsn, "table": "orders"}),
    ):
        await call(
            world.port, "POST", "/v1/triggers", {"uid": uid, "kind": kind, **common, "settings": settings}
        )  # fmt: skip
    far.execute("INSERT INTO orders (id, shop_id, status) VALUES (1, 1, 'new')")
    assert {told["data"]["new"]["id"] for told in await world.heard(2)} == {1}
    await logical.stop(signal.SIGQUIT)
    for uid in ("far-table", "far-changes"):
        found = await world.until(
            lambda found: found["failure"] is not None and found["failure"]["times"] >= 3, "three failures", uid
        )
        assert found["state"] == "failing"
        assert found["failure"]["code"] == "source_unavailable", found
        assert f"127.0.0.1:{logical.port}" in found["failure"]["detail"]
        assert found["failure"]["retry_at"] > found["failure"]["since"]
        metrics = (await ask(world.port, "GET", "/metrics")).body.decode()
        assert re.search(rf'posthouse_trigger_healthy\{{kind="[a-z]+",trigger="{uid}"\}} 0\.0', metrics)
    near.execute("INSERT INTO orders (id, shop_id, status) VALUES (2, 1, 'new')")
    assert (await world.heard(3))[-1]["data"]["new"]["id"] == 2
    assert (await world.get("near"))["state"] == "active"
    reply = await ask(
        world.port,
        "POST",
        "/v1/triggers",
        {"uid": "late", "kind": "table", **common, "settings": {"dsn": far.dsn, "table": "orders"}},
    )
    assert (reply.status, reply.body["code"]) == (503, "source_unavailable")
    # Listed with what is wrong, for whoever asks.
    listed = {row["uid"]: row for row in await world.listed("triggers", "list")}
    assert {uid: row["state"] for uid, row in listed.items()} == {
        "near": "active",
        "far-table": "failing",
        "far-changes": "failing",
    }
    await logical.start()
    far.execute("INSERT INTO orders (id, shop_id, status) VALUES (3, 1, 'new')")
    assert [told["data"]["new"]["id"] for told in (await world.heard(5))[3:]] == [3, 3]
    for uid in ("far-table", "far-changes"):
        await world.until(lambda found: found["state"] == "active" and found["failure"] is None, "health", uid)
