"""`posthouse catalogue push`: the event types that classes declare (`@event_type` of the SDK) into the server's catalogue."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import cyclopts
from cyclopts import Parameter

from posthouse.cli.client import Client
from posthouse.cli.output import note
from posthouse.cli.verbs import Json, Key, Url
from posthouse.domain.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from posthouse.cli.platform.documents import Document, Place
    from posthouse.cli.platform.plan import Change, Plan
    from posthouse_sdk import EventType

catalogue = cyclopts.App(name="catalogue", help="Event types from the classes of your code.", help_format="plaintext")


@catalogue.command
def push(
    modules: Annotated[list[str], Parameter(name="MODULE", negative="")],
    /,
    *,
    check: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    allow_breaking: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    url: Url = None,
    api_key: Key = None,
    json_wanted: Json = False,
) -> int:
    """Make the server's catalogue what your classes say: those declared with @event_type of posthouse_sdk.

    Run it where your code can be imported. What a class does not say (visibility, examples) stays as it is on the server, and
    so do event types that no class declares. A schema that breaks receivers, or publishers of the schema before, is refused.

    Parameters
    ----------
    modules
        Modules that declare event types, such as shop.events.
    check
        Change nothing; exit code 1 where the server differs, and the differences on standard output. For CI.
    allow_breaking
        Push schemas that break those who rely on the ones before.
    """
    from posthouse.cli.apply import carry_out, change_row, show_plan
    from posthouse.cli.platform.plan import counted

    client = Client(url, api_key)
    made = _plan(client, _declared(modules))
    if json_wanted and check:
        for change in made.changes:
            print(json.dumps(change_row(change), ensure_ascii=False))
    elif not json_wanted:
        show_plan(made.changes)
    note(counted(made.changes))
    broken = [broken for change in made.changes for broken in _broken(client, change)]
    for one in broken:
        note(f"✗ {one}")
    if check:
        return 1 if made.changes else 0
    if broken and not allow_breaking:
        error = Conflict("nothing was pushed: schemas would break who relies on those before")
        error.add_note("publish another event type beside the old one, or push with --allow-breaking")
        raise error
    return carry_out(client, made.changes, made.impossible, json_wanted=json_wanted) if made.changes else 0


def _declared(names: Sequence[str]) -> list[EventType]:
    """What these modules declare. Raises Invalid."""
    from posthouse_sdk import declared_types

    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found = declared_types([_imported(name) for name in names])
    if not found:
        error = Invalid(f"{', '.join(names)} declares no event type")
        error.add_note(
            'put @event_type("order.created") of posthouse_sdk above a class, and name the module that it is in'
        )
        raise error
    return found


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        told = Invalid(f"cannot import {name}: {type(error).__name__}: {error}")
        told.add_note(
            "run it in the environment and the folder in which your code runs; a module is named like shop.events"
        )
        raise told from error


def _plan(client: Client, types: Sequence[EventType]) -> Plan:
    """What makes the catalogue as the classes say, and nothing else of it."""
    from posthouse.cli.platform.declared import declared
    from posthouse.cli.platform.plan import plan
    from posthouse.cli.platform.remote import state_for

    files = declared([_document(types)])
    # A file says what is all of an entry; a class, only what it says.
    said = [replace(item, view={name: item.view[name] for name in item.fields}) for item in files.items]
    files = replace(files, items=said)
    return plan(files, state_for(client, files, prune=False))


def _document(types: Sequence[EventType]) -> Document:
    """The classes as a file would declare them. Raises Invalid where one has no schema."""
    from posthouse.cli.platform.documents import Document, Place
    from posthouse_sdk import PosthouseError

    places: dict[tuple[str | int, ...], Place] = {(): Place("", 1, 1)}
    entries = []
    for index, declared in enumerate(types):
        places[("event_types", index)] = place = _place(declared)
        try:
            entries.append(declared.declaration())
        except (PosthouseError, TypeError) as error:
            raise Invalid(f"{place}: {declared.name}: {error}") from error
    return Document({"event_types": entries}, places)


def _place(declared: EventType) -> Place:
    from posthouse.cli.platform.documents import Place

    try:
        file, line = inspect.getsourcefile(declared.cls) or declared.place, inspect.getsourcelines(declared.cls)[1]
    except (OSError, TypeError):
        return Place(declared.place, 1, 1)
    path = Path(file)
    here = Path.cwd()
    return Place(str(path.relative_to(here) if path.is_relative_to(here) else path), line, 1)


class Broken(NamedTuple):
    """What another schema would break."""

    event_type: str
    whom: str
    path: str
    detail: str

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        return f"{self.event_type} breaks {self.whom}{where}: {self.detail}"


def _broken(client: Client, change: Change) -> Iterator[Broken]:
    """Whom a change breaks, as the server judges it."""
    if change.action != "update" or change.item is None or not any(f.path.startswith("schema") for f in change.fields):
        return
    try:
        told: dict[str, Any] = client.post(
            "event-types", change.reference, "check", body={"schema": change.item.fields["schema"]}
        )
    except NotFound:
        return  # somebody took it away meanwhile
    for one in told["changes"]:
        whom = [name for name in ("consumers", "publishers") if one[name] == "breaks"]
        if whom:
            yield Broken(change.reference, " and ".join(whom), one["path"], one["detail"])
    recent = told["recent"]
    if recent["fit"] < recent["events"]:
        note(f"  of the last {recent['events']} {change.reference}, {recent['events'] - recent['fit']} would not fit")
