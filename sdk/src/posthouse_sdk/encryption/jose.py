"""JSON Web Encryption (RFC 7516) through joserfc. Content keys and initialisation vectors come of its own randomness."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from posthouse_sdk.encryption.errors import SettingError, UnopenedError
from posthouse_sdk.encryption.keys import Recipient, jose_of, jwk_of, oct_jwk, oct_key, private_key, secret, sized
from posthouse_sdk.encryption.settings import JWE_SECRET, Jwe

Key = OctKey | RSAKey | ECKey | OKPKey

CONTENT_KEY_BYTES: Final = {"A256GCM": 32}
KEK_BYTES: Final = 32
RECIPIENTS_MAX: Final = 16
_APPLICATION: Final = "application/"


class Registry(jwe.JWERegistry):
    """Exactly the two algorithms that are configured: nothing is unpacked, and no header chooses another one."""

    max_protected_header_length = 4 * 1024
    max_encrypted_key_length = 2 * 1024
    max_ciphertext_length = 64 * 1024 * 1024  # bodies are bounded before they come here
    max_recipients = RECIPIENTS_MAX

    def __init__(self, settings: Jwe) -> None:
        super().__init__(
            algorithms=[settings.algorithm, settings.content_algorithm],
            verify_all_recipients=False,
            strict_check_header=False,
        )


class Recipients:
    """Whom something is encrypted to: newest first; all of them in the general serialisation, else the newest.

    Raises: SettingError for a key that the algorithm does not take.
    """

    __slots__ = ("_keys", "_registry", "_settings")

    def __init__(self, settings: Jwe, texts: Sequence[str]) -> None:
        self._settings: Final = settings
        self._registry: Final = Registry(settings)
        used = texts[:RECIPIENTS_MAX] if settings.serialization == "general" else texts[:1]
        self._keys: Final = [_recipient(settings, text) for text in used]
        try:
            self.encrypted(b"", "application/json")  # what joserfc does not take shows here
        except (JoseError, ValueError, TypeError):
            raise SettingError(f"this key cannot be used with {settings.algorithm}", "key") from None

    def encrypted(self, plain: bytes, content_type: str) -> str:
        """The JWE as text; `cty` tells the type of what is in it (RFC 7516, section 4.1.12)."""
        settings = self._settings
        protected: dict[str, Any] = {"enc": settings.content_algorithm, "cty": cty_of(content_type)}
        if settings.serialization == "compact":
            key, kid = self._keys[0]
            return jwe.encrypt_compact(
                {"alg": settings.algorithm, **kid, **protected}, plain, key, registry=self._registry
            )
        made: jwe.FlattenedJSONEncryption | jwe.GeneralJSONEncryption
        if settings.serialization == "flattened":
            made = jwe.FlattenedJSONEncryption(protected, plain)
        else:
            made = jwe.GeneralJSONEncryption(protected, plain)
        for key, kid in self._keys:
            made.add_recipient({"alg": settings.algorithm, **kid}, key)
        return json.dumps(jwe.encrypt_json(made, None, registry=self._registry), separators=(",", ":"))


class Openers:
    """A receiver's keys. Raises: SettingError."""

    __slots__ = ("_keys", "_registry", "_settings")

    def __init__(self, settings: Jwe, texts: Sequence[str]) -> None:
        self._settings: Final = settings
        self._registry: Final = Registry(settings)
        self._keys: Final = [_opener(settings, text) for text in texts]

    def opened(self, text: str) -> tuple[bytes, str | None]:
        """The plaintext, and its content type where the JWE tells one. Raises: UnopenedError."""
        for key in self._keys:
            try:
                found = self._opened(text, key)
                return found.plaintext or b"", type_of(found.protected.get("cty"))
            except (JoseError, ValueError, TypeError, KeyError, AssertionError, RecursionError):
                continue
        raise UnopenedError

    def _opened(self, text: str, key: Key) -> Any:
        if self._settings.serialization == "compact":
            return jwe.decrypt_compact(text, key, registry=self._registry)
        return jwe.decrypt_json(json.loads(text), key, registry=self._registry)


def cty_of(content_type: str) -> str:
    """A content type as `cty` has it: without `application/`, where no other slash is in it."""
    short = content_type.removeprefix(_APPLICATION)
    return content_type if "/" in short else short


def type_of(cty: Any) -> str | None:
    if not isinstance(cty, str) or not cty:
        return None
    return cty if "/" in cty else _APPLICATION + cty


def _recipient(settings: Jwe, text: str) -> tuple[Key, dict[str, str]]:
    if settings.key_encoding == "jwk" and jwk_of(text).get("alg", settings.algorithm) != settings.algorithm:
        raise SettingError(f"this JWK says that it is for another algorithm than {settings.algorithm} (its alg)", "key")
    if settings.algorithm in JWE_SECRET:
        raw, kid = _secret(settings, text)
        if settings.key_id == "own" and kid is None:
            raise SettingError("only a JWK with a kid has a name of its own", "key_id")
        return oct_key(raw), {} if kid is None or settings.key_id == "none" else {"kid": kid}
    recipient = Recipient(text, settings.key_encoding)
    rsa = recipient.jose().key_type == "RSA"
    if rsa is not settings.algorithm.startswith("RSA"):
        if rsa:
            raise SettingError(f"{settings.algorithm} takes an EC or X25519 key", "key")
        raise SettingError(f"{settings.algorithm} takes an RSA key", "key")
    how = settings.key_id or ("own" if recipient.jwk.get("kid") else "thumbprint")
    return recipient.jose(), {} if how == "none" else {"kid": recipient.name(how)}


def _secret(settings: Jwe, text: str) -> tuple[bytes, str | None]:
    raw, kid = oct_jwk(text) if settings.key_encoding == "jwk" else (secret(text, settings.key_encoding), None)
    direct = settings.algorithm == "dir"
    size = CONTENT_KEY_BYTES[settings.content_algorithm] if direct else KEK_BYTES
    return sized(raw, size, settings.algorithm), kid


def _opener(settings: Jwe, text: str) -> Key:
    if settings.algorithm in JWE_SECRET:
        return oct_key(_secret(settings, text)[0])
    key = jose_of(private_key(text))
    if (key.key_type == "RSA") is not settings.algorithm.startswith("RSA"):
        raise SettingError(f"{settings.algorithm} does not take a key of this kind", "key")
    return key
