"""The outbox as SQLAlchemy sees it: what is written, and nothing more. Imported only where SQLAlchemy is."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table, Text
from sqlalchemy.orm import Session, registry

from posthouse_sdk.outbox.errors import NotInTransactionError
from posthouse_sdk.outbox.row import COLUMNS, NewRow

_registry: Final = registry(metadata=MetaData())  # its own, so that it is not created or dropped with yours

TABLE: Final = Table(
    "posthouse_outbox",
    _registry.metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    *(Column(name, Text) for name in COLUMNS),
)


class OutboxRow:
    """A pending event in an `AsyncSession`."""

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)


_registry.map_imperatively(OutboxRow, TABLE)


def execute(session: Session, row: NewRow) -> None:
    """Write the row in the session's transaction, at once."""
    connection = session.connection(
        bind_arguments={"mapper": OutboxRow} if session.bind is not None else _bind(session)
    )
    check_transaction(connection)
    session.flush()  # what came before it in the session comes before it in the database
    connection.execute(TABLE.insert().values(row._asdict()))


def check_transaction(connection: Connection) -> None:
    """Raises NotInTransactionError where each statement of this connection is committed by itself. Asks no database."""
    level = connection.get_execution_options().get("isolation_level")
    if (level or getattr(connection.dialect, "_on_connect_isolation_level", None)) == "AUTOCOMMIT":
        raise NotInTransactionError(
            "the isolation level here is AUTOCOMMIT: the event would be committed by itself, whatever becomes of your data. "
            "Take a connection or session without it"
        )


def _bind(session: Session) -> dict[str, Any]:
    """For a session that has an engine for each class: the only engine that there is. Several are ambiguous."""
    given = getattr(session, "binds", None) or getattr(
        session, "_Session__binds", {}
    )  # since SQLAlchemy 2.1, and before
    binds = {id(bind): bind for bind in given.values()}
    if len(binds) != 1:
        raise NotInTransactionError(
            "this session has several databases, or none: give emit() the connection of the one that the event belongs "
            "to, session.connection(bind_arguments={'mapper': YourModel})"
        )
    return {"bind": next(iter(binds.values()))}
