"""From an event, or a batch of events, and an endpoint to the bytes of a request, under the standard profile.

Sources: Standard Webhooks 1.0.0, section "Webhook headers"; RFC 9112 sections 2 and 3; CloudEvents 1.0.2, HTTP binding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Final, NoReturn

from posthouse import __version__
from posthouse.domain.endpoint import Endpoint, Format
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.exchange import Request
from posthouse.domain.ids import EVENT, REQUEST, format_id
from posthouse.wire import cloudevents
from posthouse.wire.authentication import Credentials, TokenGrant, with_token
from posthouse.wire.batch import FRAME_BYTES, added_bytes, batch_body
from posthouse.wire.egress import check_usable
from posthouse.wire.headers import UNKNOWN_CONTENT, check_headers, is_content_type, origin_headers
from posthouse.wire.standard import envelope
from posthouse.wire.target import parse_target
from posthouse.wire.way import compile_way
from posthouse_sdk.signatures import signing_key

USER_AGENT: Final = f"Posthouse/{__version__}"
_JSON: Final = JSON_CONTENT.encode()
DEFAULT_HEADERS: Final = (("User-Agent", USER_AGENT), ("Accept", "*/*"))


class Renderer:
    """Makes the requests of one endpoint revision; what does not depend on the event is made once, here.

    They go to the endpoint's own URL, or to `url`, another one of its URLs. Where there is a `grant`, `render` must be given
    the token that it brings.

    Raises: Invalid for a URL, a header or anything else that cannot be sent, SecretError for a secret of a wrong size. All are
    checked when an endpoint is written, and here again: nothing in the store can put a line of its own into a head.
    """

    __slots__ = ("_egress", "_format", "_prefix", "_signers", "_structured", "_timeouts", "grant", "target")

    at_once_bytes: ClassVar[None] = None  # payloads go into a body as they are, however large

    def __init__(self, endpoint: Endpoint, *, url: str | None = None) -> None:
        target = parse_target(endpoint.url if url is None else url)
        self._egress, auth = compile_way(endpoint, target)
        self.grant: Final = auth if isinstance(auth, TokenGrant) else None
        self.target: Final = auth.on(target) if isinstance(auth, Credentials) else target
        assert isinstance(endpoint.format, Format)
        self._format: Final = endpoint.format
        self._structured: Final = endpoint.format is Format.CLOUDEVENTS
        self._timeouts: Final = endpoint.timeouts
        self._signers: Final = tuple(signing_key(secret.kind, secret.key) for secret in endpoint.secrets)
        own = check_headers(endpoint.headers)
        replaced = {name.lower() for name, _ in own}
        if isinstance(auth, Credentials):
            replaced |= {name.lower() for name, _ in auth.headers}
        lines = [f"POST {self.target.path} HTTP/1.1", f"Host: {self.target.authority}"]
        lines += [f"{name}: {value}" for name, value in DEFAULT_HEADERS if name.lower() not in replaced]
        lines.append("Accept-Encoding: identity")
        lines += [f"{name}: {value}" for name, value in (*own, *origin_headers(endpoint.handshake))]
        if isinstance(auth, Credentials):
            lines += [f"{name}: {value}" for name, value in auth.headers]
        self._prefix: Final = "\r\n".join([*lines, "Content-Type: "]).encode("latin-1")

    def render(
        self, event: Event, *, now: float, replay: bool, body: bytes | None = None, token: str | None = None
    ) -> Request:
        """The request that brings an event to the endpoint at `now` (unix seconds), signed with every secret.

        `body` is what the endpoint's format makes of the event (`envelope`, `cloudevent`) where the caller has it already;
        `token` what the `grant` brought. Raises: Unsendable.
        The signature covers exactly the bytes of `Request.body`; `replay` adds `webhook-replay: true`, which is not signed.
        """
        if self._structured:
            content_type = cloudevents.CONTENT
            if body is None:
                body = cloudevents.cloudevent(event)
        else:
            content_type = _JSON if event.content_type == JSON_CONTENT else content_type_bytes(event.content_type)
            if body is None:
                body = envelope(event)
        return self._request(content_type, body, format_id(EVENT, event.id).encode("ascii"), now, replay, token)

    def render_batch(
        self, events: Sequence[Event], *, now: float, replay: bool, request_id: bytes, token: str | None = None
    ) -> Request:
        """The request that brings several events at once; its `webhook-id` is its own: `req_…`. Raises: Unsendable."""
        content_type = cloudevents.BATCH_CONTENT if self._structured else _JSON
        message_id = format_id(REQUEST, request_id).encode("ascii")
        return self._request(content_type, batch_body(events, self._format), message_id, now, replay, token)

    def order(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError("it writes everything at once")

    @property
    def frame_bytes(self) -> int:
        """The body of a batch has so many bytes, and `added_bytes` for each of its events."""
        return FRAME_BYTES

    def added_bytes(self, event: Event) -> int:
        """What an event adds to the body of a batch, exactly."""
        return added_bytes(event, self._format)

    def _request(
        self, content_type: bytes, body: bytes, message_id: bytes, now: float, replay: bool, token: str | None
    ) -> Request:
        timestamp = int(now)
        end = b"webhook-replay: true\r\n\r\n" if replay else b"\r\n"
        if token is not None:
            end = b"%b%b" % (_lines(with_token(token)), end)
        if self._signers:
            signed = b"%b.%d." % (message_id, timestamp)
            signatures = [signer.sign(signed, body) for signer in self._signers]
            end = b"webhook-signature: %b\r\n%b" % (b" ".join(signatures), end)
        head = b"%b%b\r\nContent-Length: %d\r\nwebhook-id: %b\r\nwebhook-timestamp: %d\r\n%b" % (
            self._prefix,
            content_type,
            len(body),
            message_id,
            timestamp,
            end,
        )
        if self._egress is not None:
            check_usable(self._egress, now)
        return Request(self.target, head, body, self._timeouts, self._egress)


def _lines(credentials: Credentials) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in credentials.headers).encode("latin-1")


@lru_cache(maxsize=256)
def content_type_bytes(text: str) -> bytes:
    """A content type as it is sent. Pure, and remembered: platforms have few."""
    # Intake refuses what cannot be sent. Should one be in the log all the same, the event is still delivered.
    return (text if is_content_type(text) else UNKNOWN_CONTENT).encode("ascii")
