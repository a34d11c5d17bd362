"""The transactional outbox: an event is written in the same transaction as the data it tells of, and published after it.

    from posthouse_sdk.outbox import emit

    with engine.begin() as connection:
        connection.execute(insert(orders).values(id=7))
        emit(connection, "order.created", {"order": 7}, key="order:7")

What is rolled back was never there; what is committed is published by `posthouse relay`, at least once, in the order of each
key, whatever dies on the way. Importing this costs the standard library only.
"""

from posthouse_sdk.outbox.errors import (
    DatabaseError,
    DriverMissingError,
    DsnError,
    NotInstalledError,
    NotInTransactionError,
    OutboxError,
    UnknownConnectionError,
)
from posthouse_sdk.outbox.schema import drop_statements, statements
from posthouse_sdk.outbox.writing import emit, emit_async

__all__ = [
    "DatabaseError",
    "DriverMissingError",
    "DsnError",
    "NotInTransactionError",
    "NotInstalledError",
    "OutboxError",
    "UnknownConnectionError",
    "drop_statements",
    "emit",
    "emit_async",
    "statements",
]
