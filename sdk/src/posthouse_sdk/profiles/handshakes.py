"""Handshakes, answered: which request is a step of `endpoint.handshake`, and what a target answers to it.

A request is a step's where its method fits, and the texts of the step's body, query and headers match what came. What its names
stand for is captured, a `{key}` compared; what the step expects is what is answered.

A challenge that is captured, or opened, is answered only where it looks like one, for it comes back in the clear to whoever
asks: 1 to 20 digits where the step's `challenge` is digits, else 1 to 128 letters, digits and `-._~+/`, of which up to two may
be `=` at the end. Platforms make theirs in lengths of their own, so no more is asked of it; no JSON object, XML or form is one.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.pointers import pointer_of
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.errors import NoMatchingSignatureError, VerificationError
from posthouse_sdk.profiles.documents import Unreadable
from posthouse_sdk.profiles.patterns import (
    Pattern,
    compile_pattern,
    fill,
    flattened,
    is_telling,
    match,
    names_of,
    put,
)
from posthouse_sdk.profiles.request import Body, Request
from posthouse_sdk.profiles.signers import Signer, Surroundings, compile_signers
from posthouse_sdk.profiles.texts import Text

if TYPE_CHECKING:
    from posthouse_sdk.profiles.sealing import Answers, Sealing

STEPS_MAX: Final = 8
CHALLENGE: Final = "challenge"
ENCRYPTED: Final = "challenge.encrypted"
HMAC: Final = "challenge.hmac-sha256"
CONFIRM_URL: Final = "confirm_url"
OPTIONS: Final = "options"

_LETTERS: Final = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9\-._~+/]+={0,2}")
_CHALLENGES: Final = {"hex": _LETTERS, "letters": _LETTERS, "uuid": _LETTERS, "digits": re.compile("[0-9]{1,20}")}
_KINDS: Final = ("request", "confirm", "refusal", OPTIONS)
_CAPTURED: Final = frozenset({CHALLENGE, ENCRYPTED, HMAC, CONFIRM_URL, "key"})
_STANDARD: Final = {"type": "{event.type}", "timestamp": "{event.time}", "data": "{data}"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. `confirm_url` is where somebody still has to go."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    confirm_url: str | None = None


class Step:
    """A step of kind `request` or `confirm`. Raises: SettingError."""

    def __init__(
        self, reader: Reader, endpoint: Mapping[str, Any], around: Surroundings, sealing: Sealing | None
    ) -> None:
        self.type: Final = reader.text("type", "endpoint.verification")
        self.confirms: Final = reader.any("kind", "request") == "confirm"
        self.encrypted: Final = sealing is not None and reader.flag("encrypted", True)
        self._sealing: Final = sealing
        self.method: Final = str(_own(reader, "method", method_of(endpoint))).upper()
        self._challenge: Final = _CHALLENGES[reader.one_of("challenge", tuple(_CHALLENGES), "hex")]
        self.format: Final = format_of(_own(reader, "format", endpoint.get("format")))
        self._query: Final = _texts(reader.any("query", {}), reader.path("query"))
        self._headers: Final = _texts(reader.any("headers", {}), reader.path("headers"))
        self._beside: Final = _texts({} if self._headers else endpoint.get("headers", {}), "endpoint.headers")
        self.apart: Final = self.method != method_of(endpoint) or bool(self._query or self._headers)
        """Whether it is told by what stands outside the body."""
        pattern = compile_pattern(_body(self.format), reader.path("format.body"), reader.any("data", {}))
        if self.format["kind"] == "form":
            pattern = flattened(pattern, self.format.get("nesting", "brackets"))
        self._body: Final[Pattern] = pattern
        auth = endpoint.get("auth") if reader.flag("authenticated", True) else None
        same = not reader.has("signing") and auth == endpoint.get("auth")
        signing = reader.any("signing", None) if reader.has("signing") else endpoint.get("signing")
        self.signers: Final[list[Signer] | None] = (
            None if same else compile_signers(signing, auth, around, reader.path("signing"))
        )
        """None: as the endpoint's requests are verified."""
        named = reader.text("key", "")
        self.key: Final = named
        self._key_texts: Final[Sequence[str]] = around.texts(named, reader.path("key")) if named else ()
        self._expect: Final = _chosen(reader.object("expect") if reader.has("expect") else {}, reader.path("expect"))
        self._path: Final = reader.path("expect")
        self._check(reader)

    def _check(self, reader: Reader) -> None:
        names = names_of(self._body).union(*(text.names for _, text in (*self._query, *self._headers)))
        if "key" in names and not self._key_texts:
            raise SettingError("the texts name a {key}: say which it is", reader.path("key"))
        if ENCRYPTED in names and self._sealing is None:
            raise SettingError("there is no encryption to open {challenge.encrypted} with", reader.path("format"))
        if self.confirms and CONFIRM_URL not in names:
            raise SettingError("nothing of the request brings the {confirm_url}", reader.path("format"))
        known = [CHALLENGE, ENCRYPTED, HMAC] if names & {CHALLENGE, ENCRYPTED} else []
        values = dict.fromkeys((*known, *(["key"] if self._key_texts else [])), "0")
        for name, value in self._expect.items():
            if name in ("headers", "json", "text") and value is not None:
                fill(value, values, f"{self._path}.{name}")

    def fits(self, request: Request) -> list[tuple[str, str]] | None:
        """What is captured outside the body; None where this is another request."""
        if request.method != self.method:
            return None
        found: list[tuple[str, str]] = []
        for name, text in self._query:
            value = request.parameter(name)
            if value is None or not match(text, value, found, typed=False):
                return None
        for name, text in self._headers:
            value = request.header(name)
            if value is None or not match(text, unquote(value), found, typed=False):
                return None
        for name, text in self._beside:  # whose platform says nothing of them in a handshake
            if (value := request.header(name)) is not None:
                match(text, unquote(value), found, typed=False)
        if request.in_query and not match(self._body, dict(request.query), found, typed=False):
            return None
        return found

    @property
    def answers_encrypted(self) -> bool:
        return bool(self._expect.get("decrypt"))

    def fits_body(self, body: Body | None, found: list[tuple[str, str]], told: Mapping[str, str]) -> bool:
        """Whether the body is that of this step, too; `told` is what the signatures told. What could be any event is none."""
        typed = self.format["kind"] not in ("xml", "form")
        if self.method != "GET" and self._body != {}:
            try:
                value = None if body is None else body.value()
            except Unreadable:
                return False
            if not match(self._body, value, found, typed=typed):
                return False
        types = [value for name, value in [*found, *told.items()] if name == "event.type"]
        return all(value == self.type for value in types) and (bool(types) or self.apart or is_telling(self._body))

    def reply(
        self,
        found: list[tuple[str, str]],
        used: Mapping[str, str],
        answers: Answers | None,
        now: float,
        confirming: Reply,
    ) -> Reply:
        """The answer, once the request is verified; `used` is which keys fitted, `confirming` the answer to an event.

        Raises: NoMatchingSignatureError for a wrong key, DecryptionError, VerificationError for what is no challenge.
        """
        values = self._values(found, used)
        if self.confirms:
            return Reply(_status(self._expect, confirming.status), b"", {}, values.get(CONFIRM_URL))
        status = _status(self._expect, confirming.status if not self._expect else 200)
        headers = fill(self._expect.get("headers", {}), values, self._path)
        body, content_type = self._answer(values)
        if body is None:
            body, content_type = confirming.body if status != 204 else b"", confirming.headers.get("Content-Type", "")
        elif self._expect.get("decrypt"):
            if answers is None:
                raise SettingError("there is no encryption to answer with", f"{self._path}.decrypt")
            body, content_type = answers.sealed(body, now=now), answers.content_type
        return Reply(status, body, ({"Content-Type": content_type} if body else {}) | headers)

    def _answer(self, values: Mapping[str, str]) -> tuple[bytes | None, str]:
        told, text = self._expect.get("json") or {}, self._expect.get("text")
        if told:
            root: Any = {}
            for pointer, value in told.items():
                steps = pointer_of(pointer, self._path) if pointer else ()
                root = put(root, steps, fill(value, values, self._path))
            return json.dumps(root, ensure_ascii=False, separators=(",", ":")).encode(
                "utf-8", "replace"
            ), "application/json"
        if text is not None:
            return Text(text, self._path).fill(values.__getitem__).encode(
                "utf-8", "replace"
            ), "text/plain; charset=utf-8"
        return None, ""

    def _values(self, found: list[tuple[str, str]], used: Mapping[str, str]) -> dict[str, str]:
        values: dict[str, str] = {}
        for name, value in found:
            if name in _CAPTURED and name != "key" and values.setdefault(name, value) != value:
                raise NoMatchingSignatureError(f"the request tells two values of {{{name}}}")
        key = used.get(self.key, self._key_texts[0] if self._key_texts else "")
        for name, value in found:
            if name == "key":
                fits = [text for text in self._key_texts if hmac.compare_digest(_bytes(text), _bytes(value))]
                if not fits:
                    raise NoMatchingSignatureError(f"the {self.key} of the request is none that is given here")
                key = fits[0]
        if ENCRYPTED in values and self._sealing is not None:
            opened = self._sealing.text_opened(values[ENCRYPTED])
            if values.setdefault(CHALLENGE, opened) != opened:
                raise NoMatchingSignatureError("the request tells two challenges")
        values["key"] = key
        if CHALLENGE in values:
            if self._answers(CHALLENGE) and not self._challenge.fullmatch(values[CHALLENGE]):
                raise VerificationError("what the request asks to be answered does not look like a challenge")
            made = hmac.digest(_bytes(key), _bytes(values[CHALLENGE]), "sha256").hex()
            if not hmac.compare_digest(_bytes(values.setdefault(HMAC, made)), _bytes(made)):
                raise NoMatchingSignatureError("the HMAC of the challenge is of another key")
            if self._sealing is not None and ENCRYPTED not in values and self._answers(ENCRYPTED):
                values[ENCRYPTED] = self._sealing.text_sealed(values[CHALLENGE])
        return values

    def _answers(self, name: str) -> bool:
        """Whether what is answered holds this, or what is made of it."""
        return f"{{{name}" in json.dumps([self._expect.get(each) for each in ("headers", "json", "text")])


class OptionsStep:
    """The abuse protection of CloudEvents: consent, by headers. Raises: SettingError."""

    def __init__(self, reader: Reader) -> None:
        self._origin: Final = reader.text("origin")

    def reply(self, request: Request) -> Reply | None:
        """None where the request is another. Raises: VerificationError for somebody else's origin."""
        origin = request.header("webhook-request-origin")
        if request.method != "OPTIONS" or origin is None:
            return None
        if origin.lower() != self._origin.lower():
            raise VerificationError("the origin that asks for consent is not the one of this profile")
        rate = request.header("webhook-request-rate")
        asked = rate if rate is not None and rate.isascii() and rate.isdigit() and len(rate) < 10 else "*"
        return Reply(200, b"", {"Allow": "POST", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": asked})


def compile_steps(
    endpoint: Mapping[str, Any], around: Surroundings, sealing: Sealing | None
) -> tuple[list[Step], list[OptionsStep]]:
    """The steps that are answered: a `refusal` needs nothing of a target that verifies. Raises: SettingError."""
    handshake = endpoint.get("handshake")
    if handshake is None:
        return [], []
    steps = Reader(handshake, "endpoint.handshake").any("steps", ())
    if not isinstance(steps, list | tuple) or len(steps) > STEPS_MAX:
        raise SettingError(f"this is a list of at most {STEPS_MAX} steps", "endpoint.handshake.steps")
    requests: list[Step] = []
    options: list[OptionsStep] = []
    for index, each in enumerate(steps):
        reader = Reader(each, f"endpoint.handshake.steps[{index}]")
        match reader.one_of("kind", _KINDS):
            case "options":
                options.append(OptionsStep(reader))
            case "refusal":
                pass
            case _:
                requests.append(Step(reader, endpoint, around, sealing))
    return requests, options


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def method_of(endpoint: Mapping[str, Any]) -> str:
    """What its events come with."""
    return str(endpoint.get("method", "POST")).upper()


def format_of(value: Any) -> Mapping[str, Any]:
    """A format as an object; none is JSON. Raises: SettingError."""
    if value is None or isinstance(value, str):
        return {"kind": value or "json"}
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise SettingError("a format is a name, or an object with a kind", "endpoint.format")
    return value


def _own(reader: Reader, name: str, otherwise: Any) -> Any:
    return reader.any(name, None) if reader.has(name) else otherwise


def _body(format: Mapping[str, Any]) -> Any:
    """What the body is made of, whether it is described or not."""
    if format.get("body") is not None:
        return format["body"]
    if format["kind"] == "raw":
        return "{data}"
    if format.get("thin"):
        return {"id": "{event.id}", "type": "{event.type}"}
    if format["kind"] == "cloudevents":
        return "{data}" if format.get("mode") == "binary" else {"type": "{event.type}", "data": "{data}"}
    return _STANDARD


def _texts(value: Any, path: str) -> list[tuple[str, Text]]:
    if not isinstance(value, Mapping):
        raise SettingError("this is an object of texts", path)
    return [(name, Text(text, f"{path}.{name}")) for name, text in value.items()]


def _chosen(expect: Mapping[str, Any], path: str) -> dict[str, Any]:
    """What is answered where several answers are right: the first of `any`, with what is expected beside it."""
    chosen = {name: value for name, value in expect.items() if name != "any"}
    if not expect.get("any"):
        return chosen
    among = expect["any"]
    if not isinstance(among, list | tuple) or not isinstance(among[0], Mapping):
        raise SettingError("this is a list of tables", f"{path}.any")
    first = _chosen(among[0], f"{path}.any[0]")
    for name in ("headers", "json"):
        if name in first and name in chosen:
            chosen[name] = {**first[name], **chosen[name]}
    return first | chosen


def _status(expect: Mapping[str, Any], default: int) -> int:
    for status in expect.get("status", ()):
        if isinstance(status, int):
            return status
        if isinstance(status, str) and status[:1].isdigit():
            return int(status[0]) * 100
    return default
