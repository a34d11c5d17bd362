"""What changes to the configuration have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import asyncpg
import msgspec

from posthouse.adapters.postgres.database import Connection
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.errors import Conflict, StoreRejected, unsteady
from posthouse.ports.directory import Audit

SQL = Queries("directory.sql")

TURNS_MAX: Final = 5

T = TypeVar("T")

_encode: Final = msgspec.json.Encoder().encode


@contextmanager
def taken(unique: str) -> Iterator[None]:
    """Raises Conflict where a transaction finds that something unique is another one's."""
    try:
        yield
    except StoreRejected as error:
        if isinstance(error.__cause__, asyncpg.UniqueViolationError):
            raise Conflict(f"this {unique} is taken by another one", code=f"{unique}_taken") from error
        raise


async def write_audit(connection: Connection, audit: Audit) -> None:
    """Put on record who did what, in the transaction that does it."""
    await connection.execute(SQL.audit, audit.actor, audit.action, audit.object, _encode(audit.detail).decode())


def searchable(text: str) -> str:
    """A text from outside as PostgreSQL can look for it: it holds no NUL, so what has one is not there."""
    return "" if "\0" in text else text


class Moved(Exception):
    """It has come to another app than the one that was locked before it."""


async def in_turns(work: Callable[[], Awaitable[T]]) -> T:
    """A transaction, again where it raises Moved. Raises Conflict (code `changing`) where it always does."""
    for _ in range(TURNS_MAX):
        try:
            return await work()
        except Moved:
            continue
    raise unsteady()
