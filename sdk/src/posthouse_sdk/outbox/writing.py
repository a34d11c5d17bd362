"""`emit`: an event as a row of the caller's own transaction, whatever the caller speaks to its database with.

    with Session(engine) as session, session.begin():
        session.add(Order(id=7))
        emit(session, "order.created", {"order": 7}, subject="shop:42", key="order:7")

| given | how |
|---|---|
| SQLAlchemy `Session`, `scoped_session`, `Connection` | `emit(session, …)`: executed at once |
| SQLAlchemy `AsyncSession` | `emit(session, …)`: added, and written with the next flush or the commit |
| SQLAlchemy `AsyncConnection` | `await emit_async(connection, …)` (an `AsyncSession` too: executed at once) |
| a DB-API connection or cursor: `psycopg`, `sqlite3`, `pymysql`, … | `emit(connection, …)` |
| `asyncpg`, `psycopg.AsyncConnection`, `aiosqlite` | `await emit_async(connection, …)` |
| Django | `posthouse_sdk.django.emit(…)`, or `emit(django.db.connection, …)` |
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from posthouse_sdk.outbox.errors import NotInTransactionError, UnknownConnectionError
from posthouse_sdk.outbox.row import COLUMNS, NewRow, new_row
from posthouse_sdk.publishing.event import MISSING

_PARAMETERS: Final = {
    "qmark": lambda n: "?",
    "format": lambda n: "%s",
    "pyformat": lambda n: "%s",
    "numeric": lambda n: f":{n}",
}
_BEGIN: Final = "the event would be committed by itself, whatever becomes of your data"


def emit(
    target: Any,
    what: object,
    data: Any = MISSING,
    *,
    subject: str | None = None,
    key: str | None = None,
    app: str | None = None,
    channels: tuple[str, ...] | list[str] = (),
    attributes: Mapping[str, str] | None = None,
    expires_at: datetime | timedelta | None = None,
) -> str:
    """Write an event into the transaction of `target`; it is published if and when that commits.

    `what` is a type and `data` its data, or `what` alone an instance of a class declared with `@event_type`. Events of one
    `key` (of one `app`) are published in the order in which they were written. Without `app` the event is for every app that a
    grant covers.

    Returns the row's `uid`: the idempotency key that makes repeats of the relay one event.

    Raises: EventError for what the server would refuse, NotInTransactionError on a connection that commits each statement by
    itself, UnknownConnectionError, and what the database raises.
    """
    row = new_row(
        what, data, subject=subject, key=key, app=app, channels=channels, attributes=attributes, expires_at=expires_at
    )
    write_row(target, row)
    return row.uid


async def emit_async(
    target: Any,
    what: object,
    data: Any = MISSING,
    *,
    subject: str | None = None,
    key: str | None = None,
    app: str | None = None,
    channels: tuple[str, ...] | list[str] = (),
    attributes: Mapping[str, str] | None = None,
    expires_at: datetime | timedelta | None = None,
) -> str:
    """`emit` for connections whose statements are awaited."""
    row = new_row(
        what, data, subject=subject, key=key, app=app, channels=channels, attributes=attributes, expires_at=expires_at
    )
    await _write_async(target, row)
    return row.uid


def write_row(target: Any, row: NewRow) -> None:
    """Write a row that was made before, as `emit` does: by what the target is, without importing what the caller has not."""
    if (orm := sys.modules.get("sqlalchemy.orm")) is not None:
        from posthouse_sdk.outbox import mapped

        if isinstance(target, orm.scoped_session):
            target = target()
        if (later := sys.modules.get("sqlalchemy.ext.asyncio")) is not None:
            if isinstance(target, later.async_scoped_session):
                target = target()
            if isinstance(target, later.AsyncSession):
                target.add(mapped.OutboxRow(**row._asdict()))
                return
            if isinstance(target, later.AsyncConnection):
                raise _awaited(target)
        if isinstance(target, orm.Session):
            with _told():
                mapped.execute(target, row)
            return
    if (core := sys.modules.get("sqlalchemy")) is not None and isinstance(target, core.Connection):
        from posthouse_sdk.outbox import mapped

        mapped.check_transaction(target)
        with _told():
            target.execute(mapped.TABLE.insert().values(row._asdict()))
        return
    module = _root(target)
    if module in ("asyncpg", "aiosqlite") or _is_async(target):
        raise _awaited(target)
    if module == "django":
        _check_django(target)
    _execute(target, row)


def _execute(target: Any, row: NewRow) -> None:
    """On a DB-API connection or cursor."""
    if not callable(getattr(target, "cursor", None)) and not callable(getattr(target, "execute", None)):
        raise UnknownConnectionError(
            f"a {_name(target)} is no session or connection that emit() knows: give a SQLAlchemy session or connection, or a "
            "DB-API connection or cursor"
        )
    is_cursor = not callable(getattr(target, "commit", None)) and callable(getattr(target, "execute", None))
    _check_transaction(getattr(target, "connection", target) if is_cursor else target)
    statement = _statement(_style(target))
    with _told():
        if is_cursor:
            target.execute(statement, tuple(row))
            return
        cursor = target.cursor()
        try:
            cursor.execute(statement, tuple(row))
        finally:
            cursor.close()


async def _write_async(target: Any, row: NewRow) -> None:
    if (later := sys.modules.get("sqlalchemy.ext.asyncio")) is not None:
        from posthouse_sdk.outbox import mapped

        if isinstance(target, later.async_scoped_session):
            target = target()
        if isinstance(target, later.AsyncSession):
            with _told():
                await target.run_sync(mapped.execute, row)
            return
        if isinstance(target, later.AsyncConnection):
            await target.run_sync(mapped.check_transaction)
            with _told():
                await target.execute(mapped.TABLE.insert().values(row._asdict()))
            return
    module = _root(target)
    if module == "asyncpg":
        if not target.is_in_transaction():
            raise NotInTransactionError(f"{_BEGIN}; use it inside `async with connection.transaction():`")
        names = ", ".join(COLUMNS)
        places = ", ".join(f"${n}" for n, _ in enumerate(COLUMNS, 1))
        with _told():
            await target.execute(f"INSERT INTO posthouse_outbox ({names}) VALUES ({places})", *row)  # noqa: S608
        return
    if not _is_async(target):
        raise UnknownConnectionError(f"a {_name(target)} is not awaited: use emit() for it")
    _check_transaction(target)
    with _told():
        made: Awaitable[Any] = target.execute(_statement(_style(target)), tuple(row))
        await (await made).close()


def _statement(style: str) -> str:
    place: Callable[[int], str] | None = _PARAMETERS.get(style)
    if place is None:
        raise UnknownConnectionError(f"a driver whose parameters are written in the style {style!r} is not known here")
    places = ", ".join(place(n) for n, _ in enumerate(COLUMNS, 1))
    return f"INSERT INTO posthouse_outbox ({', '.join(COLUMNS)}) VALUES ({places})"  # noqa: S608


def _style(target: Any) -> str:
    """How the driver marks parameters: the module that a connection's class, or one of its bases, comes from says so."""
    for kind in type(target).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if (style := getattr(module, "paramstyle", None)) is not None:
            return str(style)
    return "qmark" if _root(target) == "aiosqlite" else "format"


def _check_transaction(connection: Any) -> None:
    """Raises NotInTransactionError where the connection is known to commit each statement by itself."""
    match _root(connection):
        case "psycopg":
            outside = connection.autocommit and connection.info.transaction_status == 0
        case "psycopg2":
            outside = connection.autocommit and connection.get_transaction_status() == 0
        case "sqlite3" | "aiosqlite":
            modern = getattr(connection, "autocommit", -1) is True
            outside = (modern or connection.isolation_level is None) and not connection.in_transaction
        case "pymysql":
            outside = connection.get_autocommit() and not connection.server_status & 1
        case _:
            return
    if outside:
        raise NotInTransactionError(
            f"this connection is in autocommit mode, and no transaction was begun: {_BEGIN}. Begin one first"
        )


def _check_django(target: Any) -> None:
    connection = target if hasattr(target, "in_atomic_block") else getattr(target, "db", None)
    if connection is not None and not connection.in_atomic_block:
        raise NotInTransactionError(f"{_BEGIN}; call emit() inside `with transaction.atomic():`")


def _is_async(target: Any) -> bool:
    return _root(target) == "aiosqlite" or (_root(target) == "psycopg" and "Async" in type(target).__name__)


def _root(target: Any) -> str:
    """The package that the target's class comes from, or that of a known driver that it is derived from."""
    roots = [kind.__module__.partition(".")[0] for kind in type(target).__mro__]
    known = ("django", "psycopg", "psycopg2", "sqlite3", "aiosqlite", "pymysql", "asyncpg")
    return next((root for root in roots if root in known), roots[0])


def _name(target: Any) -> str:
    return f"{type(target).__module__}.{type(target).__qualname__}"


def _awaited(target: Any) -> UnknownConnectionError:
    return UnknownConnectionError(f"a {_name(target)} is awaited: use `await emit_async(…)` for it")


@contextmanager
def _told() -> Iterator[None]:
    """Adds to an error of the database what to do where the table is not there."""
    try:
        yield
    except Exception as error:
        if "posthouse_outbox" in str(error):
            error.add_note(
                "if the table is missing: `posthouse outbox install --dsn …` makes it, `posthouse outbox sql` shows how "
                "(for Django: put posthouse_sdk.django into INSTALLED_APPS and migrate)"
            )
        raise
