"""What seals: one for each kind, made once of settings and keys. The newest key seals; a general JWE is for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from posthouse_sdk.encryption import sealing
from posthouse_sdk.encryption.ciphers import Random, as_text, check_available
from posthouse_sdk.encryption.jose import Recipients
from posthouse_sdk.encryption.keys import Recipient
from posthouse_sdk.encryption.settings import Envelope, Hybrid, Jwe, Settings
from posthouse_sdk.encryption.settings import Sealing as SealingSettings
from posthouse_sdk.encryption.templates import CIPHERTEXT, KEY_ID, WRAPPED_KEY


class Sealing(Protocol):
    """The sealing of one message: several texts of it share a content key."""

    told: Mapping[str, str]
    """What is told once: the wrapped key, its id."""

    def seal(self, plain: bytes, content_type: str) -> tuple[dict[str, str], bytes]:
        """The texts told of one plaintext, and its ciphertext as bytes."""
        ...


class Sealer(Protocol):
    def begin(self, random: Random, associated: str) -> Sealing: ...


def sealer(settings: Settings, texts: Sequence[str]) -> Sealer:
    """Raises: SettingError for a key that cannot be used."""
    match settings:
        case Jwe():
            return _Jose(settings, texts)
        case Envelope():
            return _Shared(settings, texts)
        case Hybrid():
            return _Wrapped(settings, texts)


class _Jose:
    """Its own sealing too: JWE keeps nothing between two texts."""

    __slots__ = ("_recipients", "told")

    def __init__(self, settings: Jwe, texts: Sequence[str]) -> None:
        self._recipients: Final = Recipients(settings, texts)
        self.told: Mapping[str, str] = {}

    def begin(self, random: Random, associated: str) -> Sealing:
        return self

    def seal(self, plain: bytes, content_type: str) -> tuple[dict[str, str], bytes]:
        text = self._recipients.encrypted(plain, content_type)
        return {CIPHERTEXT: text}, text.encode()


class _Shared:
    __slots__ = ("_key", "_settings")

    def __init__(self, settings: Envelope, texts: Sequence[str]) -> None:
        self._settings: Final = settings.sealing
        (self._key,) = sealing.shared_keys(settings, texts[:1])

    def begin(self, random: Random, associated: str) -> Sealing:
        return _Sealing(self._settings, self._key, {}, random, associated)


class _Wrapped:
    __slots__ = ("_id", "_settings", "_target")

    def __init__(self, settings: Hybrid, texts: Sequence[str]) -> None:
        check_available(settings.sealing.cipher)
        target = Recipient(texts[0], settings.key_encoding)
        sealing.check_wrapping(settings.algorithm, target.key)
        self._settings: Final = settings
        self._target: Final = target.key
        self._id: Final = {} if settings.key_id == "none" else {KEY_ID: target.name(settings.key_id)}

    def begin(self, random: Random, associated: str) -> Sealing:
        settings = self._settings
        key = random(settings.sealing.cipher.key_bytes)
        wrapped = sealing.wrapped(self._target, key)
        told = {WRAPPED_KEY: as_text(wrapped, settings.wrapped_encoding), **self._id}
        return _Sealing(settings.sealing, key, told, random, associated)


class _Sealing:
    __slots__ = ("_associated", "_key", "_random", "_settings", "told")

    def __init__(
        self, settings: SealingSettings, key: bytes, told: Mapping[str, str], random: Random, associated: str
    ) -> None:
        self._settings: Final = settings
        self._key: Final = key
        self._random: Final = random
        self._associated: Final = associated
        self.told: Mapping[str, str] = told

    def seal(self, plain: bytes, content_type: str) -> tuple[dict[str, str], bytes]:
        return sealing.sealed(self._settings, self._key, plain, self._associated, self._random)
