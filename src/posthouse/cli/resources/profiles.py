"""Profiles: presets of how an endpoint is spoken to."""

from __future__ import annotations

from typing import Final

from posthouse.cli.output import Column
from posthouse.cli.resources.words import PLACES
from posthouse.cli.verbs import Resource, Verb

PROFILES: Final = Resource(
    "profiles",
    "Profiles: presets of how an endpoint is spoken to.",
    "profile",
    (
        Verb(
            "list",
            "List the profiles: those that come with Posthouse, and your own.",
            "profiles",
            columns=(Column("name"), Column("title"), Column("about", folds=True)),
        ),
        Verb("show", "Show a profile, with every field that it writes.", "profiles/{profile}"),
    ),
    PLACES,
)
