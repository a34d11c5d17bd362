"""Expressions, tried."""

from __future__ import annotations

from typing import Final

from posthouse.cli.resources.words import PLACES
from posthouse.cli.verbs import Option, Resource, Verb

EXPRESSIONS: Final = Resource(
    "expressions",
    "Expressions: filters, transformations and rules.",
    "expression",
    (
        Verb(
            "check",
            "Say whether an expression may be stored, and what it comes to of a sample. Exit code 1: it comes to nothing.",
            "expressions/check",
            "POST",
            options=(
                Option("expression", "The expression, such as 'event.data.total > 100'.", positional=True),
                Option("use", "filter (default), value or text; of an answer rule, answer_value or answer_text."),
                Option("event", "The event: a JSON object with type, data, …; @FILE reads a file.", "json"),
                Option("response", "The answer: a JSON object with status, headers, body and attempt.", "json"),
            ),
            fails=lambda answer: not answer["ok"],
        ),
    ),
    PLACES,
)
