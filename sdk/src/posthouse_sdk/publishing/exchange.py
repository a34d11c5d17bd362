"""One exchange with the server, without its sockets: an event as a request, an answer as a verdict, and when to try again.

Pure. Every request may be sent again: each event carries its idempotency key, so that the server takes it once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from posthouse_sdk.publishing.errors import (
    ConfigurationError,
    FieldError,
    RefusedError,
    UnavailableError,
    refusal,
)
from posthouse_sdk.publishing.event import JSON_CONTENT, Event, Receipt
from posthouse_sdk.publishing.http1 import Answer, request_bytes

BACKOFF_SECONDS: Final = 0.2
BACKOFF_SECONDS_MAX: Final = 15.0
RETRY_AFTER_SECONDS_MAX: Final = 3_600.0
TEXT_LENGTH_MAX: Final = 500
_BUSY: Final = ("idempotency_in_progress", "in_progress")


class Server(NamedTuple):
    """Where the server is. `prefix` is the path before `/v1`, without its last slash."""

    secure: bool
    host: str
    port: int
    prefix: str

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def server_of(url: str) -> Server:
    """Raises ConfigurationError, which says what is wrong with the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"the URL of the server cannot be read: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"the URL of the server is like https://posthouse.example, and not {url[:200]!r}")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "the URL of the server holds a user name; the key belongs in api_key or POSTHOUSE_API_KEY"
        )
    prefix = parts.path.rstrip("/")
    if parts.query or parts.fragment or prefix.endswith("/v1") or "/v1/" in parts.path:
        raise ConfigurationError(f"the URL of the server ends before /v1: {url[:200]!r}")
    if not (parts.netloc + prefix).isascii() or not (parts.netloc + prefix).isprintable() or " " in url:
        raise ConfigurationError(f"the URL of the server holds characters that need encoding: {url[:200]!r}")
    secure = parts.scheme == "https"
    return Server(secure, parts.hostname, port or (443 if secure else 80), prefix)


def check_key(key: str) -> str:
    """An API key that a header can carry. Raises ConfigurationError."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(
            "the API key holds spaces or other characters that no key has; look at how it was copied"
        )
    return key


class Call(NamedTuple):
    """A request to publish so many events. `many`: it is a batch, and so is its answer."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    events: int
    many: bool

    def request(self, server: Server, api_key: str, agent: str) -> bytes:
        """The bytes that go out."""
        headers = {"Authorization": f"Bearer {api_key}", "User-Agent": agent, "Accept": "application/json"} | dict(
            self.headers
        )
        return request_bytes("POST", server.prefix + self.path, server.authority, headers, self.body)


def one(event: Event) -> Call:
    """A request that publishes one event."""
    path = _path(event.app)
    headers = {"Content-Type": event.content_type}
    if not event.is_json:
        # The key of a JSON event goes in its body, so that it is the same in whatever request it comes.
        headers["Idempotency-Key"] = event.idempotency_key
        query = {"type": event.type} | ({"subject": event.subject} if event.subject else {})
        path += "?" + urlencode(query, quote_via=quote)
    return Call(path, headers, event.body, 1, many=False)


def several(app: str | None, events: Sequence[Event]) -> Call:
    """A request that publishes events of JSON, all or none."""
    return batch_of(app, b"[%b]" % b",".join([event.body for event in events]), len(events))


def batch_of(app: str | None, body: bytes, events: int) -> Call:
    """The same, of a JSON array that was made already."""
    return Call(f"{_path(app)}/batch", {"Content-Type": JSON_CONTENT}, body, events, many=True)


def _path(app: str | None) -> str:
    return "/v1/events" if app is None else f"/v1/apps/{quote(app, safe='')}/events"


# Answers


class Accepted(NamedTuple):
    """Durable there, in the order of the request."""

    receipts: list[Receipt]


class Refused(NamedTuple):
    """The same request would be refused again. `at` is the place of the event at fault, where one was named."""

    error: RefusedError
    at: int | None = None


class Again(NamedTuple):
    """Not settled: a try later may be. `after` is how long the server asks to be left alone.

    `in_doubt`: the request may have been taken. `everywhere`: it would be no other for other apps. `reused`: it was lost on
    a connection from before, which says little; try at once.
    """

    reason: str
    after: float = 0.0
    in_doubt: bool = False
    everywhere: bool = True
    reused: bool = False


Verdict = Accepted | Refused | Again


def judge(call: Call, answer: Answer, *, now: float) -> Verdict:
    """What an answer means. `now` (unix seconds) is for a Retry-After that is a date."""
    status = answer.status
    if status in (200, 202):
        receipts = _receipts(call, answer.body)
        if receipts is None:
            told = answer.body[:80].decode("utf-8", "replace")
            return Refused(refusal(status, "not_posthouse", f"this is no answer of Posthouse: {told!r}"))
        return Accepted(receipts)
    if 300 <= status < 400:
        to = answer.headers.get("location", "somewhere else")
        return Refused(
            refusal(status, "redirect", f"the server sends us to {to[:TEXT_LENGTH_MAX]}, and an API moves no one")
        )
    problem = _problem(answer.body)
    code = _text(problem.get("code"))
    detail = _text(problem.get("detail")) or _text(problem.get("title")) or f"the server answered {status}"
    after = retry_after(answer.headers.get("retry-after"), now=now)
    if status in (408, 425, 429) or status >= 500 or (status == 409 and code in _BUSY):
        # Of a batch that the server was too busy for, nothing was begun; of other 5xx it may not know itself.
        doubt = status >= 500 and code != "overloaded"
        return Again(f"{detail} ({status}{f' {code}' if code else ''})", after, doubt, everywhere=status != 429)
    fields = tuple(
        FieldError(_text(one.get("path")), _text(one.get("detail")))
        for one in problem.get("errors") or ()
        if isinstance(one, dict)
    )
    path = _text(problem.get("path"))
    return Refused(refusal(status, code, detail, path=path, fields=fields), _place(path) if call.many else None)


def lost(reason: str, *, sent: bool, reused: bool = False) -> Again:
    """The verdict where there is no answer."""
    return Again(reason, in_doubt=sent, reused=reused)


def _receipts(call: Call, body: bytes) -> list[Receipt] | None:
    try:
        told = json.loads(body)
        rows = told["data"] if call.many else [told]
        receipts = [
            Receipt(row["id"], row["type"], datetime.fromisoformat(row["created_at"]), row.get("apps")) for row in rows
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return receipts if len(receipts) == call.events else None


def _problem(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _text(value: Any) -> str:
    return value[:TEXT_LENGTH_MAX] if isinstance(value, str) else ""


def _place(path: str) -> int | None:
    """3, of `[3].data.items`."""
    number, bracket, _ = path[1:].partition("]")
    return int(number) if path.startswith("[") and bracket and number.isascii() and number.isdigit() else None


def retry_after(value: str | None, *, now: float) -> float:
    """Seconds (RFC 9110, 10.2.3): a number or a date; 0 for none, and for what is neither."""
    if not value:
        return 0.0
    if value.isascii() and value.isdigit():
        seconds = float(value[:12])
    else:
        from email.utils import parsedate_to_datetime

        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return 0.0
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


# Trying again


def pause(tries: int, after: float, *, draw: float) -> float:
    """Seconds until the next try, after so many: doubling, between half of it and all of it by `draw` (0 to 1), and never
    sooner than the server asks for."""
    longest = min(BACKOFF_SECONDS * 2.0 ** min(tries - 1, 16), BACKOFF_SECONDS_MAX)
    return max(after, 0.0) + longest * (0.5 + 0.5 * draw)


class Patience:
    """How long one call goes on trying: until `deadline`, on the caller's clock."""

    def __init__(self, deadline: float, *, server: Server) -> None:
        self._deadline = deadline
        self._server = server
        self._in_doubt = False
        self._reused = 0
        self.tries = 0

    def wait(self, verdict: Again, *, now: float, draw: float) -> float:
        """Seconds to wait before the next try. Raises UnavailableError where there is no time for one."""
        self.tries += 1
        self._in_doubt |= verdict.in_doubt
        if verdict.reused and not self._reused:
            self._reused = 1
            return 0.0
        wait = pause(self.tries - self._reused, verdict.after, draw=draw)
        if now + wait >= self._deadline:
            raise given_up(verdict.reason, server=self._server, tries=self.tries, in_doubt=self._in_doubt)
        return wait


def given_up(reason: str, *, server: Server | None, tries: int, in_doubt: bool) -> UnavailableError:
    """The error for what was not settled in time."""
    where = "" if server is None else f" by {server.url}"
    times = f", after {tries} tries" if tries > 1 else ""
    doubt = "; it may be published: publish it again with the same idempotency key" if in_doubt else ""
    return UnavailableError(f"not taken{where}{times}: {reason}{doubt}", in_doubt=in_doubt, tries=tries)
