"""Table triggers, on each database that can have them: what is committed is seen, once, exactly and in order."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from tests.outboxes import Place
from tests.tables import KIND, again, all_of, changes, make_orders, observed, quoted, reading, run, spec

from posthouse.ports.sources import Spec


@pytest.fixture
async def orders(place: Place) -> Spec:
    """A trigger on a table of orders."""
    make_orders(place)
    made = spec(place)
    await KIND.install(made)
    return made


async def test_each_change_of_a_row_is_seen(place: Place, orders: Spec) -> None:
    place.execute("INSERT INTO orders VALUES (7, 'new', 12.50)")
    place.execute("UPDATE orders SET status = 'paid' WHERE id = 7")
    place.execute("DELETE FROM orders WHERE id = 7")
    schema = orders_schema(place)
    new, paid = {"id": 7, "status": "new", "amount": 12.5}, {"id": 7, "status": "paid", "amount": 12.5}
    common = {"schema": schema, "table": "orders", "key": "7"}
    assert await changes(orders) == [
        {"op": "insert", **common, "old": None, "new": new},
        {"op": "update", **common, "old": new, "new": paid, "changed": ["status"]},
        {"op": "delete", **common, "old": paid, "new": None},
    ]
    assert await changes(orders) == [], "what was acknowledged is gone"


def orders_schema(place: Place) -> str:
    match place.dialect:
        case "postgresql":
            return "public"
        case "sqlite":
            return "main"
        case _:
            return str(place.execute("SELECT database()")[0][0])


async def test_what_was_seen_tells_what_a_trigger_needs(place: Place, orders: Spec) -> None:
    place.execute("INSERT INTO orders VALUES (7, 'new', 12.50)")
    place.execute("DELETE FROM orders WHERE id = 7")
    inserted, deleted = await observed(orders)
    assert (
        json.loads(inserted.seen)["row"]
        == json.loads(deleted.seen)["row"]
        == {"id": 7, "status": "new", "amount": 12.5}
    )
    assert "row" not in json.loads(inserted.data or b"")
    assert inserted.event_key == deleted.event_key == "7"
    assert inserted.key != deleted.key
    assert inserted.at is not None
    assert json.loads(inserted.seen)["at"].endswith("Z")


async def test_what_is_rolled_back_was_never_there(place: Place, orders: Spec) -> None:
    with closing(place.connect()) as connection:
        connection.cursor().execute("INSERT INTO orders VALUES (1, 'new', 1)")
        connection.rollback()
        cursor = connection.cursor()
        cursor.execute("INSERT INTO orders VALUES (2, 'new', 1)")
        cursor.execute("SAVEPOINT s")
        cursor.execute("INSERT INTO orders VALUES (3, 'new', 1)")
        cursor.execute("ROLLBACK TO SAVEPOINT s")
        connection.commit()
    assert [change["key"] for change in await changes(orders)] == ["2"]


async def test_an_upsert_is_what_it_came_to(place: Place, orders: Spec) -> None:
    clause = "ON DUPLICATE KEY UPDATE" if place.dialect == "mysql" else "ON CONFLICT (id) DO UPDATE SET"
    for status in ("new", "paid"):
        place.execute(f"INSERT INTO orders VALUES (1, '{status}', 1) {clause} status = '{status}'")
    found = [(change["op"], change["new"]["status"]) for change in await changes(orders)]
    assert found == [("insert", "new"), ("update", "paid")]


async def test_an_update_that_changes_nothing_is_one_without_changes(place: Place, orders: Spec) -> None:
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    place.execute("UPDATE orders SET status = 'new'")
    place.execute("UPDATE orders SET status = 'x' WHERE id = 2")
    inserted, updated = await changes(orders)
    assert (updated["op"], updated["changed"]) == ("update", [])
    assert updated["old"] == updated["new"] == inserted["new"]


async def test_another_primary_key_is_an_update_under_the_new_one(place: Place, orders: Spec) -> None:
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    place.execute("UPDATE orders SET id = 2 WHERE id = 1")
    _, updated = await changes(orders)
    assert (updated["op"], updated["key"], updated["changed"]) == ("update", "2", ["id"])
    assert (updated["old"]["id"], updated["new"]["id"]) == (1, 2)


async def test_several_columns_of_a_primary_key_are_a_list(place: Place) -> None:
    place.execute("CREATE TABLE line (shop varchar(20), number int, note varchar(9), PRIMARY KEY (shop, number))")
    made = spec(place, "line")
    await KIND.install(made)
    shop = 'a"b,c\\é'
    place.execute("INSERT INTO line VALUES (%s, 3, NULL)", shop)
    (seen,) = await observed(made)
    assert json.loads(seen.event_key or "") == [shop, "3"]
    assert json.loads(seen.data or b"")["new"] == {"shop": shop, "number": 3, "note": None}


async def test_only_the_columns_that_were_asked_for(place: Place) -> None:
    make_orders(place)
    made = spec(place, columns=["status"])
    await KIND.install(made)
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    place.execute("UPDATE orders SET amount = 2")
    place.execute("UPDATE orders SET status = NULL, amount = 3")
    place.execute("UPDATE orders SET status = NULL, amount = 4")
    place.execute("UPDATE orders SET id = 2")
    place.execute("DELETE FROM orders")
    found = await changes(made)
    assert [(change["op"], change["old"], change["new"]) for change in found] == [
        ("insert", None, {"id": 1, "status": "new"}),
        ("update", {"id": 1, "status": "new"}, {"id": 1, "status": None}),
        ("update", {"id": 1, "status": None}, {"id": 2, "status": None}),
        ("delete", {"id": 2, "status": None}, None),
    ]


@pytest.mark.parametrize("on", [["insert"], ["update"], ["delete", "insert"]])
async def test_only_the_operations_that_were_asked_for(place: Place, on: list[str]) -> None:
    make_orders(place)
    made = spec(place, on=on)
    await KIND.install(made)
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    place.execute("UPDATE orders SET amount = 2")
    place.execute("DELETE FROM orders")
    assert {change["op"] for change in await changes(made)} == set(on)


async def test_two_triggers_on_one_table_do_not_know_each_other(place: Place, orders: Spec) -> None:
    other = spec(place, on=["insert"], columns=["amount"])
    await KIND.install(other)
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    place.execute("UPDATE orders SET status = 'paid'")
    assert [change["op"] for change in await changes(orders)] == ["insert", "update"]
    await KIND.remove(orders)
    place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    assert [change["new"]["id"] for change in await changes(other)] == [1, 2]
    await KIND.remove(other)
    place.execute("INSERT INTO orders VALUES (3, 'new', 1)")
    assert traces(place) == []


def traces(place: Place) -> list[Any]:
    """What is there of ours."""
    match place.dialect:
        case "postgresql":
            return place.execute(
                "SELECT relname FROM pg_class WHERE relname LIKE 'posthouse%%' UNION SELECT proname FROM pg_proc "
                "WHERE proname LIKE 'posthouse%%' UNION SELECT tgname FROM pg_trigger WHERE tgname LIKE '00_posthouse%%'"
            )
        case "sqlite":
            return place.execute("SELECT name FROM sqlite_master WHERE name LIKE 'posthouse%'")
        case _:
            return place.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = database() "
                "AND table_name LIKE 'posthouse%%' UNION SELECT trigger_name FROM information_schema.triggers "
                "WHERE trigger_schema = database()"
            )


async def test_a_reading_is_bounded_and_comes_again_until_acknowledged(place: Place, orders: Spec) -> None:
    for number in range(5):
        place.execute("INSERT INTO orders VALUES (%s, 'new', 1)", number)
    async with reading(orders) as source:
        first = await source.read(limit=2, wait_seconds=0)
        assert [seen.event_key for seen in first.observations] == ["0", "1"]
        assert (await source.read(limit=2, wait_seconds=0)).observations == first.observations
    async with reading(orders) as source:
        assert (await source.read(limit=2, wait_seconds=0)).observations == first.observations
        await source.acknowledge(first)
        await source.acknowledge(first)
        assert [seen.event_key for seen in await all_of(source, limit=2)] == ["2", "3", "4"]


async def test_installing_twice_changes_nothing(place: Place, orders: Spec) -> None:
    before = traces(place)
    assert (await KIND.plan(orders)).install == ()
    await KIND.install(orders)
    await KIND.install(orders, before=again(orders, keep_seconds=0))
    assert traces(place) == before
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    assert len(await changes(orders)) == 1


async def test_odd_names_are_names(place: Place) -> None:
    table, column, key = "o'r\"d`e$posthouse$rs; --", 'sta\'tus "%s" {0} `$posthouse$ 名', "i'd\"`; DROP TABLE x"
    columns = f"{quoted(place, key)} int PRIMARY KEY, {quoted(place, column)} text"
    run(place, f"CREATE TABLE {quoted(place, table)} ({columns})")
    name = table.replace('"', '""')
    made = spec(place, f'"{name}"', columns=[column])
    await KIND.install(made)
    run(place, f"INSERT INTO {quoted(place, table)} VALUES (1, 'x')")
    (change,) = await changes(made)
    assert (change["table"], change["key"], change["new"]) == (table, "1", {key: 1, column: "x"})
    await KIND.remove(made)
    assert traces(place) == []
