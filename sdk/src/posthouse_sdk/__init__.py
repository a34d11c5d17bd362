"""Posthouse for its users: sign and verify webhooks the Standard Webhooks way.

    event = Webhook("whsec_…").verify(body, headers)  # raises a VerificationError that names the cause

Importing it costs the standard library only; `cryptography` is loaded when the first ed25519 key is.
"""

from posthouse_sdk.errors import (
    BodyNotJsonError,
    ClaimLostError,
    FutureTimestampError,
    MalformedBodyError,
    MalformedHeaderError,
    MissingHeaderError,
    NoMatchingSignatureError,
    ParsedBodyError,
    ReceiverError,
    ReplayStoreError,
    ReserialisedBodyError,
    SecretError,
    SeveralEventsError,
    StaleTimestampError,
    VerificationError,
    WrongSecretKindError,
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
    "ClaimLostError",
    "FutureTimestampError",
    "HmacKey",
    "Key",
    "MalformedBodyError",
    "MalformedHeaderError",
    "MissingHeaderError",
    "NoMatchingSignatureError",
    "ParsedBodyError",
    "ReceiverError",
    "ReplayStoreError",
    "ReserialisedBodyError",
    "SecretError",
    "SeveralEventsError",
    "SignerKey",
    "SigningKey",
    "StaleTimestampError",
    "VerificationError",
    "VerifyingKey",
    "Webhook",
    "WrongSecretKindError",
    "generate_hmac_key",
    "generate_signing_key",
    "parse_secret",
    "sign",
    "signing_key",
]
