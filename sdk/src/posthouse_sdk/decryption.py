"""Encrypted webhooks, opened: what an endpoint's `encryption` says, done backwards. `posthouse-sdk[encryption]`.

    receiver = Receiver("whsec_…", decrypt=Decryption(encryption, private_key_pem), fallback=ignore)

`encryption` is the same JSON that the endpoint has. `cryptography` and, for JWE, `joserfc` are imported when one is made,
not before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from posthouse_sdk.encryption import bodies
from posthouse_sdk.encryption.errors import SettingError, UnopenedError
from posthouse_sdk.encryption.pointers import change
from posthouse_sdk.encryption.settings import Envelope, Hybrid, Jwe, Settings, settings_of
from posthouse_sdk.encryption.templates import ASSOCIATED_DATA, CIPHERTEXT, CONTENT_TYPE, WRAPPED_KEY
from posthouse_sdk.errors import DecryptionError, ReceiverError

if TYPE_CHECKING:
    from posthouse_sdk.webhook import Headers

JSON: Final = "application/json"
KEYS_MAX: Final = 16

_NEEDS: Final = "decrypting needs the packages cryptography and joserfc: pip install 'posthouse-sdk[encryption]'"


@dataclass(frozen=True, slots=True)
class Decrypted:
    """A body as it was before it was encrypted, and its content type."""

    body: bytes
    content_type: str


Decrypt = Callable[[bytes, "Headers"], Decrypted]
"""What `Webhook`, `Gate` and `Receiver` take: a Decryption, or a function of your own, which raises DecryptionError."""


class Decryption:
    """Opens what an endpoint with this `encryption` is sent.

    `keys` are texts: of a shared secret as the endpoint has it, of a key pair the private half (PEM or JWK). While a key is
    rotated there are several, in any order. `content_type` is what the plaintext is where the request does not tell: JWE does,
    and so does a template with `{content_type}`.

    Ciphers in CBC mode authenticate nothing, so verify the signature first: `Webhook`, `Gate` and `Receiver` do.

    Raises: ReceiverError for a configuration or a key that cannot be used, and where the extra is not installed.
    """

    __slots__ = ("_content_type", "_keys", "_open", "_settings")

    def __init__(self, encryption: Mapping[str, Any], keys: str | Iterable[str], *, content_type: str = JSON) -> None:
        texts = [keys] if isinstance(keys, str) else list(keys)
        if not 0 < len(texts) <= KEYS_MAX:
            raise ReceiverError(f"decrypting takes 1 to {KEYS_MAX} keys")
        try:
            self._settings: Final = settings_of(encryption)
            self._open: Final[Opener] = _opener(self._settings, texts)
        except SettingError as error:
            where = f"{error.path}: " if error.path else ""
            raise ReceiverError(f"this encryption cannot be used: {where}{error}") from None
        except ImportError as error:
            raise ReceiverError(_NEEDS) from error
        self._content_type: Final = content_type
        self._keys: Final = texts

    def __repr__(self) -> str:
        return f"Decryption(kind={type(self._settings).__name__.lower()!r}, keys=<hidden>)"

    def __call__(self, body: bytes, headers: Headers) -> Decrypted:
        """The plain body. Raises: DecryptionError."""
        return self.decrypted(body, headers)

    def decrypted(self, body: bytes, headers: Headers) -> Decrypted:
        """The body as it was before it was encrypted; of encrypted fields, the JSON with them in the clear.

        Raises: DecryptionError.
        """
        found = {name.lower(): value for name, value in headers.items()}
        settings = self._settings
        try:
            told = bodies.values_in_headers(found, settings.headers)
            if settings.fields:
                return Decrypted(self._with_fields(body, told), found.get("content-type", self._content_type))
            raw = body if isinstance(settings, Envelope | Hybrid) and settings.sealing.output == "raw" else None
            if raw is None:
                told |= bodies.values_in(body, settings.body)
            accepts = _is_json if _says_json(told.get(CONTENT_TYPE, self._content_type)) else _anything
            plain, content_type = self._open(told, raw, accepts)
        except UnopenedError:
            raise DecryptionError(
                "the body does not open: it is not encrypted as is configured here, or with none of the keys given here"
            ) from None
        return Decrypted(plain, content_type or told.get(CONTENT_TYPE, self._content_type))

    def encrypted(self, plain: bytes, *, random: Callable[[int], bytes] = token_bytes) -> dict[str, str]:
        """What some platforms want for an answer: a text of the receiver's, encrypted with the first of its keys.

        The texts by the names of their variables; DingTalk takes `encrypted(b"success")["ciphertext"]` back.

        Raises: ReceiverError where the kind is not `envelope`: a receiver has no key of the sender's.
        """
        settings = self._settings
        if not isinstance(settings, Envelope):
            raise ReceiverError("an answer is encrypted with a shared secret: an encryption of kind envelope")
        from posthouse_sdk.encryption import sealing

        associated = settings.sealing.associated_data
        if associated.names:
            raise ReceiverError("the associated data of this encryption are the sender's: they cannot be told here")
        key = sealing.shared_keys(settings, self._keys[:1])[0]
        return sealing.sealed(settings.sealing, key, plain, associated.written({}), random)[0]

    def _with_fields(self, body: bytes, told: Mapping[str, str]) -> bytes:
        value = bodies.parsed(body)

        def opened(sealed: Any) -> Any:
            plain, _ = self._open({**told, **bodies.values_of(sealed, template)}, None, _is_json)
            return bodies.parsed(plain)

        template = getattr(self._settings.body, "template", None)
        for pointer in self._settings.fields:
            value = change(value, pointer, opened)
        return json.dumps(value, separators=(",", ":")).encode()


Accepts = Callable[[bytes], bool]
"""Whether what came out may be a plaintext: with a wrong key, CBC without a frame makes one of its own out of 256."""
Opener = Callable[[Mapping[str, str], "bytes | None", Accepts], tuple[bytes, "str | None"]]


def _says_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media == JSON or media.endswith("+json")


def _is_json(plain: bytes) -> bool:
    try:
        bodies.parsed(plain)
    except UnopenedError:
        return False
    return True


def _anything(plain: bytes) -> bool:
    return True


def _opener(settings: Settings, texts: Sequence[str]) -> Opener:
    match settings:
        case Jwe():
            return _jwe(settings, texts)
        case Envelope():
            return _envelope(settings, texts)
        case Hybrid():
            return _hybrid(settings, texts)


def _jwe(settings: Jwe, texts: Sequence[str]) -> Opener:
    from posthouse_sdk.encryption.jose import Openers

    openers = Openers(settings, texts)

    def opened(told: Mapping[str, str], raw: bytes | None, accepts: Accepts) -> tuple[bytes, str | None]:
        return openers.opened(told[CIPHERTEXT])

    return opened


def _envelope(settings: Envelope, texts: Sequence[str]) -> Opener:
    from posthouse_sdk.encryption import sealing

    keys = sealing.shared_keys(settings, texts)

    def opened(told: Mapping[str, str], raw: bytes | None, accepts: Accepts) -> tuple[bytes, str | None]:
        return _opened(settings, keys, told, raw, accepts), None

    return opened


def _hybrid(settings: Hybrid, texts: Sequence[str]) -> Opener:
    from posthouse_sdk.encryption import sealing
    from posthouse_sdk.encryption.ciphers import check_available, from_text
    from posthouse_sdk.encryption.keys import private_key

    cipher = settings.sealing.cipher
    check_available(cipher)
    keys = [private_key(text) for text in texts]
    for key in keys:
        sealing.check_wrapping(settings.algorithm, key.public_key())

    def content_keys(wrapped: bytes) -> Iterator[bytes]:
        for key in keys:
            try:
                content_key = sealing.unwrapped(key, wrapped)
            except UnopenedError:
                continue
            if len(content_key) == cipher.key_bytes:
                yield content_key

    def opened(told: Mapping[str, str], raw: bytes | None, accepts: Accepts) -> tuple[bytes, str | None]:
        wrapped = from_text(told[WRAPPED_KEY], settings.wrapped_encoding)
        return _opened(settings, content_keys(wrapped), told, raw, accepts), None

    return opened


def _opened(
    settings: Envelope | Hybrid, keys: Iterable[bytes], told: Mapping[str, str], raw: bytes | None, accepts: Accepts
) -> bytes:
    """With the first key that fits. Raises: UnopenedError."""
    from posthouse_sdk.encryption import sealing

    associated = _associated(settings, told)
    for key in keys:
        try:
            plain = sealing.opened(settings.sealing, key, told, raw, associated)
        except UnopenedError:
            continue
        if accepts(plain):
            return plain
    raise UnopenedError


def _associated(settings: Envelope | Hybrid, told: Mapping[str, str]) -> str:
    template = settings.sealing.associated_data
    return told[ASSOCIATED_DATA] if template.names else template.written({})
