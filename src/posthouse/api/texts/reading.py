"""The language of the answer that is being made, for the texts within it.

What went wrong is stored as it was raised, in English (why a trigger fails, why something was set aside); it is put into the
reader's language as it is answered. A route whose answer has such texts depends on `caller.Spoken`, which says who reads.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Annotated, Final

from pydantic import PlainSerializer

from posthouse.api.texts.accepted import CHINESE, ENGLISH, Language
from posthouse.api.texts.catalogue import chinese

_reader: Final[ContextVar[Language]] = ContextVar("posthouse_reader", default=ENGLISH)


def read_in(language: Language) -> None:
    """From here on, what this request is answered is read in this language."""
    _reader.set(language)


def said(message: str, language: Language) -> str:
    """A message in this language, or in English where there is no translation."""
    return chinese().message(message) if language == CHINESE else message


def _misfit(text: str) -> str:
    return chinese().part("json_schema", text) if _reader.get() == CHINESE else text


Said = Annotated[str, PlainSerializer(lambda text: said(text, _reader.get()), return_type=str)]
"""A text of an answer that was raised as an error, or is told like one."""

SaidOfData = Annotated[str, PlainSerializer(_misfit, return_type=str)]
"""What a JSON Schema says of data that do not fit it."""
