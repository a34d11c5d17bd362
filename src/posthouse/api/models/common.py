"""What all models share."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from posthouse.domain.limits import METADATA_BYTES_MAX, NAME_LENGTH_MAX
from posthouse.wire.standard import timestamp

NOT_A_TIME: Final = "should be a time as in RFC 3339, such as 2026-01-02T03:04:05Z; in a URL, + is written %2B"
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _written_out(value: object) -> object:
    if isinstance(value, str) and _RFC_3339.fullmatch(value):
        return value
    raise PydanticCustomError("instant", NOT_A_TIME)


Instant = Annotated[AwareDatetime, BeforeValidator(_written_out), Field(strict=False)]
"""A time in a request. RFC 3339 alone: a number would be taken for seconds or for milliseconds, by its size."""

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-02T03:04:05.678Z"])]

Uid = Annotated[
    str | None,
    Field(
        description="Your own name for it: letters, digits and . _ ~ @ : + -; it can stand for the id everywhere.",
        json_schema_extra={"maxLength": NAME_LENGTH_MAX},
        examples=["shop-42"],
    ),
]
Metadata = Annotated[
    dict[str, Any] | None,
    Field(description=f"Anything you like to keep with it, at most {METADATA_BYTES_MAX} bytes as JSON."),
]


class Body(BaseModel):
    """A request's body: types are not converted, and unknown fields are refused. In a field that may be left out, null
    means its default."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=False, serialize_by_alias=True)


def time_of(unix_seconds: float) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return timestamp(unix_seconds).decode("ascii")


def optional_time(unix_seconds: float | None) -> str | None:
    return None if unix_seconds is None else time_of(unix_seconds)


def milliseconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


_CUT: Final = "unexpected end of data"


def text_or_base64(raw: bytes) -> tuple[str | None, str | None]:
    """Bytes for JSON: as text where they are UTF-8 (a character cut off at the end is left out), else in base64."""
    try:
        return raw.decode("utf-8"), None
    except UnicodeDecodeError as error:
        if error.reason == _CUT and error.start > 0:
            return raw[: error.start].decode("utf-8"), None
        return None, b64encode(raw).decode("ascii")
