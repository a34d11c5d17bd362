"""Settings as people write them."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.adapters.sources.changes.kind import ChangesKind
from posthouse.adapters.sources.changes.settings import EXPECTS, TableName, check, own_name, read, table_name
from posthouse.domain.errors import Invalid

DSN = "postgresql://shop:secret@db:5432/shop"
KIND = ChangesKind()


def test_what_is_left_out_has_its_default() -> None:
    assert check({"dsn": DSN, "tables": ["orders"]}) == {
        "dsn": DSN,
        "tables": ["orders"],
        "on": ["insert", "update", "delete"],
        "columns": {},
        "snapshot": False,
        "slot": None,
        "publication": None,
        "retained_bytes_max": 10 * 1024**3,
        "on_cap": "alarm",
    }


def test_defaults_are_those_that_people_read() -> None:
    checked = check({"dsn": DSN, "tables": ["orders"]})
    for name, told in EXPECTS["properties"].items():
        assert told["description"]
        if name not in EXPECTS["required"]:
            assert checked[name] == told["default"], name


def test_checked_settings_stay_as_they_are_and_are_what_is_expected() -> None:
    given = {
        "dsn": "postgres+asyncpg://u:p%40@h1,h2/d?sslmode=require",
        "tables": ["a", 's."b.c"'],
        "on": ["truncate", "delete"],
        "columns": {"a": ["id"]},
        "slot": "mine",
        "publication": "Mine too",
    }
    checked = check(given)
    assert check(checked) == checked
    assert checked["on"] == ["delete", "truncate"]
    assert read(checked).table_names == (TableName("public", "a"), TableName("s", "b.c"))
    assert jsonschema_rs.is_valid(dict(EXPECTS), checked)
    assert jsonschema_rs.is_valid(dict(EXPECTS), given)


@pytest.mark.parametrize(
    ("change", "path", "says"),
    [
        ({"dsn": None}, "dsn", "postgresql://"),
        ({"dsn": 7}, "dsn", "postgresql://"),
        ({"dsn": "shop"}, "dsn", "no DSN of PostgreSQL"),
        ({"dsn": "mysql://u@h/d"}, "dsn", "kind table"),
        ({"dsn": "sqlite:////tmp/x.db"}, "dsn", "kind table"),
        ({"dsn": "postgresql://u:p@ss@h/d/x@y"}, "dsn", "%40"),
        ({"dsn": "postgresql://u@h"}, "dsn", "no database"),
        ({"tables": []}, "tables", "missing"),
        ({"tables": "orders"}, "tables", "array"),
        ({"tables": ["a", 1]}, "tables[1]", "str"),
        ({"tables": ["a", "a.b.c"]}, "tables[1]", "public.orders"),
        ({"tables": [""]}, "tables[0]", "no name"),
        ({"tables": ['a"b']}, "tables[0]", "no name"),
        ({"tables": ["x" * 64]}, "tables[0]", "no name"),
        ({"tables": ["a\0"]}, "tables[0]", "no name"),
        ({"tables": ["orders", "public.orders"]}, "tables[1]", "twice"),
        ({"tables": ["pg_catalog.pg_class"]}, "tables[0]", "PostgreSQL itself"),
        ({"tables": [f"t{n}" for n in range(101)]}, "tables", "at most 100"),
        ({"on": []}, "on", "insert"),
        ({"on": ["insert", "upsert"]}, "on[1]", "one of"),
        ({"columns": {"other": ["id"]}}, "columns.other", "not among"),
        ({"columns": {"orders": []}}, "columns.orders", "once"),
        ({"columns": {"orders": ["id", "id"]}}, "columns.orders", "once"),
        ({"columns": {"orders": [""]}}, "columns.orders[0]", "no name"),
        ({"slot": "Mine"}, "slot", "lower-case"),
        ({"slot": "x'; DROP TABLE orders; --"}, "slot", "lower-case"),
        ({"publication": ""}, "publication", "1 to 63"),
        ({"retained_bytes_max": 7}, "retained_bytes_max", "1048576"),
        ({"on_cap": "panic"}, "on_cap", "alarm"),
        ({"slot": "mine", "on_cap": "drop"}, "on_cap", "never dropped"),
        ({"snapshots": True}, "snapshots", "snapshot"),
        ({"snapshot": "yes"}, "snapshot", "bool"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(change: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(Invalid) as found:
        check({"dsn": DSN, "tables": ["orders"], **change})
    assert found.value.path == path
    assert says in str(found.value)
    assert "p@ss" not in str(found.value)


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        (DSN, "postgresql://shop:***@db:5432/shop"),
        ("postgresql://shop@db/shop", "postgresql://shop@db/shop"),
        ("postgresql://db/shop?password=secret&sslmode=require", "postgresql://db/shop?password=***&sslmode=require"),
        (
            "postgresql://u:secret@/d?host=/run/pg&sslpassword=secret",
            "postgresql://u:***@/d?host=/run/pg&sslpassword=***",
        ),
        ("postgresql://[secret", "***"),
    ],
)
def test_a_password_is_never_shown(dsn: str, shown: str) -> None:
    assert KIND.shown({"dsn": dsn, "tables": ["a"]}) == {"dsn": shown, "tables": ["a"]}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("orders", TableName("public", "orders")),
        ("Shop.Orders", TableName("Shop", "Orders")),
        ('"a.b"."c""d"', TableName("a.b", 'c"d')),
        ("店.订单", TableName("店", "订单")),
        ("a b;c", TableName("public", "a b;c")),
    ],
)
def test_names_are_as_they_are_stored(text: str, name: TableName) -> None:
    assert table_name(text) == name


@given(st.text(max_size=80))
def test_any_name_is_one_or_is_not(text: str) -> None:
    try:
        found = table_name(text)
    except ValueError:
        return
    assert table_name(".".join('"' + part.replace('"', '""') + '"' for part in (found.schema, found.name))) == found


@given(st.text())
def test_our_own_name_is_one_that_a_slot_may_have(trigger: str) -> None:
    checked = check({"dsn": DSN, "tables": ["a"], "slot": own_name(trigger)})
    assert checked["slot"].startswith("posthouse_")
