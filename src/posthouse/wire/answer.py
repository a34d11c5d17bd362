"""A target's answer in the form in which an attempt keeps it: bounded, and unambiguous to read again."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from posthouse.domain.exchange import Answer
from posthouse.domain.limits import RESPONSE_HEADER_BYTES_MAX, RESPONSE_STORED_BYTES_MAX
from posthouse.domain.redaction import REDACTED, RedactAnswer, redacted

# A line of the stored form ends where the target's header ended, whatever bytes the target put into it.
_TO_SPACES: Final = bytes.maketrans(b"\r\n\0", b"   ")


def stored_headers(answer: Answer) -> bytes:
    """The headers as `name: value\\r\\n` lines in order: as many whole ones as fit in RESPONSE_HEADER_BYTES_MAX."""
    return header_lines(answer.headers)


@lru_cache(maxsize=128)  # many answers to the second have the same, the date among them
def header_lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """As `stored_headers`. Pure, and remembered."""
    whole = b"".join([b"%b: %b\r\n" % header for header in headers])
    if (
        len(whole) <= RESPONSE_HEADER_BYTES_MAX
        and whole.count(b"\n") == whole.count(b"\r") == len(headers)  # the lines' own ends, and no others
        and b"\0" not in whole
    ):
        return whole  # nearly all: nothing to replace and nothing to leave out
    lines: list[bytes] = []
    room = RESPONSE_HEADER_BYTES_MAX
    for name, value in headers:
        line = b"%b: %b\r\n" % (name.translate(_TO_SPACES), value.translate(_TO_SPACES))
        room -= len(line)
        if room < 0:
            break
        lines.append(line)
    return b"".join(lines)


def stored_body(answer: Answer) -> bytes:
    """The first RESPONSE_STORED_BYTES_MAX bytes of the body."""
    return answer.body[:RESPONSE_STORED_BYTES_MAX]


def redacted_answer(answer: Answer, rules: RedactAnswer) -> Answer:
    """The answer with what the rules name masked. A body that is not JSON, or whose end was not read, is masked as a whole."""
    names = {name.lower().encode("ascii") for name in rules.headers}
    return msgspec.structs.replace(
        answer,
        headers=tuple([(name, REDACTED.encode() if name in names else value) for name, value in answer.headers]),
        body=redacted(answer.body, rules.body) if answer.body else b"",
    )
