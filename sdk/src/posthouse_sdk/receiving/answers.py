"""What a receiver answers, and why: one table from what happened to a status. Pure.

    handled, or confirmed before        2xx: the sender is done with it
    malformed headers or body           400
    not signed by who it should be      401: stale, future, or no signature fits
    another worker is at it             409, with Retry-After
    larger than is taken                413, also where only unpacking shows it
    compressed otherwise than by gzip   415
    the data are not what their type says   422
    the receiver's own fault            500: a handler failed, the body was parsed on its way here, or no key of ours opens it
    not now                             503, with Retry-After: a handler said so, or the replay store is out of reach

Everything but 2xx makes the sender try again: none of it is lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from posthouse_sdk.errors import (
    BodyTooLargeError,
    DecryptionError,
    MalformedBodyError,
    MalformedHeaderError,
    MissingHeaderError,
    ParsedBodyError,
    ReserialisedBodyError,
    SeveralEventsError,
    UnknownEncodingError,
    VerificationError,
)

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
REASON_LENGTH_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: `headers` are its `Content-Type` and, where the sender should wait, `Retry-After`."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def reason(self) -> str:
        """The body as a text, without the end of its line."""
        return self.body.decode().strip()

    @property
    def ok(self) -> bool:
        """Whether the sender takes it for a confirmation."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event. `reason` is for the sender's records: none of it is secret."""

    status: int
    reason: str = ""
    retry_after_seconds: float | None = None

    @property
    def confirmed(self) -> bool:
        return 200 <= self.status < 300


class RetryLater(Exception):
    """Raised by a handler: the event shall come again, after at least `seconds`. It is nobody's failure."""

    def __init__(self, seconds: float, reason: str = "not now") -> None:
        super().__init__(reason)
        self.seconds = seconds
        self.reason = reason


def status_of(error: VerificationError) -> int:
    """The status for a request that is not trusted, or not understood."""
    match error:
        case DecryptionError() | ParsedBodyError() | ReserialisedBodyError() | SeveralEventsError():
            return 500  # ours: once it is mended, the event shall come again
        case BodyTooLargeError():
            return 413
        case UnknownEncodingError():
            return 415
        case MissingHeaderError() | MalformedHeaderError() | MalformedBodyError():
            return 400
        case _:
            return 401


def refused(error: VerificationError) -> Answer:
    """The answer to a request that is not trusted, or not understood. It tells the cause."""
    return text(status_of(error), str(error))


def too_large(bytes_max: int) -> Answer:
    return text(413, f"the body is larger than {bytes_max} bytes")


def of_one(outcome: Outcome) -> Answer:
    """The answer to a request with one event."""
    return text(outcome.status, outcome.reason, outcome.retry_after_seconds)


def of_batch(results: Sequence[tuple[str, Outcome]]) -> Answer:
    """The answer to a batch, by id: what is not confirmed comes again, alone."""
    body = [
        {"id": id, "confirmed": True}
        if outcome.confirmed
        else {"id": id, "confirmed": False, "reason": outcome.reason[:REASON_LENGTH_MAX]}
        for id, outcome in results
    ]
    return Answer(200, json.dumps({"results": body}).encode(), (("Content-Type", JSON),))


def text(status: int, reason: str = "", retry_after_seconds: float | None = None) -> Answer:
    """An answer with a line of text for whoever reads the sender's records; 204 has none."""
    headers: list[tuple[str, str]] = []
    if retry_after_seconds is not None:
        headers.append(("Retry-After", str(max(1, ceil(retry_after_seconds)))))
    if not reason or status == 204:
        return Answer(status, b"", tuple(headers))
    return Answer(status, f"{reason}\n".encode(), (("Content-Type", TEXT), *headers))
