"""What a server's answer to a batch means for an outbox: pure."""

from __future__ import annotations

from typing import Final, NamedTuple, assert_never

from posthouse_sdk.publishing import exchange
from posthouse_sdk.publishing.errors import RefusedError
from posthouse_sdk.publishing.exchange import Again, Call, Verdict
from posthouse_sdk.publishing.http1 import Answer as HttpAnswer

RETRY_AFTER_SECONDS_MAX: Final = 300.0
BUSY_SECONDS: Final = 0.2
REASON_LENGTH_MAX: Final = 2_000


class Accepted(NamedTuple):
    """All of it is durable there. `at` is the server's time, in unix seconds."""

    at: float


class Refused(NamedTuple):
    """An event of the batch, or all of it (`whole`), is not as the server takes it: sending it again cannot help. `at` is the
    place of the one where the server named it."""

    reason: str
    at: int | None = None
    whole: bool = False


class HeldBack(NamedTuple):
    """Not now for this app, while others may go on. Without `seconds` the server did not say for how long."""

    reason: str
    seconds: float | None


class Faulty(NamedTuple):
    """The server failed at it (500). Others may well pass; if this one is alone, only it waits."""

    reason: str


class Unavailable(NamedTuple):
    """Nothing can be published now: the server is down, overloaded, or (`refused`) does not know us."""

    reason: str
    seconds: float | None = None
    refused: bool = False


Answer = Accepted | Refused | HeldBack | Faulty | Unavailable


def judge(call: Call, answer: HttpAnswer | Again, *, now: float) -> Answer:
    """What came back. `now` (unix seconds) is for a Retry-After that is a date."""
    if isinstance(answer, Again):
        return Unavailable(answer.reason)
    return _meaning(exchange.judge(call, answer, now=now), answer.status)


def _meaning(verdict: Verdict, status: int) -> Answer:
    match verdict:
        case exchange.Accepted(receipts):
            return Accepted(receipts[0].created_at.timestamp())
        case Again(reason, after):
            wait = min(after, RETRY_AFTER_SECONDS_MAX) or None
            match status:
                case 409:
                    return HeldBack(reason, wait or BUSY_SECONDS)
                case 429:
                    return HeldBack(reason, wait)
                case 500:
                    return Faulty(reason)
                case _:
                    return Unavailable(reason, wait)
        case exchange.Refused(error, at):
            return _refusal(error, at)
        case _:
            assert_never(verdict)


def _refusal(error: RefusedError, at: int | None) -> Answer:
    reason = str(error)[:REASON_LENGTH_MAX]
    match error.status:
        case 400 | 413 | 415 | 422:
            return Refused(f"{reason}{_THEN}", at)
        case 403 if error.code.startswith("quota"):
            return HeldBack(reason, None)
        case 404 if error.code == "app_not_found":
            return Refused(f"{reason}{_THEN}", whole=True)
        case 404 if error.code.startswith("event_type"):
            return Refused(f"{reason}{_THEN}", at)
        case 409:
            return HeldBack(reason, None)
        case _:
            return Unavailable(reason, refused=True)


_THEN: Final = "; then `posthouse outbox retry`"
