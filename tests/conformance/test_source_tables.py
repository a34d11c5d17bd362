"""Table triggers, on each database that can have them: what is committed is seen, once, exactly and in order."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing

import pytest
from tests.outboxes import Place
from tests.tables import (
    KIND,
    PATIENCE_SECONDS,
    again,
    all_of,
    changes,
    make_orders,
    observed,
    quoted,
    reading,
    run,
    spec,
    traces,
)

from posthouse.domain.errors import Invalid
from posthouse.ports.sources import Lag, Observation, Spec


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


# Order


async def test_changes_of_a_row_are_in_the_order_of_their_commits(place: Place, orders: Spec) -> None:
    """Whoever writes: several write the same rows at the same time, while the first changes are read already."""
    rows, rounds, writers = 3, 25, 4
    values = ", ".join(f"({number}, '0', 0)" for number in range(rows))
    place.execute(f"INSERT INTO orders VALUES {values}")

    def write(number: int) -> None:
        with closing(place.connect()) as connection:
            cursor = connection.cursor()
            for turn in range(rounds):
                if place.dialect == "sqlite":
                    cursor.execute("BEGIN IMMEDIATE")  # or it would be refused for having read what another one changed
                row = (number + turn) % rows
                cursor.execute(f"UPDATE orders SET amount = amount + 1 WHERE id = {row}")
                connection.commit()

    async with reading(orders) as source:
        writing = asyncio.gather(*(asyncio.to_thread(write, number) for number in range(writers)))
        found = list[Observation]()
        while not writing.done():
            found += await all_of(source, limit=7)
            await asyncio.sleep(0.005)
        await writing
        found += await all_of(source, limit=7)
    amounts: dict[str, list[float]] = {}
    for seen in found:
        amounts.setdefault(seen.event_key or "", []).append(json.loads(seen.data or b"")["new"]["amount"])
    assert sum(len(of_row) for of_row in amounts.values()) == rows + rounds * writers
    assert all(of_row == list(range(len(of_row))) for of_row in amounts.values())


async def test_an_earlier_change_that_is_committed_later_is_not_passed_over(place: Place, orders: Spec) -> None:
    if place.dialect == "sqlite":
        pytest.skip("SQLite has one transaction at a time: nothing is committed after what came later")
    async with reading(orders) as source:
        with closing(place.connect()) as slow:
            slow.cursor().execute("INSERT INTO orders VALUES (1, 'new', 1)")
            for number in range(2, 5):
                place.execute("INSERT INTO orders VALUES (%s, 'new', 1)", number)
                assert [seen.event_key for seen in await all_of(source)] == [str(number)]
            slow.commit()
        assert [seen.event_key for seen in await all_of(source)] == ["1"]


async def test_what_another_trigger_does_to_the_row_comes_after(place: Place, orders: Spec) -> None:
    """As applications have them that fill in a column after the fact."""
    if place.dialect == "mysql":
        pytest.skip("there a trigger cannot change the table that it is on")
    body = "UPDATE orders SET status = 'numbered' WHERE id = NEW.id"
    if place.dialect == "postgresql":
        run(
            place,
            f"CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$",
            "CREATE TRIGGER aaa AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fill()",
        )
    else:
        await KIND.remove(orders)
        run(place, f"CREATE TRIGGER aaa AFTER INSERT ON orders BEGIN {body}; END")
        await KIND.install(orders)
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    found = [(change["op"], change["new"]["status"]) for change in await changes(orders)]
    assert found == [("insert", "new"), ("update", "numbered")]


async def test_many_rows_of_one_statement_keep_their_order(place: Place, orders: Spec) -> None:
    place.execute(f"INSERT INTO orders VALUES {', '.join(f'({number}, NULL, 1)' for number in range(500))}")
    assert [seen.event_key for seen in await observed(orders, limit=99)] == [str(number) for number in range(500)]


# What the application notices


async def test_the_application_gets_its_own_numbers(place: Place) -> None:
    counted = {
        "postgresql": "id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "sqlite": "id integer PRIMARY KEY AUTOINCREMENT",
        "mysql": "id int AUTO_INCREMENT PRIMARY KEY",
    }[place.dialect]
    run(place, f"CREATE TABLE numbered ({counted}, name varchar(9))")
    made = spec(place, "numbered")
    await KIND.install(made)
    for _ in range(3):
        run(place, "INSERT INTO numbered (name) VALUES ('x')")
    run(place, "DELETE FROM numbered")
    with closing(place.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("INSERT INTO numbered (name) VALUES ('a')")
        if place.dialect == "postgresql":  # lastval() is ours then: its remark says so
            cursor.execute("SELECT currval(pg_get_serial_sequence('numbered', 'id'))")
            assert cursor.fetchone() == (4,)
            assert any("lastval()" in remark for remark in (await KIND.plan(made)).remarks)
        else:
            assert cursor.lastrowid == 4
        cursor.execute("UPDATE numbered SET name = 'b'")
        assert cursor.rowcount == 1
        connection.commit()
    assert len(await changes(made)) == 8


# Going back


async def test_what_was_published_can_be_seen_again(place: Place, orders: Spec) -> None:
    for number in range(3):
        place.execute("INSERT INTO orders VALUES (%s, 'new', 1)", number)
    first = await observed(orders)
    place.execute("INSERT INTO orders VALUES (3, 'new', 1)")
    assert await KIND.rewind(orders, first[1].at) is None
    again_seen = await observed(orders)
    assert [seen.event_key for seen in again_seen] == ["1", "2", "3"], "before what is new"
    assert again_seen[:2] == first[1:], "under the same ids: the runner tells the generations apart"
    assert await KIND.rewind(orders, None) is None
    assert [seen.event_key for seen in await observed(orders)] == ["0", "1", "2", "3"]
    await KIND.rewind(orders, again_seen[-1].at and again_seen[-1].at + 1)
    assert await observed(orders) == []


async def test_what_is_kept_has_an_end(place: Place, orders: Spec) -> None:
    for number in range(2):
        place.execute("INSERT INTO orders VALUES (%s, 'new', 1)", number)
    async with reading(again(orders, keep_seconds=1)) as source:
        first, second = await all_of(source)
        store = source._store
        async with asyncio.timeout(PATIENCE_SECONDS):
            while place.execute("SELECT 1 FROM posthouse_change_kept"):
                assert not await store.prune(), "there is no more than one round of it"
                await asyncio.sleep(0.05)
        place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
        (third,) = await all_of(source)
    with pytest.raises(Invalid, match=r"is kept from 20.*Z on"):
        await KIND.rewind(orders, first.at)
    with pytest.raises(Invalid, match="is kept from"):
        await KIND.rewind(orders, second.at)
    assert await observed(orders) == []
    await KIND.rewind(orders, third.at)
    assert [seen.event_key for seen in await observed(orders)] == ["2"]


async def test_nothing_is_kept_where_nobody_wants_it(place: Place, orders: Spec) -> None:
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    none = again(orders, keep_seconds=0)
    assert len(await observed(none)) == 1
    assert place.execute("SELECT count(*) FROM posthouse_change_kept") == [(0,)]
    with pytest.raises(Invalid, match="keep_seconds is 0"):
        await KIND.rewind(none, None)
    async with reading(orders) as source:
        assert await all_of(source) == []
    with pytest.raises(Invalid, match="is kept from"):
        await KIND.rewind(orders, 1.0)


# Waiting


async def test_it_waits_for_what_comes(place: Place, orders: Spec) -> None:
    async with reading(orders) as source:
        assert (await source.read(limit=10, wait_seconds=0.05)).observations == ()
        waiting = asyncio.create_task(source.read(limit=10, wait_seconds=PATIENCE_SECONDS))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            assert [seen.event_key for seen in (await waiting).observations] == ["1"]


async def test_a_reading_that_was_cancelled_has_lost_nothing(place: Place, orders: Spec) -> None:
    async with reading(orders) as source:
        for pause in (0.0, 0.001, 0.05):
            cancelled = asyncio.create_task(source.read(limit=10, wait_seconds=PATIENCE_SECONDS))
            await asyncio.sleep(pause)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    async with reading(orders) as source:
        read = await source.read(limit=10, wait_seconds=0)
        acknowledging = asyncio.create_task(source.acknowledge(read))
        await asyncio.sleep(0)
        acknowledging.cancel()
        await asyncio.gather(acknowledging, return_exceptions=True)
    assert await observed(orders) in ([], list(read.observations))


async def test_how_far_behind_it_is(place: Place, orders: Spec) -> None:
    async with reading(orders) as source:
        assert await source.lag() == Lag(pending=0, seconds=0.0)
        place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
        place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
        await asyncio.sleep(0.05)
        lag = await source.lag()
        assert lag.pending == 2
        assert 0.04 < (lag.seconds or 0.0) < 60


async def test_the_first_change_of_all_is_seen_however_late_it_comes(
    place: Place, orders: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that has looked often enough to know which ids are over does not take the first one for over."""
    monkeypatch.setattr("posthouse.adapters.sources.tables.postgresql.store.FLOOR_SECONDS", 0.0)
    async with reading(orders) as source:
        for _ in range(5):
            assert await all_of(source) == []
        place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
        assert [observation.event_key for observation in await all_of(source)] == ["1"]


# What the guide says of each database


async def test_what_a_foreign_key_does_by_itself(place: Place, orders: Spec) -> None:
    run(
        place,
        "CREATE TABLE line (id int PRIMARY KEY, order_id int, "
        "FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE)",
    )
    lines = spec(place, "line")
    await KIND.install(lines)
    on = ["PRAGMA foreign_keys = on"] if place.dialect == "sqlite" else []
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    place.execute("INSERT INTO line VALUES (7, 1)")
    with closing(place.connect()) as connection:
        for statement in (*on, "DELETE FROM orders"):
            connection.cursor().execute(statement)
        connection.commit()
    assert place.execute("SELECT * FROM line") == []
    cascaded = [] if place.dialect == "mysql" else ["delete"]
    assert [change["op"] for change in await changes(lines)] == ["insert", *cascaded]
    told = [remark for remark in (await KIND.plan(lines)).remarks if "foreign keys" in remark]
    assert len(told) == (place.dialect == "mysql")


async def test_what_replace_does(place: Place, orders: Spec) -> None:
    if place.dialect == "postgresql":
        pytest.skip("there is no REPLACE")
    for status in ("new", "paid"):
        place.execute(f"REPLACE INTO orders VALUES (1, '{status}', 1)")
    ops = [change["op"] for change in await changes(orders)]
    assert ops == (["insert", "delete", "insert"] if place.dialect == "mysql" else ["insert", "insert"])
    if place.dialect == "sqlite":
        with closing(place.connect()) as connection:
            connection.execute("PRAGMA recursive_triggers = on")
            connection.execute("REPLACE INTO orders VALUES (1, 'sent', 1)")
            connection.commit()
        assert [change["op"] for change in await changes(orders)] == ["delete", "insert"]
