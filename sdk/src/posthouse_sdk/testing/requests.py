"""Requests as Posthouse would send them, good and bad ones, for tests of a receiver.

request = signed_request("order.created", {"order": 1}, secret=SECRET)
response = client.post("/hook", content=request.body, headers=request.headers)
"""

from __future__ import annotations

import json
import secrets as randomness
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, assert_never

from posthouse_sdk.received import CLOUDEVENT, CLOUDEVENT_BATCH, JSON
from posthouse_sdk.signatures import HmacKey
from posthouse_sdk.webhook import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, TOLERANCE_SECONDS, Webhook

SECRET: Final = "whsec_dGVzdHMtb2YtcmVjZWl2ZXJzLXNoYXJlLXRoaXM="  # noqa: S105 - everybody knows it
OTHER_SECRET: Final = HmacKey(b"nobody has configured this secret").text

Format = Literal["json", "cloudevents", "raw"]
Flaw = Literal[
    "tampered", "stale", "future", "wrong_secret", "unsigned", "missing_header", "malformed_header", "reserialised"
]
"""What is wrong with a request: the body was changed; signed too long ago, or in the future; with another secret; no signature;
no `webhook-id`; a timestamp that is no number; the same content, written in another way."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request: hand `body` and `headers` to a framework's test client, or use `environ` for one that speaks WSGI."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its `webhook-id`."""
        return self.headers[ID_HEADER]

    @property
    def content_type(self) -> str:
        return self.headers["content-type"]

    @property
    def environ(self) -> dict[str, str]:
        """The headers as WSGI and Django's test client name them: `HTTP_WEBHOOK_ID`."""
        return {_variable(name): value for name, value in self.headers.items()}


def signed_request(
    type: str = "test.event",
    data: Any = None,
    *,
    secret: str | Sequence[str] = SECRET,
    id: str | None = None,
    at: float | None = None,
    age_seconds: float = 0.0,
    format: Format = "json",
    subject: str | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    flaw: Flaw | None = None,
) -> SignedRequest:
    """A request with one event, signed with `secret` (`whsec_…` or `whsk_…`, or several) `age_seconds` before `at` (now).

    `format` "json" is the standard envelope, "cloudevents" a structured CloudEvent, "raw" a body of bytes or text as it is. The
    same `id` and another `at` make another attempt of the same event. `flaw` spoils it in one way.

    Raises: SecretError for a secret that cannot sign.
    """
    id = id or new_id()
    signed_at = (time.time() if at is None else at) - age_seconds
    body, content = _body(format, type, data, id, signed_at, subject, key)
    return _flawed(_signed(body, content, id, signed_at, secret, headers), flaw, secret, signed_at)


def signed_batch(
    events: Sequence[tuple[str, Any]],
    *,
    secret: str | Sequence[str] = SECRET,
    ids: Sequence[str] | None = None,
    at: float | None = None,
    format: Literal["json", "cloudevents"] = "json",
    flaw: Flaw | None = None,
) -> SignedRequest:
    """A request with several events, as (type, data); each has an id of its own."""
    signed_at = time.time() if at is None else at
    each = ids or [new_id() for _ in events]
    parts = [
        _member(format, type, data, id, signed_at, None, None)
        for (type, data), id in zip(events, each, strict=True)
    ]  # fmt: skip
    content = CLOUDEVENT_BATCH if format == "cloudevents" else JSON
    request = _signed(_compact(parts), content, new_id("req"), signed_at, secret, None)
    return _flawed(request, flaw, secret, signed_at)


def again(request: SignedRequest, *, secret: str | Sequence[str] = SECRET, at: float | None = None) -> SignedRequest:
    """Another attempt: the same body and id, signed anew."""
    kept = {name: value for name, value in request.headers.items() if name not in (TIMESTAMP_HEADER, SIGNATURE_HEADER)}
    return _signed(request.body, request.content_type, request.id, time.time() if at is None else at, secret, kept)


def new_id(prefix: str = "evt") -> str:
    return f"{prefix}_{randomness.token_hex(16)}"


def _body(
    format: Format, type: str, data: Any, id: str, at: float, subject: str | None, key: str | None
) -> tuple[bytes, str]:
    match format:
        case "raw":
            raw = data if isinstance(data, bytes) else str(data).encode()
            return raw, "application/octet-stream" if isinstance(data, bytes) else "text/plain; charset=utf-8"
        case "json":
            envelope = _member(format, type, data, id, at, subject, key)
            del envelope["id"]  # alone, an event has it in the header
            return _compact(envelope), JSON
        case "cloudevents":
            return _compact(_member(format, type, data, id, at, subject, key)), CLOUDEVENT
        case _:
            assert_never(format)


def _member(
    format: Literal["json", "cloudevents"],
    type: str,
    data: Any,
    id: str,
    at: float,
    subject: str | None,
    key: str | None,
) -> dict[str, Any]:
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if format == "json":
        return {"id": id, "type": type, "timestamp": moment, "data": data}
    optional = {"subject": subject, "partitionkey": key}
    return {
        "specversion": "1.0",
        "id": id,
        "source": "posthouse",
        "type": type,
        "time": moment,
        **{name: value for name, value in optional.items() if value is not None},
        "datacontenttype": JSON,
        "data": data,
    }


def _signed(
    body: bytes, content: str, id: str, at: float, secret: str | Sequence[str], more: Mapping[str, str] | None
) -> SignedRequest:
    signatures = Webhook(secret).sign(id, int(at), body)
    return SignedRequest(body, {"content-type": content, **(more or {}), **signatures})


def _flawed(request: SignedRequest, flaw: Flaw | None, secret: str | Sequence[str], at: float) -> SignedRequest:
    def with_headers(**changed: str) -> SignedRequest:
        return replace(request, headers=request.headers | {f"webhook-{name}": value for name, value in changed.items()})

    match flaw:
        case None:
            return request
        case "tampered":
            return replace(request, body=request.body[:-1] + bytes([request.body[-1] ^ 1]) if request.body else b"x")
        case "stale":
            return again(request, secret=secret, at=at - TOLERANCE_SECONDS - 60)
        case "future":
            return again(request, secret=secret, at=at + TOLERANCE_SECONDS + 60)
        case "wrong_secret":
            return again(request, secret=OTHER_SECRET, at=at)
        case "unsigned":
            return _without(request, SIGNATURE_HEADER)
        case "missing_header":
            return _without(request, ID_HEADER)
        case "malformed_header":
            return with_headers(timestamp="yesterday")
        case "reserialised":
            return replace(request, body=json.dumps(json.loads(request.body), indent=2).encode())
        case _:
            assert_never(flaw)


def _without(request: SignedRequest, header: str) -> SignedRequest:
    return replace(request, headers={name: value for name, value in request.headers.items() if name != header})


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _variable(name: str) -> str:
    variable = name.upper().replace("-", "_")
    return variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"
