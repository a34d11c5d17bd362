"""JSON Web Tokens that vouch for a request (RFC 7519, as a JWS in compact form, RFC 7515).

    {"kind": "jwt", "algorithm": "ES256", "key": "jwt", "key_id": "2026", "lifetime_seconds": 300,
     "claims": {"iss": "https://example.com", "jti": "{message.id}", "request_body_sha256": "{body.sha256}"},
     "token": {"in": "header", "name": "Authorization", "value": "Bearer {token}"}}

The three lines of a JWS are written here and not by a library: they sign with the same keys and algorithms as all else.
"""

from __future__ import annotations

from typing import Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import NAME_LENGTH_MAX, SIGNED_PARTS_MAX
from posthouse.domain.signing import Encoding
from posthouse.domain.signing import JwtSigner as Configuration
from posthouse.wire.message import Message
from posthouse.wire.signing.algorithms import jwt_sign
from posthouse.wire.signing.keys import Keys
from posthouse.wire.signing.places import Spot
from posthouse.wire.signing.texts import Known, SentText, Turn, bounded, encoded

LIFETIME_SECONDS_MAX: Final = 366 * 86_400

_OURS: Final = ("iat", "exp")
_encode: Final = msgspec.json.Encoder().encode

Claim = SentText | int | bool


class JwtSigner:
    """Adds a token to each message, signed with the newest key. Raises: Invalid, whose path begins with `path`."""

    __slots__ = ("_claims", "_config", "_finish", "_header", "_sign", "_spot")

    def __init__(self, config: Configuration, keys: Keys, *, known: Known, path: str) -> None:
        self._config: Final = config
        bounded(config.key_id, f"{path}.key_id")
        self._claims: Final = _claims(config, known, path)
        self._spot: Final = Spot(config.token, known=known.token, path=f"{path}.token", default="{token}")
        if "token" not in self._spot.text.names:
            raise Invalid("the value lacks the {token}", path=f"{path}.token.value")
        lifetime = config.lifetime_seconds
        if lifetime is not None and not 0 < lifetime <= LIFETIME_SECONDS_MAX:
            raise Invalid(f"a lifetime is 1 to {LIFETIME_SECONDS_MAX} seconds", path=f"{path}.lifetime_seconds")
        header = {"alg": config.algorithm, "typ": "JWT"} | ({"kid": config.key_id} if config.key_id else {})
        self._header: Final = encoded(_encode(header), Encoding.BASE64URL)
        newest = keys.live(config.key, config.key_encoding, f"{path}.key")[0]
        self._sign: Final = jwt_sign(config.algorithm, newest)
        self._finish: Final = keys.finish

    def apply(self, message: Message) -> None:
        turn = Turn(message, key_id=self._config.key_id)
        self._spot.prepare(turn)
        issued = int(message.now)
        claims: dict[str, str | int | bool] = {
            name: claim.of(turn) if isinstance(claim, SentText) else claim for name, claim in self._claims
        }
        claims["iat"] = issued
        if self._config.lifetime_seconds is not None:
            claims["exp"] = issued + self._config.lifetime_seconds
        content = f"{self._header}.{encoded(_encode(claims), Encoding.BASE64URL)}"
        signature = self._finish(self._sign(content.encode("ascii")))
        turn.signature = f"{content}.{encoded(signature, Encoding.BASE64URL)}"
        self._spot.fill(turn)


def _claims(config: Configuration, known: Known, path: str) -> tuple[tuple[str, Claim], ...]:
    if len(config.claims) > SIGNED_PARTS_MAX:
        raise Invalid(f"there are more than {SIGNED_PARTS_MAX} claims", path=f"{path}.claims")
    compiled: list[tuple[str, Claim]] = []
    for name, value in config.claims.items():
        where = f"{path}.claims.{name[:NAME_LENGTH_MAX]}"
        bounded(name, f"{path}.claims")
        if name in _OURS:
            raise Invalid("iat is always there, and exp with lifetime_seconds: they are not set here", path=where)
        compiled.append((name, SentText(value, known=known.sent, path=where) if isinstance(value, str) else value))
    return tuple(compiled)
