"""What can go wrong with an outbox. Every text says what to do, and none holds a password. (That an event cannot be made of
what was given is an `EventError`, as in publishing.)

OutboxError
├── NotInTransactionError   the connection commits each statement by itself: the event would not be the transaction's
├── UnknownConnectionError  (also a TypeError) `emit` was given something that it knows no way to write with
├── DsnError                (also a ValueError) the DSN names no database that can hold an outbox
├── DriverMissingError      the driver of that database is not installed
├── NotInstalledError       the tables of the outbox are not there, or are another version's
└── DatabaseError           the database did not do what it was asked: it is down, refused us, or lacks a privilege
"""

from __future__ import annotations


class OutboxError(Exception):
    """Base of all errors of the outbox."""


class NotInTransactionError(OutboxError):
    """There is no transaction that the event could be a part of."""


class UnknownConnectionError(OutboxError, TypeError):
    """What was given is no connection or session that is known here."""


class DsnError(OutboxError, ValueError):
    """The DSN cannot be used."""


class DriverMissingError(OutboxError):
    """A driver is missing; the text says how to install it."""


class NotInstalledError(OutboxError):
    """The tables are missing or of another version."""


class DatabaseError(OutboxError):
    """The database failed. `refused`: trying again cannot help until somebody changes something."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused
