"""Installing table triggers, changing and removing them, and tables that change under them: nothing is missed, and the
application's writes go on."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.outboxes import Place, sqlite_place
from tests.postgres import PostgresServer
from tests.tables import KIND, again, all_of, changes, make_orders, observed, reading, run, spec, traces

from posthouse.adapters.sources.tables import source as sources
from posthouse.adapters.sources.tables.kind import place_at
from posthouse.adapters.sources.tables.settings import read_settings
from posthouse.domain.errors import Invalid, SourceRefused
from posthouse.ports.sources import Spec


@pytest.fixture
async def orders(place: Place) -> Spec:
    make_orders(place)
    made = spec(place)
    await KIND.install(made)
    return made


@pytest.fixture
def comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed is compared with what should be in each reading."""
    monkeypatch.setattr(sources, "COMPARED_SECONDS", 0.0)


# Plans


async def test_a_plan_is_what_is_done(place: Place) -> None:
    """Run by hand, it comes to the same."""
    make_orders(place)
    made = spec(place, columns=["status"])
    plan = await KIND.plan(made)
    run(place, *plan.install)
    assert (await KIND.plan(made)).install == ()
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    assert [change["new"] for change in await changes(made)] == [{"id": 1, "status": "new"}]
    run(place, *plan.remove)
    place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    assert traces(place) == []
    assert (await KIND.plan(made)).install == plan.install


async def test_a_plan_changes_nothing(place: Place) -> None:
    make_orders(place)
    plan = await KIND.plan(spec(place))
    assert plan.remarks
    assert traces(place) == []


# Other settings


async def test_other_settings_take_the_place_of_the_first(place: Place, orders: Spec) -> None:
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    narrower = again(orders, on=["update"], columns=["amount"])
    assert (await KIND.plan(narrower)).install != ()
    await KIND.install(narrower, before=orders)
    place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    place.execute("UPDATE orders SET status = 'paid'")
    place.execute("UPDATE orders SET amount = 2 WHERE id = 2")
    found = await changes(narrower)
    assert [(change["op"], change["new"]["id"]) for change in found] == [("insert", 1), ("update", 2)]
    await KIND.install(orders, before=narrower)
    place.execute("INSERT INTO orders VALUES (3, 'new', 1)")
    assert [change["op"] for change in await changes(orders)] == ["insert"]
    await KIND.remove(orders)
    assert traces(place) == []


async def test_another_table_takes_the_place_of_the_first(place: Place, orders: Spec) -> None:
    run(place, "CREATE TABLE customers (id int PRIMARY KEY)")
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    other = again(orders, table="customers")
    await KIND.install(other, before=orders)
    place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    place.execute("INSERT INTO customers VALUES (3)")
    assert [(change["table"], change["key"]) for change in await changes(other)] == [
        ("orders", "1"),
        ("customers", "3"),
    ]
    await KIND.remove(other)
    assert traces(place) == []


async def test_nothing_is_missed_or_seen_twice_while_settings_change(place: Place, orders: Spec) -> None:
    written, done = list[int](), threading.Event()

    def write() -> None:
        with closing(place.connect()) as connection:
            while not done.is_set():
                connection.cursor().execute(f"INSERT INTO orders VALUES ({len(written)}, 'new', 1)")
                connection.commit()
                written.append(len(written))

    writing = asyncio.create_task(asyncio.to_thread(write))
    before = orders
    try:
        for columns in (["status"], ["amount"], None, ["status"]):
            after = again(orders, columns=columns)
            await KIND.install(after, before=before)
            before, seen = after, len(written)
            while len(written) == seen and not writing.done():  # noqa: ASYNC110 - another thread's fact
                await asyncio.sleep(0.001)
    finally:
        done.set()
        await writing
    assert [int(change["key"]) for change in await changes(before)] == written


async def test_installing_at_the_same_time_comes_to_one(place: Place) -> None:
    make_orders(place)
    made = spec(place)
    await asyncio.gather(*(KIND.install(made) for _ in range(4)))
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    assert len(await changes(made)) == 1


# Removing


async def test_removing_takes_what_was_not_published_along(place: Place, orders: Spec) -> None:
    await KIND.install(other := spec(place))
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    await KIND.remove(orders)
    await KIND.remove(orders)
    assert place.execute("SELECT DISTINCT trigger_id FROM posthouse_change") == [(other.id,)]
    async with reading(orders) as source:
        with pytest.raises(SourceRefused, match="posthouse triggers resume"):
            await source.read(limit=1, wait_seconds=0)
    await KIND.remove(other)
    await KIND.remove(other)
    with pytest.raises(SourceRefused, match="posthouse triggers resume"):
        async with reading(orders):
            pass


# Tables that change


async def test_a_new_column_is_part_of_what_follows(place: Place, orders: Spec, comparing: None) -> None:
    async with reading(orders) as source:
        assert await all_of(source) == []
        run(place, "ALTER TABLE orders ADD COLUMN note varchar(20)")
        place.execute("INSERT INTO orders VALUES (1, 'new', 1, 'a')")
        assert len(await all_of(source)) == 1
        place.execute("INSERT INTO orders VALUES (2, 'new', 1, 'b')")
        (seen,) = await all_of(source)
    assert json.loads(seen.data or b"")["new"] == {"id": 2, "status": "new", "amount": 1, "note": "b"}


async def test_a_reader_with_settings_of_the_past_leaves_the_new_ones_alone(
    place: Place, orders: Spec, comparing: None
) -> None:
    async with reading(orders) as source:
        assert await all_of(source) == []
        await KIND.install(after := again(orders, columns=["status"]), before=orders)
        assert await all_of(source) == []
        settings = read_settings(orders.settings)
        await place_at(settings.dsn).install(orders.id, settings, upgrades=True)
    assert (await KIND.plan(after)).install == ()


@pytest.mark.parametrize("columns", [None, ["status", "amount"]])
async def test_a_column_that_goes_is_left_out(place: Place, columns: list[str] | None) -> None:
    make_orders(place)
    made = spec(place, columns=columns)
    await KIND.install(made)
    if place.dialect == "sqlite":
        with pytest.raises(Exception, match="no such column"):
            run(place, "ALTER TABLE orders DROP COLUMN amount")
        await KIND.remove(made)
        run(place, "ALTER TABLE orders DROP COLUMN amount")
        await KIND.install(again(made, columns=None))
    else:
        with closing(place.connect()) as connection:  # which knows the trigger already
            cursor = connection.cursor()
            cursor.execute("INSERT INTO orders VALUES (1, 'new', 1)")
            connection.commit()
            run(place, "ALTER TABLE orders DROP COLUMN amount")
            cursor.execute("UPDATE orders SET status = 'paid'")
            cursor.execute("DELETE FROM orders")
            connection.commit()
        assert [change["new"] for change in await changes(made)][1:] == [{"id": 1, "status": "paid"}, None]
    place.execute("INSERT INTO orders VALUES (2, 'new')")
    assert [change["new"] for change in await changes(again(made, columns=None))] == [{"id": 2, "status": "new"}]


@pytest.mark.parametrize("columns", [None, ["status"]])
@pytest.mark.parametrize("column", ["status", "id"])
async def test_a_column_with_another_name_never_stops_a_write(
    place: Place, comparing: None, column: str, columns: list[str] | None
) -> None:
    make_orders(place)
    made = spec(place, columns=columns)
    await KIND.install(made)
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    run(place, f"ALTER TABLE orders RENAME COLUMN {column} TO renamed")
    place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    place.execute("UPDATE orders SET amount = 3 WHERE amount = 1")
    place.execute("DELETE FROM orders")
    async with reading(made) as source:
        first = await source.read(limit=100, wait_seconds=0)
        assert len(first.observations) >= 4
        await source.acknowledge(first)
        place.execute("INSERT INTO orders VALUES (4, 'new', 1)")
        (seen,) = await all_of(source)
    told = json.loads(seen.data or b"")
    assert told["key"] == "4"
    assert 4 in told["new"].values()


async def test_a_column_that_was_asked_for_and_went_holds_nothing_up(place: Place, comparing: None) -> None:
    make_orders(place)
    made = spec(place, columns=["status"])
    await KIND.install(made)
    run(place, "ALTER TABLE orders RENAME COLUMN status TO state")
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    async with reading(made) as source:
        assert len(await all_of(source)) == 1
        assert "has no column status" in ((await source.lag()).alarm or "")
    with refused("columns[0]", "has no column status; there (is|are)"):
        await KIND.install(made)
    other = again(made, columns=["state"])
    await KIND.install(other, before=made)
    place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    assert [change["new"] for change in await changes(other)] == [{"id": 2, "state": "new"}]


async def test_a_table_that_was_made_anew_is_told_when_all_is_read(place: Place, orders: Spec, comparing: None) -> None:
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    run(place, "DROP TABLE orders")
    make_orders(place)
    place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    async with reading(orders) as source:
        read = await source.read(limit=10, wait_seconds=0)
        assert [seen.event_key for seen in read.observations] == ["1"]
        await source.acknowledge(read)
        for _ in range(2):
            with pytest.raises(SourceRefused, match="posthouse triggers resume"):
                await source.read(limit=10, wait_seconds=0)
        await KIND.install(orders)
        place.execute("INSERT INTO orders VALUES (3, 'new', 1)")
        assert [seen.event_key for seen in await all_of(source)] == ["3"]


async def test_a_table_that_is_gone_is_told(place: Place, orders: Spec, comparing: None) -> None:
    run(place, "DROP TABLE orders")
    async with reading(orders) as source:
        with pytest.raises(SourceRefused, match="there is no table orders"):
            await source.read(limit=10, wait_seconds=0)
    await KIND.remove(orders)
    assert traces(place) == []


async def test_a_table_with_another_name_is_still_written_down(place: Place, orders: Spec, comparing: None) -> None:
    run(place, "ALTER TABLE orders RENAME TO bestellungen")
    place.execute("INSERT INTO bestellungen VALUES (1, 'new', 1)")
    async with reading(orders) as source:
        assert len((await source.read(limit=10, wait_seconds=0)).observations) == 1
    renamed = again(orders, table="bestellungen")
    await KIND.install(renamed, before=orders)
    place.execute("INSERT INTO bestellungen VALUES (2, 'new', 1)")
    assert [change["table"] for change in await changes(renamed)][-1:] == ["bestellungen"]
    await KIND.remove(renamed)
    assert traces(place) == []


async def test_a_table_of_ours_that_was_dropped_stops_no_write(place: Place, orders: Spec) -> None:
    if place.dialect == "sqlite":
        pytest.skip("SQLite has no way of asking in a trigger whether a table is there")
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    run(place, "DROP TABLE posthouse_change")
    place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    assert len(place.execute("SELECT * FROM orders")) == 2
    with pytest.raises(SourceRefused, match="posthouse triggers resume"):
        await observed(orders)
    await KIND.install(orders)
    place.execute("INSERT INTO orders VALUES (3, 'new', 1)")
    assert [change["key"] for change in await changes(orders)] == ["3"]


# What cannot be


@contextmanager
def refused(path: str, match: str) -> Iterator[None]:
    with pytest.raises(Invalid, match=match) as caught:
        yield
    assert caught.value.path == path


async def test_what_is_wrong_with_a_table_is_told(place: Place) -> None:
    make_orders(place)
    run(place, "CREATE TABLE bare (id int)", "CREATE VIEW seen AS SELECT * FROM orders")
    for table, match in (
        ("order", "there is no table order; there is orders"),
        ("Orders", "there is no table Orders; there is orders"),
        ("seen", "seen is a view"),
        ("bare", r"bare has no primary key, .* ALTER TABLE"),
    ):
        for ask in (KIND.plan, KIND.install):
            with refused("table", match):
                await ask(spec(place, table))
    with refused("columns[1]", "orders has no column state; there is status"):
        await KIND.install(spec(place, columns=["id", "state"]))
    with refused("table", "schema|database|there is no table elsewhere.orders"):
        await KIND.install(spec(place, "elsewhere.orders"))
    assert traces(place) == []


async def test_a_database_that_cannot_be_had_is_told(place: Place, tmp_path: Path) -> None:
    wrong = {
        "postgresql": place.dsn.replace("/test_", "/missing_"),
        "sqlite": f"sqlite:///{tmp_path / 'missing.db'}",
        "mysql": place.dsn.replace("/test_", "/missing_"),
    }[place.dialect]
    with pytest.raises(SourceRefused, match=r"DSN|database of your application"):
        await KIND.install(Spec(id="trg_x", name="", settings={"dsn": wrong, "table": "orders"}))
    assert not (tmp_path / "missing.db").exists()


# Another database


async def test_another_database_has_to_wait_for_what_is_not_published(
    orders: Spec, place: Place, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    (tmp_path / "other").mkdir()
    other = sqlite_place(tmp_path / "other")
    make_orders(other)
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    moved = again(orders, dsn=other.dsn)
    with pytest.raises(SourceRefused, match=r"1 changes in .* are not published yet"):
        await KIND.install(moved, before=orders)
    assert traces(other) == []
    assert len(await observed(orders)) == 1
    await KIND.install(moved, before=orders)
    assert traces(place) == []
    other.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    assert len(await observed(moved)) == 1


async def test_the_same_database_by_another_dsn_stays_as_it_is(place: Place, orders: Spec) -> None:
    place.execute("INSERT INTO orders VALUES (1, 'new', 1)")
    other = again(orders, dsn=place.dsn + ("&" if "?" in place.dsn else "?") + _harmless(place))
    await KIND.install(other, before=orders)
    place.execute("INSERT INTO orders VALUES (2, 'new', 1)")
    assert len(await observed(other)) == 2


def _harmless(place: Place) -> str:
    return {"postgresql": "application_name=x", "sqlite": "x=y", "mysql": "charset=utf8mb4"}[place.dialect]
