"""The receiving side of an inbound trigger: a request is verified, opened and read as the trigger's profile says, by the SDK
that receivers have. Pure but for the clock that it is given.

**The key** of a request makes it the same event whenever its sender tries again: what `idempotency` names; else the id that
the profile finds in it, with its type; else a digest of what it says, without what is signed anew with each try.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from posthouse.domain import profile as domain
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.inbound import METHODS, PATH, Answer, InboundSettings
from posthouse.domain.limits import TRIGGER_KEY_LENGTH_MAX
from posthouse.domain.seen import Missing, Template, readable
from posthouse.wire.inbound_seen import Content, InboundRequest, content_of, excerpt_of, seen_of
from posthouse_sdk.compression import unpacked
from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.errors import (
    BodyTooLargeError,
    MalformedHeaderError,
    MissingHeaderError,
    ProfileError,
    ReceiverError,
    VerificationError,
)
from posthouse_sdk.profiles import Profile, ProfileReceiver, Received, profile
from posthouse_sdk.profiles.filling import settings_values
from posthouse_sdk.profiles.handshakes import format_of, method_of
from posthouse_sdk.profiles.request import FORM
from posthouse_sdk.profiles.signers import OWN_SECRET
from posthouse_sdk.receiving.answers import status_of

FindProfile = Callable[[str], domain.Profile]
"""A profile by its name. Raises NotFound."""

UNTOLD: Final = Answer(202)
"""Where no profile says what confirms."""

_CLOUDEVENT: Final = "application/cloudevents+json"


class Genuine(msgspec.Struct, frozen=True, kw_only=True):
    """It is the source's, as far as that is verified: `seen`, `content` and `key` are for an event, `answer` confirms it."""

    seen: bytes
    content: Content
    key: str
    at: float
    answer: Answer


class Shaken(msgspec.Struct, frozen=True, kw_only=True):
    """It is a handshake, and `answer` passes it. With a `confirm_url` somebody has to go there."""

    handshake: str
    answer: Answer
    confirm_url: str | None = None


class NotGenuine(msgspec.Struct, frozen=True):
    """Nobody vouches for it. `reason` is for whoever looks, and none of the sender's business."""

    status: int
    reason: str


Judged = Genuine | Shaken | NotGenuine


class Inlet:
    """What one trigger makes of requests. `url` is where its source sends to, as far as that is known.

    Raises: Invalid with a path in the settings, for a profile, key or setting that cannot be used.
    """

    def __init__(
        self,
        settings: InboundSettings,
        find: FindProfile,
        *,
        url: str | None,
        clock: Callable[[], float],
        bytes_max: int,
    ) -> None:
        self.settings: Final = settings
        self.bytes_max: Final = bytes_max
        self._url: Final = settings.url or url
        self._idempotency: Final = None if settings.idempotency is None else Template(settings.idempotency)
        self._profile: Final = None if settings.spoken is None else _profile_of(settings, find)
        self._receiver: Final = None if self._profile is None else self._made(self._profile, clock)
        endpoint = {} if self._profile is None else self._profile.endpoint
        self._kind: Final = str(format_of(endpoint.get("format"))["kind"])
        self._secret: Final = frozenset(_secret_names(endpoint))
        self.methods: Final = self._methods()

    def _made(self, spoken: Profile, clock: Callable[[], float]) -> ProfileReceiver:
        verifies = spoken.endpoint.get("signing") != [] or spoken.endpoint.get("auth") is not None
        if verifies and not self.settings.verify:
            raise Invalid(
                f"the profile {spoken.name} verifies who sends: leave verify out, or take the profile away",
                path="verify",
            )
        if not verifies and self.settings.verify:
            raise Invalid(
                f"the profile {spoken.name} signs nothing, so that anybody could send: say verify: false if that is meant",
                path="verify",
            )
        keys = self.settings.keys
        wanted = {key.name: key.about for key in spoken.keys}
        if not wanted and verifies:
            wanted = {OWN_SECRET: "the secret that signs, whsec_…, or the public key, whpk_…"}
        for name, about in wanted.items():
            if not keys.get(name):
                raise Invalid(f"the profile {spoken.name} needs this key: {about}", path=f"keys.{name}")
        try:
            return ProfileReceiver(
                spoken,
                {name: key if isinstance(key, str) else list(key) for name, key in keys.items()},
                tolerance=self.settings.tolerance_seconds,
                clock=clock,
                url=self._url,
                unpacked_bytes_max=self.bytes_max,
            )
        except ReceiverError as error:
            raise Invalid(str(error), path="keys") from None

    def _methods(self) -> tuple[str, ...]:
        """What it answers. Raises: Invalid."""
        wanted = tuple(sorted({method.upper() for method in self.settings.methods}))
        known = METHODS if self._profile is None else _methods_of(self._profile.endpoint)
        for method in wanted:
            if method not in known:
                raise Invalid(f"there is no {method[:16]!r} here; there are {', '.join(known)}", path="methods")
        return wanted or (("POST",) if self._profile is None else known)

    def receive(self, request: InboundRequest) -> Judged:
        """Raises: ReceiverError where it is ours that is configured wrongly."""
        try:
            if self._receiver is None:
                return self._taken_as_it_is(request)
            target = f"{request.path}?{request.query}" if request.query else request.path
            if self._url is None:
                target = f"http://{request.header('host') or ''}{target}"
            return self._judged(request, self._receiver.receive(request.method, target, request, request.body))
        except VerificationError as error:
            return NotGenuine(_status_of(error), str(error))

    def excerpt(self, request: InboundRequest) -> bytes:
        return excerpt_of(request, secret=self._secret)

    def _judged(self, request: InboundRequest, received: Received) -> Judged:
        answer = Answer(received.status, received.body, tuple(received.headers.items()))
        event = received.event
        if event is None:
            return Shaken(
                handshake=received.handshake or "", answer=self._checked(answer), confirm_url=received.confirm_url
            )
        content = content_of(received.content, received.content_type, self._kind)
        told = {
            "id": event.id,
            "type": event.type,
            "time": None if event.timestamp is None else event.timestamp.isoformat(),
        }
        seen = seen_of(request, content, secret=self._secret, event=told)
        parts = [event.type, _source_of(content, request), event.id]
        return Genuine(
            seen=seen,
            content=content,
            key=self._named(seen) or _key("/".join(part for part in parts if part)),
            at=request.at if event.timestamp is None else event.timestamp.timestamp(),
            answer=self._confirming(answer),
        )

    def _taken_as_it_is(self, request: InboundRequest) -> Judged:
        body, content_type = request.body, request.header("content-type") or ""
        if request.method == "GET" and not body:
            body, content_type = request.query.encode("latin-1", "replace"), FORM
        content = content_of(unpacked(body, request, bytes_max=self.bytes_max), content_type)
        seen = seen_of(request, content)
        said = b"\n".join([request.method.encode(), request.query.encode("utf-8", "replace"), content.data])
        return Genuine(
            seen=seen,
            content=content,
            key=self._named(seen) or f"sha256-{hashlib.sha256(said).hexdigest()}",
            at=request.at,
            answer=self._confirming(UNTOLD),
        )

    def _named(self, seen: bytes) -> str | None:
        """The key that the trigger names; None where this request does not have it."""
        if self._idempotency is None:
            return None
        try:
            named = self._idempotency.fill(readable(seen))
        except Missing:
            return None
        return _key(named) if named else None

    def _confirming(self, answer: Answer) -> Answer:
        return self._checked(answer) if self.settings.answer is None else self.settings.answer.answer()

    def _checked(self, answer: Answer) -> Answer:
        """Raises: ReceiverError for what would break out of its header."""
        for _, value in answer.headers:
            if not value.isprintable():
                raise ReceiverError("the profile would answer with a header that cannot be sent")
        return answer


def _profile_of(settings: InboundSettings, find: FindProfile) -> Profile:
    assert settings.spoken is not None
    try:
        found = find(settings.spoken)
        known = {each.name: (each.about, each.default) for each in found.settings}
        values = settings_values(found.name, known, settings.profile_settings, "profile_settings")
        return profile(msgspec.to_builtins(found), values)
    except NotFound as error:
        raise Invalid(f"{error}; `posthouse profiles list` has them", path="profile") from None
    except SettingError as error:
        raise Invalid(str(error), path=error.path) from None
    except ProfileError as error:
        raise Invalid(str(error), path="profile") from None


def _secret_names(endpoint: Mapping[str, Any]) -> Iterator[str]:
    """Of headers and parameters in which requests of a profile show what lets them in."""
    for signer in endpoint.get("signing") or ({"kind": "standard"},):
        match signer.get("kind"):
            case "standard":
                yield f"{signer.get('prefix', 'webhook-')}signature"
            case "http":
                yield "signature"
                yield "signature-input"
            case kind:
                place: Any = signer.get("token" if kind == "jwt" else "signature") or {}
                yield str(place.get("name", ""))
    auth: Any = endpoint.get("auth") or {}
    yield "authorization"
    if auth.get("kind") == "api_key":
        yield str(auth.get("name", ""))


def _methods_of(endpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of a profile's events and of its handshakes."""
    steps = (endpoint.get("handshake") or {}).get("steps", ())
    found = {method_of(endpoint)}
    for step in steps:
        found.add("OPTIONS" if step.get("kind") == "options" else str(step.get("method", method_of(endpoint))).upper())
    return tuple(sorted(found))


def _source_of(content: Content, request: InboundRequest) -> str | None:
    """The source of a CloudEvent, whose ids are its own (CloudEvents 1.0.2, section "id")."""
    if (request.header("content-type") or "").partition(";")[0].strip().lower() != _CLOUDEVENT:
        return request.header("ce-source")
    told = msgspec.json.decode(content.data) if isinstance(content.seen, msgspec.Raw) else None
    source = told.get("source") if isinstance(told, dict) else None
    return source if isinstance(source, str) else None


def _key(text: str) -> str:
    """A key as it may be: the text itself, or its digest."""
    if len(text) <= TRIGGER_KEY_LENGTH_MAX and text.isprintable():
        return text
    return f"sha256-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _status_of(error: VerificationError) -> int:
    """What a sender is answered: of what is missing no more than of what is wrong."""
    match error:
        case BodyTooLargeError():
            return 413
        case MissingHeaderError() | MalformedHeaderError():
            return 401
        case _:
            return status_of(error)


def url_of(public_url: str, reference: str) -> str | None:
    """Where a source sends to; None where nobody said where this server is."""
    return f"{public_url.rstrip('/')}{PATH}{quote(reference, safe='~@:+')}" if public_url else None
