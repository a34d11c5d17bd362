"""What a token endpoint answered. Pure. Source: RFC 6749 sections 5.1 and 5.2, RFC 8707 section 2 (`invalid_target`).

Nothing that the endpoint wrote is repeated but an error's name from these standards: it may repeat the secret.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from posthouse.domain.exchange import Answer
from posthouse.domain.limits import OAUTH2_TOKEN_BYTES_MAX, OAUTH2_TOKEN_SECONDS, OAUTH2_TOKEN_SECONDS_MAX

ERRORS: Final = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
        "server_error",
        "temporarily_unavailable",
    }
)
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


class Token(msgspec.Struct, frozen=True):
    """A token, and for how many seconds it may be used."""

    text: str
    seconds: float

    def __repr__(self) -> str:
        return f"Token(<hidden>, seconds={self.seconds})"


class NoToken(msgspec.Struct, frozen=True):
    """Why there is none, for a person to read."""

    detail: str


def read_token(answer: Answer) -> Token | NoToken:
    """The token in a token endpoint's answer."""
    fields = _object(answer.body)
    if answer.status != 200:
        error = None if fields is None else fields.get("error")
        named = f": {error}" if isinstance(error, str) and error in ERRORS else ""
        return NoToken(f"the token endpoint answered {answer.status}{named}")
    if fields is None or answer.truncated:
        return NoToken("the token endpoint's answer is not a JSON object")
    text, kind, seconds = fields.get("access_token"), fields.get("token_type", "bearer"), fields.get("expires_in")
    if not isinstance(text, str) or not text:
        return NoToken("the token endpoint's answer has no access_token")
    if len(text) > OAUTH2_TOKEN_BYTES_MAX or not _TOKEN.fullmatch(text):
        return NoToken(f"the access_token is no header's value: 1 to {OAUTH2_TOKEN_BYTES_MAX} visible ASCII characters")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return NoToken("the token endpoint's answer has a token_type other than Bearer")
    return Token(text, _seconds(seconds))


def _seconds(told: object) -> float:
    """`expires_in`: a number, of some servers a text; of others nothing."""
    try:
        seconds = float(told) if isinstance(told, int | float | str) and not isinstance(told, bool) else 0.0
    except (ValueError, OverflowError):
        seconds = 0.0
    # What is not more than 0 (and what is no number) cannot be meant.
    return min(seconds, OAUTH2_TOKEN_SECONDS_MAX) if seconds > 0 else OAUTH2_TOKEN_SECONDS


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
