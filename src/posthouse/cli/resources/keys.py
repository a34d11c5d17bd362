"""API keys: who may come in, and for what."""

from __future__ import annotations

from typing import Any, Final

from posthouse.cli.output import Column
from posthouse.cli.resources.words import PLACES
from posthouse.cli.verbs import Option, Resource, Verb


def _scoped(fields: dict[str, Any]) -> dict[str, Any]:
    return {"name": "", "scope": "app" if "app" in fields else "admin"} | fields


KEYS: Final = Resource(
    "keys",
    "API keys; and sealing anew under another master key.",
    "key",
    (
        Verb(
            "create",
            "Make a key and print it, once.",
            "keys",
            "POST",
            options=(
                Option("name", "What it is for."),
                Option(
                    "scope",
                    "What it may do: publish (events, and nothing else), app (look after one app), or admin (everything). "
                    "Default: app where --app is given, else admin.",
                ),
                Option("app", "With scope app: which. With scope publish: events of this app alone."),
            ),
            reveal="key",
            done="made key {id}; it is shown only now",
            body=_scoped,
        ),
        Verb(
            "list",
            "List the keys, without what is secret of them.",
            "keys",
            columns=(
                Column("id"),
                Column("hint"),
                Column("scope"),
                Column("name", folds=True),
                Column("created_at", "created", spare=True),
                Column("app", spare=True),
            ),
        ),
        Verb(
            "revoke",
            "Revoke a key: it is refused from now on, within ten seconds on every server.",
            "keys/{key}",
            "DELETE",
            done="revoked {key}",
        ),
    ),
    PLACES,
)
