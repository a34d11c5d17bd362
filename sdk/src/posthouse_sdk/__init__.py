"""Posthouse for its users: sign and verify webhooks the Standard Webhooks way.

    event = Webhook("whsec_…").verify(body, headers)  # raises a VerificationError that names the cause

Importing it costs the standard library only; `cryptography` is loaded when the first ed25519 key is.
"""

from posthouse_sdk.errors import (
    BodyNotJsonError,
    FutureTimestampError,
    MalformedHeaderError,
    MissingHeaderError,
    NoMatchingSignatureError,
    ParsedBodyError,
    SecretError,
    StaleTimestampError,
    VerificationError,
)
from posthouse_sdk.signatures import (
    HmacKey,
    Key,
    SignerKey,
    SigningKey,
    VerifyingKey,
    generate_hmac_key,
    generate_signing_key,
    parse_secret,
    sign,
    signing_key,
)
from posthouse_sdk.webhook import Webhook

__all__ = [
    "BodyNotJsonError",
    "FutureTimestampError",
    "HmacKey",
    "Key",
    "MalformedHeaderError",
    "MissingHeaderError",
    "NoMatchingSignatureError",
    "ParsedBodyError",
    "SecretError",
    "SignerKey",
    "SigningKey",
    "StaleTimestampError",
    "VerificationError",
    "VerifyingKey",
    "Webhook",
    "generate_hmac_key",
    "generate_signing_key",
    "parse_secret",
    "sign",
    "signing_key",
]
