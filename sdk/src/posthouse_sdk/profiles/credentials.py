"""What a request shows beside its signatures (`endpoint.auth`): a password, a bearer token, a key in a header, the query or a
field of the body.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.errors import MalformedBodyError, MissingHeaderError, NoMatchingSignatureError
from posthouse_sdk.profiles.documents import Unreadable, field_at
from posthouse_sdk.profiles.places import KINDS, PLACES
from posthouse_sdk.profiles.request import Told, steps_of
from posthouse_sdk.profiles.signers import Surroundings


class Credentials:
    """A key that both sides have, shown in the clear: it is compared in constant time. Raises: SettingError."""

    tells: Final[frozenset[str]] = frozenset()
    needs: Final[frozenset[str]] = frozenset()

    def __init__(self, reader: Reader, around: Surroundings) -> None:
        kind = reader.one_of("kind", ("bearer", "basic", "api_key", "oauth2"))
        if kind == "oauth2":
            raise SettingError("tokens of an OAuth 2 server are not verified here: ask it", reader.path("kind"))
        self._key: Final = reader.text("key")
        texts = around.texts(self._key, reader.path("key"))
        self._place: Final = reader.one_of("in", PLACES, "header") if kind == "api_key" else "header"
        self._name: Final = reader.text("name") if kind == "api_key" else "Authorization"
        match kind:
            case "bearer":
                shown = [f"Bearer {text}" for text in texts]
            case "basic":
                user = reader.text("username", "")
                shown = [f"Basic {base64.b64encode(f'{user}:{text}'.encode()).decode('ascii')}" for text in texts]
            case _:
                prefix = reader.text("prefix", "")
                shown = [prefix + text for text in texts]
        self._shown: Final = {text: value.encode() for text, value in zip(texts, shown, strict=True)}
        reader.check_all_read()

    def verify(self, told: Told, used: dict[str, str]) -> None:
        match self._place:
            case "header":
                value = told.request.header(self._name)
            case "query":
                value = told.request.parameter(self._name)
            case _:
                value = self._field(told)
        if value is None:
            raise MissingHeaderError(self._name, KINDS[self._place])
        found = value.encode("utf-8", "surrogatepass")
        for text, expected in self._shown.items():
            if hmac.compare_digest(found, expected):
                used[self._key] = text
                return
        raise NoMatchingSignatureError(f"{self._name} shows no key that is given here")

    def _field(self, told: Told) -> str | None:
        """It was put there before the body was encrypted. Raises: DecryptionError, MalformedBodyError."""
        try:
            return field_at(told.pairs() if told.request.in_query else told.plain().pairs(), steps_of(self._name))
        except Unreadable as error:
            raise MalformedBodyError(str(error)) from None
