"""What a server's answer to a batch means for the outbox: pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

RETRY_AFTER_SECONDS_MAX: Final = 300.0
REASON_LENGTH_MAX: Final = 2_000

_CREATED: Final = re.compile(rb'"created_at": ?"([^"]+)"')
_INDEX: Final = re.compile(r"\[(\d+)\]")
_IN_PROGRESS: Final = ("idempotency_in_progress", "in_progress")


class Accepted(NamedTuple):
    """All of it is durable there. `at` is the server's time, in unix seconds, where it told."""

    at: float | None = None


class Refused(NamedTuple):
    """An event of the batch, or all of it (`whole`), is not as the server takes it: sending it again cannot help. `at` is the
    place of the one where the server named it."""

    reason: str
    at: int | None = None
    whole: bool = False


class HeldBack(NamedTuple):
    """Not now for this app, while others may go on."""

    reason: str
    seconds: float | None


class Faulty(NamedTuple):
    """The server failed at it (500). Others may well pass; if this one is alone, only it waits."""

    reason: str


class Unavailable(NamedTuple):
    """Nothing can be published now: the server is down, overloaded, or does not know us (`refused`)."""

    reason: str
    seconds: float | None = None
    refused: bool = False


Answer = Accepted | Refused | HeldBack | Faulty | Unavailable


def judge(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """What an answer means. Names of `headers` are in lower case."""
    if status == 202:
        return Accepted(_told_time(body))
    problem = _problem(body)
    code = str(problem.get("code", ""))
    path = str(problem.get("path", ""))
    reason = _reason(status, problem)
    wait = _retry_after(headers.get("retry-after"))
    match status:
        case 401:
            return Unavailable(f"{reason}. Give a valid key: --api-key or POSTHOUSE_KEY", refused=True)
        case 403 if code.startswith("quota"):
            return HeldBack(reason, wait)
        case 403:
            return Unavailable(f"{reason}. The relay needs a key of scope admin", refused=True)
        case 404 if code == "app_not_found":
            return Refused(f"{reason}. Make it (`posthouse apps create`), then `posthouse outbox retry`", whole=True)
        case 404 if code == "" or code == "not_found":
            return Unavailable(f"{reason}. Is --url a Posthouse server's?", refused=True)
        case 404:
            return Refused(
                f"{reason}. Declare the event type (`posthouse event-types create`), then `posthouse outbox retry`",
                _index(path),
            )
        case 409 if code in _IN_PROGRESS:
            return HeldBack(reason, 0.2)
        case 408:
            return Unavailable(reason, wait)
        case 409:
            return HeldBack(reason, wait)
        case 429:
            return HeldBack(reason, wait or 1.0)
        case 400 | 413 | 415 | 422:
            return Refused(reason, _index(path))
        case 500:
            return Faulty(reason)
        case _ if 300 <= status < 500:
            return Unavailable(f"{reason}. Is --url a Posthouse server's?", wait, refused=True)
        case _:
            return Unavailable(reason, wait)


def _told_time(body: bytes) -> float | None:
    found = _CREATED.search(body, 0, 1_000)
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found[1].decode()).timestamp()
    except ValueError:
        return None


def _problem(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _reason(status: int, problem: Mapping[str, Any]) -> str:
    detail = problem.get("detail") or problem.get("title") or f"the server answered {status}"
    path = problem.get("path")
    # Its place in our batch tells a reader nothing.
    where = _INDEX.sub("", str(path), count=1).lstrip(".") if path else ""
    code = f" ({status} {problem['code']})" if problem.get("code") else f" ({status})"
    return f"{where + ': ' if where else ''}{detail}{code}"[:REASON_LENGTH_MAX]


def _index(path: str) -> int | None:
    found = _INDEX.match(path)
    return None if found is None else int(found[1])


def _retry_after(text: str | None) -> float | None:
    """Seconds; a date, which Posthouse does not send, counts as nothing said."""
    return min(float(text), RETRY_AFTER_SECONDS_MAX) if text is not None and text.isdigit() else None
