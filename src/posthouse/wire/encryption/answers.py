"""A target's answer that is encrypted as its requests are, opened. Pure.

Some platforms have their receivers answer in the envelope in which they ask: DingTalk takes `{"encrypt": …}` of `success` for
a confirmation. What is opened is the body: the headers stay, but for those that tell of the envelope and not of what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from posthouse.domain.encryption import DecryptAnswer, Encryption, Envelope
from posthouse.domain.endpoint import Endpoint, EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Answer, Failure, Result
from posthouse.wire.answers import headers_of
from posthouse_sdk.decryption import Decryption
from posthouse_sdk.errors import DecryptionError, ReceiverError

PATH: Final = "decrypt_answer"

_ANY_TEXT: Final = "text/plain"
_OF_THE_ENVELOPE: Final = frozenset({b"content-type", b"content-length", b"content-encoding"})


class Opener:
    """Opens answers with the keys of an endpoint, the newest first. Raises nothing, whatever the target answers."""

    def __init__(self, encryption: Envelope, keys: Mapping[str, Sequence[str]], *, required: bool) -> None:
        """Raises: Invalid for an encryption, or a key, that opens nothing."""
        settings = msgspec.to_builtins(encryption)
        try:
            # One for each key: whether what came out is a text tells more than the padding whether it was the right one.
            self._each: Final = [
                Decryption(settings, text, content_type=_ANY_TEXT) for text in keys.get(encryption.key, ())
            ]
        except ReceiverError as error:
            raise Invalid("no answer can be opened with this encryption and its key", path=PATH) from error
        if not self._each:
            raise Invalid("the endpoint has no key of this name", path="encryption.key")
        self._required: Final = required

    def __call__(self, result: Result) -> Result:
        """What came, with its body opened. What is not in the shape, or opens with no key, stays as it came; where answers have
        to be encrypted it is `sealed`, and without its body: nothing in it is believed."""
        if isinstance(result, Failure):
            return result
        body = self.opened(result)
        if body is not None:
            headers = tuple([header for header in result.headers if header[0] not in _OF_THE_ENVELOPE])
            return msgspec.structs.replace(result, headers=headers, body=body)
        return msgspec.structs.replace(result, body=b"", sealed=True) if self._required else result

    def opened(self, answer: Answer) -> bytes | None:
        """The text in its body as UTF-8; None where it does not open. A body whose end was not read does not."""
        if not answer.body or answer.truncated:
            return None
        headers = headers_of(answer)
        for decryption in self._each:
            try:
                plain = decryption(answer.body, headers).body
                plain.decode()
            except (DecryptionError, UnicodeDecodeError):
                continue
            return plain
        return None


def opener_of(endpoint: Endpoint) -> Opener | None:
    """What opens the answers of an endpoint; None where they are taken as they come. Raises: Invalid."""
    decrypt = endpoint.decrypt_answer
    if decrypt is DecryptAnswer.NEVER:
        return None
    return Opener(_shared(endpoint.encryption, PATH), endpoint.keys, required=decrypt is DecryptAnswer.REQUIRED)


def check_decrypt_answer(config: EndpointConfig, given: Mapping[str, object]) -> None:
    """Whether answers can be opened at all. Raises: Invalid, whose path is of a field that was `given`."""
    if config.decrypt_answer is not DecryptAnswer.NEVER:
        ours = given.get(PATH) is not None or given.get("encryption") is None
        _shared(config.encryption, PATH if ours else "encryption")


def _shared(encryption: Encryption | None, path: str) -> Envelope:
    """An encryption by which a target can encrypt for us, too. Raises: Invalid."""
    if encryption is None:
        raise Invalid("decrypt_answer opens answers by the endpoint's encryption, and there is none", path=path)
    if not isinstance(encryption, Envelope):
        raise Invalid(
            "decrypt_answer needs an encryption of kind envelope, whose secret both have: with the others a target cannot "
            "encrypt for us",
            path=path,
        )
    if encryption.fields:
        raise Invalid("decrypt_answer opens an answer as a whole: it goes with no fields of encryption", path=path)
    return encryption
