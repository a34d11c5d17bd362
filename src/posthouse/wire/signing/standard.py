"""Standard Webhooks (1.0.0) as one signer among others: `v1` and `v1a`, under headers of any prefix (`svix-`).

Plain endpoints do not come this way: `wire/render.py` signs theirs.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

from posthouse.domain.errors import Invalid
from posthouse.domain.signing import StandardSigner as Configuration
from posthouse.wire.headers import fault_of
from posthouse.wire.message import Message, Unsendable
from posthouse.wire.signing.keys import Keys, KeyText, Told
from posthouse.wire.signing.places import add_header
from posthouse_sdk.errors import SecretError
from posthouse_sdk.signatures import SignerKey, VerifyingKey, is_message_id, parse_secret, signed_prefix

HEADERS: Final = ("id", "timestamp", "signature")


class StandardSigner:
    """Signs with every live key, the newest first. Raises: Invalid, whose path begins with `path`."""

    __slots__ = ("_finish", "_keys", "_names")

    def __init__(self, config: Configuration, keys: Keys, *, path: str) -> None:
        self._names: Final = tuple(config.prefix + name for name in HEADERS)
        if fault := fault_of(self._names[2], ""):
            raise Invalid(fault, path=f"{path}.prefix")
        self._finish: Final = keys.finish if keys.wrong else None
        self._keys: Final = tuple(_key(text) for text in keys.live(config.key, None, f"{path}.key"))

    def apply(self, message: Message) -> None:
        if not is_message_id(message.id):
            raise Unsendable("the message has no id that Standard Webhooks could sign")
        timestamp = int(message.now)
        signed, body = signed_prefix(message.id, timestamp), message.document.encoded()
        signatures = b" ".join([self._finished(key.sign(signed, body)) for key in self._keys]).decode("ascii")
        for name, value in zip(self._names, (message.id, str(timestamp), signatures), strict=True):
            add_header(message, name, value)

    def _finished(self, signature: bytes) -> bytes:
        if self._finish is None:
            return signature
        version, _, text = signature.partition(b",")
        return b"%b,%b" % (version, b64encode(self._finish(b64decode(text))))


class _Told:
    """Signs nothing, and tells what it would."""

    def __init__(self, told: Told) -> None:
        self._told: Final = told

    def sign(self, prefix: bytes, body: bytes) -> bytes:
        return b"v1," + self._told.sign(prefix + body)


def _key(text: KeyText) -> SignerKey | _Told:
    if text.told is not None:
        return _Told(text.told)
    try:
        key = parse_secret(text.text)
    except SecretError as error:
        raise Invalid(str(error), path=text.path) from None
    if isinstance(key, VerifyingKey):
        raise text.unusable("whpk_… is a public key, which cannot sign: the endpoint's is whsk_…")
    return key
