"""Templates of messages, and the same in another language.

A catalogue is JSON: sections of English templates and their translations. `{}` stands for what an error filled in, `{s}` for
the plural's s. A translation numbers what it takes over, and may name the section in which that is looked up in turn:

    "malformed JSON: {}": "JSON 格式错误：{0:json}"
    "string should have at least {} character{s}": "字符串至少应有 {0} 个字符"

`{0:json_schema}` looks up each part of a list joined by `; `, `{0:or}` puts a list of choices into Chinese. What is not found
stays in English, wherever it stands: a text is never lost, and looking it up never fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final

import msgspec

from posthouse.domain.limits import TRANSLATED_LENGTH_MAX

# What an error's text may be as a whole; the other sections hold what stands inside of one.
WHOLE: Final = ("messages", "told", "pydantic", "msgspec")
DESCRIBED: Final = ("descriptions", "summaries", "profiles")
LISTS: Final = frozenset({"json_schema"})

HOLE: Final = re.compile(r"\{(s?)\}")
TAKEN: Final = re.compile(r"\{([0-9])(?::([a-z_]+))?\}")

Sections = Mapping[str, Mapping[str, str]]


class Template(msgspec.Struct, frozen=True, gc=False):
    """A message with holes: the constant texts around them, and which of the holes are numbered."""

    constants: tuple[str, ...]
    numbered: tuple[bool, ...]
    translation: str

    @classmethod
    def of(cls, text: str, translation: str) -> Template:
        pieces = HOLE.split(text)
        return cls(tuple(pieces[::2]), tuple(not plural for plural in pieces[1::2]), translation)

    @property
    def constant_length(self) -> int:
        """How much of a message is given: of two templates that match, the one with more of it is meant."""
        return sum(map(len, self.constants))

    def match(self, message: str) -> tuple[str, ...] | None:
        """What fills the numbered holes, each as short as it can be; None where this is another message.

        In time linear in the message: each constant is looked for once, from where the one before it ended.
        """
        first, *between, last = self.constants
        end = len(message) - len(last)
        at = len(first)
        if end < at or not message.startswith(first) or not message.endswith(last):
            return None
        found = []
        for constant in between:
            next_at = message.find(constant, at, end)
            if next_at < 0:
                return None
            found.append(message[at:next_at])
            at = next_at + len(constant)
        found.append(message[at:end])
        return tuple(text for text, numbered in zip(found, self.numbered, strict=True) if numbered)


class _Section:
    """Templates by the first word of the message, so that few are tried; those that say more come first."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self._exact: dict[str, str] = {}
        self._by_word: dict[str, list[Template]] = {}
        self._any: list[Template] = []
        for text, translation in entries:
            if HOLE.search(text) is None:
                self._exact[text] = translation
                continue
            template = Template.of(text, translation)
            word, space, _ = template.constants[0].partition(" ")
            (self._by_word.setdefault(word, []) if space else self._any).append(template)
        for templates in (self._any, *self._by_word.values()):
            if templates is not self._any:
                templates += self._any
            templates.sort(key=lambda template: template.constant_length, reverse=True)

    def find(self, message: str) -> tuple[str, tuple[str, ...]] | None:
        """The translation for a message, and what fills it."""
        exact = self._exact.get(message)
        if exact is not None:
            return exact, ()
        for template in self._by_word.get(message.partition(" ")[0], self._any):
            found = template.match(message)
            if found is not None:
                return template.translation, found
        return None


class Catalogue:
    """Translations of messages into one language."""

    def __init__(self, sections: Sections, whole: Iterable[str] = WHOLE) -> None:
        """`whole` are the sections of what a text may be as a whole."""
        self._titles = sections["titles"]
        self._sections = {name: _Section(entries.items()) for name, entries in sections.items()}
        self._whole = _Section((text, into) for name in whole for text, into in sections[name].items())

    def title(self, text: str) -> str:
        """What is called so: a problem, or a profile."""
        return self._titles.get(text, text)

    def message(self, text: str) -> str:
        """A problem's detail, or a description."""
        return self._translated(self._whole, text) if len(text) <= TRANSLATED_LENGTH_MAX else text

    def part(self, section: str, text: str) -> str:
        """What stands inside of a message elsewhere, by itself: a text of this section."""
        return self._filled(text, section) if len(text) <= TRANSLATED_LENGTH_MAX else text

    def _translated(self, section: _Section, text: str) -> str:
        found = section.find(text)
        if found is None:
            return text
        translation, taken = found
        return TAKEN.sub(lambda hole: self._filled(taken[int(hole[1])], hole[2]), translation)

    def _filled(self, text: str, section: str | None) -> str:
        match section:
            case None:
                return text
            case "or":
                return text.replace("', '", "'、'").replace("' or '", "' 或 '")
            case name if name in LISTS:
                return "；".join(self._translated(self._sections[name], part) for part in text.split("; "))
            case name:
                return self._translated(self._sections[name], text)


def read_sections(name: str) -> dict[str, dict[str, str]]:
    """The sections of a catalogue of ours."""
    raw = files(__package__).joinpath(f"{name}.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, dict[str, str]])


@lru_cache(maxsize=1)
def chinese() -> Catalogue:
    """What problems say in Chinese, read when the first caller asks for it."""
    return Catalogue(read_sections("zh_cn"))


@lru_cache(maxsize=1)
def chinese_descriptions() -> Catalogue:
    """What schemas say in Chinese, read when the first caller asks for it."""
    return Catalogue(read_sections("descriptions_zh_cn"), DESCRIBED)
