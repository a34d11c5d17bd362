"""Why no complete answer came."""

from __future__ import annotations

import msgspec

from posthouse.domain.exchange import Fault


class Broken(msgspec.Struct, frozen=True, gc=False):
    """Why no complete answer came. `unanswered`: the connection ended before a byte of an answer; `unsent`: even before a byte
    of the request."""

    fault: Fault
    detail: str
    status: int | None = None
    unanswered: bool = False
    unsent: bool = False


def headers_too_large(limit: str, status: int | None) -> Broken:
    return Broken(Fault.HEADERS_TOO_LARGE, f"the answer's head is larger than {limit}", status)


def malformed_answer(why: str, status: int | None = None) -> Broken:
    return Broken(Fault.MALFORMED_RESPONSE, f"the answer is not HTTP/1.1: {why}", status)


def printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
