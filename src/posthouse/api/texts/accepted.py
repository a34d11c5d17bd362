"""`Accept-Language` (RFC 9110 section 12.5.4): which of our two languages a caller prefers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from posthouse.domain.limits import ACCEPT_LANGUAGE_LENGTH_MAX, ACCEPT_LANGUAGE_RANGES_MAX

Language = Literal["en", "zh-CN"]

ENGLISH: Final = "en"
CHINESE: Final = "zh-CN"

_WEIGHT: Final = re.compile(r"[ \t]*q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)
_TRADITIONAL: Final = frozenset({"hant", "tw", "hk", "mo"})


def language_of(headers: Iterable[tuple[bytes, bytes]]) -> Language:
    """The language for a request with these headers, whose names are in lower case as in ASGI. English in case of doubt."""
    values = [value for name, value in headers if name == b"accept-language"]
    return accepted(b",".join(values).decode("latin-1")) if values else ENGLISH


def accepted(header: str) -> Language:
    """The language that this value of `Accept-Language` prefers. Of two that are wanted alike, the first one is taken."""
    if len(header) > ACCEPT_LANGUAGE_LENGTH_MAX:
        return ENGLISH
    english: float | None = None
    chinese: float | None = None
    others = 0.0
    chinese_first = False
    for item in header.split(",")[:ACCEPT_LANGUAGE_RANGES_MAX]:
        tag, _, parameter = item.partition(";")
        quality = _quality(parameter) if parameter else 1.0
        if quality is None:
            continue
        tag = tag.strip().lower()
        if tag == "*":
            others = max(others, quality)
        elif tag == "en" or tag.startswith("en-"):
            english = max(english or 0.0, quality)
        elif _is_chinese(tag):
            chinese_first = chinese_first or english is None
            chinese = max(chinese or 0.0, quality)
    if not chinese:
        return ENGLISH
    instead = others if english is None else english
    return CHINESE if chinese > instead or (chinese == instead and chinese_first) else ENGLISH


def _is_chinese(tag: str) -> bool:
    """Ours is in simplified characters: a reader of traditional ones says so, and then English is no worse a guess."""
    language, *subtags = tag.split("-")
    return language == "zh" and ("hans" in subtags or _TRADITIONAL.isdisjoint(subtags))


def _quality(parameter: str) -> float | None:
    found = _WEIGHT.fullmatch(parameter)
    return None if found is None else float(found[1])
