"""Entity tags and the conditions made of them (RFC 9110, sections 8.8.3 and 13).

A tag is strong: a short hash over the canonical JSON of what a GET of the thing answers, so it is another one whenever the
answer is. The conditions of a change are checked on the locked row, in the transaction that changes it: nobody's change is
lost between the check and the change.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, TypeVar

import msgspec
from fastapi import Depends, Header
from fastapi.responses import Response
from pydantic import BaseModel, WithJsonSchema

from posthouse.domain.errors import Invalid, PreconditionFailed

T = TypeVar("T")
A = TypeVar("A", bound=BaseModel)

TAG_BYTES: Final = 12
ANY: Final = "*"

_canonical: Final = msgspec.json.Encoder(order="sorted")
_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
# Lines of a header are one text to whoever sends it.
_TAGS: Final = WithJsonSchema({"type": "string", "examples": ['"3f2a"']})
_BETWEEN: Final = re.compile(r"[ \t]*(?:,[ \t]*)*")


def etag_of(answer: BaseModel) -> str:
    """The strong tag of what a GET answers, with its quotes."""
    canonical = _canonical.encode(answer.model_dump(mode="json"))
    return f'"{urlsafe_b64encode(sha256(canonical).digest()[:TAG_BYTES]).decode("ascii")}"'


def parse_tags(text: str, *, header: str) -> tuple[str, ...]:
    """The tags of `If-Match` or `If-None-Match`: `("*",)`, or each with its quotes, and `W/` before a weak one.

    Raises Invalid (code `malformed_request`). Elements that are empty are passed over, as a list of HTTP's may have them.
    """
    text = text.strip(" \t")
    if text == ANY:
        return (ANY,)
    tags = []
    at = _skip(text, 0)
    while at < len(text):
        found = _ENTITY_TAG.match(text, at)
        if found is None:
            raise _malformed(header)
        tags.append(found[0])
        at = _skip(text, found.end())
        if at < len(text) and "," not in text[found.end() : at]:
            raise _malformed(header)
    if not tags:
        raise _malformed(header)
    return tuple(tags)


def _skip(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    assert found is not None, "it matches nothing, too"
    return found.end()


def _malformed(header: str) -> Invalid:
    return Invalid(
        f'{header} is *, or entity tags in double quotes with commas between them, such as "x7Dk"; send the ETag as it came',
        path=header,
        code="malformed_request",
    )


@dataclass(frozen=True)
class Conditions:
    """What a request wants to be true of the thing as it is. None: it did not say."""

    match: tuple[str, ...] | None = None
    none_match: tuple[str, ...] | None = None

    def check(self, current: str | None) -> None:
        """Of a change to a thing whose tag is `current`, None where there is no such thing. Raises PreconditionFailed."""
        if self.match is not None and not _matches_strongly(self.match, current):
            raise PreconditionFailed(
                "there is no such thing, and If-Match asks for one"
                if current is None
                else f"it was changed since: its ETag is {current} now; read it again, and send If-Match with that"
            )
        if self.none_match is not None and _matches_weakly(self.none_match, current):
            raise PreconditionFailed(
                "it is there already, and If-None-Match: * only makes a new one"
                if ANY in self.none_match
                else f"its ETag is still {current}, and If-None-Match asks for another one"
            )

    def on(self, answer_of: Callable[[T], BaseModel]) -> Callable[[T | None], None] | None:
        """`check` for a change function, given the thing rather than its tag; None where nothing is asked."""
        if self.match is None and self.none_match is None:
            return None
        return lambda thing: self.check(None if thing is None else etag_of(answer_of(thing)))

    def answer(self, response: Response, answer: A) -> A | Response:
        """What a GET answers: the answer with its ETag, or 304 where the client has that already. Raises
        PreconditionFailed for an If-Match that does not hold."""
        current = etag_of(answer)
        if self.match is not None and not _matches_strongly(self.match, current):
            raise PreconditionFailed(f"If-Match asks for another one than is there; its ETag is {current}")
        if self.none_match is not None and _matches_weakly(self.none_match, current):
            return Response(status_code=304, headers={**response.headers, "ETag": current})
        response.headers["ETag"] = current
        return answer


def tagged(response: Response, answer: A) -> A:
    """The answer to a change, with the ETag of the thing as it is now."""
    response.headers["ETag"] = etag_of(answer)
    return answer


def _matches_strongly(tags: tuple[str, ...], current: str | None) -> bool:
    """RFC 9110, 13.1.1: a weak tag matches nothing."""
    return current is not None and (ANY in tags or current in tags)


def _matches_weakly(tags: tuple[str, ...], current: str | None) -> bool:
    """RFC 9110, 13.1.2: `W/` makes no difference."""
    return current is not None and (ANY in tags or current in (tag.removeprefix("W/") for tag in tags))


async def _conditions(
    if_match: Annotated[
        list[str] | None,
        _TAGS,
        Header(alias="If-Match", description="Do it only while the ETag is one of these (*: while it is there)."),
    ] = None,
    if_none_match: Annotated[
        list[str] | None,
        _TAGS,
        Header(
            alias="If-None-Match",
            description="Do it only while the ETag is none of these (*: only where it is not there).",
        ),
    ] = None,
) -> Conditions:
    return Conditions(_tags("If-Match", if_match), _tags("If-None-Match", if_none_match))


def _tags(header: str, lines: list[str] | None) -> tuple[str, ...] | None:
    # A list may come in several lines (RFC 9110, 5.3).
    return None if lines is None else parse_tags(", ".join(lines), header=header)


Conditional = Annotated[Conditions, Depends(_conditions)]
"""The conditions of a request, for a route that honours them."""
