"""`posthouse keys`: make, list and revoke API keys."""

from __future__ import annotations

from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from posthouse.cli.client import Client
from posthouse.cli.output import note, show

app = cyclopts.App(name="keys", help="Make, list and revoke API keys.")

Url = Annotated[str | None, Parameter(help="The server (default: POSTHOUSE_URL, else http://127.0.0.1:8080).")]
Key = Annotated[str | None, Parameter(name="--key", help="The API key to ask with (default: POSTHOUSE_KEY).")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="JSON even on a terminal.")]


@app.command(name="create")
def create(
    *,
    name: str = "",
    for_app: Annotated[str | None, Parameter(name="--app")] = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Make a key and print it, once.

    Parameters
    ----------
    name
        What it is for.
    for_app
        The id or uid of the one app that the key may see; without it the key is an administrator's.
    """
    body: dict[str, Any] = {"name": name, "scope": "admin" if for_app is None else "app"}
    if for_app is not None:
        body["app"] = for_app
    made = Client(url, api_key).post("keys", body=body)
    note(f"made key {made['id']}; it is shown only now")
    print(made["key"])


@app.command(name="list")
def list_keys(*, url: Url = None, api_key: Key = None, json_output: Json = False) -> None:
    """List the keys, without what is secret of them."""
    rows = Client(url, api_key).get("keys")["data"]
    show(rows, ["id", "hint", "scope", "app", "name", "created_at"], as_json=json_output)


@app.command(name="revoke")
def revoke(key_id: str, /, *, url: Url = None, api_key: Key = None) -> None:
    """Revoke a key: it is refused from now on, within ten seconds on every server.

    Parameters
    ----------
    key_id
        The key's id, as `posthouse keys list` shows it.
    """
    Client(url, api_key).delete("keys", key_id)
    note(f"revoked {key_id}")
