"""The step: a message's body, or some of its fields, replaced by what only the target can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from posthouse.wire.documents import Bytes, JsonText
from posthouse.wire.encryption.documents import document, written
from posthouse.wire.encryption.fields import replaced
from posthouse.wire.encryption.sealers import Sealer
from posthouse.wire.headers import fault_of, percent_encoded
from posthouse.wire.message import Message, Unsendable
from posthouse_sdk.encryption.settings import Jwe, Settings
from posthouse_sdk.encryption.shapes import JsonBody
from posthouse_sdk.encryption.templates import CONTENT_TYPE, SEALED, Template


class Encrypt:
    """A `Step`. Of randomness it takes all from the message, but for what JWE, OAEP and ephemeral keys take for themselves."""

    __slots__ = ("_associated", "_raw", "_sealer", "_settings")

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._settings: Final = settings
        self._sealer: Final = sealer
        sealing = None if isinstance(settings, Jwe) else settings.sealing
        self._associated: Final = Template("") if sealing is None else sealing.associated_data
        self._raw: Final = sealing is not None and sealing.output == "raw"

    def apply(self, message: Message) -> None:
        """Raises: Unsendable for fields of a body that is not JSON, and for a value that a template cannot bring in."""
        settings = self._settings
        plain = message.document.encoded()
        values = {**message.values, CONTENT_TYPE: message.content_type}
        associated = _written(self._associated, values)
        sealing = self._sealer.begin(message.random, associated)
        values |= sealing.told
        values["associated_data"] = associated
        if settings.fields:
            message.document = JsonText(self._with_fields(message, plain, values, sealing.seal))
        else:
            told, raw = sealing.seal(plain, message.content_type)
            values |= told
            try:
                message.document = Bytes(raw) if self._raw else document(settings.body, values)
            except KeyError as error:
                raise _unknown(error) from None
            message.content_type = settings.body.content_type
        message.plain = plain
        self._tell(message, values)

    def _with_fields(self, message: Message, plain: bytes, values: Mapping[str, str], seal: Any) -> bytes:
        body = self._settings.body
        assert isinstance(body, JsonBody)

        def sealed(value: bytes) -> Any:
            told, _ = seal(value, "application/json")
            try:
                return written(body.template, {**values, **told})
            except KeyError as error:
                raise _unknown(error) from None

        return replaced(plain, self._settings.fields, sealed)

    def _tell(self, message: Message, values: Mapping[str, str]) -> None:
        headers = [(name, _in_head(template, values)) for name, template in self._settings.headers]
        for name, value in headers:
            if (fault := fault_of(name, value)) is not None:
                raise Unsendable(f"the header {name} of the encryption cannot be sent: {fault}")
        message.headers += headers
        message.query += [(name, _written(template, values)) for name, template in self._settings.query]


def _in_head(template: Template, values: Mapping[str, str]) -> str:
    """A header's value. What comes of the event is percent-encoded, and what comes of the encryption stands as it is read."""
    if SEALED.intersection(template.names):
        return _written(template, {name: _as_told(name, value) for name, value in values.items()})
    return _written(template, {name: percent_encoded(value) for name, value in values.items()}).strip(" ")


def _as_told(name: str, value: str) -> str:
    return value if name in SEALED else percent_encoded(value)


def _written(template: Template, values: Mapping[str, str]) -> str:
    try:
        return template.written(values)
    except KeyError as error:
        raise _unknown(error) from None


def _unknown(error: KeyError) -> Unsendable:
    return Unsendable(f"{{{error.args[0]}}} has no value for this event: the encryption's template cannot be filled")
