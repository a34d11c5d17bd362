"""HTTP Message Signatures (RFC 9421) with `Content-Digest` (RFC 9530).

    {"kind": "http", "algorithm": "ed25519", "key": "http", "key_id": "2026",
     "components": ["@method", "@target-uri", "content-type", "content-digest"], "expires_seconds": 300}

Covered are derived components of a request (section 2.2) and header fields, each as a whole (section 2.1; no `sf`, `key`,
`bs`, `tr` or `req`). These signers come last: they may cover what the others added. Several sign the same request under
several labels; so do older keys during a rotation, as `<label>-2`, `<label>-3`, …, where their ids are known.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import NAME_LENGTH_MAX, SIGNED_PARTS_MAX, TEXT_LENGTH_MAX
from posthouse.domain.signing import DigestAlgorithm
from posthouse.domain.signing import HttpSigner as Configuration
from posthouse.wire.documents import Gzipped
from posthouse.wire.message import Message, Unsendable
from posthouse.wire.query import parameters, request_path, request_url
from posthouse.wire.signing.algorithms import Sign, http_sign
from posthouse.wire.signing.keys import Keys
from posthouse.wire.signing.places import add_header

CONTENT_DIGEST: Final = "content-digest"
SIGNATURE_INPUT: Final = "Signature-Input"
SIGNATURE: Final = "Signature"
EXPIRES_SECONDS_MAX: Final = 366 * 86_400

_LABEL: Final = re.compile(r"[a-z*][a-z0-9_.*-]{0,63}")  # RFC 9651, section 3.2: key
_FIELD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_PARAMETER: Final = re.compile(r'@query-param;name="([!#-\[\]-~]+)"')
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_DIGESTS: Final = {DigestAlgorithm.SHA_256: hashlib.sha256, DigestAlgorithm.SHA_512: hashlib.sha512}
_BODILESS: Final = "GET"  # such a request says nothing of a body
_FORM_KEPT: Final = "*-._"
_ABSENT: Final = {
    "set-cookie": "requests have none",
    "signature": "a signature does not cover itself",
    "signature-input": "it is covered as it is",
}

Component = Callable[[Message, bytes], str]

_DERIVED: Final[dict[str, Component]] = {
    "@method": lambda message, body: message.method,
    "@target-uri": lambda message, body: request_url(message),
    "@authority": lambda message, body: message.target.authority,
    "@scheme": lambda message, body: message.target.scheme,
    "@request-target": lambda message, body: request_path(message),
    "@path": lambda message, body: request_path(message).partition("?")[0],
    "@query": lambda message, body: "?" + request_path(message).partition("?")[2],
}
_FRAMED: Final[dict[str, Component]] = {
    "content-type": lambda message, body: _content_type(message),
    "content-length": lambda message, body: _content_length(message, body),
    "content-encoding": lambda message, body: _content_encoding(message),
    "host": lambda message, body: message.target.authority,
}


class _Key(msgspec.Struct, frozen=True, kw_only=True):
    """A live key with what its signatures say of it."""

    label: str
    keyid: str
    sign: Sign


class HttpSigner:
    """Adds `Signature-Input` and `Signature`, or members to them. Raises: Invalid, whose path begins with `path`."""

    __slots__ = ("_components", "_config", "_covered", "_digest", "_end", "_finish", "_keys")

    def __init__(self, config: Configuration, keys: Keys, *, path: str) -> None:
        self._config: Final = config
        if not _LABEL.fullmatch(config.label):
            raise Invalid("a label is 1 to 64 of a-z, 0-9 and _-.*, the first a letter or *", path=f"{path}.label")
        if config.expires_seconds is not None and not 0 < config.expires_seconds <= EXPIRES_SECONDS_MAX:
            raise Invalid(f"it expires in 1 to {EXPIRES_SECONDS_MAX} seconds", path=f"{path}.expires_seconds")
        self._components: Final = _components(config, path)
        self._covered: Final = f"({' '.join([name for name, _ in self._components])})"
        self._digest: Final = CONTENT_DIGEST in config.components
        self._end: Final = _end(config, path)
        self._finish: Final = keys.finish
        texts = keys.live(config.key, config.key_encoding, f"{path}.key")
        ids = (config.key_id, *config.older_key_ids)
        self._keys: Final = tuple(
            _Key(
                label=config.label if i == 0 else f"{config.label}-{i + 1}",
                keyid=f";keyid={_quoted(key_id)}" if key_id else "",
                sign=http_sign(config.algorithm, text),
            )
            for i, (text, key_id) in enumerate(zip(texts, ids, strict=False))
        )

    def apply(self, message: Message) -> None:
        body = message.document.encoded()
        if self._digest:
            _add_digest(message, self._config.digest, body)
        base = "".join([f"{name}: {_value(name, of, message, body)}\n" for name, of in self._components])
        for key in self._keys:
            parameters = self._covered + self._parameters(message, key)
            content = f'{base}"@signature-params": {parameters}'.encode("ascii")
            _add_member(message, SIGNATURE_INPUT, key.label, parameters)
            signature = base64.b64encode(self._finish(key.sign(content))).decode("ascii")
            _add_member(message, SIGNATURE, key.label, f":{signature}:")

    def _parameters(self, message: Message, key: _Key) -> str:
        created = int(message.now)
        text = f";created={created}"
        if self._config.expires_seconds is not None:
            text += f";expires={created + self._config.expires_seconds}"
        text += key.keyid
        if self._config.nonce:
            if not _VISIBLE.fullmatch(message.nonce):
                raise Unsendable("the nonce has a character that a signature parameter cannot hold")
            text += f";nonce={_quoted(message.nonce)}"
        return text + self._end


def content_digest(algorithm: DigestAlgorithm, body: bytes) -> str:
    """The value of `Content-Digest`: `sha-256=:…:`."""
    return f"{algorithm}=:{base64.b64encode(_DIGESTS[algorithm](body).digest()).decode('ascii')}:"


def _add_digest(message: Message, algorithm: DigestAlgorithm, body: bytes) -> None:
    value = content_digest(algorithm, body)
    # Several signers may cover it: one header serves all that want the same.
    if not any(name.lower() == CONTENT_DIGEST and other == value for name, other in message.headers):
        add_header(message, "Content-Digest", value)


def _add_member(message: Message, name: str, label: str, value: str) -> None:
    member = f"{label}={value}"
    for i, (other, members) in enumerate(message.headers):
        if other == name:
            message.headers[i] = (name, f"{members}, {member}")
            return
    add_header(message, name, member)


def _components(config: Configuration, path: str) -> tuple[tuple[str, Component], ...]:
    where = f"{path}.components"
    if len(config.components) > SIGNED_PARTS_MAX:
        raise Invalid(f"there are more than {SIGNED_PARTS_MAX} components", path=where)
    if len(set(config.components)) < len(config.components):
        raise Invalid("a component is there twice", path=where)
    return tuple(_component(name, f"{where}[{i}]") for i, name in enumerate(config.components))


def _component(name: str, path: str) -> tuple[str, Component]:
    """The identifier as it is written into the signature base, and what finds the value."""
    if len(name) > NAME_LENGTH_MAX:
        raise Invalid(f"a component has at most {NAME_LENGTH_MAX} characters", path=path)
    if found := _PARAMETER.fullmatch(name):
        parameter = found[1]
        return f'"@query-param";name="{parameter}"', lambda message, body: _query_parameter(message, parameter)
    if name.startswith("@"):
        if name not in _DERIVED:
            raise Invalid(
                f'there is no such component of a request; there are {", ".join(_DERIVED)} and @query-param;name="…"',
                path=path,
            )
        return f'"{name}"', _DERIVED[name]
    if not _FIELD.fullmatch(name):
        raise Invalid("a component is the name of a header in lower case, or one with an @ in front", path=path)
    if name in _ABSENT:
        raise Invalid(f"this header cannot be covered: {_ABSENT[name]}", path=path)
    return f'"{name}"', _FRAMED.get(name) or (lambda message, body: _header(message, name))


def _value(name: str, of: Component, message: Message, body: bytes) -> str:
    value = of(message, body).strip(" \t")
    if not _VALUE.fullmatch(value):
        raise Unsendable(f"the component {name} has a character that no signature base can hold")
    return value


def _content_type(message: Message) -> str:
    if message.method == _BODILESS or not message.content_type:
        raise _absent("content-type")
    return message.content_type


def _content_length(message: Message, body: bytes) -> str:
    if message.method == _BODILESS:
        raise _absent("content-length")
    return str(len(body))


def _content_encoding(message: Message) -> str:
    if message.method == _BODILESS or not (isinstance(message.document, Gzipped) and message.document.compressed):
        raise _absent("content-encoding")
    return "gzip"


def _absent(name: str) -> Unsendable:
    return Unsendable(f"the signature is to cover the header {name}, which this request does not have")


def _header(message: Message, name: str) -> str:
    for other, value in message.headers:  # none of them is there twice
        if other.lower() == name:
            return value
    raise _absent(name)


def _query_parameter(message: Message, name: str) -> str:
    """RFC 9421, section 2.2.8: decoded as a form, and encoded again; the name is written as it is after encoding."""
    found = [value for other, value in parameters(message) if quote(other, safe=_FORM_KEPT) == name]
    if len(found) != 1:
        raise Unsendable(f"the signature is to cover the parameter {name}, which this request has {len(found)} times")
    return quote(found[0], safe=_FORM_KEPT).replace("~", "%7E")


def _end(config: Configuration, path: str) -> str:
    older = [(f"older_key_ids[{i}]", text) for i, text in enumerate(config.older_key_ids)]
    for name, text in (("key_id", config.key_id), ("tag", config.tag), *older):
        if not _VISIBLE.fullmatch(text) or len(text) > TEXT_LENGTH_MAX:
            raise Invalid(f"this is printable ASCII, at most {TEXT_LENGTH_MAX} characters", path=f"{path}.{name}")
    end = f";alg={_quoted(config.algorithm)}" if config.alg else ""
    return end + (f";tag={_quoted(config.tag)}" if config.tag else "")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
