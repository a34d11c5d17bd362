"""From an event and an endpoint to the bytes of a request, under the standard profile.

Sources: Standard Webhooks 1.0.0, section "Webhook headers"; RFC 9112 sections 2 and 3.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from posthouse import __version__
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.exchange import Request
from posthouse.domain.ids import EVENT, format_id
from posthouse.wire.headers import check_headers, is_content_type
from posthouse.wire.standard import envelope
from posthouse.wire.target import parse_target
from posthouse_sdk.signatures import signing_key

USER_AGENT: Final = f"Posthouse/{__version__}"
UNKNOWN_CONTENT: Final = b"application/octet-stream"
_DEFAULT_HEADERS: Final = (("User-Agent", USER_AGENT), ("Accept", "*/*"))


class Renderer:
    """Makes the requests of one endpoint revision; what does not depend on the event is made once, here.

    Raises: Invalid for a URL or a header that cannot be sent, SecretError for a secret of a wrong size. All are checked
    when an endpoint is written, and here again: nothing in the store can put a line of its own into a head.
    """

    __slots__ = ("_prefix", "_signers", "_timeouts", "target")

    def __init__(self, endpoint: Endpoint) -> None:
        self.target: Final = parse_target(endpoint.url)
        self._timeouts: Final = endpoint.timeouts
        self._signers: Final = tuple(signing_key(secret.kind, secret.key) for secret in endpoint.secrets)
        own = check_headers(endpoint.headers)
        replaced = {name.lower() for name, _ in own}
        lines = [f"POST {self.target.path} HTTP/1.1", f"Host: {self.target.authority}"]
        lines += [f"{name}: {value}" for name, value in _DEFAULT_HEADERS if name.lower() not in replaced]
        lines.append("Accept-Encoding: identity")
        lines += [f"{name}: {value}" for name, value in own]
        self._prefix: Final = "\r\n".join([*lines, "Content-Type: "]).encode("latin-1")

    def render(self, event: Event, *, now: float, replay: bool, body: bytes | None = None) -> Request:
        """The request that brings an event to the endpoint at `now` (unix seconds), signed with every secret.

        `body` is `envelope(event)` where the caller has it already. The signature covers exactly the bytes of
        `Request.body`; `replay` adds `webhook-replay: true`, which is not signed.
        """
        if body is None:
            body = envelope(event)
        content_type = b"application/json" if event.content_type == JSON_CONTENT else _content_type(event.content_type)
        message_id = format_id(EVENT, event.id).encode("ascii")
        timestamp = int(now)
        head = b"%b%b\r\nContent-Length: %d\r\nwebhook-id: %b\r\nwebhook-timestamp: %d\r\n" % (
            self._prefix,
            content_type,
            len(body),
            message_id,
            timestamp,
        )
        if self._signers:
            signed = b"%b.%d." % (message_id, timestamp)
            signatures = [signer.sign(signed, body) for signer in self._signers]
            head += b"webhook-signature: %b\r\n" % b" ".join(signatures)
        head += b"webhook-replay: true\r\n\r\n" if replay else b"\r\n"
        return Request(self.target, head, body, self._timeouts)


@lru_cache(maxsize=256)
def _content_type(text: str) -> bytes:
    # Intake refuses what cannot be sent. Should one be in the log all the same, the event is still delivered.
    return text.encode("ascii") if is_content_type(text) else UNKNOWN_CONTENT
