"""What is made in a database for change capture, what keeps it from being made, and that it goes without a trace."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests.changing import KIND, Begin, Database, Trigger
from tests.clusters import Clusters

from posthouse.domain.errors import Invalid, SourceRefused, SourceUnavailable
from posthouse.ports.sources import Spec


def _as(dsn: str, user: str, password: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture
async def role(watched: Database) -> AsyncIterator[tuple[str, str]]:
    """A user that may do nothing yet, and the DSN with it."""
    name, password = f"role_{secrets.token_hex(6)}", secrets.token_hex(8)
    await watched.run(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    yield name, _as(watched.dsn, name, password)
    await watched.clear()
    await watched.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def test_a_plan_is_what_is_done(watched: Database) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, note text)")
    spec = watched.spec("item", on=["insert"])
    name = f"posthouse_{spec.id}"
    plan = await KIND.plan(spec)
    assert plan.install[0] == (
        f'CREATE PUBLICATION "{name}" FOR TABLE ONLY "public"."item" WITH (publish = \'insert\', '
        "publish_via_partition_root = true)"
    )
    assert plan.install[1].startswith(
        f'COMMENT ON PUBLICATION "{name}" IS \'Trigger {spec.id} of Posthouse; slot made at'
    )
    assert plan.install[2].startswith(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput'")
    assert plan.remove == (f"SELECT pg_drop_replication_slot('{name}')", f'DROP PUBLICATION IF EXISTS "{name}"')
    assert await watched.ask("SELECT 1 FROM pg_publication") == [], "a plan changes nothing"

    await KIND.install(spec)
    assert (await KIND.plan(spec)).install == ()
    await KIND.install(spec)
    await KIND.remove(spec)
    assert await watched.ask("SELECT 1 FROM pg_publication") == []
    assert await watched.slot(spec, "1") is None
    await KIND.remove(spec)

    for statement in plan.install:
        await watched.ask(statement) if statement.startswith("SELECT") else await watched.run(statement)
    assert (await KIND.plan(spec)).install == ()
    for statement in plan.remove:
        await watched.ask(statement) if statement.startswith("SELECT") else await watched.run(statement)
    assert (await KIND.plan(spec)).install[2:] == plan.install[2:]


async def test_a_plan_says_what_somebody_should_know(watched: Database) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    remarks = " ".join((await KIND.plan(watched.spec("item"))).remarks)
    assert "max_slot_wal_keep_size" in remarks
    assert "REPLICA IDENTITY FULL" in remarks
    await watched.run("ALTER TABLE item REPLICA IDENTITY FULL")
    assert "REPLICA IDENTITY FULL" not in " ".join((await KIND.plan(watched.spec("item"))).remarks)


@pytest.mark.parametrize(
    ("statement", "settings", "path", "says"),
    [
        ("SELECT 1", {}, "tables[0]", "no table public.item"),
        ('CREATE TABLE "Item" (id int PRIMARY KEY)', {}, "tables[0]", 'but public."Item"'),
        ("CREATE VIEW item AS SELECT 1 AS id", {}, "tables[0]", "no table but a view"),
        ("CREATE UNLOGGED TABLE item (id int PRIMARY KEY)", {}, "tables[0]", "SET LOGGED"),
        ("CREATE TABLE item (id int)", {}, "tables[0]", "REPLICA IDENTITY FULL"),
        ("CREATE TABLE item (id int PRIMARY KEY DEFERRABLE)", {}, "tables[0]", "no primary key"),
        ("CREATE TABLE item (id int)", {"on": ["insert"], "snapshot": True}, "tables[0]", "a snapshot goes"),
        (
            "CREATE TABLE item (id int) PARTITION BY LIST (id); CREATE TABLE one PARTITION OF item FOR VALUES IN (1)",
            {},
            "tables[0]",
            "public.one has no primary key",
        ),
        ("CREATE TABLE item (id int PRIMARY KEY)", {"columns": {"item": ["id", "no"]}}, "columns.item[1]", "it has id"),
        ("CREATE TABLE item (id int PRIMARY KEY, a int)", {"columns": {"item": ["a"]}}, "columns.item", "include id"),
        (
            "CREATE TABLE item (id int PRIMARY KEY, a int GENERATED ALWAYS AS (id + 1) STORED)",
            {"columns": {"item": ["id", "a"]}},
            "columns.item[1]",
            "generated",
        ),
        (
            "CREATE TABLE item (id int PRIMARY KEY); ALTER TABLE item REPLICA IDENTITY FULL",
            {"columns": {"item": ["id"]}},
            "columns.item",
            "whole rows",
        ),
        (
            "CREATE TABLE item (id int PRIMARY KEY)",
            {"slot": "mine"},
            "slot",
            "pg_create_logical_replication_slot('mine'",
        ),
        ("CREATE TABLE item (id int PRIMARY KEY)", {"publication": "Mine"}, "publication", 'CREATE PUBLICATION "Mine"'),
        (
            "CREATE TABLE item (id int PRIMARY KEY); CREATE PUBLICATION mine",
            {"publication": "mine"},
            "tables[0]",
            "ADD TABLE",
        ),
        (
            "CREATE TABLE item (id int PRIMARY KEY); CREATE PUBLICATION mine FOR TABLE item WITH (publish = 'insert')",
            {"publication": "mine"},
            "publication",
            "update, delete",
        ),
        (
            "CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE b (id int); CREATE PUBLICATION mine FOR TABLE item, b",
            {"publication": "mine"},
            "tables",
            "also has public.b",
        ),
        (
            "CREATE TABLE item (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE PUBLICATION mine FOR TABLE item",
            {"publication": "mine"},
            "publication",
            "publish_via_partition_root",
        ),
    ],
)
async def test_what_cannot_be_watched_is_told_with_its_path(
    watched: Database, statement: str, settings: dict[str, Any], path: str, says: str
) -> None:
    await watched.run(statement)
    spec = watched.spec("item", **settings)
    for work in (KIND.plan(spec), KIND.install(spec)):
        with pytest.raises(Invalid) as found:
            await work
        assert found.value.path == path
        assert says in str(found.value)
    assert await watched.ask("SELECT 1 FROM pg_publication WHERE pubname LIKE 'posthouse%'") == []
    assert await watched.slot(spec, "1") is None


async def test_a_table_without_identity_can_still_be_written_to(watched: Database) -> None:
    """The worst that could happen: that watching makes the updates of one's own programs fail."""
    await watched.run("CREATE TABLE item (id int)", "INSERT INTO item VALUES (1)")
    with pytest.raises(Invalid):
        await watched.installed("item")
    await watched.run("UPDATE item SET id = 2", "DELETE FROM item")
    await watched.installed("item", on=["insert", "truncate"])
    await watched.run("INSERT INTO item VALUES (1)", "UPDATE item SET id = 2", "DELETE FROM item")


async def test_rights_that_are_missing_are_told_one_after_the_other(
    watched: Database, role: tuple[str, str], begin: Begin
) -> None:
    name, dsn = role
    database = await watched.value("SELECT current_database()")
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)", "INSERT INTO item VALUES (1)")
    spec = watched.spec("item", dsn=dsn, snapshot=True)

    async def refused(code: str, says: str) -> None:
        for work in (KIND.plan(spec), KIND.install(spec)):
            with pytest.raises(SourceRefused, match=says) as found:
                await work
            assert found.value.code == code
            assert dsn.split(":")[2].split("@")[0] not in str(found.value), "a password"

    await refused("no_replication_privilege", "REPLICATION")
    await watched.run(f"ALTER ROLE {name} REPLICATION")
    await refused("no_privilege", "GRANT SELECT ON")
    await watched.run(f"GRANT SELECT ON item TO {name}")
    await refused("not_owner_of_table", "belongs to posthouse")
    await watched.run(f"ALTER TABLE item OWNER TO {name}")
    await refused("no_privilege", "GRANT CREATE ON DATABASE")
    await watched.run(f'GRANT CREATE ON DATABASE "{database}" TO {name}')
    await KIND.install(spec)
    trigger = await begin(spec)
    assert (await trigger.caught_up()).ops("id") == [("snapshot", 1)]
    await trigger.close()
    await KIND.remove(spec)


async def test_a_user_with_few_rights_is_given_a_publication_and_a_slot(
    watched: Database, role: tuple[str, str], begin: Begin
) -> None:
    name, dsn = role
    slot = f"mine_{secrets.token_hex(6)}"
    await watched.run(
        "CREATE TABLE item (id int PRIMARY KEY)",
        "CREATE PUBLICATION mine FOR TABLE item WITH (publish_via_partition_root = true)",
        f"ALTER ROLE {name} REPLICATION",
    )
    await watched.ask("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
    spec = watched.spec("item", dsn=dsn, slot=slot, publication="mine")
    assert (await KIND.plan(spec)).install == ()
    assert (await KIND.plan(spec)).remove == ()
    await KIND.install(spec)
    trigger = await begin(spec)
    await watched.run("INSERT INTO item VALUES (1)")
    assert (await trigger.caught_up()).ops("id") == [("insert", 1)]
    await trigger.close()
    await KIND.remove(spec)
    assert await watched.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", slot) == 1
    assert await watched.value("SELECT count(*) FROM pg_publication") == 1
    async for _ in _inactive(watched, slot):
        pass
    await watched.ask("SELECT pg_drop_replication_slot(%s)", slot)


async def _inactive(watched: Database, slot: str) -> AsyncIterator[None]:
    while await watched.value("SELECT active FROM pg_replication_slots WHERE slot_name = %s", slot):
        yield


async def test_rows_that_are_hidden_from_us_are_no_snapshot(watched: Database, role: tuple[str, str]) -> None:
    name, dsn = role
    await watched.run(
        f"ALTER ROLE {name} REPLICATION",
        "CREATE TABLE item (id int PRIMARY KEY)",
        "ALTER TABLE item ENABLE ROW LEVEL SECURITY",
        f"GRANT SELECT ON item TO {name}",
        "CREATE PUBLICATION mine FOR TABLE item",
    )
    with pytest.raises(Invalid, match="BYPASSRLS"):
        await KIND.install(watched.spec("item", dsn=dsn, publication="mine", snapshot=True))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"password": "wrong"}, "not_let_in"),
        ({"path": "/no_such_database"}, "no_database"),
        ({"user": "nobody_at_all"}, "not_let_in"),
    ],
)
async def test_what_the_server_does_not_let_in(watched: Database, change: dict[str, str], code: str) -> None:
    parts = urlsplit(watched.dsn)
    netloc = f"{change.get('user', parts.username)}:{change.get('password', parts.password)}@"
    dsn = urlunsplit(parts._replace(netloc=netloc, path=change.get("path", parts.path)))
    with pytest.raises(SourceRefused) as found:
        await KIND.plan(watched.spec("item", dsn=dsn))
    assert found.value.code == code
    assert str(parts.password) not in str(found.value)


async def test_a_server_that_does_not_answer() -> None:
    settings = KIND.check({"dsn": "postgresql://u:secret@127.0.0.1:1/d", "tables": ["item"]})
    spec = Spec(id="trg_1", name="a test", settings=settings)
    for work in (KIND.plan(spec), KIND.install(spec), KIND.remove(spec), KIND.rewind(spec, None)):
        with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1:1/d") as found:
            await work
        assert "secret" not in str(found.value)
    with pytest.raises(SourceUnavailable):
        await KIND.source(spec).open(None)


async def test_a_server_that_will_not_do(clusters: Clusters, working: list[Trigger]) -> None:
    server = clusters.server()
    await server.start(max_replication_slots="1", max_wal_senders="1")
    await server.execute("CREATE TABLE item (id int PRIMARY KEY)")

    def spec(trigger: str) -> Spec:
        return Spec(id=trigger, name="a test", settings=KIND.check({"dsn": server.dsn, "tables": ["item"]}))

    async def refused(code: str, says: str) -> None:
        with pytest.raises(SourceRefused, match=says) as found:
            await KIND.install(spec("trg_2"))
        assert found.value.code == code

    await refused("wal_level", "ALTER SYSTEM SET wal_level = logical")
    await server.stop()
    await server.start(wal_level="logical")
    await KIND.install(spec("trg_1"))
    await refused("no_free_slot", "max_replication_slots")
    trigger = Trigger(spec("trg_1"))
    working.append(trigger)
    await trigger.open()
    other = Trigger(spec("trg_1"))
    working.append(other)
    with pytest.raises(SourceUnavailable, match="still reads") as found:
        await other.open()
    assert "wal_sender_timeout" in str(found.value)


async def test_a_standby_is_refused(clusters: Clusters) -> None:
    server = clusters.server()
    server.settings |= {"wal_level": "logical"}
    standby = clusters.server(server)
    await server.start()
    (standby.cluster / "standby.signal").touch()
    await standby.start(wal_level="logical", primary_conninfo=f"host=127.0.0.1 port={server.port}")
    settings = KIND.check({"dsn": standby.dsn, "tables": ["item"]})
    with pytest.raises(SourceRefused, match="target_session_attrs") as found:
        await KIND.plan(Spec(id="trg_1", name="a test", settings=settings))
    assert found.value.code == "standby"


async def test_a_slot_that_somebody_else_reads(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)", "CREATE PUBLICATION mine FOR TABLE item")
    slot = f"mine_{secrets.token_hex(6)}"
    await watched.ask("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
    one, two = (watched.spec("item", slot=slot, publication="mine") for _ in range(2))
    trigger = await begin(one)
    with pytest.raises(SourceRefused, match="pg_terminate_backend") as found:
        await begin(two)
    assert found.value.code == "slot_taken"
    await trigger.close()
    other = await begin(two)
    await other.close()
    async for _ in _inactive(watched, slot):
        pass
    await watched.ask("SELECT pg_drop_replication_slot(%s)", slot)


async def test_settings_change(watched: Database, begin: Begin) -> None:
    """Tables, operations and columns; then a slot of one's own: what was made and is not needed any more goes."""
    await watched.run("CREATE TABLE item (id int PRIMARY KEY, note text)", "CREATE TABLE other (id int PRIMARY KEY)")
    before = await watched.installed("item")
    trigger = await begin(before)
    await watched.run("INSERT INTO item VALUES (1, 'a')")
    await trigger.caught_up()
    after = watched.spec("item", "other", trigger=before.id, on=["insert"], columns={"item": ["id"]})
    await KIND.install(after, before=before)
    assert (await KIND.plan(after)).install == ()
    trigger.spec = after
    await trigger.reopen()
    await watched.run("INSERT INTO item VALUES (2, 'b')", "INSERT INTO other VALUES (3)", "DELETE FROM item")
    published = await trigger.caught_up()
    assert [seen["new"] for seen in published.seen] == [{"id": 1, "note": "a"}, {"id": 2}, {"id": 3}]

    await watched.run("CREATE PUBLICATION mine FOR TABLE item WITH (publish_via_partition_root = true)")
    theirs = watched.spec("item", trigger=before.id, publication="mine")
    await trigger.close()
    await KIND.install(theirs, before=after)
    assert await watched.ask("SELECT pubname::text FROM pg_publication") == [("mine",)]
    assert await watched.slot(before, "1") == 1


async def test_another_database(watched: Database, begin: Begin, watched_dsn: str) -> None:
    """Nothing is left in the one before; where it is the same one by another address, nothing is taken from it."""
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    before = await watched.installed("item")
    separator = "&" if "?" in watched.dsn else "?"
    same = watched.spec("item", trigger=before.id, dsn=f"{watched.dsn}{separator}connect_timeout=7")
    await KIND.install(same, before=before)
    assert await watched.slot(before, "1") == 1
    gone = Spec(id=before.id, name="", settings=KIND.check({"dsn": "postgresql://u@127.0.0.1:1/d", "tables": ["item"]}))
    await KIND.install(same, before=gone)  # a server that is not there any more keeps nobody from moving


async def test_remove_ends_our_own_reader(watched: Database, begin: Begin) -> None:
    await watched.run("CREATE TABLE item (id int PRIMARY KEY)")
    trigger = await begin(await watched.installed("item"))
    await KIND.remove(trigger.spec)
    assert await watched.slot(trigger.spec, "1") is None
    assert await watched.ask("SELECT 1 FROM pg_publication") == []
    with pytest.raises(SourceUnavailable):
        await trigger.read(wait_seconds=10)
