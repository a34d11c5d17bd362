"""Connections to the PostgreSQL that a trigger watches, and what its errors mean."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

import asyncpg

from posthouse.domain.errors import Invalid, PosthouseError, SourceRefused, SourceUnavailable
from posthouse.domain.limits import STATEMENT_SECONDS_MAX, STORE_CONNECT_SECONDS
from posthouse_sdk.outbox.dsn import FORMS, Dsn

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SERVER_VERSION_MIN: Final = 14  # CREATE OR REPLACE TRIGGER


async def connect(dsn: Dsn, *, statement_seconds: float = STATEMENT_SECONDS_MAX, **settings: str) -> Connection:
    """Raises Invalid, SourceRefused, SourceUnavailable."""
    try:
        return await asyncpg.connect(
            dsn.url,
            timeout=STORE_CONNECT_SECONDS,
            command_timeout=statement_seconds,
            server_settings={"application_name": "posthouse-trigger", **settings},
        )
    except (ValueError, asyncpg.ClientConfigurationError):
        # Without its cause: the driver may quote the part of the DSN that it could not read.
        raise Invalid(f"cannot be read; give {FORMS}", path="dsn") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise translated(error, dsn) from error


@asynccontextmanager
async def connected(dsn: Dsn, *, statement_seconds: float = STATEMENT_SECONDS_MAX) -> AsyncIterator[Connection]:
    """A connection for as long as the block runs, whose errors come out as ours."""
    connection = await connect(dsn, statement_seconds=statement_seconds)
    try:
        async with translating(dsn):
            yield connection
    finally:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            await connection.close(timeout=2)


@asynccontextmanager
async def translating(dsn: Dsn) -> AsyncIterator[None]:
    """Errors of the driver inside come out as ours."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise translated(error, dsn) from error


def translated(error: Exception, dsn: Dsn) -> PosthouseError:
    where = dsn.shown
    match error:
        case asyncpg.InsufficientPrivilegeError():
            return SourceRefused(
                f"{where}: {error}. The DSN's user is best the owner of the table, and needs CREATE on the schema that the "
                "tables of table triggers are in",
                code="missing_privilege",
            )
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InvalidCatalogNameError():
            return SourceRefused(
                f"{where} refuses us: {error}. Check user, password and database of the DSN", code="access_denied"
            )
        case asyncpg.ReadOnlySQLTransactionError():
            return read_only(where)
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.UndefinedFunctionError():
            return SourceRefused(
                f"the tables of table triggers in {where} are not as they were made: {error}. "
                "`posthouse triggers resume` mends that",
                code="not_installed",
            )
        case TimeoutError():
            return SourceUnavailable(f"{where} did not answer in time")
        case OSError():
            return SourceUnavailable(f"{where} cannot be reached: {error}")
        case _:
            return SourceUnavailable(f"{where} did not do what it was asked: {error}")


def read_only(where: str) -> SourceRefused:
    return SourceRefused(
        f"{where} takes no writes: it is a standby, or read-only. Give the DSN of the primary; for several hosts "
        "add ?target_session_attrs=read-write",
        code="read_only",
    )
