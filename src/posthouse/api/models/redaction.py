"""What is masked of a target's answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from posthouse.api.models.common import Answer, Body
from posthouse.domain.limits import REDACTED_NAMES_MAX
from posthouse.domain.redaction import RedactAnswer


class RedactAnswerBody(Body):
    """What is masked of a target's answers before they are stored."""

    body: Annotated[
        list[str] | None,
        Field(
            description="JSON pointers into the body. A body that is not JSON is then masked as a whole.",
            json_schema_extra={"maxItems": REDACTED_NAMES_MAX},
            examples=[["/access_token"]],
        ),
    ] = None
    headers: Annotated[
        list[str] | None,
        Field(
            description="Names of headers, in any case.",
            json_schema_extra={"maxItems": REDACTED_NAMES_MAX},
            examples=[["Set-Cookie"]],
        ),
    ] = None

    def rules(self) -> RedactAnswer:
        return RedactAnswer(tuple(self.body or ()), tuple(self.headers or ()))


class RedactAnswerAnswer(Answer):
    """What is masked of answers: values of the body (JSON pointers), and headers."""

    body: list[str]
    headers: list[str]
