"""The settings of table triggers: what they may be, and what of them is shown."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.adapters.sources.tables import TableKind
from posthouse.adapters.sources.tables.settings import EXPECTS, TableName, read_settings, table_named
from posthouse.domain.errors import Invalid

KIND = TableKind()
DSN = "postgresql://shop:s3cret@db.example:5433/shop?sslmode=require&sslpassword=hidden"


def test_what_is_left_out_has_its_default() -> None:
    checked = KIND.check({"dsn": DSN, "table": "public.orders"})
    assert checked == {
        "dsn": DSN,
        "table": "public.orders",
        "on": ["insert", "update", "delete"],
        "columns": None,
        "keep_seconds": 86_400,
    }
    assert KIND.check(checked) == checked
    assert KIND.check({**checked, "on": ["delete", "insert"], "columns": ["a"]})["on"] == ["insert", "delete"]


def test_what_is_expected_is_a_schema_that_says_the_same() -> None:
    jsonschema_rs.meta.validate(EXPECTS)
    schema = jsonschema_rs.validator_for(EXPECTS)
    assert schema.is_valid({"dsn": DSN, "table": "orders"})
    assert schema.is_valid(KIND.check({"dsn": DSN, "table": "orders"}))
    assert all("description" in field for field in EXPECTS["properties"].values())


WRONG = [
    ({}, "dsn", "give the DSN"),
    ({"dsn": "oracle://x/y"}, "dsn", "postgresql://"),
    ({"dsn": "sqlite:///:memory:"}, "dsn", "is a file"),
    ({"dsn": "postgresql://x\0y/z"}, "dsn", "NUL"),
    ({"dsn": "postgresql://h/" + "x" * 5_000}, "dsn", "longer than"),
    ({"table": None}, "table", "name the table"),
    ({"table": 'a"b'}, "table", "not the name of a table"),
    ({"table": "a.b.c"}, "table", "not the name of a table"),
    ({"table": "a."}, "table", "not the name of a table"),
    ({"table": '"a'}, "table", "not the name of a table"),
    ({"table": "x" * 129}, "table", "longer than"),
    ({"table": "x\0"}, "table", "NUL"),
    ({"on": []}, "on", "is a list of some of"),
    ({"on": "insert"}, "on", "is a list of some of"),
    ({"on": ["insert", "truncate"]}, "on[1]", "is none of"),
    ({"columns": []}, "columns", "leave it out"),
    ({"columns": ["a", 1]}, "columns[1]", "no name"),
    ({"columns": ["a", "b", "a"]}, "columns[2]", "named twice"),
    ({"columns": ["a\0"]}, "columns[0]", "NUL"),
    ({"columns": [str(number) for number in range(1_601)]}, "columns", "more than 1600"),
    ({"keep_seconds": -1}, "keep_seconds", "whole number"),
    ({"keep_seconds": True}, "keep_seconds", "whole number"),
    ({"keep_seconds": 1.5}, "keep_seconds", "whole number"),
    ({"keep_seconds": 10**9}, "keep_seconds", "whole number"),
    ({"tabel": "x"}, "tabel", "dsn, table, on, columns, keep_seconds"),
]


@pytest.mark.parametrize(("settings", "path", "says"), WRONG)
def test_what_is_wrong_is_told_with_its_place(settings: dict[str, Any], path: str, says: str) -> None:
    base = {} if settings == {} else {"dsn": DSN, "table": "orders"}
    with pytest.raises(Invalid, match=says) as caught:
        KIND.check({**base, **settings})
    assert caught.value.path == path
    assert "s3cret" not in str(caught.value)


def test_no_secret_is_shown() -> None:
    shown = KIND.shown(KIND.check({"dsn": DSN, "table": "orders"}))
    assert shown["dsn"] == "postgresql://shop@db.example:5433/shop?sslmode=require"
    assert shown["table"] == "orders"
    assert KIND.shown({"dsn": "no dsn s3cret", "table": "orders"})["dsn"] == "…"
    mysql = "mysql+pymysql://a:s3cret@h/d?unix_socket=/run/mysqld.sock&ssl_ca=/etc/ca.pem"
    assert KIND.shown({"dsn": mysql})["dsn"] == "mysql://a@h/d?unix_socket=/run/mysqld.sock&ssl_ca=/etc/ca.pem"


@pytest.mark.parametrize(
    ("text", "schema", "name"),
    [
        ("orders", None, "orders"),
        ("public.orders", "public", "orders"),
        ('"my.schema"."my ""table"""', "my.schema", 'my "table"'),
        ('public."Orders"', "public", "Orders"),
        ("订单", None, "订单"),
        ("a b'c; --", None, "a b'c; --"),
    ],
)
def test_a_table_is_named_as_sql_names_it(text: str, schema: str | None, name: str) -> None:
    assert table_named(text) == TableName(schema, name)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=64)


@given(schema=NAMES, name=NAMES)
def test_any_name_can_be_quoted(schema: str, name: str) -> None:
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
    assert table_named(quoted) == TableName(schema, name)


def test_what_is_installed_depends_on_some_of_the_settings_only() -> None:
    base = {"dsn": DSN, "table": "orders"}
    first = read_settings(base).made_for
    assert read_settings({**base, "dsn": "sqlite:///x", "keep_seconds": 0}).made_for == first
    for other in ({"table": "o"}, {"on": ["insert"]}, {"columns": ["a"]}):
        assert read_settings({**base, **other}).made_for != first
