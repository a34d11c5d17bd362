"""Rows become JSON exactly, whatever is in them and whatever the session that wrote them has set."""

from __future__ import annotations

import json
import math
import uuid
from contextlib import closing
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.outboxes import Place
from tests.tables import KIND, changes, observed, run, spec

from posthouse.domain.limits import PAYLOAD_BYTES_MAX

MARKS: Final = {"postgresql": "%s", "sqlite": "?", "mysql": "%s"}
TYPES: Final = {
    "postgresql": "t text, i bigint, f double precision, d numeric, b bytea",
    "sqlite": "t text, i integer, f real, d, b blob",
    "mysql": "t longtext CHARACTER SET utf8mb4, i bigint, f double, d decimal(65, 30), b longblob",
}
INTEGERS: Final = st.integers(-(2**63), 2**63 - 1)
DECIMALS: Final = st.decimals(-(10**30), 10**30, allow_nan=False, allow_infinity=False, places=12)
# SQLite's own conversions between numbers and text are not exact at the ends of the range.
FLOATS: Final = st.floats(allow_nan=False, allow_infinity=False).filter(lambda f: f == 0 or 1e-280 < abs(f) < 1e280)
ROWS: Final = st.lists(
    st.tuples(
        st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        st.none() | INTEGERS,
        st.none() | FLOATS,
        st.none() | DECIMALS,
        st.none() | st.binary(),
    ),
    min_size=1,
    max_size=20,
)


def exact(data: bytes | None) -> Any:
    return json.loads(data or b"", parse_float=Decimal)


@given(rows=ROWS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
async def test_values_come_out_as_they_went_in(place: Place, rows: list[tuple[Any, ...]]) -> None:
    run(place, f"CREATE TABLE IF NOT EXISTS v (id int PRIMARY KEY, {TYPES[place.dialect]})", "DELETE FROM v")
    made = spec(place, "v", trigger_id="trg_values", on=["insert"])
    await KIND.install(made)
    with closing(place.connect()) as connection:
        for number, (t, i, f, d, b) in enumerate(rows):
            held = str(d) if place.dialect == "sqlite" and d is not None else d
            marks = ", ".join([MARKS[place.dialect]] * 6)
            connection.cursor().execute(f"INSERT INTO v VALUES ({marks})", (number, t, i, f, held, b))
        connection.commit()
    seen = [exact(observation.data)["new"] for observation in await observed(made)]
    for row, (t, i, f, d, b) in zip(seen, rows, strict=True):
        assert row["t"] == t
        assert row["i"] == i
        assert (row["f"] if row["f"] is None else float(row["f"])) == f
        assert (row["d"] if row["d"] is None else Decimal(row["d"])) == d
        assert row["b"] == (None if b is None else rf"\x{b.hex()}")


PLAIN: Final = {
    "postgresql": [
        ("timestamptz", "'2024-03-31 02:30:00.123456+02'", "2024-03-31T00:30:00.123456+00:00"),
        ("timestamptz", "'infinity'", "infinity"),
        ("timestamp", "'2024-03-31 02:30:00'", "2024-03-31T02:30:00"),
        ("date", "'2024-03-31'", "2024-03-31"),
        ("time", "'23:59:59.5'", "23:59:59.5"),
        ("interval", "'1 day 2 hours'", "P1DT2H"),
        ("double precision", "'NaN'", "NaN"),
        ("double precision", "'-Infinity'", "-Infinity"),
        ("real", "0.1", Decimal("0.1")),
        ("double precision", "1e-300::float8 / 3", Decimal("3.3333333333333334e-301")),
        ("numeric", "12345678901234567890.1234567890", Decimal("12345678901234567890.1234567890")),
        ("numeric", "'NaN'", "NaN"),
        ("boolean", "true", True),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("json", r"""'{"b": 1, "a": [1.50], "a": "\u0041"}'""", {"b": 1, "a": "A"}),
        ("json", r"""'"\u0000"'""", "\0"),
        ("json", "'1e400000'", Decimal("1e400000")),
        ("jsonb", """'{"b": 1.50}'""", {"b": Decimal("1.50")}),
        ("int[]", "'{1,NULL,3}'", [1, None, 3]),
        ("bytea[]", r"'{\\x00}'", [r"\x00"]),
        ("money", "12.5::numeric", "$12.50"),
        ("inet", "'10.0.0.1/8'", "10.0.0.1/8"),
        ("int GENERATED ALWAYS AS (id * 2) STORED", None, 2),
    ],
    "sqlite": [
        ("real", "9e999", "Infinity"),
        ("real", "-9e999", "-Infinity"),
        ("real", "0.1", Decimal("0.1")),
        ("boolean", "true", 1),
        ("int", "'not a number'", "not a number"),
        ("text", "x'ff00'", r"\xff00"),
        ("json", """'{"a": [1.50]}'""", {"a": [Decimal("1.50")]}),
        ("json", "'no json'", "no json"),
        ("text", "CAST(x'61ff62' AS text)", "a\ufffdb"),
        ("int AS (id * 2) STORED", None, 2),
        ("int AS (id * 3)", None, 3),
    ],
    "mysql": [
        ("timestamp(6) NULL", "from_unixtime(1700000000.5)", "2023-11-14T22:13:20.500000+00:00"),
        ("timestamp NULL", "from_unixtime(1711846800)", "2024-03-31T01:00:00.000000+00:00"),
        ("datetime(3)", "'2024-03-31 02:30:00.120'", "2024-03-31T02:30:00.120"),
        ("datetime", "'0000-00-00'", "0000-00-00T00:00:00"),
        ("date", "'2024-03-31'", "2024-03-31"),
        ("time(1)", "'-100:00:01.5'", "-100:00:01.5"),
        ("year", "2024", 2024),
        ("float", "0.5", Decimal("0.5")),
        ("double", "1e300 / 3", Decimal("3.3333333333333335e299")),
        ("decimal(40, 10)", "12345678901234567890.1234567890", Decimal("12345678901234567890.1234567890")),
        ("int(5) zerofill", "42", 42),
        ("bigint unsigned", "18446744073709551615", 18446744073709551615),
        ("bit(9)", "b'101'", 5),
        ("boolean", "true", 1),
        ("binary(2)", "x'00ff'", r"\x00ff"),
        ("enum('x', 'y''s')", "'y''s'", "y's"),
        ("set('a', 'b')", "'a,b'", "a,b"),
        ("varchar(9) CHARACTER SET latin1", "'é'", "é"),
        ("text CHARACTER SET utf8mb4", r"'\0\Z\\\n🐎\"'", '\0\x1a\\\n🐎"'),
        ("json", """'{"b": [1.50]}'""", {"b": [Decimal("1.50")]}),
        ("point", "ST_GeomFromText('POINT(1 2)')", r"\x000000000101000000000000000000f03f0000000000000040"),
        ("int AS (id * 2) STORED", None, 2),
        ("int AS (id * 3)", None, 3),
    ],
}
SESSION: Final = {
    "postgresql": [
        "SET timezone = 'Asia/Shanghai'",
        "SET datestyle = 'German'",
        "SET intervalstyle = 'sql_standard'",
        "SET bytea_output = 'escape'",
        "SET extra_float_digits = -15",
    ],
    "sqlite": [],
    "mysql": ["SET time_zone = '+05:00'", "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "SET sql_mode = ''"],
}


async def test_values_do_not_depend_on_the_session_that_wrote_them(place: Place) -> None:
    cases = PLAIN[place.dialect]
    columns = ", ".join(f"c{number} {kind}" for number, (kind, _, _) in enumerate(cases))
    run(place, f"CREATE TABLE v (id int PRIMARY KEY, {columns})")
    made = spec(place, "v")
    await KIND.install(made)
    given = [(f"c{number}", value) for number, (_, value, _) in enumerate(cases) if value is not None]
    names, values = ", ".join(name for name, _ in given), ", ".join(value for _, value in given)
    run(place, *SESSION[place.dialect], f"INSERT INTO v (id, {names}) VALUES (1, {values})")
    run(place, *SESSION[place.dialect], "UPDATE v SET id = 1")
    inserted, updated = (exact(observation.data) for observation in await observed(made))
    expected = {f"c{number}": value for number, (_, _, value) in enumerate(cases)}
    assert {name: value for name, value in inserted["new"].items() if name != "id"} == expected
    assert updated["changed"] == [], "the same is written the same"


KEYS: Final = {
    "postgresql": [
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("bytea", "'\\x00ff'", r"\x00ff"),
        ("timestamptz", "'2024-01-01 08:00+08'", "2024-01-01 00:00:00+00"),
        ("text", "''", ""),
    ],
    "sqlite": [("blob", "x'00ff'", r"\x00ff"), ("real", "0.1", "0.1"), ("text", "'é'", "é"), ("text", "NULL", "")],
    "mysql": [
        ("binary(16)", "x'a0eebc999c0b4ef8bb6d6bb9bd380a11'", r"\xa0eebc999c0b4ef8bb6d6bb9bd380a11"),
        ("varchar(40)", "'é'", "é"),
        ("int(9) zerofill", "42", "42"),
        ("datetime", "'2024-01-01'", "2024-01-01T00:00:00"),
    ],
}


async def test_a_primary_key_is_a_text(place: Place) -> None:
    for kind, value, expected in KEYS[place.dialect]:
        run(place, "DROP TABLE IF EXISTS v", f"CREATE TABLE v (id {kind} PRIMARY KEY)")
        made = spec(place, "v")
        await KIND.install(made)
        run(place, f"INSERT INTO v VALUES ({value})")
        (seen,) = await observed(made)
        assert exact(seen.data)["key"] == expected
        assert seen.event_key == (expected or None)


async def test_a_long_key_is_told_by_its_hash(place: Place) -> None:
    run(place, "CREATE TABLE v (id varchar(300) PRIMARY KEY)")
    made = spec(place, "v")
    await KIND.install(made)
    place.execute("INSERT INTO v VALUES (%s)", "x" * 300)
    (seen,) = await observed(made)
    assert (seen.event_key or "").startswith("sha256:")
    assert exact(seen.data)["key"] == "x" * 300


async def test_what_is_too_large_for_an_event_is_cut_and_says_so(place: Place) -> None:
    large = "mediumtext" if place.dialect == "mysql" else "text"
    run(place, f"CREATE TABLE v (id int PRIMARY KEY, note {large}, small int)")
    made = spec(place, "v")
    small = spec(place, "v", columns=["small"])
    await KIND.install(made)
    await KIND.install(small)
    half, double, huge = (
        "x" * size for size in (PAYLOAD_BYTES_MAX // 2, 2 * PAYLOAD_BYTES_MAX, 10 * PAYLOAD_BYTES_MAX)
    )
    place.execute("INSERT INTO v VALUES (1, %s, 0)", half)
    place.execute("UPDATE v SET note = %s, small = 1", half + "y")
    place.execute("UPDATE v SET note = %s, small = 2", double)
    place.execute("UPDATE v SET note = %s, small = 3", huge)
    place.execute("DELETE FROM v")
    found = await changes(made)
    assert [(change["op"], change.get("cut")) for change in found] == [
        ("insert", None),
        ("update", ["old"]),
        ("update", ["old", "new"]),
        ("update", ["old", "new"]),
        ("delete", ["old"]),
    ]
    assert found[1]["new"]["note"] == half + "y"
    assert all(change["key"] == "1" for change in found)
    assert [change["new"] and change["new"]["small"] for change in await changes(small)] == [0, 1, 2, 3, None]


async def test_changes_have_ids_that_no_other_has(place: Place) -> None:
    run(place, "CREATE TABLE v (id int PRIMARY KEY)")
    made = spec(place, "v")
    await KIND.install(made)
    values = ", ".join(f"({number})" for number in range(200))
    run(place, f"INSERT INTO v VALUES {values}")
    keys = {observation.key for observation in await observed(made)}
    assert len(keys) == 200
    assert all(uuid.UUID(key) for key in keys)
    assert math.isfinite(sum(observation.at or math.nan for observation in await observed(made)))


@pytest.mark.parametrize("columns", [None, ["c150"]])
async def test_a_table_may_be_wide(place: Place, columns: list[str] | None) -> None:
    run(place, f"CREATE TABLE v (id int PRIMARY KEY, {', '.join(f'c{number} int' for number in range(300))})")
    made = spec(place, "v", columns=columns)
    await KIND.install(made)
    run(place, "INSERT INTO v (id, c150) VALUES (1, 7)", "UPDATE v SET c150 = 8")
    inserted, updated = await changes(made)
    assert len(inserted["new"]) == (301 if columns is None else 2)
    assert updated["changed"] == ["c150"]
