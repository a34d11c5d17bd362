"""The Chinese of a text of the help."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache


def in_chinese(text: str) -> str:
    """Each paragraph of this text in Chinese; one that is not known stays as it is."""
    return "\n\n".join(chinese().get(" ".join(part.split()), part) for part in text.split("\n\n"))


@cache
def chinese() -> Mapping[str, str]:
    """English, each paragraph in one line, to Chinese; read when the first text is asked for, with what reads it."""
    import json
    from importlib.resources import files

    texts: dict[str, str] = json.loads(files(__package__).joinpath("zh_cn.json").read_bytes())
    return texts
