"""One tree of errors. Adapters translate into it and keep the cause.

PosthouseError
├── Invalid           what came in is wrong: which field, why, what to do         (422, exit 2)
│   └── InvalidExpression  an expression that may not be: and where in its text
├── Unauthorised      no key, or one we do not know                                (401, exit 3)
├── Forbidden         a known key that may not do this                             (403, exit 3)
├── NotFound          no such thing, or not yours: the two are not told apart      (404, exit 4)
├── Conflict          the thing is in another state than this needs                (409, exit 5)
├── PreconditionFailed  If-Match or If-None-Match does not hold                    (412, exit 5)
├── TooLarge          over a limit, which is named                                 (413, exit 2)
├── QuotaExceeded     over a quota of the app: its rate (429), or what it may have (403), exit 7 or 3
├── Overloaded        refused before memory grows; try again after `retry_after`   (503, exit 7)
├── StoreUnavailable  the database did not answer: our fault, never a target's     (503, exit 7)
│   └── InDoubt       the connection died inside a commit: it may have happened
├── StoreRejected     the database refused these data (SQLSTATE class 22 or 23)
│   └── KeyReused     an idempotency key of a batch was used for another event: nothing of the batch was appended
├── SourceUnavailable  what a trigger watches does not answer: tried again soon    (503, exit 7)
├── SourceRefused     what a trigger watches refuses us; the text says what to do  (422, exit 1)
├── NotOwner          a request was not begun: its partition may be another process's by now; never a target's fault
├── LogRewound        the log is not the one that was read (a failover lost its end)
└── SetupError        the installation cannot start as it is; the text says what to do (exit 1)
"""

from __future__ import annotations

from enum import StrEnum


class PosthouseError(Exception):
    """Base of all errors that Posthouse raises on purpose. `code` is stable and part of the API."""

    code = "error"


class Invalid(PosthouseError):
    """The input is wrong. `path` names the field (`data.items[3].sku`), empty for the whole."""

    def __init__(self, message: str, *, path: str = "", code: str = "invalid") -> None:
        super().__init__(message)
        self.path = path
        self.code = code


def placed(reason: str, line: int | None, column: int | None) -> str:
    """What is wrong with a text, with the place."""
    return reason if line is None else f"line {line}, column {column}: {reason}"


class InvalidExpression(Invalid):
    """A text is no expression, or not for its use. `line` and `column` count from 1, None where it is the whole; the message
    says both, and `reason` neither."""

    def __init__(self, reason: str, *, path: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(placed(reason, line, column), path=path)
        self.reason = reason
        self.line = line
        self.column = column


class Unauthorised(PosthouseError):
    code = "unauthorised"


class Forbidden(PosthouseError):
    code = "forbidden"

    def __init__(self, message: str, *, code: str = "forbidden") -> None:
        super().__init__(message)
        self.code = code


class NotFound(PosthouseError):
    """`path` names the field of the body that asked for it, where it was one."""

    code = "not_found"

    def __init__(self, message: str, *, code: str = "not_found", path: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.code = code


class Conflict(PosthouseError):
    """`path` as in `NotFound`."""

    def __init__(self, message: str, *, code: str = "conflict", path: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.code = code


def unsteady() -> Conflict:
    """What is to be changed was always another one than was expected."""
    return Conflict("others make and delete this at the same moment; try again", code="changing")


class PreconditionFailed(PosthouseError):
    """The thing is not as the request's conditions want it; nothing was changed."""

    code = "precondition_failed"


class TooLarge(PosthouseError):
    code = "too_large"


class QuotaExceeded(PosthouseError):
    """An app is over one of its quotas: `code` and the text name it, `limit` is what it is. With `retry_after` (seconds)
    waiting helps."""

    def __init__(
        self, message: str, *, code: str = "quota_exceeded", limit: float = 0.0, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.limit = limit
        self.retry_after = retry_after


class Overloaded(PosthouseError):
    code = "overloaded"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreTrouble(StrEnum):
    """Why a database that answers does not do it, where it says so: an operator's matter, which others may know."""

    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    NO_CONNECTION = "no_connection"


class StoreUnavailable(PosthouseError):
    code = "store_unavailable"
    retry_after = 2

    def __init__(self, message: str, *, trouble: StoreTrouble | None = None) -> None:
        super().__init__(message)
        self.trouble = trouble


class InDoubt(StoreUnavailable):
    """A commit was sent and its answer never came."""


class StoreRejected(PosthouseError):
    """The store refused the data themselves; trying the same again cannot help."""

    code = "rejected_by_store"


class KeyReused(StoreRejected):
    """Of events that are appended together or not at all, one has an idempotency key that was used otherwise."""


class SourceUnavailable(PosthouseError):
    """The database, or whatever else a trigger watches, did not answer."""

    code = "source_unavailable"
    retry_after = 5


class SourceRefused(PosthouseError):
    """It answered, and somebody has to do something before it goes on: grant a right, free a slot, make a table. `code` tells
    such cases apart."""

    def __init__(self, message: str, *, code: str = "source_refused") -> None:
        super().__init__(message)
        self.code = code


class NotOwner(PosthouseError):
    code = "not_owner"


class LogRewound(PosthouseError):
    """The event at a position already read is another one now."""

    code = "log_rewound"


class SetupError(PosthouseError):
    code = "setup"


class Unreadable(SetupError):
    """Something that lies sealed does not open with the master keys of this process."""

    code = "secret_unreadable"
