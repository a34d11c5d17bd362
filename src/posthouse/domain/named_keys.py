"""The named keys of an endpoint: texts that its configuration refers to by name, such as what it signs, encrypts or
authenticates with. What a text means (literal, base64, PEM, …) is the word of the configuration that names it.

They are written and never read back: only the engine has them in the clear. While a key is rotated it has several versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from posthouse.domain.errors import Conflict, Invalid
from posthouse.domain.limits import ENDPOINT_KEY_BYTES_MAX, ENDPOINT_KEY_VERSIONS_MAX, ENDPOINT_KEYS_MAX

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")


class KeyEncoding(StrEnum):
    """How a configuration reads the text of a key."""

    LITERAL = "literal"  # its UTF-8 bytes are the key
    BASE64 = "base64"  # either alphabet, padded or not; of a private key its DER (PKCS #8, PKCS #1 or SEC 1)
    HEX = "hex"
    PEM = "pem"  # a key, or of who is encrypted to also a certificate
    JWK = "jwk"


class NamedKeys(Mapping[str, tuple[str, ...]]):
    """Keys in the clear by name, each with the texts of its live versions, newest first. Immutable; its text form shows the
    names only."""

    __slots__ = ("_texts",)

    def __init__(self, texts: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._texts: Final = dict(texts or {})

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedKeys) and self._texts == other._texts

    def __hash__(self) -> int:
        return hash(frozenset(self._texts.items()))

    def __repr__(self) -> str:
        return f"NamedKeys({', '.join(f'{name}=<hidden>' for name in self._texts)})"


NO_KEYS: Final = NamedKeys()


def check_key(name: str, text: str, *, path: str) -> None:
    """Raises Invalid, with this path and nothing of the text, where this cannot be a key."""
    if _NAME.match(name) is None:
        raise Invalid(
            "a key's name is 1 to 64 small letters, digits, _ and -, and begins with a letter",
            path=path,
            code="invalid_key",
        )
    if not 0 < len(text.encode("utf-8", "surrogatepass")) <= ENDPOINT_KEY_BYTES_MAX:
        raise Invalid(f"a key has 1 to {ENDPOINT_KEY_BYTES_MAX} bytes", path=path, code="invalid_key")


def check_key_count(names: int) -> None:
    """Raises Invalid where an endpoint would have more keys than it may."""
    if names > ENDPOINT_KEYS_MAX:
        raise Invalid(f"an endpoint has at most {ENDPOINT_KEYS_MAX} keys", path="keys", code="too_many_keys")


class KeyVersion(msgspec.Struct, frozen=True):
    """One version of a named key; `expires_at` (unix seconds) ends the overlap of a rotation, and the newest version has
    none. `text` is None where it was not opened, or does not open."""

    name: str
    version: int
    text: str | None = None
    created_at: float = 0.0
    expires_at: float | None = None

    def live(self, now: float) -> bool:
        return self.expires_at is None or self.expires_at > now

    def __repr__(self) -> str:
        return f"KeyVersion(name={self.name!r}, version={self.version}, expires_at={self.expires_at}, text=<hidden>)"


def texts_of(versions: Iterable[KeyVersion], *, now: float) -> NamedKeys:
    """What is used of these versions at `now`. A key of which a live version does not open is not there: nothing must be
    made with half of it."""
    found: dict[str, list[KeyVersion]] = {}
    for version in versions:
        if version.live(now):
            found.setdefault(version.name, []).append(version)
    texts: dict[str, tuple[str, ...]] = {}
    for name in sorted(found):
        newest_first = sorted(found[name], key=lambda one: one.version, reverse=True)
        opened = tuple(one.text for one in newest_first if one.text is not None)
        if len(opened) == len(newest_first):
            texts[name] = opened
    return NamedKeys(texts)


def put_key(
    versions: Sequence[KeyVersion], name: str, text: str, *, now: float, overlap_seconds: float
) -> tuple[KeyVersion, ...]:
    """The versions of an endpoint's keys once this text is the newest of this name; those before it live until the overlap
    ends, if they open. Where it is the newest already there is no new version.

    Raises Conflict where too many versions would be live.
    """
    others = [one for one in versions if one.name != name and one.live(now)]
    mine = sorted((one for one in versions if one.name == name), key=lambda one: one.version)
    newest = mine[-1] if mine else None
    if newest is None or newest.text != text or not newest.live(now):
        newest = KeyVersion(name, 1 if newest is None else newest.version + 1, text)
    until = now + overlap_seconds
    before = [
        msgspec.structs.replace(one, expires_at=until if one.expires_at is None else min(one.expires_at, until))
        for one in mine
        if one.version != newest.version and one.text is not None and one.text != text
    ]
    before = [one for one in before if one.live(now)]
    if len(before) >= ENDPOINT_KEY_VERSIONS_MAX:
        raise Conflict(
            f"{len(before)} versions of this key are live, which is the most; wait until one expires, or put the new one with "
            "overlap_seconds 0, which ends all others",
            code="too_many_versions",
        )
    return (*others, *before, newest)
