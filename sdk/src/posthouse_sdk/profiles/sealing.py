"""What a profile's `encryption` does on the receiving side: bodies are opened, challenges too, and answers are sealed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from secrets import token_bytes, token_hex
from typing import TYPE_CHECKING, Any, Final

from posthouse_sdk.decryption import Decrypted, Decryption
from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.settings import Envelope, Hybrid, settings_of
from posthouse_sdk.encryption.shapes import Body, FormBody, body_of
from posthouse_sdk.encryption.templates import SEALED
from posthouse_sdk.profiles.shapes import top_level, written
from posthouse_sdk.profiles.signers import CustomSigner

if TYPE_CHECKING:
    from posthouse_sdk.webhook import Headers

ALONE: Final = {"kind": "text", "template": "{ciphertext}", "content_type": "text/plain"}
OURS: Final = frozenset({"signature", "timestamp", "timestamp_ms", "nonce"})

Random = Callable[[int], bytes]


class Sealing:
    """Raises: SettingError, ReceiverError."""

    def __init__(self, encryption: Mapping[str, Any], texts: Sequence[str], content_type: str) -> None:
        self._configuration: Final = encryption
        self._texts: Final = texts
        self._settings: Final = settings_of(encryption)
        self._whole: Final = Decryption(encryption, texts, content_type=content_type)
        self._alone: Decryption | None = None

    @property
    def kind(self) -> str:
        """Of what kind the body is that is sent; empty where fields of it are encrypted, and it is as it was."""
        if self._settings.fields:
            return ""
        if isinstance(self._settings, Envelope | Hybrid) and self._settings.sealing.output == "raw":
            return "text"
        return self._settings.body.kind

    def opened(self, body: bytes, headers: Headers) -> Decrypted:
        """Raises: DecryptionError."""
        return self._whole.decrypted(body, headers)

    def text_opened(self, ciphertext: str) -> str:
        """A ciphertext that stands alone. Raises: DecryptionError."""
        if self._alone is None:
            kept = {
                name: value
                for name, value in self._configuration.items()
                if name not in ("body", "fields", "headers", "query")
            }
            self._alone = Decryption({**kept, "body": ALONE}, self._texts, content_type="text/plain")
        return self._alone.decrypted(ciphertext.encode("utf-8", "replace"), {}).body.decode("utf-8", "replace")

    def text_sealed(self, plain: str, random: Random = token_bytes) -> str:
        return self._whole.encrypted(plain.encode("utf-8", "replace"), random=random)["ciphertext"]

    def answer(self, shape: Mapping[str, Any] | None, signer: CustomSigner | None) -> Answers:
        """What seals answers, in this shape or that of the requests. Raises: SettingError."""
        body = self._settings.body if shape is None else body_of(shape, "receive.sealed")
        return Answers(self._whole, body, signer)


class Answers:
    """Seals answers, and signs them as requests are signed where the shape names a `{signature}`."""

    def __init__(self, decryption: Decryption, body: Body, signer: CustomSigner | None) -> None:
        self._decryption: Final = decryption
        self._body: Final = body
        self._fields: Final = top_level(body)
        self._signer: Final = signer
        names = {name for _, template in body.leaves() for name in template.names}
        self._signed: Final = "signature" in names
        if self._signed and signer is None:
            raise SettingError("the shape names a {signature}, and no custom signer makes one", "receive.sealed")
        for name in sorted(names - OURS - SEALED):
            raise SettingError(f"there is no {{{name}}} in an answer", "receive.sealed")
        self.content_type: Final = (
            "application/x-www-form-urlencoded" if isinstance(body, FormBody) else body.content_type
        )
        self.sealed(b"", now=0)  # what cannot be sealed or signed is told now

    def sealed(self, plain: bytes, *, now: float, random: Random = token_bytes) -> bytes:
        """Raises: ReceiverError, SettingError."""
        nonce = token_hex(8)
        values = {"timestamp": str(int(now)), "timestamp_ms": str(int(now * 1000)), "nonce": nonce, "content_type": ""}
        values |= self._decryption.encrypted(plain, random=random)
        if self._signed and self._signer is not None:
            values["signature"] = self._signer.sign(lambda name: self._told(name, values))
        return written(self._body, values)

    def _told(self, name: str, values: Mapping[str, str]) -> str:
        if name in values:
            return values[name]
        field = self._fields.get(name.removeprefix("field.").removesuffix("?"))
        if not name.startswith("field.") or field is None:
            raise SettingError(f"an answer has no {{{name}}} to sign", "receive.sealed")
        return field.written({"signature": "", **values})
