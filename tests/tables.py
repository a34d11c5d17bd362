"""A table of a user's database that a trigger watches, for tests."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any, Final

import msgspec
from tests.outboxes import Place

from posthouse.adapters.sources.tables import TableKind
from posthouse.adapters.sources.tables.source import TableSource
from posthouse.domain.ids import TRIGGER, format_id, uuid7
from posthouse.ports.sources import Observation, Spec

KIND: Final = TableKind()
MANY: Final = 1_000
PATIENCE_SECONDS: Final = 30.0
_QUOTES: Final = {"postgresql": '"', "sqlite": '"', "mysql": "`"}


def new_id() -> str:
    return format_id(TRIGGER, uuid7(1_760_000_000_000, secrets.randbits(74)))


def spec(place: Place, table: str = "orders", *, trigger_id: str | None = None, **settings: Any) -> Spec:
    checked = KIND.check({"dsn": place.dsn, "table": table, **settings})
    return Spec(id=trigger_id or new_id(), name="orders", settings=checked)


def again(spec: Spec, **settings: Any) -> Spec:
    """The same trigger with other settings."""
    return msgspec.structs.replace(spec, settings=KIND.check({**spec.settings, **settings}))


def quoted(place: Place, name: str) -> str:
    quote = _QUOTES[place.dialect]
    return f"{quote}{name.replace(quote, quote * 2)}{quote}"


def run(place: Place, *statements: str) -> None:
    """Run statements as they are, % and all, in one transaction."""
    with closing(place.connect()) as connection:
        for statement in statements:
            connection.cursor().execute(statement)
        connection.commit()


def make_orders(place: Place) -> None:
    place.execute("CREATE TABLE orders (id int NOT NULL PRIMARY KEY, status varchar(40), amount decimal(10, 2))")


@asynccontextmanager
async def reading(spec: Spec) -> AsyncIterator[TableSource]:
    source = KIND.source(spec)
    assert isinstance(source, TableSource)
    await source.open(None)
    try:
        yield source
    finally:
        await source.close()


async def all_of(source: TableSource, *, limit: int = MANY) -> list[Observation]:
    """Everything that is there, acknowledged."""
    found = list[Observation]()
    while (read := await source.read(limit=limit, wait_seconds=0)).observations:
        found += read.observations
        await source.acknowledge(read)
    return found


async def observed(spec: Spec, *, limit: int = MANY) -> list[Observation]:
    async with reading(spec) as source:
        return await all_of(source, limit=limit)


async def changes(spec: Spec) -> list[dict[str, Any]]:
    """What is published of everything that is there, without when it happened."""
    found = [json.loads(observation.data or b"") for observation in await observed(spec)]
    for change in found:
        del change["at"]
    return found


async def eventually(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not fact():  # noqa: ASYNC110 - another process's fact
            await asyncio.sleep(0.01)


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
