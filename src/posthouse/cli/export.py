"""`posthouse export`: the server's configuration as a file that `posthouse apply` takes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from posthouse.cli.client import Client
from posthouse.cli.output import note, outlined
from posthouse.cli.verbs import Key, Url
from posthouse.domain.errors import Invalid
from posthouse.domain.operations import OPERATIONS_NAME, OPERATIONS_UID
from posthouse.domain.platform_routes import PLATFORM_NAME, PLATFORM_UID

if TYPE_CHECKING:
    from posthouse.cli.platform.kinds import Kind, Known
    from posthouse.cli.platform.plan import There

_REQUIRED: Final = ("url", "types", "subjects", "profile", "profile_settings")
"""What the defaults of the other fields depend on, and what must be there."""
_RESERVED: Final = {OPERATIONS_UID: OPERATIONS_NAME, PLATFORM_UID: PLATFORM_NAME}
HEAD = "# Written by `posthouse export`. `posthouse apply -f` makes a server's configuration what this says.\n"


def export(
    *,
    app: Annotated[list[str] | None, Parameter(negative="")] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Write the server's configuration as YAML: event types, apps, their grants and endpoints. Never a secret.

    Triggers and schedules are no part of it.

    Headers of endpoints are part of it: keep the file private where they hold credentials.

    Parameters
    ----------
    app
        Only this app, without the event types: id or uid; may be repeated.
    output
        A file to write to, instead of standard output.
    """
    from posthouse.cli.platform.remote import everything, profiles_of

    client = Client(url, api_key)
    bodies = client.rows("apps") if app is None else [client.get("apps", one) for one in app]
    things = everything(client, bodies, event_types=app is None)
    text = HEAD + render(things, event_types=app is None, known=profiles_of(client))
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise Invalid(f"{output} cannot be written: {error.strerror}") from None
    note(f"wrote {output}")


def render(things: Iterable[There], *, event_types: bool = True, known: Known | None = None) -> str:
    """Everything as one YAML document, in an order that does not change. `known` are the server's profiles."""
    from posthouse.cli.platform.kinds import APP, EVENT_TYPE, shipped_profiles

    known = known or shipped_profiles
    types: dict[str, Any] = {}
    apps: dict[str, Any] = {}
    for there in things:
        if there.kind is EVENT_TYPE:
            if not there.body.get("archived"):
                types[there.reference] = _entry(there, known)
        elif there.kind is APP:
            apps[there.reference] = _entry(there, known) | {"grants": [], "endpoints": []}
        else:
            apps[there.app][there.kind.section].append(_entry(there, known))
    for entry in apps.values():
        for section in ("grants", "endpoints"):
            entry[section].sort(key=lambda one: one.get("uid") or one["id"])
    for uid, name in _RESERVED.items():
        if apps.get(uid) == {"uid": uid, "name": name, "grants": [], "endpoints": []}:
            del apps[uid]  # every server has it
    whole: dict[str, Any] = {"event_types": [types[name] for name in sorted(types)]} if event_types else {}
    whole["apps"] = [apps[name] for name in sorted(apps)]

    return outlined(whole)


def _entry(there: There, known: Known) -> dict[str, Any]:
    """A thing as a file declares it: what is not the default."""
    from posthouse.cli.platform.kinds import EVENT_TYPE

    kind, body = there.kind, there.body
    named = "name" if kind is EVENT_TYPE else "uid" if there.has_uid else "id"
    entry = {named: there.reference}
    given = {name: _plain(body[name]) for name in sorted(kind.fields) if name in body}
    if body.get("disabled_reason") != "by_hand":
        given.pop("enabled", None)  # not disabled, or by the server itself: then not for good
    required: dict[str, Any] = {name: given[name] for name in _REQUIRED if given.get(name)}
    defaults = kind.view(required, known)
    for name, value in (required | given).items():
        if name in required or value != defaults.get(name):
            entry[name] = _shortest(kind, required, name, value, known)
    return entry


def _shortest(kind: Kind, required: dict[str, Any], name: str, value: Any, known: Known) -> Any:
    """The value without those of its parts that mean the same when they are left out."""
    from posthouse.cli.platform.kinds import Wrong

    if not isinstance(value, dict):
        return value
    meant = kind.view(required | {name: value}, known)
    for part in list(value):
        less = {key: one for key, one in value.items() if key != part}
        try:
            if kind.view(required | {name: less}, known) == meant:
                value = less
        except Wrong:
            continue  # it must be there
    return value


def _plain(value: Any) -> Any:
    """5 rather than 5.0."""
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case list():
            return [_plain(one) for one in value]
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case _:
            return value
