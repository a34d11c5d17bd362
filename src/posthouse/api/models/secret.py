"""Signing secrets of endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from posthouse.api.models.common import Answer, Body, Time, time_of
from posthouse.domain.endpoint import Secret
from posthouse.domain.limits import OVERLAP_SECONDS, OVERLAP_SECONDS_MAX
from posthouse.ports.directory import StoredSecret
from posthouse_sdk.signatures import SigningKey, signing_key

GivenSecret = Annotated[
    str | None,
    Field(
        description="whsec_… (HMAC-SHA256, 24 to 64 bytes) or whsk_… (ed25519). Default: a new whsec_… is made.",
        repr=False,
    ),
]


class Rotate(Body):
    """A new secret; until the overlap ends, requests are signed with the old ones too."""

    secret: GivenSecret = None
    overlap_seconds: Annotated[
        int | None,
        Field(
            description=f"Default: {OVERLAP_SECONDS} (a day). 0 ends the old secrets at once.",
            json_schema_extra={"minimum": 0, "maximum": OVERLAP_SECONDS_MAX},
        ),
    ] = None


class ExpiringSecret(Answer):
    """A secret that was replaced, and still signs."""

    secret: str
    expires_at: Time


class SecretAnswer(Answer):
    """The signing secret."""

    secret: str
    public_key: Annotated[str | None, Field(description="whpk_…, where the secret is whsk_…")]
    expiring: list[ExpiringSecret]

    @classmethod
    def of(cls, live: Sequence[StoredSecret]) -> SecretAnswer:
        newest, *others = live
        return cls(
            secret=secret_text(newest.secret),
            public_key=public_key(newest.secret),
            expiring=[
                ExpiringSecret(secret=secret_text(old.secret), expires_at=time_of(old.expires_at))
                for old in others
                if old.expires_at is not None
            ],
        )


class Rotated(Answer):
    """The new secret, and until when the ones before it sign too."""

    secret: str
    public_key: str | None
    others_expire_at: Time

    @classmethod
    def of(cls, secret: Secret, expires_at: float) -> Rotated:
        return cls(secret=secret_text(secret), public_key=public_key(secret), others_expire_at=time_of(expires_at))


def secret_text(secret: Secret) -> str:
    """A secret as it is shown: `whsec_…` or `whsk_…`."""
    return signing_key(secret.kind, secret.key).text


def public_key(secret: Secret) -> str | None:
    """What a receiver verifies with, where that is not the secret itself: `whpk_…`."""
    key = signing_key(secret.kind, secret.key)
    return key.verifying_key.text if isinstance(key, SigningKey) else None
