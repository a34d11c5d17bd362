"""Signatures of a profile, verified: what `endpoint.signing` says of how they are made, done backwards.

Several signers each have to hold. What they and the endpoint's `headers` and `query` tell of a request (a timestamp, a nonce,
an id) is read back from where it was put; the times among it are checked for their age.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.errors import (
    MissingHeaderError,
    NoMatchingSignatureError,
    SecretError,
    StaleTimestampError,
)
from posthouse_sdk.profiles.algorithms import CUSTOM, DIGESTS, HMACS, Keyed, keyed, keyed_with
from posthouse_sdk.profiles.documents import Unreadable, check_single
from posthouse_sdk.profiles.moments import Moments
from posthouse_sdk.profiles.places import FIELD, QUERY, Placed
from posthouse_sdk.profiles.request import Told, Turn, decoded, encoded, is_computed
from posthouse_sdk.profiles.texts import Text
from posthouse_sdk.webhook import TOLERANCE_SECONDS, Webhook, check_age

SIGNATURES_MAX: Final = 32
SIGNED_LENGTH_MAX: Final = 8 * 1024
TIMES: Final = ("timestamp", "timestamp_ms", "time")
OWN_SECRET: Final = "secret"  # noqa: S105 - a name

KEY_ENCODINGS: Final = ("literal", "base64", "hex", "pem", "jwk", None)
_FORMS: Final = {
    "hex": "[0-9a-f]+", "HEX": "[0-9A-F]+", "base64": r"[A-Za-z0-9+/]+={0,2}", "base64url": r"[A-Za-z0-9_\-]+",
}  # fmt: skip
_OLDER: Final = "signatures of older keys"
_UNTOLD: Final = (
    "no signature was made with a key given here: either a key is not the sender's, or the request is not what was sent"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What signers are verified with: the keys by name, the clock, and the templates beside them that tell something."""

    keys: Mapping[str, Sequence[str]]
    tolerance: float = TOLERANCE_SECONDS
    clock: Callable[[], float] = time.time
    telling: Sequence[Placed] = ()
    body_kind: str = "json"
    about: Mapping[str, str] = field(default_factory=dict)
    moments: Moments = field(default_factory=lambda: Moments(None))
    passed_over: Sequence[str] = ()

    def texts(self, name: str, path: str) -> Sequence[str]:
        """The texts of a key. Raises: SettingError where there is none."""
        texts = self.keys.get(name, ())
        if not texts:
            about = f": {self.about[name]}" if self.about.get(name) else ""
            raise SettingError(f"this takes the key {name}, which is not given{about}", path)
        return texts

    def check_time(self, unix_seconds: float) -> None:
        """Raises: StaleTimestampError, FutureTimestampError."""
        check_age(unix_seconds, now=self.clock(), tolerance=self.tolerance)


class Signer(Protocol):
    """One signer of a profile. `tells` are the names that it tells of a request, `needs` those that it has to be told."""

    @property
    def tells(self) -> frozenset[str]: ...

    @property
    def needs(self) -> frozenset[str]: ...

    def verify(self, told: Told, used: dict[str, str]) -> None:
        """`used` is told the text of the key that fitted. Raises: VerificationError."""
        ...


class StandardSigner:
    """Standard Webhooks, under any prefix. Raises: SettingError."""

    tells: Final = frozenset({"message.id", "timestamp"})
    needs: Final[frozenset[str]] = frozenset()

    def __init__(self, reader: Reader, around: Surroundings) -> None:
        name, prefix = reader.text("key", OWN_SECRET), reader.text("prefix", "webhook-")
        self._names: Final = {part: prefix + part for part in ("id", "timestamp", "signature")}
        try:
            self._webhook: Final = Webhook(
                around.texts(name, reader.path("key")), tolerance=around.tolerance, clock=around.clock
            )
        except SecretError as error:
            raise SettingError(str(error), f"keys.{name}") from None

    def verify(self, told: Told, used: dict[str, str]) -> None:
        headers = {part: told.request.header(name) for part, name in self._names.items()}
        for part, value in headers.items():
            if not value:
                raise MissingHeaderError(self._names[part])
        known = {f"webhook-{part}": value for part, value in headers.items() if value}
        self._webhook.check(told.request.body, known)
        told.learn({"message.id": known["webhook-id"], "timestamp": known["webhook-timestamp"]})


class CustomSigner:
    """The general one. Raises: SettingError."""

    def __init__(self, reader: Reader, around: Surroundings) -> None:
        self._around: Final = around
        algorithm = reader.one_of("algorithm", CUSTOM)
        self._encoding: Final = reader.one_of("encoding", tuple(_FORMS), "hex")
        forms = {"signature": _FORMS[self._encoding]}
        self._key_id: Final = reader.text("key_id", "")
        self._charset: Final = reader.one_of("charset", ("utf-8", "gbk", "gb18030"), "utf-8")
        self._parts: Final = [
            Text(text, f"{reader.path('parts')}[{index}]") for index, text in enumerate(reader.texts("parts"))
        ]
        mac_key = reader.text("mac_key", "")
        self._mac_key: Final = Text(mac_key, reader.path("mac_key")) if mac_key else None
        self._separator: Final = reader.text("separator", "").encode(self._charset)
        self._sorted: Final = reader.one_of("order", ("fixed", "sorted"), "fixed") == "sorted"
        self._signature: Final = Placed(reader.object_reader("signature"), "{signature}", forms)
        if "signature" not in self._signature.text.names:
            raise SettingError("the value lacks the {signature}", reader.path("signature.value"))
        self._also: Final = [
            Placed(Reader(each, f"{reader.path('also')}[{index}]")) for index, each in enumerate(reader.any("also", ()))
        ]
        repeat = reader.text("repeat", "")
        self._repeat: Final = Text(repeat, reader.path("repeat"), forms) if repeat else None
        if self._repeat is not None and "signature" not in self._repeat.names:
            raise SettingError("what is repeated lacks the {signature}", reader.path("repeat"))
        self._passed_over: Final = [Text(each, "receive.passed_over", forms) for each in around.passed_over]
        self._pairs: Final = _pairs(reader, self._signature)
        name = reader.text("key")
        encoding = reader.one_of("key_encoding", KEY_ENCODINGS, None)
        texts = around.texts(name, reader.path("key"))
        self._keys: Final = [keyed(algorithm, text, encoding, reader.path("key")) for text in texts]
        reader.check_all_read()
        self._name: Final = name
        self._part_names: Final[frozenset[str]] = frozenset().union(*(part.names for part in self._parts))
        self._names: Final = self._part_names.union(self._mac_key.names if self._mac_key is not None else ())
        self._algorithm: Final = algorithm
        self._check(reader, algorithm)
        told = frozenset().union(self._signature.text.names, *(placed.text.names for placed in self._also))
        self.tells: Final = frozenset(name for name in told if not is_computed(name))
        self.needs: Final = frozenset(name for name in self._names if not is_computed(name))

    def _check(self, reader: Reader, algorithm: str) -> None:
        path = reader.path("parts")
        if not self._names - {"key"}:
            raise SettingError("nothing of the message is among the parts: every signature would be the same", path)
        if self._mac_key is not None and (algorithm not in HMACS or "key" not in self._mac_key.names):
            raise SettingError("this makes the key of an HMAC, of the {key} above all", reader.path("mac_key"))
        if algorithm in DIGESTS and "key" not in self._part_names:
            raise SettingError(f"{algorithm} has no key of its own: {{key}} must be among the parts", path)
        if "key" in self._names and self._keys[0].secret is None:
            raise SettingError("a key pair is never among the parts", path)
        if ("pairs" in self._names) != (self._pairs is not None):
            raise SettingError("{pairs} stands among the parts, and pairs says which these are", path)
        in_body = self._signature.place == FIELD and any(
            name in ("body", "plain") or name.startswith(("body.", "plain.")) for name in self._names
        )
        if in_body and (self._signature.name.startswith("/") or self._around.body_kind not in ("json", "form", "raw")):
            raise SettingError("a body that holds its own signature can be told as JSON or form alone, by field", path)

    def verify(self, told: Told, used: dict[str, str]) -> None:
        signatures = self._read(told)
        place, name = self._signature.place, self._signature.name
        turn = Turn(
            told, self._key_id, field=name if place == FIELD else None, parameter=name if place == QUERY else None
        )
        if self._pairs is not None:
            turn.written_pairs = self._pairs.written(turn)
        for key in self._keys:
            turn.secret = key.secret
            content = self.content(turn.value)
            check = key.check if self._mac_key is None else self._made_key(turn.value).check
            if any(check(content, signature) for signature in signatures):
                used[self._name] = key.text
                return
        raise NoMatchingSignatureError(_UNTOLD)

    def _made_key(self, value: Callable[[str], str | bytes]) -> Keyed:
        """The key of an HMAC that is made for this request. Raises: NoMatchingSignatureError."""
        assert self._mac_key is not None
        try:
            return keyed_with(self._algorithm, self._mac_key.signed(value, self._charset))
        except UnicodeEncodeError:
            raise NoMatchingSignatureError(f"the key holds a character that {self._charset} cannot write") from None

    def content(self, value: Callable[[str], str | bytes]) -> bytes:
        """What is signed. Raises: NoMatchingSignatureError for what the charset cannot write."""
        try:
            parts = [part.signed(value, self._charset) for part in self._parts]
        except UnicodeEncodeError:
            raise NoMatchingSignatureError(
                f"what is signed holds a character that {self._charset} cannot write"
            ) from None
        if self._sorted:
            parts.sort()
        return self._separator.join(parts)

    def _read(self, told: Told) -> list[bytes]:
        """The signatures; what goes along with them is learned. Raises: VerificationError."""
        for placed in self._also:
            told.learn(_told(placed.read(told)))
        texts, found = self._signatures(self._signature.value(told))
        told.learn(_told(found))
        for placed in self._around.telling:
            if any(name in self._names and name not in told.values for name in placed.text.names):
                told.learn(_told(placed.read(told)))
        for name in TIMES:
            if name in told.values:
                moment = self._around.moments.read(told.values[name])
                if moment is None:
                    raise StaleTimestampError("when it was signed cannot be read")
                self._around.check_time(moment.timestamp())
        signatures = [raw for text in texts if (raw := decoded(text, self._encoding)) is not None]
        if not signatures:
            raise self._signature.malformed(f"holds no signature as {self._encoding}")
        return signatures

    def _signatures(self, value: str) -> tuple[list[str], dict[str, str]]:
        """The texts of the signatures, and what else stands there. Raises: MalformedHeaderError."""
        found = self._signature.text.match(value) if self._repeat is None else self._repeated(value)
        if found is None:
            raise self._signature.malformed(f"is not {self._signature.text.text[:100]!r}, as the profile has it")
        return [found.pop("signature"), *found.pop(_OLDER, "").split()], found

    def _repeated(self, value: str) -> dict[str, str] | None:
        """As `Text.match`, with the signatures of older keys after the first."""
        assert self._repeat is not None
        text, form = self._signature.text, {"signature": _FORMS[self._encoding]}
        once = self._repeat.pattern(form, groups=False)
        whole = f"{text.pattern(form, groups=True)}(?P<older>(?:{once}){{0,{SIGNATURES_MAX}}})"
        if len(value) > SIGNED_LENGTH_MAX:
            return None
        for other in self._passed_over:
            value = re.sub(other.pattern(form, groups=False), "", value)
        if (match := re.fullmatch(whole, value)) is None:
            return None
        found = {name: match[f"g{index}"] for index, name in enumerate(text.names)}
        again, group = self._repeat.pattern(form, groups=True), f"g{self._repeat.names.index('signature')}"
        return found | {_OLDER: " ".join([older[group] for older in re.finditer(again, match["older"])])}

    def sign(self, value: Callable[[str], str | bytes]) -> str:
        """A signature of the receiver's own, with its newest key. Raises: SettingError of a key pair."""
        key = self._keys[0]

        def told(name: str) -> str | bytes:
            return (key.secret or b"") if name == "key" else value(name)

        make = key.make if self._mac_key is None else self._made_key(told).make
        if make is None:
            raise SettingError("an answer is signed with a key that both sides have", "receive.sealed")
        return encoded(make(self.content(told)), self._encoding)


class _Pairs:
    """`{pairs}`: names and values, sorted, without the signature."""

    def __init__(self, reader: Reader, signature: Placed) -> None:
        self._of_body: Final = reader.one_of("of", ("body", "query"), "body") == "body"
        self._excluded: Final = set(reader.texts("exclude"))
        if signature.place == (FIELD if self._of_body else QUERY):
            self._excluded.add(signature.name)
        self._blank: Final = reader.flag("blank", False)
        self._pair: Final = Text(reader.text("pair", "{name}={value}"), reader.path("pair"))
        self._separator: Final = reader.text("separator", "&")
        reader.check_all_read()

    def written(self, turn: Turn) -> str:
        try:
            pairs = turn.told.pairs() if self._of_body else turn.told.request.query
            counted = sorted((name, value) for name, value in pairs if name not in self._excluded)
            check_single(counted)
        except Unreadable as error:
            raise NoMatchingSignatureError(f"the signature is about fields of the request, and {error}") from None
        return self._separator.join(
            [
                self._pair.fill({"name": name, "value": value}.__getitem__)
                for name, value in counted
                if value or self._blank
            ]
        )


def _pairs(reader: Reader, signature: Placed) -> _Pairs | None:
    return _Pairs(reader.object_reader("pairs"), signature) if reader.any("pairs", None) is not None else None


def _told(found: Mapping[str, str]) -> dict[str, str]:
    """Without what is made of the request: that is made anew."""
    return {name: value for name, value in found.items() if not is_computed(name)}


def compile_signers(value: Any, auth: Any, around: Surroundings, path: str) -> list[Signer]:
    """The signers that a configuration asks for, and what `auth` has a request show; no signing is Standard Webhooks.

    Raises: SettingError.
    """
    configurations = [{"kind": "standard"}] if value is None else value
    if not isinstance(configurations, list | tuple):
        raise SettingError("this is a list of tables", path)
    signers = [_signer(Reader(each, f"{path}[{index}]"), around) for index, each in enumerate(configurations)]
    if auth is not None:
        from posthouse_sdk.profiles.credentials import Credentials

        signers.append(Credentials(Reader(auth, "endpoint.auth"), around))
    told = frozenset().union(*(signer.tells for signer in signers), *(placed.text.names for placed in around.telling))
    for index, signer in enumerate(signers):
        for name in sorted(signer.needs - told):
            raise SettingError(
                f"the signature is about {{{name}}}, which no header and no parameter tells: send it along, or sign a field",
                f"{path}[{index}].parts",
            )
    return signers


def _signer(reader: Reader, around: Surroundings) -> Signer:
    match reader.one_of("kind", ("standard", "custom", "jwt", "http")):
        case "standard":
            return StandardSigner(reader, around)
        case "custom":
            return CustomSigner(reader, around)
        case "jwt":
            from posthouse_sdk.profiles.tokens import JwtSigner

            return JwtSigner(reader, around)
        case _:
            from posthouse_sdk.profiles.http_signatures import HttpSigner

            return HttpSigner(reader, around)


def verify(signers: Sequence[Signer], told: Told) -> dict[str, str]:
    """Each of them. What is answered is which key fitted, by its name. Raises: VerificationError."""
    used: dict[str, str] = {}
    for signer in signers:
        signer.verify(told, used)
    return used
