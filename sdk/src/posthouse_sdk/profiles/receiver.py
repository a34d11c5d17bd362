"""The receiving side of a profile: what an endpoint of it is sent is verified, opened and read, and answered as it has to be.

    receiver = ProfileReceiver("feishu", {"encrypt_key": "…", "verification_token": "…"})
    received = receiver.receive("POST", url, headers, body)
    if received.event is not None: ...
    return received.status, received.headers, received.body

No code is a provider's: all of it is done as the profile says. In this order, the server's backwards: a signature is of the
body as it was sent; then that is unpacked (gzip), and then opened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from posthouse_sdk.compression import unpacked
from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.errors import ProfileError, VerificationError
from posthouse_sdk.profiles.events import Events
from posthouse_sdk.profiles.file import Profile, Source, profile
from posthouse_sdk.profiles.handshakes import OPTIONS, Reply, Step, compile_steps, format_of, method_of
from posthouse_sdk.profiles.moments import Moments
from posthouse_sdk.profiles.places import Placed
from posthouse_sdk.profiles.request import FORM, Body, Request, Target, Told
from posthouse_sdk.profiles.signers import OWN_SECRET, CustomSigner, Signer, Surroundings, compile_signers, verify
from posthouse_sdk.received import ReceivedEvent
from posthouse_sdk.webhook import TOLERANCE_SECONDS, UNPACKED_BYTES_MAX

if TYPE_CHECKING:
    from posthouse_sdk.profiles.sealing import Answers, Sealing
    from posthouse_sdk.webhook import Headers

Keys = Mapping[str, str | Iterable[str]]
"""The keys of an endpoint by name, each a text or several while it is rotated, newest first."""

KEYS_MAX: Final = 16

_CONTENT: Final = {
    "json": "application/json", "xml": "application/xml", "form": "application/x-www-form-urlencoded",
    "cloudevents": "application/cloudevents+json", "raw": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What came, and the answer to it. `event` is None of a handshake, which `handshake` names by its type; with a
    `confirm_url` somebody has to go there. The answer to an event says that it is taken: answer otherwise what was not.

    `content` is what the event was read from, unpacked and opened: the body, of a GET the query; `content_type` is what it is.
    """

    event: ReceivedEvent[Any] | None
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    handshake: str | None = None
    confirm_url: str | None = None
    content: bytes = b""
    content_type: str = ""


class ProfileReceiver:
    """`keys` are the endpoint's by name; of key pairs that sign the public half, of those that encrypt the private one.
    `url` is where the sender sends to, where a signature is about it and a request does not tell.

    Raises: ProfileError for a profile, key or setting that cannot be used, ReceiverError where an extra is not installed.
    """

    def __init__(
        self,
        profile: Source | Profile,
        keys: Keys | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        tolerance: float = TOLERANCE_SECONDS,
        clock: Callable[[], float] = time.time,
        url: str | None = None,
        unpacked_bytes_max: int = UNPACKED_BYTES_MAX,
    ) -> None:
        self.profile: Final = _profile(profile, settings)
        self._clock: Final = clock
        self._url: Final = url
        self._unpacked_bytes_max: Final = unpacked_bytes_max
        try:
            self._compile(_texts(keys or {}, self.profile), tolerance)
        except SettingError as error:
            where = f"{error.path}: " if error.path else ""
            raise ProfileError(f"the profile {self.profile.name} cannot be used: {where}{error}") from None

    def _compile(self, keys: Mapping[str, list[str]], tolerance: float) -> None:
        endpoint, reading = self.profile.endpoint, self.profile.receive
        self._method = method_of(endpoint)
        self._format = format_of(endpoint.get("format"))
        self._charset = str(self._format.get("charset", "utf-8"))
        about = {OWN_SECRET: "the endpoint's own secret, whsec_… or whpk_…"}
        about |= {key.name: key.about for key in self.profile.keys}
        around = Surroundings(
            keys,
            tolerance,
            self._clock,
            _telling(endpoint),
            self._format["kind"],
            about,
            Moments(self._format.get("time")),
            reading.passed_over,
        )
        self._sealing = _sealing(endpoint, around, _CONTENT.get(self._format["kind"], "application/json"))
        self._signers = compile_signers(endpoint.get("signing"), endpoint.get("auth"), around, "endpoint.signing")
        self._steps, self._options = compile_steps(endpoint, around, self._sealing)
        self._events = Events(reading, self._format, self._method)
        self._answers = self._compile_answers()
        if reading.encrypt and self._answers is None:
            raise SettingError("there is no encryption to answer with", "receive.encrypt")

    def _compile_answers(self) -> Answers | None:
        wanted = self.profile.receive.encrypt or any(step.answers_encrypted for step in self._steps)
        if self._sealing is None or not wanted:
            return None
        custom = [signer for signer in self._signers if isinstance(signer, CustomSigner)]
        return self._sealing.answer(self.profile.receive.sealed, custom[0] if custom else None)

    def receive(self, method: str, url: str, headers: Headers, body: bytes | str) -> Received:
        """A request that was verified: its event, or the handshake that it is, with what to answer.

        `url` is the request's, whole or path and query alone; `body` what came over the wire, unparsed.

        Raises: a subclass of VerificationError that names the cause: answer 4xx.
        """
        request = Request(method, Target(url, self._url), headers, body, self._charset)
        for options in self._options:
            if (consent := options.reply(request)) is not None:
                return _received(consent, OPTIONS)
        view = _View(request, self._format, self._sealing, self._unpacked_bytes_max)
        refusal: VerificationError | None = None
        for step in self._steps:
            try:
                reply = self._reply(step, view)
            except _Unsigned as error:
                refusal = refusal or error.cause
                continue
            if reply is not None:
                return _received(reply, step.type)
        if refusal is not None:
            raise refusal
        if request.method != self._method:
            raise VerificationError(
                f"the request came with the method {request.method[:16]}; the profile's events come with {self._method}"
            )
        told, _ = view.verified(self._signers)
        plain = view.plain(self._format)
        event = self._events.read(request, plain, told, self._clock())
        answer = self._confirming()
        in_query = request.in_query
        return Received(
            event=event,
            status=answer.status,
            body=answer.body,
            headers=answer.headers,
            content=request.target.query.encode("utf-8", "surrogatepass") if in_query else plain.raw,
            content_type=FORM if in_query else plain.content_type,
        )

    def _reply(self, step: Step, view: _View) -> Reply | None:
        """The answer to a request that is this step; None where it is none.

        Raises: _Unsigned where it is, and not signed as it has to be; VerificationError where it has another key.
        """
        found = step.fits(view.request)
        if found is None:
            return None
        try:
            told, used = view.verified(self._signers if step.signers is None else step.signers)
        except VerificationError as error:
            if step.apart:
                raise _Unsigned(error) from None
            return None  # it is an event's to say what is wrong with it
        body: Body | None = None
        if not view.request.in_query:
            try:
                body = view.plain(step.format) if step.encrypted else view.sent(step.format)
            except VerificationError:
                return None
        if not step.fits_body(body, found, told.values):
            return None
        return step.reply(found, used, self._answers, self._clock(), self._confirming())

    def _confirming(self) -> Reply:
        """The answer that confirms an event."""
        reading = self.profile.receive
        body = reading.answer.encode()
        if self._answers is not None and reading.encrypt:
            sealed = self._answers.sealed(body, now=self._clock())
            return Reply(reading.status, sealed, {"Content-Type": self._answers.content_type})
        return Reply(reading.status, body, {"Content-Type": reading.content_type} if body else {})


def unwrap(
    *,
    profile: Source | Profile,
    keys: Keys,
    method: str = "POST",
    url: str = "/",
    headers: Headers,
    body: bytes | str,
    settings: Mapping[str, str] | None = None,
    tolerance: float = TOLERANCE_SECONDS,
    clock: Callable[[], float] = time.time,
) -> Received:
    """One request, as `ProfileReceiver.receive`: which is quicker for many. `url` is the whole one where it is signed."""
    return ProfileReceiver(profile, keys, settings=settings, tolerance=tolerance, clock=clock).receive(
        method, url, headers, body
    )


class _Unsigned(Exception):
    def __init__(self, cause: VerificationError) -> None:
        super().__init__(str(cause))
        self.cause: Final = cause


class _View:
    """One request on its way through: verified with each set of signers once, unpacked and opened once."""

    def __init__(
        self, request: Request, format: Mapping[str, Any], sealing: Sealing | None, unpacked_bytes_max: int
    ) -> None:
        self.request: Final = request
        self._format: Final = format
        self._sealing: Final = sealing
        self._unpacked_bytes_max: Final = unpacked_bytes_max
        self._unpacked: bytes | None = None
        self._opened: tuple[bytes, str] | None = None
        self._verified: Final[dict[int, tuple[Told, dict[str, str]] | VerificationError]] = {}

    def verified(self, signers: list[Signer]) -> tuple[Told, dict[str, str]]:
        """What the request tells, and which keys fitted. Raises: VerificationError."""
        found = self._verified.get(id(signers))
        if found is None:
            told = Told(
                self.request, self._as_signed, lambda: self.plain(self._format), encrypted=self._sealing is not None
            )
            try:
                found = told, verify(signers, told)
            except VerificationError as error:
                found = error
            self._verified[id(signers)] = found
        if isinstance(found, VerificationError):
            raise found
        return found

    def sent(self, format: Mapping[str, Any]) -> Body:
        """The body as it came, unpacked, read as this format. Raises: VerificationError."""
        return self._body(self._raw(), format["kind"], self.request.content_type, format)

    def plain(self, format: Mapping[str, Any]) -> Body:
        """The body as it was before it was encrypted. Raises: VerificationError."""
        if self._sealing is None:
            return self.sent(format)
        raw, content_type = self._plain()
        return self._body(raw, format["kind"], content_type, format)

    def _as_signed(self) -> Body:
        kind = self._sealing.kind if self._sealing is not None else ""
        return self._body(self._raw(), kind or self._format["kind"], self.request.content_type, self._format)

    def _raw(self) -> bytes:
        if self._unpacked is None:
            headers = self.request.headers
            self._unpacked = unpacked(self.request.body, headers, bytes_max=self._unpacked_bytes_max)
        return self._unpacked

    def _plain(self) -> tuple[bytes, str]:
        assert self._sealing is not None
        if self._opened is None:
            opened = self._sealing.opened(self._raw(), self.request.headers)
            self._opened = opened.body, opened.content_type
        return self._opened

    def _body(self, raw: bytes, kind: str, content_type: str, format: Mapping[str, Any]) -> Body:
        return Body(raw, kind, content_type, str(format.get("charset", "utf-8")))


def _received(reply: Reply, handshake: str) -> Received:
    return Received(
        event=None,
        status=reply.status,
        body=reply.body,
        headers=reply.headers,
        handshake=handshake,
        confirm_url=reply.confirm_url,
    )


def _profile(source: Source | Profile, settings: Mapping[str, str] | None) -> Profile:
    if not isinstance(source, Profile):
        return profile(source, settings)
    if settings:
        raise ProfileError("this profile has its settings already: give them to profile()")
    return source


def _texts(keys: Keys, profile: Profile) -> dict[str, list[str]]:
    texts = {name: [given] if isinstance(given, str) else list(given) for name, given in keys.items()}
    for name, given in texts.items():
        if not 0 < len(given) <= KEYS_MAX or not all(isinstance(each, str) and each for each in given):
            raise ProfileError(f"the key {name} is a text, or 1 to {KEYS_MAX} of them")
        if profile.keys and name not in {OWN_SECRET, *(key.name for key in profile.keys)}:
            known = ", ".join(key.name for key in profile.keys)
            raise ProfileError(f"the profile {profile.name} has no key {name}; it has: {known}")
    return texts


def _telling(endpoint: Mapping[str, Any]) -> list[Placed]:
    """The endpoint's own headers and parameters: they may tell what a signature is about."""
    found = []
    for place, name in (("header", "headers"), ("query", "query")):
        texts = endpoint.get(name, {})
        if not isinstance(texts, Mapping):
            raise SettingError("this is an object of texts", f"endpoint.{name}")
        found += [
            Placed(Reader({"in": place, "name": each, "value": text}, f"endpoint.{name}"))
            for each, text in texts.items()
            if text
        ]
    return found


def _sealing(endpoint: Mapping[str, Any], around: Surroundings, content_type: str) -> Sealing | None:
    encryption = endpoint.get("encryption")
    if encryption is None:
        return None
    from posthouse_sdk.profiles.sealing import Sealing

    if not isinstance(encryption, Mapping):
        raise SettingError("this is an object", "endpoint.encryption")
    texts = around.texts(str(encryption.get("key", "")), "endpoint.encryption.key")
    try:
        return Sealing(encryption, texts, content_type)
    except SettingError as error:
        raise SettingError(str(error), f"endpoint.encryption.{error.path}") from None
