"""What a request shows beside its signatures (`endpoint.auth`): a password, a bearer token, a key in a header or the query."""

from __future__ import annotations

import base64
import hmac
from typing import Final

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.errors import MissingHeaderError, NoMatchingSignatureError
from posthouse_sdk.profiles.request import Told
from posthouse_sdk.profiles.signers import Surroundings


class Credentials:
    """A key that both sides have, shown in the clear: it is compared in constant time. Raises: SettingError."""

    def __init__(self, reader: Reader, around: Surroundings) -> None:
        kind = reader.one_of("kind", ("bearer", "basic", "api_key", "oauth2"))
        if kind == "oauth2":
            raise SettingError("tokens of an OAuth 2 server are not verified here: ask it", reader.path("kind"))
        self._key: Final = reader.text("key")
        texts = around.texts(self._key, reader.path("key"))
        self._in_query: Final = kind == "api_key" and reader.one_of("in", ("header", "query"), "header") == "query"
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
        request = told.request
        value = request.parameter(self._name) if self._in_query else request.header(self._name)
        if value is None:
            raise MissingHeaderError(self._name, "query parameter" if self._in_query else "header")
        found = value.encode("utf-8", "surrogatepass")
        for text, expected in self._shown.items():
            if hmac.compare_digest(found, expected):
                used[self._key] = text
                return
        raise NoMatchingSignatureError(f"{self._name} shows no key that is given here")
