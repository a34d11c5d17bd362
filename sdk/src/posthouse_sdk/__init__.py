"""Posthouse for its users: publish events, and receive signed webhooks the Standard Webhooks way.

    hub = Posthouse()                                     # POSTHOUSE_URL and POSTHOUSE_API_KEY
    hub.on_event("user_register", {"username": "li"})     # in the background, in batches

    event = Webhook("whsec_…").verify(body, headers)      # raises a VerificationError that names the cause

A name is imported when it is first used (PEP 562): importing the package costs a few milliseconds, and receiving does
not load what publishing needs. `_HOMES` says where each public name lives; the block under `TYPE_CHECKING` says the
same to type checkers, and a test holds the two together.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from posthouse_sdk.decryption import Decrypted, Decryption
    from posthouse_sdk.errors import (
        BodyNotJsonError,
        BodyTooLargeError,
        ClaimLostError,
        DecryptionError,
        FutureTimestampError,
        MalformedBodyError,
        MalformedHeaderError,
        MissingHeaderError,
        NoMatchingSignatureError,
        ParsedBodyError,
        ProfileError,
        ReceiverError,
        ReplayStoreError,
        ReserialisedBodyError,
        SecretError,
        SeveralEventsError,
        StaleTimestampError,
        UnknownEncodingError,
        VerificationError,
        WrongSecretKindError,
    )
    from posthouse_sdk.profiles import Profile, ProfileReceiver, Received, profile, profile_names, unwrap
    from posthouse_sdk.publishing.async_client import AsyncPosthouse
    from posthouse_sdk.publishing.background import Failure, Handle, Stats
    from posthouse_sdk.publishing.client import Posthouse
    from posthouse_sdk.publishing.errors import (
        BufferFullError,
        ClosedError,
        ConfigurationError,
        EventError,
        FieldError,
        ForbiddenError,
        InvalidEventError,
        NotFoundError,
        PosthouseError,
        PublishError,
        RefusedError,
        UnauthorisedError,
        UnavailableError,
    )
    from posthouse_sdk.publishing.event import Event, Receipt
    from posthouse_sdk.publishing.event_types import EventType, declared_types, event_type
    from posthouse_sdk.received import ReceivedEvent
    from posthouse_sdk.receiving import Gate, Receiver, RetryLater
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

# One line a module, sorted by module; a name stands once.
_MODULES: Final = {
    "decryption": ("Decrypted", "Decryption"),
    "errors": (
        "BodyNotJsonError", "BodyTooLargeError", "ClaimLostError", "DecryptionError", "FutureTimestampError",
        "MalformedBodyError", "MalformedHeaderError", "MissingHeaderError", "NoMatchingSignatureError", "ParsedBodyError",
        "ProfileError", "ReceiverError", "ReplayStoreError", "ReserialisedBodyError", "SecretError", "SeveralEventsError",
        "StaleTimestampError", "UnknownEncodingError", "VerificationError", "WrongSecretKindError",
    ),
    "profiles": ("Profile", "ProfileReceiver", "Received", "profile", "profile_names", "unwrap"),
    "received": ("ReceivedEvent",),
    "receiving": ("Gate", "Receiver", "RetryLater"),
    "publishing.async_client": ("AsyncPosthouse",),
    "publishing.background": ("Failure", "Handle", "Stats"),
    "publishing.client": ("Posthouse",),
    "publishing.errors": (
        "BufferFullError", "ClosedError", "ConfigurationError", "EventError", "FieldError", "ForbiddenError",
        "InvalidEventError", "NotFoundError", "PosthouseError", "PublishError", "RefusedError", "UnauthorisedError",
        "UnavailableError",
    ),
    "publishing.event": ("Event", "Receipt"),
    "publishing.event_types": ("EventType", "declared_types", "event_type"),
    "signatures": (
        "HmacKey", "Key", "SignerKey", "SigningKey", "VerifyingKey", "generate_hmac_key", "generate_signing_key",
        "parse_secret", "sign", "signing_key",
    ),
    "webhook": ("Webhook",),
}  # fmt: skip
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AsyncPosthouse",
    "BodyNotJsonError",
    "BodyTooLargeError",
    "BufferFullError",
    "ClaimLostError",
    "ClosedError",
    "ConfigurationError",
    "Decrypted",
    "Decryption",
    "DecryptionError",
    "Event",
    "EventError",
    "EventType",
    "Failure",
    "FieldError",
    "ForbiddenError",
    "FutureTimestampError",
    "Gate",
    "Handle",
    "HmacKey",
    "InvalidEventError",
    "Key",
    "MalformedBodyError",
    "MalformedHeaderError",
    "MissingHeaderError",
    "NoMatchingSignatureError",
    "NotFoundError",
    "ParsedBodyError",
    "Posthouse",
    "PosthouseError",
    "Profile",
    "ProfileError",
    "ProfileReceiver",
    "PublishError",
    "Receipt",
    "Received",
    "ReceivedEvent",
    "Receiver",
    "ReceiverError",
    "RefusedError",
    "ReplayStoreError",
    "ReserialisedBodyError",
    "RetryLater",
    "SecretError",
    "SeveralEventsError",
    "SignerKey",
    "SigningKey",
    "StaleTimestampError",
    "Stats",
    "UnauthorisedError",
    "UnavailableError",
    "UnknownEncodingError",
    "VerificationError",
    "VerifyingKey",
    "Webhook",
    "WrongSecretKindError",
    "declared_types",
    "event_type",
    "generate_hmac_key",
    "generate_signing_key",
    "parse_secret",
    "profile",
    "profile_names",
    "sign",
    "signing_key",
    "unwrap",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
