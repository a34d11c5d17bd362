"""What a handshake's texts may name: a challenge made anew, what is made of it, and the key and the URL that go along. Pure.

A text of a request is a template of the ordinary kind beside (`wire/template.py`): what the handshake names is written into
it first, with its braces doubled, so that no value is ever read as a template.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from posthouse.domain.encryption import Encryption, Envelope, TextForm
from posthouse.domain.errors import Invalid
from posthouse.domain.handshake import Challenge
from posthouse.domain.limits import (
    FORMAT_DEPTH_MAX,
    HANDSHAKE_FILLED_LENGTH_MAX,
    HANDSHAKE_VALUES_MAX,
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
)
from posthouse.wire.template import Template
from posthouse_sdk.encryption import sealing
from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.settings import Envelope as EnvelopeSettings
from posthouse_sdk.encryption.settings import settings_of
from posthouse_sdk.encryption.templates import CIPHERTEXT

Random = Callable[[int], bytes]

CHALLENGE: Final = "challenge"
HMAC_SHA256: Final = "challenge.hmac-sha256"
ENCRYPTED: Final = "challenge.encrypted"
KEY: Final = "key"
CONFIRM_URL: Final = "confirm_url"

_OWN: Final = frozenset({CHALLENGE, HMAC_SHA256, ENCRYPTED, KEY, CONFIRM_URL})

_NUMBER: Final = "{challenge:number}"
_NAMED: Final = re.compile(r"\{\{|\}\}|\{([a-z0-9_.:-]*)\}")
_LETTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LENGTH: Final = 32
_SMALLEST: Final = 10**9


def new_challenge(kind: Challenge, random: Random) -> str:
    """A text that nobody can guess."""
    match kind:
        case Challenge.HEX:
            return random(_LENGTH // 2).hex()
        case Challenge.LETTERS:
            return new_letters(random)
        case Challenge.DIGITS:
            return str(_SMALLEST + int.from_bytes(random(16), "big") % (9 * _SMALLEST))
        case Challenge.UUID:
            return str(UUID(bytes=random(16), version=4))


def new_letters(random: Random) -> str:
    """32 letters and digits, each as likely as any other."""
    number = int.from_bytes(random(_LENGTH), "big")  # of so many more than it takes that none is likelier
    return "".join([_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(_LENGTH)])


class Names:
    """The names of one step, with their values. `used` are those that its texts have named so far.

    Its methods raise: Invalid, with `path`, for a name that there is not, for a brace that stands alone, and where all that
    they were given together has too many values, or would be too much once it is filled in: that is never built.
    """

    __slots__ = ("_left", "_room", "_values", "used")

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values: Final = dict(values)
        self._left = HANDSHAKE_VALUES_MAX
        self._room = HANDSHAKE_FILLED_LENGTH_MAX
        self.used: Final[set[str]] = set()

    def __repr__(self) -> str:
        return f"Names({', '.join(f'{name}=<hidden>' for name in self._values)})"

    def into(self, text: str, path: str) -> str:
        """A text that will be compiled as a template, with the values in it."""

        def written(found: re.Match[str]) -> str:
            name = found[1]
            if name is None or name.partition(":")[0] not in _OWN:
                return found[0]
            return self._value(name, path).replace("{", "{{").replace("}", "}}")

        return _NAMED.sub(written, text)

    def of(self, text: str, path: str) -> str:
        """A text that names nothing else."""
        if len(text) > TEXT_LENGTH_MAX:
            raise Invalid(f"a text has at most {TEXT_LENGTH_MAX} characters", path=path)
        template = Template(text, known=_OWN, path=path)
        return template.fill({name: self._value(name, path, template.times(name)) for name in template.names})

    def body(self, value: Any, path: str) -> Any:
        """The fields of a body, with the values in them."""
        return self._each(value, path, self.into, 0)

    def data(self, value: Any, path: str) -> Any:
        """JSON whose texts name nothing else."""
        return self._each(value, path, self.of, 0)

    def _each(self, value: Any, path: str, text: Callable[[str, str], str], depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise Invalid(
                f"a step has at most {HANDSHAKE_VALUES_MAX} values in its data, its body and what it expects", path=path
            )
        if depth > FORMAT_DEPTH_MAX:
            raise Invalid(f"it is described at most {FORMAT_DEPTH_MAX} levels deep", path=path)
        match value:
            case str() if value == _NUMBER:
                digits = self._value(CHALLENGE, path)
                if not digits.isdecimal():
                    raise Invalid("the challenge is no number: make it one of kind digits", path=path)
                return int(digits)
            case str():
                return text(value, path)
            case dict():
                return {
                    name: self._each(each, f"{path}.{str(name)[:NAME_LENGTH_MAX]}", text, depth + 1)
                    for name, each in value.items()
                }
            case list() | tuple():
                return [self._each(each, f"{path}[{place}]", text, depth + 1) for place, each in enumerate(value)]
            case _:
                return value

    def _value(self, name: str, path: str, times: int = 1) -> str:
        """For so many places."""
        value = self._values.get(name)
        if value is None:
            raise _missing(name, path)
        self._room -= times * len(value)
        if self._room < 0:
            raise Invalid(
                f"what the texts of a step name has at most {HANDSHAKE_FILLED_LENGTH_MAX} characters once all of it is "
                "filled in: name long values less often",
                path=path,
            )
        self.used.add(name)
        return value


def _missing(name: str, path: str) -> Invalid:
    match name:
        case "key" | "challenge.hmac-sha256":
            return Invalid("the step names no key, which this text takes", path=path)
        case "challenge.encrypted":
            return Invalid(
                "{challenge.encrypted} takes an encryption of kind envelope at the endpoint, whose ciphertext is a text, and "
                "without associated data that differ from request to request",
                path=path,
            )
        case "confirm_url":
            return Invalid("only a step of kind confirm has a {confirm_url}", path=path)
        case _:
            return Invalid("a {challenge:number} stands alone, in a field of JSON that is nothing else", path=path)


def names_of(
    challenge: str,
    *,
    key: str | None,
    encryption: Encryption | None,
    keys: Mapping[str, Sequence[str]],
    random: Random,
    confirm_url: str | None,
) -> Names:
    """What there is to name: `key` is the text of the step's key. Raises: Invalid for a key that cannot encrypt."""
    values = {CHALLENGE: challenge}
    if key is not None:
        values[KEY] = key
        values[HMAC_SHA256] = hmac.new(key.encode(), challenge.encode(), hashlib.sha256).hexdigest()
    if isinstance(encryption, Envelope):
        ciphertext = _sealed(encryption, keys, challenge, random)
        if ciphertext is not None:
            values[ENCRYPTED] = ciphertext
    if confirm_url is not None:
        values[CONFIRM_URL] = confirm_url
    return Names(values)


def _sealed(encryption: Envelope, keys: Mapping[str, Sequence[str]], challenge: str, random: Random) -> str | None:
    if encryption.output is TextForm.RAW:
        return None
    try:
        settings = settings_of(msgspec.to_builtins(encryption))
        assert isinstance(settings, EnvelopeSettings), "of the kind that it says"
        associated = settings.sealing.associated_data
        texts = keys.get(settings.key)
        if associated.names or not texts:
            return None
        (key,) = sealing.shared_keys(settings, texts[:1])
    except SettingError as error:
        raise Invalid(str(error), path=f"encryption.{error.path}") from None
    return sealing.sealed(settings.sealing, key, challenge.encode(), associated.written({}), random)[0][CIPHERTEXT]
