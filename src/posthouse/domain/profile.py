"""Profiles: named presets of what an endpoint is configured with, so that it is spoken to as a known platform speaks.

A profile is data, a TOML file each. `endpoint` holds fields of an endpoint, as the API takes them; `${name}` in its texts is
one of the profile's settings. `receive` says how the receiving side reads what is sent and what it answers: it is for the
SDK and for `posthouse listen`. Naming a profile writes its fields into the endpoint; what the endpoint sets itself counts
before them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from posthouse.domain.configuration import Configuration
from posthouse.domain.encryption import Shape
from posthouse.domain.errors import Invalid
from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.profiles.filling import filled as filled_in
from posthouse_sdk.profiles.filling import settings_values

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")


class Made(StrEnum):
    """How a key is made that nobody gave."""

    LETTERS = "letters"  # 32 letters and digits
    HEX = "hex"  # 32 bytes in hexadecimal digits
    BASE64 = "base64"  # 32 bytes
    AES_KEY = "aes-key"  # an EncodingAESKey: the 43 characters of 32 bytes in base64, without the last =
    ED25519 = "ed25519"  # a seed in hexadecimal digits
    RSA = "rsa"  # 2048 bits, PEM


class ProfileKey(Configuration, frozen=True, kw_only=True):
    """A key that an endpoint of this profile has. One that is neither given nor made is missing, and refused for that."""

    name: str
    about: str
    make: Made | None = None


class ProfileSetting(Configuration, frozen=True, kw_only=True):
    """A text that a profile has to be told. Without a default it must be."""

    name: str
    about: str
    default: str | None = None


class Reading(Configuration, frozen=True, kw_only=True):
    """Where the receiving side finds things, and what it answers.

    Places are `header:Name`, `query:name`, `json:/pointer`, `xml:/Element`, `form:name`, `body` (all of it, parsed as its kind)
    or empty: there is none. They are in what was encrypted, if it was; `sent:/pointer` is in the body around that. `timestamp`
    is in unix seconds, milliseconds or RFC 3339, told apart by how it looks.

    `answer` is the body that confirms; with `encrypt` it is sent back as the platform encrypts and signs: in the shape
    `sealed`, which may name `{signature}` (made as the first custom signer makes those of requests), `{timestamp}`,
    `{timestamp_ms}` and `{nonce}` beside what the encryption has; without one, in that of requests. So are answers of
    handshakes that are opened. `passed_over` are texts that may stand beside signatures that are repeated, of a scheme that is
    not looked at.
    """

    id: str = ""
    type: str = ""
    timestamp: str = ""
    data: str = "body"
    status: int = 200
    answer: str = ""
    content_type: str = "text/plain"
    encrypt: bool = False
    sealed: Shape | None = None
    passed_over: tuple[str, ...] = ()


class Profile(Configuration, frozen=True, kw_only=True):
    """`source` is where the platform documents what this restates."""

    name: str
    title: str
    about: str
    source: str = ""
    keys: tuple[ProfileKey, ...] = ()
    settings: tuple[ProfileSetting, ...] = ()
    endpoint: dict[str, Any] = msgspec.field(default_factory=dict)
    receive: Reading = Reading()


def filled(profile: Profile, given: Mapping[str, str]) -> dict[str, Any]:
    """The fields of an endpoint under this profile with these settings. Raises: Invalid with the path of what is wrong."""
    known = {setting.name: (setting.about, setting.default) for setting in profile.settings}
    try:
        values = settings_values(profile.name, known, given, "profile_settings")
        return {name: filled_in(value, values, name) for name, value in profile.endpoint.items()}
    except SettingError as error:
        raise Invalid(str(error), path=error.path) from None
