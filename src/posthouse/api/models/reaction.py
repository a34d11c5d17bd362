"""What an answer made happen."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from posthouse.api.models.common import Answer
from posthouse.domain.chaining import read_reaction


class EffectAnswer(Answer):
    """Something that a response rule asks for besides."""

    then: Annotated[str, Field(examples=["emit"])]
    recorded: Annotated[bool, Field(description="Whether it is done, once; else why says why not.")]
    detail: Annotated[str, Field(description="The type of its event, or the rate.", examples=["payment.requested"])]
    why: str


class ReactionAnswer(Answer):
    """The response rule that the answer meets, what it says, and what else it asks for."""

    rule: Annotated[
        str,
        Field(
            description="Its place in the endpoint's configuration, or the header in which the target said so.",
            examples=["on_response[0]"],
        ),
    ]
    then: Annotated[str, Field(examples=["retry"])]
    effects: list[EffectAnswer]

    @classmethod
    def of(cls, text: str) -> ReactionAnswer:
        reaction = read_reaction(text)
        return cls(
            rule=reaction.place,
            then=reaction.then,
            effects=[
                EffectAnswer(then=did.then, recorded=did.recorded, detail=did.detail, why=did.why)
                for did in reaction.effects
            ],
        )
