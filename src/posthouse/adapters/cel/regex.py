"""The patterns that an expression may hold (RE2's syntax). Their time is linear in the text; what they repeat, they become."""

from __future__ import annotations

import re
from typing import Final

from posthouse.domain.limits import EXPRESSION_REGEX_LENGTH_MAX, EXPRESSION_REGEX_REPEATS_MAX

_REPEATED: Final = re.compile(r"\{([0-9]+)(?:,([0-9]*))?\}")


def why_not(pattern: str) -> str | None:
    """Why a pattern is too much; None where it is not. Whether it is one is for RE2 to say."""
    if len(pattern) > EXPRESSION_REGEX_LENGTH_MAX:
        return f"a regular expression has at most {EXPRESSION_REGEX_LENGTH_MAX} characters"
    repeats = 1
    for least, most in _REPEATED.findall(pattern):
        repeats *= max(min(int(most or least), 10_000), 1)
        if repeats > EXPRESSION_REGEX_REPEATS_MAX:
            return (
                f"a regular expression repeats things at most {EXPRESSION_REGEX_REPEATS_MAX} times in all: "
                "the counts in its braces are multiplied"
            )
    return None
