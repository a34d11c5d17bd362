"""Named keys of endpoints. No answer has the text of one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Annotated

from pydantic import Field

from posthouse.api.models.common import Answer, Body, Time, optional_time, time_of
from posthouse.domain.limits import ENDPOINT_KEY_BYTES_MAX, ENDPOINT_KEYS_MAX, OVERLAP_SECONDS, OVERLAP_SECONDS_MAX
from posthouse.domain.named_keys import KeyVersion

GivenKeys = Annotated[
    dict[str, str] | None,
    Field(
        description=(
            f"Named keys, at most {ENDPOINT_KEYS_MAX}, each with its text (of up to {ENDPOINT_KEY_BYTES_MAX} bytes), which is "
            "never shown again. What it signs, encrypts or authenticates with refers to them by name. With a PUT of an "
            "endpoint that is there, each is rotated where its text is another one, and keys that are not named stay."
        ),
        repr=False,
        examples=[{"legacy": "the shared secret"}],
    ),
]


class KeyPut(Body):
    """A key's new text; until the overlap ends, the one before it is live too."""

    value: Annotated[str, Field(repr=False, description="The text. It is never shown again.")]
    overlap_seconds: Annotated[
        int | None,
        Field(
            description=f"Default: {OVERLAP_SECONDS} (a day). 0 ends the old versions at once.",
            json_schema_extra={"minimum": 0, "maximum": OVERLAP_SECONDS_MAX},
        ),
    ] = None


class KeyVersionAnswer(Answer):
    """A live version of a key."""

    version: int
    created_at: Time
    expires_at: Annotated[Time | None, Field(description="The end of the overlap; the newest version has none.")]


class EndpointKeyAnswer(Answer):
    """A named key."""

    name: Annotated[str, Field(examples=["legacy"])]
    versions: Annotated[list[KeyVersionAnswer], Field(description="Those that are live, newest first.")]

    @classmethod
    def of(cls, name: str, versions: Iterable[KeyVersion]) -> EndpointKeyAnswer:
        return cls(
            name=name,
            versions=[
                KeyVersionAnswer(
                    version=one.version, created_at=time_of(one.created_at), expires_at=optional_time(one.expires_at)
                )
                for one in versions
            ],
        )


class EndpointKeys(Answer):
    """All named keys of an endpoint, by name."""

    data: list[EndpointKeyAnswer]

    @classmethod
    def of(cls, versions: Iterable[KeyVersion]) -> EndpointKeys:
        groups = groupby(versions, key=lambda one: one.name)
        return cls(data=[EndpointKeyAnswer.of(name, group) for name, group in groups])
