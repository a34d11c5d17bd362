"""Which of our two languages the environment asks for, as programs that use gettext read it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final

CHINESE: Final = "zh-CN"  # as Accept-Language names it

_NONE: Final = frozenset({"", "c", "posix"})
_TRADITIONAL: Final = frozenset({"tw", "hk", "mo", "hant"})


def chinese_wanted() -> bool:
    """Whether this process speaks Chinese where it can: its environment asks for it, and standard output can hold it."""
    return chinese_asked(os.environ) and _can_hold("中文")


def chinese_asked(environment: Mapping[str, str]) -> bool:
    """Whether the first of LC_ALL, LC_MESSAGES and LANG that is set names simplified Chinese. LANGUAGE, a list, goes before all
    of them, unless they say that there is no language at all."""
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environment.get(name))), "")
    if _words(locale)[0] in _NONE:
        return False
    wanted = (environment.get("LANGUAGE") or locale).split(":")
    return _words(next(filter(_is_ours, wanted), ""))[0] == "zh"


def _is_ours(locale: str) -> bool:
    """English, or Chinese in simplified characters: readers of traditional ones get English, as from the API."""
    language, *more = _words(locale)
    return language == "en" or language in _NONE or (language == "zh" and _is_simplified(more))


def _is_simplified(subtags: Sequence[str]) -> bool:
    return "hans" in subtags or _TRADITIONAL.isdisjoint(subtags)


def _words(locale: str) -> list[str]:
    """`zh_Hans_CN.UTF-8` as zh, hans, cn, utf, 8."""
    return re.split(r"[^a-z0-9]", locale.lower())


def _can_hold(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
