"""JSON Web Tokens that vouch for a request (RFC 7519, as a JWS in compact form, RFC 7515), verified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.errors import NoMatchingSignatureError, StaleTimestampError
from posthouse_sdk.profiles.algorithms import JWT, keyed
from posthouse_sdk.profiles.places import FIELD, QUERY, Placed
from posthouse_sdk.profiles.request import Told, Turn, decoded, is_computed
from posthouse_sdk.profiles.signers import KEY_ENCODINGS, Surroundings
from posthouse_sdk.profiles.texts import Text

TOKEN_LENGTH_MAX: Final = 16 * 1024


class JwtSigner:
    """The claims that the profile has are there with what they have to say: a digest of the body, above all.

    Raises: SettingError.
    """

    needs: Final[frozenset[str]] = frozenset()

    def __init__(self, reader: Reader, around: Surroundings) -> None:
        self._around: Final = around
        self._algorithm: Final = reader.one_of("algorithm", JWT)
        self._key_id: Final = reader.text("key_id", "")
        self._expires: Final = reader.any("lifetime_seconds", None) is not None
        self._token: Final = Placed(reader.object_reader("token"), "{token}")
        if "token" not in self._token.text.names:
            raise SettingError("the value lacks the {token}", reader.path("token.value"))
        claims = reader.object("claims") if reader.has("claims") else {}
        self._claims: Final = {
            name: Text(value, f"{reader.path('claims')}.{name}") if isinstance(value, str) else value
            for name, value in claims.items()
        }
        texts_of = [text for text in (self._token.text, *self._claims.values()) if isinstance(text, Text)]
        self.tells: Final = frozenset(name for text in texts_of for name in text.names if not is_computed(name))
        self._name: Final = reader.text("key")
        encoding = reader.one_of("key_encoding", KEY_ENCODINGS, None)
        texts = around.texts(self._name, reader.path("key"))
        self._keys: Final = [keyed(self._algorithm, text, encoding, reader.path("key")) for text in texts]
        reader.check_all_read()

    def verify(self, told: Told, used: dict[str, str]) -> None:
        claims = self._verified(self._token.read(told)["token"], used)
        self._check_times(claims)
        place, name = self._token.place, self._token.name
        turn = Turn(
            told, self._key_id, field=name if place == FIELD else None, parameter=name if place == QUERY else None
        )
        for name, expected in self._claims.items():
            if not isinstance(expected, Text):
                if claims.get(name) != expected or isinstance(claims.get(name), bool) != isinstance(expected, bool):
                    raise _other(name)
                continue
            found = claims.get(name)
            values = expected.match(found) if isinstance(found, str) else None
            if values is None:
                raise _other(name)
            told.learn({each: value for each, value in values.items() if not is_computed(each)})
            if expected.fill(turn.text) != found:
                raise _other(name)

    def _verified(self, token: str, used: dict[str, str]) -> dict[str, Any]:
        parts = token.split(".")
        if len(token) > TOKEN_LENGTH_MAX or len(parts) != 3:
            raise self._token.malformed("holds no JSON Web Token")
        raw = [decoded(part, "base64url") for part in parts]
        head, claims, signature = _object(raw[0]), _object(raw[1]), raw[2]
        if head is None or claims is None or not signature:
            raise self._token.malformed("holds no JSON Web Token")
        # What it says of itself is never believed: the algorithm is the profile's.
        if head.get("alg") != self._algorithm or "crit" in head:
            raise NoMatchingSignatureError(f"the token is not signed with {self._algorithm}")
        content = f"{parts[0]}.{parts[1]}".encode("ascii")
        for key in self._keys:
            if key.check(content, signature):
                used[self._name] = key.text
                return claims
        raise NoMatchingSignatureError("the token was not signed with a key given here")

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or isinstance(issued, bool):
            raise StaleTimestampError("the token does not say when it was issued")
        self._around.check_time(issued)
        if expires is None and not self._expires:
            return
        if not isinstance(expires, int) or isinstance(expires, bool) or expires <= self._around.clock():
            raise StaleTimestampError("the token has expired")


def _other(name: str) -> NoMatchingSignatureError:
    return NoMatchingSignatureError(
        f"the token is right, and vouches for another request: its claim {name[:64]} says so"
    )


def _object(raw: bytes | None) -> dict[str, Any] | None:
    try:
        read = json.loads(raw or b"")
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None
