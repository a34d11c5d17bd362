"""`posthouse listen --forward-to`: the live stream of a server, relayed to a URL that only this machine can reach.

Every event goes on as a webhook, signed as an endpoint's would be. What the stream cuts off it takes up again where it was.
"""

from __future__ import annotations

import http.client
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from posthouse.cli.client import Client
from posthouse.cli.follow import Follower, why_of
from posthouse.cli.output import printable
from posthouse.cli.sse import Block
from posthouse.domain.errors import Invalid, PosthouseError
from posthouse.domain.event import Event
from posthouse.domain.ids import EVENT, EventId, parse_id
from posthouse.wire.headers import is_content_type
from posthouse.wire.standard import envelope
from posthouse_sdk import Webhook

TARGET_SECONDS: Final = 30.0
ANSWER_BYTES_MAX: Final = 64 * 1024
RETRY_SECONDS: Final = 1.0
RETRY_SECONDS_MAX: Final = 10.0
RELAYED_REMEMBERED_MAX: Final = 10_000


class Told(msgspec.Struct):
    """An event as the stream tells of it."""

    id: str
    app: str | None
    type: str
    content_type: str
    created_at: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    data_base64: bytes | None = None

    def body(self) -> bytes:
        """The body as an endpoint would get it."""
        raw = parse_id(EVENT, self.id)
        if raw is None:
            raise PosthouseError(
                f"the server told of an event with the id {self.id[:80]!r}; is it older than this command?"
            )
        event = Event(
            id=EventId(raw),
            partition=0,
            seq=0,
            app_id=None,
            type=self.type,
            payload=bytes(self.data) if self.data_base64 is None else self.data_base64,
            content_type=self.content_type,
            created_at=datetime.fromisoformat(self.created_at).timestamp(),
            config_version=0,
        )
        return envelope(event)


class Outcome(NamedTuple):
    """What the target answered; or why it did not."""

    status: int | None
    seconds: float
    error: str | None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Target:
    """The URL on this machine. A request has a connection of its own, and redirects are not followed."""

    def __init__(self, url: str, secrets: list[str]) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise Invalid(f"{url!r} is no URL to forward to; give one such as http://127.0.0.1:3000/hooks")
        self.url = parts.geturl()
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = parts.hostname, port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._webhook = Webhook(secrets)
        self._webhook.sign("check", 0, b"")  # a secret that can only verify is refused here

    def send(self, event: Told) -> Outcome:
        """One request."""
        body = event.body()
        content = event.content_type if is_content_type(event.content_type) else "application/octet-stream"
        headers = {"Content-Type": content, "User-Agent": "posthouse-listen", "Connection": "close"}
        headers |= self._webhook.sign(event.id, int(time.time()), body)
        connection = self._kind(self._host, self._port, timeout=TARGET_SECONDS)
        began = time.monotonic()
        try:
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            answer.read(ANSWER_BYTES_MAX)
            return Outcome(answer.status, time.monotonic() - began, None)
        except (OSError, http.client.HTTPException) as error:
            return Outcome(None, time.monotonic() - began, why_of(error))
        finally:
            connection.close()


class Relay:
    """Follows the stream and sends on what it tells, until it is interrupted.

    `tell` prints one event and its outcome. Raises as `Follower`.
    """

    def __init__(
        self,
        client: Client,
        target: Target,
        query: Mapping[str, str],
        tell: Callable[[Told, Outcome], None],
        *,
        tries: int = 1,
    ) -> None:
        self._follower = Follower(client, query, self._take, lost="is not relayed")
        self._target = target
        self._tell = tell
        self._tries = tries
        self._relayed = OrderedDict[str, None]()
        self.delivered = 0
        self.failed = 0

    def run(self) -> None:
        self._follower.run()

    def _take(self, block: Block) -> None:
        if block.event == "event" and block.data is not None:
            self._relay(msgspec.json.decode(block.data, type=Told))

    def _relay(self, event: Told) -> None:
        if event.id in self._relayed:
            return  # the stream was cut off within a batch, and tells of its beginning again
        for number in range(self._tries):
            if number:
                time.sleep(min(RETRY_SECONDS * 2 ** (number - 1), RETRY_SECONDS_MAX))
            outcome = self._target.send(event)
            # Counted before it is told: who reads it may end this at once.
            if outcome.delivered:
                self.delivered += 1
            elif number == self._tries - 1:
                self.failed += 1
            self._tell(event, outcome)
            if outcome.delivered:
                break
        self._relayed[event.id] = None
        if len(self._relayed) > RELAYED_REMEMBERED_MAX:
            self._relayed.popitem(last=False)


def line(event: Told, outcome: Outcome) -> str:
    """One event and its outcome, for people."""
    said = f"failed: {outcome.error}" if outcome.status is None else str(outcome.status)
    told = f"{time.strftime('%H:%M:%S')}  {event.type:<24}  {event.id}  {said}  {outcome.seconds * 1000:.0f} ms"
    return printable(told).replace("\n", " ")


def row(event: Told, outcome: Outcome) -> dict[str, Any]:
    """The same for programs."""
    return {
        "id": event.id,
        "type": event.type,
        "app": event.app,
        "status": outcome.status,
        "duration_ms": round(outcome.seconds * 1000, 3),
        "error": outcome.error,
    }
