"""What an endpoint says of its handshake, and what that came to."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field, WithJsonSchema

from posthouse.api.models.common import Answer, Body, Time, optional_time, time_of
from posthouse.api.models.structs import schema_of
from posthouse.domain.configuration import read
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.handshake import Handshake
from posthouse.domain.verification import Verification

HandshakeValue = Annotated[Any, WithJsonSchema(schema_of(Handshake))]


class HandshakeFields(Body):
    """What of this an endpoint and a change of one have in common."""

    handshake: Annotated[
        HandshakeValue | None,
        Field(
            description="What its target must answer before anything is sent to it: steps, made with each of its URLs, when "
            "one of these or the handshake changes, and every so many seconds. Default: nothing.",
            examples=[{"steps": [{"kind": "request", "expect": {"json": {"/challenge": "{challenge}"}}}]}],
        ),
    ] = None


DOMAIN: Final[dict[str, Any]] = {"handshake": lambda value: read(value, Handshake, "handshake")}
"""What a given field of these is in the domain's words. Raises Invalid with the path of what is wrong."""


class HandshakeAnswer(Answer):
    """What of this an endpoint and its revisions tell."""

    handshake: HandshakeValue | None


class VerificationAnswer(Answer):
    """Whether an endpoint has passed its handshake. Nothing is sent to it unless it is verified; what it is owed is kept."""

    state: Literal["unverified", "verified", "failed"]
    reason: Annotated[
        Literal[
            "no_answer",
            "wrong_status",
            "wrong_answer",
            "no_consent",
            "bad_signature_accepted",
            "not_confirmed",
            "unusable",
            "lapsed",
        ]
        | None,
        Field(description="Why the last try came to nothing. null: it did not."),
    ]
    since: Annotated[Time, Field(description="Since when it is in this state.")]
    verified_at: Time | None
    next_at: Annotated[
        Time | None,
        Field(description="When it is made again by itself. null: not until somebody asks, or it is changed."),
    ]
    tries: Annotated[int, Field(description="How many came to nothing in a row.")]
    waits_until: Annotated[
        Time | None, Field(description="Until when somebody may follow the URL that its target was sent.")
    ]
    allowed_per_second: Annotated[float | None, Field(description="The rate that its target allowed. null: any.")]

    @classmethod
    def of(cls, verification: Verification) -> VerificationAnswer:
        return cls(
            state=verification.state.value,
            reason=None if verification.reason is None else verification.reason.value,
            since=time_of(verification.since),
            verified_at=optional_time(verification.verified_at),
            next_at=optional_time(verification.next_at),
            tries=verification.tries,
            waits_until=optional_time(verification.waits_until),
            allowed_per_second=verification.allowed_per_second,
        )


class VerifiedAnswer(HandshakeAnswer):
    """The handshake, and where the endpoint stands."""

    verification: Annotated[
        VerificationAnswer | None, Field(description="What its handshake came to. null: it has none.")
    ]


class ConfirmedAnswer(Answer):
    """It was confirmed."""

    confirmed: Literal[True] = True


def handshake_fields(config: EndpointConfig) -> dict[str, Any]:
    """The fields of `HandshakeAnswer`."""
    return {"handshake": None if config.handshake is None else msgspec.to_builtins(config.handshake)}


def verification_fields(verification: Verification | None) -> dict[str, Any]:
    """The fields of `VerifiedAnswer`."""
    return {"verification": None if verification is None else VerificationAnswer.of(verification)}
