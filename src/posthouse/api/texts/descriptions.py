"""What schemas and documents say of things, in the language that the caller reads: as the code has it, in English, or in
Chinese from `descriptions_zh_cn.json`.

Nobody who describes a field thinks of languages: the Chinese is looked up by the English text, white space aside, as a document
is answered. What is not of ours (an event type's own description, an operator's profile) is not in the catalogue, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from posthouse.api.texts.accepted import CHINESE, Language
from posthouse.api.texts.catalogue import chinese_descriptions

_DESCRIBING: Final = frozenset({"description", "summary"})


def described(text: str, language: Language) -> str:
    """A description in this language, or in English where there is no translation."""
    if language != CHINESE:
        return text
    plain = " ".join(text.split())
    told = chinese_descriptions().message(plain)
    return text if told == plain else told


def titled(title: str, language: Language) -> str:
    """The title of a profile in this language; most are names, and the same in all."""
    return chinese_descriptions().title(title) if language == CHINESE else title


def all_described(document: Any, language: Language) -> Any:
    """A document with every `description` and `summary` in it in this language; what was given stays as it is."""
    return document if language != CHINESE else _translated(document)


def _translated(node: Any) -> Any:
    match node:
        case Mapping():
            return {
                name: described(value, CHINESE)
                if name in _DESCRIBING and isinstance(value, str)
                else _translated(value)
                for name, value in node.items()
            }
        case list() | tuple():
            return [_translated(each) for each in node]
        case _:
            return node
