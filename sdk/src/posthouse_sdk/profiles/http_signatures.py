"""HTTP Message Signatures (RFC 9421) with `Content-Digest` (RFC 9530), verified.

All components that the profile names have to be covered, and more may be. A signature counts under the profile's label, and
under `<label>-2`, `<label>-3`, … of older keys.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.errors import (
    MalformedHeaderError,
    MissingHeaderError,
    NoMatchingSignatureError,
    StaleTimestampError,
)
from posthouse_sdk.profiles.algorithms import HTTP, keyed
from posthouse_sdk.profiles.request import Request, Told, decoded
from posthouse_sdk.profiles.signers import KEY_ENCODINGS, Surroundings

SIGNATURE_INPUT: Final = "signature-input"
SIGNATURE: Final = "signature"
CONTENT_DIGEST: Final = "content-digest"
COMPONENTS: Final = ("@method", "@target-uri", "content-type", CONTENT_DIGEST)
FIELD_LENGTH_MAX: Final = 16 * 1024
SIGNATURES_MAX: Final = 32
COVERED_MAX: Final = 64

_DIGESTS: Final = {"sha-256": "sha256", "sha-512": "sha512"}
_QUOTED: Final = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
_MEMBER: Final = re.compile(rf"\s*([a-z*][a-z0-9_.*-]*)=((?:[^\",]|{_QUOTED})*)(?:,|\Z)")
_INPUT: Final = re.compile(rf"\(\s*((?:{_QUOTED}(?:;[a-z]+(?:=(?:{_QUOTED}|[^\s;\")]+))?)*\s*)*)\)((?:;.*)?)")
_COVERED: Final = re.compile(rf"({_QUOTED})((?:;[a-z]+(?:=(?:{_QUOTED}|[^\s;\")]+))?)*)\s*")
_PARAMETER: Final = re.compile(rf";\s*([a-z]+)=({_QUOTED}|-?[0-9]{{1,15}})")
_NAMED: Final = re.compile(r';name="([!#-\[\]-~]+)"')
_FORM_KEPT: Final = "*-._"


class Covered(NamedTuple):
    """One signature of a request: its components as they are written, its parameters, all of that, and itself."""

    components: tuple[tuple[str, str], ...]
    parameters: Mapping[str, str]
    text: str
    signature: bytes


class HttpSigner:
    """Raises: SettingError."""

    tells: Final = frozenset({"timestamp"})
    needs: Final[frozenset[str]] = frozenset()

    def __init__(self, reader: Reader, around: Surroundings) -> None:
        self._around: Final = around
        self._algorithm: Final = reader.one_of("algorithm", HTTP)
        self._label: Final = re.compile(re.escape(reader.text("label", "sig1")) + r"(?:-[0-9]{1,2})?")
        self._components: Final = frozenset(reader.texts("components") if reader.has("components") else COMPONENTS)
        self._digest: Final = reader.one_of("digest", tuple(_DIGESTS), "sha-256")
        self._key_ids: Final = frozenset(
            each for each in (reader.text("key_id", ""), *reader.texts("older_key_ids")) if each
        )
        self._expires: Final = reader.any("expires_seconds", None) is not None
        self._nonce: Final = reader.flag("nonce", False)
        self._tag: Final = reader.text("tag", "")
        reader.flag("alg", False)
        self._name: Final = reader.text("key")
        encoding = reader.one_of("key_encoding", KEY_ENCODINGS, None)
        texts = around.texts(self._name, reader.path("key"))
        self._keys: Final = [keyed(self._algorithm, text, encoding, reader.path("key")) for text in texts]
        reader.check_all_read()
        if not self._components:
            raise SettingError("nothing is covered: every signature would be the same", reader.path("components"))

    def verify(self, told: Told, used: dict[str, str]) -> None:
        request = told.request
        signatures = [each for each in _signatures(request, self._label) if self._is_expected(each)]
        if not signatures:
            raise NoMatchingSignatureError("no signature has the profile's label, key id and components")
        for each in signatures:
            content = _base(request, each)
            for key in self._keys:
                if key.check(content, each.signature):
                    self._check(told, each)
                    used[self._name] = key.text
                    return
        raise NoMatchingSignatureError("no HTTP message signature was made with a key given here")

    def _is_expected(self, each: Covered) -> bool:
        names = {name + more for name, more in each.components}
        parameters = each.parameters
        return (
            self._components <= names
            and parameters.get("alg", self._algorithm) == self._algorithm
            and (not self._key_ids or parameters.get("keyid") in self._key_ids)
            and (not self._tag or parameters.get("tag") == self._tag)
            and (not self._nonce or bool(parameters.get("nonce")))
        )

    def _check(self, told: Told, each: Covered) -> None:
        """What is signed holds: its times, and the digest of the body."""
        created, expires = each.parameters.get("created"), each.parameters.get("expires")
        if created is None:
            raise StaleTimestampError("the signature does not say when it was made")
        self._around.check_time(int(created))
        if (expires is None and self._expires) or (expires is not None and int(expires) <= self._around.clock()):
            raise StaleTimestampError("the signature has expired")
        if any(name == CONTENT_DIGEST for name, _ in each.components):
            _check_digest(told.request, self._digest)
        told.learn({"timestamp": created})


def _signatures(request: Request, label: re.Pattern[str]) -> list[Covered]:
    """Those under this label. Raises: MissingHeaderError, MalformedHeaderError."""
    inputs, signatures = (_members(request, name) for name in (SIGNATURE_INPUT, SIGNATURE))
    found: list[Covered] = []
    for name, text in inputs.items():
        if not label.fullmatch(name) or name not in signatures:
            continue
        parsed = _INPUT.fullmatch(text)
        raw = _bytes(signatures[name])
        if parsed is None or raw is None:
            raise MalformedHeaderError(SIGNATURE_INPUT, "is not as RFC 9421 has it")
        covered = tuple((_unquoted(each[1]), each[2]) for each in _COVERED.finditer(parsed[1]))
        parameters = {each[1]: _unquoted(each[2]) for each in _PARAMETER.finditer(parsed[2])}
        if len(covered) > COVERED_MAX or len(set(covered)) < len(covered):
            raise MalformedHeaderError(SIGNATURE_INPUT, "covers a component twice, or too many")
        found.append(Covered(covered, parameters, text.strip(), raw))
    return found


def _members(request: Request, name: str) -> dict[str, str]:
    """The members of a dictionary (RFC 9651, section 3.2), each as it is written."""
    value = request.header(name)
    if not value:
        raise MissingHeaderError(name)
    found: dict[str, str] = {}
    place = 0
    while place < len(value):
        member = _MEMBER.match(value, place) if len(value) <= FIELD_LENGTH_MAX else None
        if member is None or len(found) >= SIGNATURES_MAX:
            raise MalformedHeaderError(name, "is no dictionary of RFC 9651, or a long one")
        found[member[1]] = member[2].strip()
        place = member.end()
    return found


def _base(request: Request, each: Covered) -> bytes:
    """RFC 9421, section 2.5."""
    lines = [f'"{name}"{more}: {_value(request, name, more)}\n' for name, more in each.components]
    return f'{"".join(lines)}"@signature-params": {each.text}'.encode("utf-8", "surrogatepass")


def _value(request: Request, name: str, more: str) -> str:
    query = request.target.query
    if name == "@query-param":
        return _query_parameter(request, more)
    if more:
        raise NoMatchingSignatureError(f"the component {name[:64]} is covered in a way that is not known here")
    match name:
        case "@method":
            return request.method
        case "@target-uri":
            return request.target.url(query)
        case "@authority" | "host":
            return request.target.authority
        case "@scheme":
            return request.target.scheme
        case "@request-target":
            return request.target.request_path(query)
        case "@path":
            return request.target.path
        case "@query":
            return f"?{query}"
    value = request.header(name)
    if value is None and name == "content-length":
        return str(len(request.body))
    if value is None:
        raise MissingHeaderError(name)
    return value.strip(" \t")


def _query_parameter(request: Request, more: str) -> str:
    """RFC 9421, section 2.2.8."""
    named = _NAMED.fullmatch(more)
    found = [value for name, value in request.query if named and quote(name, safe=_FORM_KEPT) == named[1]]
    if len(found) != 1:
        raise NoMatchingSignatureError("a parameter that is covered is not in the query, or there twice")
    return quote(found[0], safe=_FORM_KEPT).replace("~", "%7E")


def _check_digest(request: Request, algorithm: str) -> None:
    told = _members(request, CONTENT_DIGEST).get(algorithm)
    raw = None if told is None else _bytes(told)
    made = hashlib.new(_DIGESTS[algorithm], request.body).digest()
    if raw is None or not hmac.compare_digest(raw, made):
        raise NoMatchingSignatureError(f"the body is not what the signed {CONTENT_DIGEST} says")


def _bytes(text: str) -> bytes | None:
    """A byte sequence: `:…:` (RFC 9651, section 3.3.5)."""
    framed = len(text) > 2 and text[0] == text[-1] == ":"
    return decoded(text[1:-1], "base64") if framed else None


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
