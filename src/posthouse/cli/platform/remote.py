"""The configuration as the server has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from posthouse.cli.client import Answer, Client
from posthouse.cli.platform.declared import Declared
from posthouse.cli.platform.kinds import APP, ENDPOINT_KIND, EVENT_TYPE, GRANT, Kind, Known, shipped_profiles
from posthouse.cli.platform.plan import There
from posthouse.domain.errors import NotFound
from posthouse.domain.profile import Profile
from posthouse.manage.profiles import Profiles

State = dict[tuple[str, str, str], There]


def profiles_of(client: Client) -> Known:
    """The profiles that the server has, asked for once."""

    found: list[Profiles] = []

    def known() -> Profiles:
        if not found:
            try:
                found.append(Profiles(msgspec.convert(client.get("profiles")["data"], list[Profile])))
            except NotFound:
                found.append(shipped_profiles())  # it is of an earlier release
        return found[0]

    return known


def path_of(kind: Kind, app: str, *reference: str) -> tuple[str, ...]:
    """Where a thing, or the list of its kind, is in the API."""
    section = kind.section.replace("_", "-")
    return ("apps", app, section, *reference) if app else (section, *reference)


def state_for(client: Client, files: Declared, *, prune: bool) -> State:
    """What the server has of all that the files speak of."""
    found: State = {}
    if (EVENT_TYPE.section, "") in files.sections:
        _put(found, _event_types(client))
    wanted = [item.reference for item in files.items if item.kind is APP]
    whole = prune and (APP.section, "") in files.sections
    apps = list(client.rows("apps")) if whole else list(_apps(client, wanted))
    for body in apps:
        # A file may name an app by its id though it has a uid.
        reference = next((name for name in (body["id"], body["uid"]) if name in wanted), None)
        there = There(APP, "", body)
        found[(APP.name, "", reference or there.reference)] = there
        if reference is not None:
            for kind in (GRANT, ENDPOINT_KIND):
                if (kind.section, reference) in files.sections:
                    _put(found, within(client, kind, reference), {item.key[2] for item in files.items})
    return found


def everything(client: Client, apps: Iterable[dict[str, Any]], *, event_types: bool) -> Iterator[There]:
    """The event types where they are wanted, and these apps with all that is theirs."""
    if event_types:
        yield from _event_types(client)
    for body in apps:
        app = There(APP, "", body)
        yield app
        for kind in (GRANT, ENDPOINT_KIND):
            yield from within(client, kind, app.reference)


def within(client: Client, kind: Kind, app: str) -> Iterator[There]:
    """The grants, or endpoints, of an app."""
    for body in client.rows(*path_of(kind, app)):
        yield There(kind, app, body)


def fresh(client: Client, there: There) -> tuple[There, Answer]:
    """The thing as it is now, and the answer that says so."""
    answer = client.ask("GET", path_of(there.kind, there.app, there.reference))
    return There(there.kind, there.app, answer.body), answer


def _event_types(client: Client) -> Iterator[There]:
    for body in client.rows("event-types", query={"archived": "true"}):
        yield There(EVENT_TYPE, "", body)


def _apps(client: Client, references: Iterable[str]) -> Iterator[dict[str, Any]]:
    for reference in references:
        try:
            yield client.get("apps", reference)
        except NotFound:
            continue


def _put(found: State, things: Iterable[There], references: Iterable[str] = ()) -> None:
    """By key; also by id where a file refers to it so."""
    named = set(references)
    for there in things:
        identity = there.body.get("id")
        if identity in named:
            found[(there.kind.name, there.app, identity)] = there
        else:
            found[there.key] = there
