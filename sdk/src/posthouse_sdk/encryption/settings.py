"""An endpoint's `encryption`, read and judged: what can be told to be wrong without any key is told here.

The server judges what an operator writes with it, and a receiver is given the same JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.pointers import Pointer, pointers_of
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.encryption.shapes import Body, body_of
from posthouse_sdk.encryption.templates import (
    ASSOCIATED_DATA,
    CIPHERTEXT,
    IV,
    KEY_ID,
    SEALED,
    TAG,
    WRAPPED_KEY,
    Template,
    shown,
)

GCM: Final = "gcm"
CBC: Final = "cbc"
BLOCK_BYTES: Final = 16
OWNER_LENGTH_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Cipher:
    name: str
    algorithm: str  # "aes" | "sm4"
    key_bytes: int
    mode: str

    @property
    def authenticated(self) -> bool:
        return self.mode == GCM

    @property
    def iv_bytes(self) -> int:
        return 12 if self.mode == GCM else BLOCK_BYTES


_CIPHERS: Final = (
    Cipher("aes-256-gcm", "aes", 32, GCM),
    Cipher("aes-128-gcm", "aes", 16, GCM),
    Cipher("aes-256-cbc", "aes", 32, CBC),
    Cipher("aes-128-cbc", "aes", 16, CBC),
    Cipher("sm4-gcm", "sm4", 16, GCM),
    Cipher("sm4-cbc", "sm4", 16, CBC),
)
CIPHERS: Final = {cipher.name: cipher for cipher in _CIPHERS}
SECRET_ENCODINGS: Final = ("literal", "base64", "hex")
PUBLIC_ENCODINGS: Final = ("pem", "jwk")
DERIVATIONS: Final = ("none", "sha256", "md5")
IV_PLACES: Final = ("prefix", "key", "beside")
OUTPUTS: Final = ("base64", "base64url", "hex", "raw")
IV_ENCODINGS: Final = ("text", "base64", "base64url", "hex")
PADDINGS: Final = (16, 32)
WRAPPINGS: Final = ("RSA-OAEP-256", "ECDH-HKDF-SHA256-A256KW")
JWE_ALGORITHMS: Final = ("dir", "A256KW", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW")
JWE_DIRECT: Final = ("dir", "ECDH-ES")
JWE_SECRET: Final = ("dir", "A256KW")
JWE_CONTENT_ALGORITHMS: Final = ("A256GCM",)
SERIALIZATIONS: Final = ("compact", "flattened", "general")
KEY_IDS: Final = ("none", "own", "thumbprint", "sha256", "serial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What all kinds have. With `fields`, `body` is what stands in the place of each of them."""

    key: str
    key_encoding: str
    body: Body
    fields: tuple[Pointer, ...]
    headers: tuple[tuple[str, Template], ...]
    query: tuple[tuple[str, Template], ...]

    def names(self) -> frozenset[str]:
        """All variables that are named somewhere."""
        places = (*self.body.leaves(), *self.headers, *self.query)
        return frozenset(name for _, template in places for name in template.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """How a text is sealed under a key of the right size."""

    cipher: Cipher
    iv: str
    iv_encoding: str
    padding: int
    owner: str | None  # there is a frame where this is not None
    associated_data: Template
    output: str
    tag_apart: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope(Common):
    sealing: Sealing
    derive: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid(Common):
    sealing: Sealing
    algorithm: str
    key_id: str

    @property
    def wrapped_encoding(self) -> str:
        """How `{wrapped_key}` is written: as the ciphertext, where that is a text."""
        return "base64" if self.sealing.output == "raw" else self.sealing.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwe(Common):
    algorithm: str
    content_algorithm: str
    serialization: str
    key_id: str | None


Settings = Envelope | Hybrid | Jwe


def settings_of(configuration: Mapping[str, Any]) -> Settings:
    """The settings that an endpoint's `encryption` (a JSON object) stands for.

    Raises: SettingError, whose path is relative to the object.
    """
    reader = Reader(configuration)
    kind = reader.one_of("kind", ("jwe", "envelope", "hybrid"))
    settings: Settings
    match kind:
        case "envelope":
            settings = _envelope(reader)
        case "hybrid":
            settings = _hybrid(reader)
        case _:
            settings = _jwe(reader)
    reader.check_all_read()
    _check_variables(settings)
    return settings


def _envelope(reader: Reader) -> Envelope:
    sealing = _sealing(reader, "prefix")
    beside: dict[str, str] = {IV: "{iv}"} if sealing.iv == "beside" else {}
    whole = beside | {"encrypt": "{ciphertext}"}
    common = _common(reader, SECRET_ENCODINGS, _json(whole), _json(whole if beside else "{ciphertext}"))
    return Envelope(**common, sealing=_told(sealing, common), derive=reader.one_of("derive", DERIVATIONS, "none"))


def _hybrid(reader: Reader) -> Hybrid:
    sealing = _sealing(reader, "beside")
    if sealing.iv == "key":
        raise SettingError("a fresh key is no initialisation vector: prefix or beside", "iv")
    algorithm = reader.one_of("algorithm", WRAPPINGS, WRAPPINGS[0])
    key_id = reader.one_of("key_id", KEY_IDS, "sha256")
    body = _json(
        {"algorithm": algorithm}
        | ({} if key_id == "none" else {KEY_ID: "{key_id}"})
        | {WRAPPED_KEY: "{wrapped_key}"}
        | ({IV: "{iv}"} if sealing.iv == "beside" else {})
        | {CIPHERTEXT: "{ciphertext}"}
    )
    common = _common(reader, PUBLIC_ENCODINGS, body, body)
    return Hybrid(**common, sealing=_told(sealing, common), algorithm=algorithm, key_id=key_id)


def _jwe(reader: Reader) -> Jwe:
    algorithm = reader.one_of("algorithm", JWE_ALGORITHMS)
    serialization = reader.one_of("serialization", SERIALIZATIONS, SERIALIZATIONS[0])
    if serialization == "general" and algorithm in JWE_DIRECT:
        raise SettingError(f"{algorithm} has one recipient: compact or flattened", "serialization")
    key_id = reader.one_of("key_id", KEY_IDS, None)
    if algorithm in JWE_SECRET and key_id not in (None, "none", "own"):
        raise SettingError("a shared secret tells nothing of itself: none, or own for a JWK with a kid", "key_id")
    encodings = ("jwk", *SECRET_ENCODINGS) if algorithm in JWE_SECRET else PUBLIC_ENCODINGS
    content_type = "application/jose" if serialization == "compact" else "application/jose+json"
    whole = {"kind": "text", "content_type": content_type}
    common = _common(reader, encodings, whole, _json("{ciphertext}"))
    if serialization != "compact" and (reader.has("body") or reader.has("fields")):
        raise SettingError(
            "JSON serialisations are the whole body: compact goes into a body or fields", "serialization"
        )
    return Jwe(
        **common,
        algorithm=algorithm,
        content_algorithm=reader.one_of("content_algorithm", JWE_CONTENT_ALGORITHMS, JWE_CONTENT_ALGORITHMS[0]),
        serialization=serialization,
        key_id=key_id,
    )


def _json(template: Any) -> dict[str, Any]:
    return {"kind": "json", "template": template}


def _common(
    reader: Reader, encodings: tuple[str, ...], whole: Mapping[str, Any], field: Mapping[str, Any]
) -> dict[str, Any]:
    """`whole` and `field` are the bodies where none is given."""
    fields = pointers_of(reader.texts("fields"), "fields")
    body = field if fields else whole
    read = body_of(reader.object("body") if reader.has("body") else body, "body")
    if fields and read.kind != "json":
        raise SettingError("what stands in the place of a field is JSON: a body of kind json", "body.kind")
    return {
        "key": reader.text("key"),
        "key_encoding": reader.one_of("key_encoding", encodings, encodings[0]),
        "body": read,
        "fields": fields,
        "headers": reader.templates("headers"),
        "query": reader.templates("query"),
    }


def _sealing(reader: Reader, iv: str) -> Sealing:
    cipher = CIPHERS[reader.one_of("cipher", tuple(CIPHERS), "aes-256-gcm")]
    output = reader.one_of("output", OUTPUTS, OUTPUTS[0])
    place = reader.one_of("iv", IV_PLACES, iv)
    if cipher.authenticated and place == "key":
        raise SettingError("GCM breaks where a key sees the same nonce twice: prefix or beside", "iv")
    if place != "beside" and reader.has("iv_encoding"):
        raise SettingError(
            "only an initialisation vector that stands beside the ciphertext has an encoding", "iv_encoding"
        )
    if cipher.authenticated and reader.has("padding"):
        raise SettingError("GCM has no padding: only CBC ciphers do", "padding")
    if not cipher.authenticated and reader.has("associated_data"):
        raise SettingError("CBC authenticates nothing: associated data need a GCM cipher", "associated_data")
    return Sealing(
        cipher=cipher,
        iv=place,
        iv_encoding=reader.one_of("iv_encoding", IV_ENCODINGS, "base64" if output == "raw" else output),
        padding=reader.one_of("padding", PADDINGS, BLOCK_BYTES),
        owner=_owner(reader),
        associated_data=Template(reader.text("associated_data", ""), "associated_data"),
        output=output,
        tag_apart=False,
    )


def _owner(reader: Reader) -> str | None:
    if not reader.has("frame"):
        return None
    frame = reader.object_reader("frame")
    owner = frame.text("owner")
    frame.check_all_read()
    if len(owner) > OWNER_LENGTH_MAX:
        raise SettingError(f"an owner has at most {OWNER_LENGTH_MAX} characters", "frame.owner")
    return owner


def _told(sealing: Sealing, common: Mapping[str, Any]) -> Sealing:
    """The same, with the tag apart where a template names it."""
    places = (*common["body"].leaves(), *common["headers"])
    apart = any(TAG in template.names for _, template in places)
    return replace(sealing, tag_apart=apart)


def _check_variables(settings: Settings) -> None:
    """Whether all that a receiver needs is told, once, and nothing that there is not."""
    seen: dict[str, str] = {}
    for where, place in (("body", settings.body.leaves()), ("headers", settings.headers), ("query", settings.query)):
        for name, template in place:
            path = name if where == "body" else f"{where}.{name}"
            template.check_readable(path)
            for variable in template.names:
                if variable not in SEALED:
                    continue
                if where != "body" and (variable == CIPHERTEXT or (settings.fields and variable in (IV, TAG))):
                    raise SettingError(f"{shown(variable)} stands in the body", path)
                if where == "query" and variable != KEY_ID:
                    raise SettingError(f"receivers look for {shown(variable)} in the body and the headers only", path)
                if variable in seen:
                    raise SettingError(f"{shown(variable)} stands in {seen[variable]} already", path)
                seen[variable] = path
    _check_told(settings, seen)


def _check_told(settings: Settings, seen: Mapping[str, str]) -> None:
    sealing = None if isinstance(settings, Jwe) else settings.sealing
    owed = {CIPHERTEXT}
    possible = {CIPHERTEXT, "content_type"}
    if sealing is not None:
        if sealing.iv == "beside":
            owed.add(IV)
        if sealing.cipher.authenticated:
            possible.add(TAG)
            possible.add(ASSOCIATED_DATA)
        if sealing.associated_data.names:
            owed.add(ASSOCIATED_DATA)
        if SEALED.intersection(sealing.associated_data.names) - {"content_type"}:
            raise SettingError("associated data are there before anything is sealed", "associated_data")
    if isinstance(settings, Hybrid):
        owed.add(WRAPPED_KEY)
        if settings.key_id != "none":
            possible.add(KEY_ID)
    for variable in sorted(owed - seen.keys()):
        raise SettingError(f"{shown(variable)} stands nowhere, and a receiver needs it", "body")
    for variable in sorted(seen.keys() - owed - possible):
        raise SettingError(f"there is no {shown(variable)} here", seen[variable])
    _check_raw(settings)
    if isinstance(settings, Jwe):
        for path, template in settings.body.leaves():
            if CIPHERTEXT in template.names and len(template.names) > 1:
                raise SettingError("a JWE stands alone: no other variable with it", path)


def _check_raw(settings: Settings) -> None:
    if isinstance(settings, Jwe) or settings.sealing.output != "raw":
        return
    body = settings.body
    if body.kind != "text" or body.leaves()[0][1].text != "{ciphertext}":
        raise SettingError("raw bytes are the whole body: of kind text, with the ciphertext alone", "output")
