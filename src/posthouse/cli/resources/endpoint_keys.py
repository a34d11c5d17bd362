"""The named keys of endpoints."""

from __future__ import annotations

from typing import Final

from posthouse.cli.output import Column
from posthouse.cli.resources.configuration import ONE_ENDPOINT
from posthouse.cli.resources.words import PLACES
from posthouse.cli.verbs import Option, Resource, Verb

ENDPOINT_KEYS: Final = Resource(
    "endpoints keys",
    "The named keys of an endpoint: what it signs, encrypts or authenticates with. They are never shown.",
    "name",
    (
        Verb(
            "list",
            "List an endpoint's keys and their live versions.",
            f"{ONE_ENDPOINT}/keys",
            columns=(Column("name"), Column("versions", folds=True)),
        ),
        Verb(
            "put",
            "Give an endpoint a key, or a key a new text; the old one is live too for a while.",
            f"{ONE_ENDPOINT}/keys/{{name}}",
            "PUT",
            options=(
                Option(
                    "value",
                    "The text: @FILE reads a file, - standard input; a line end after it is left out.",
                    "secret",
                    required=True,
                ),
                Option("overlap-seconds", "How long the old one is live too (default: a day).", "whole"),
            ),
            done="put {name}",
        ),
        Verb(
            "delete",
            "Take a key away, at once.",
            f"{ONE_ENDPOINT}/keys/{{name}}",
            "DELETE",
            done="deleted {name}",
        ),
    ),
    PLACES,
)
