"""Making a plan come true, one change at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from posthouse.cli.client import Answer, Client
from posthouse.cli.platform.kinds import APP, EVENT_TYPE
from posthouse.cli.platform.plan import Change, differences
from posthouse.cli.platform.remote import fresh, path_of
from posthouse.domain.errors import Conflict, NotFound, PosthouseError, StoreUnavailable, Unauthorised


@dataclass(frozen=True)
class Result:
    """What became of a change; `error` where it failed."""

    change: Change
    became: Literal["done", "failed", "skipped"]
    told: str = ""
    error: PosthouseError | None = None


def run(client: Client, changes: Sequence[Change]) -> Iterator[Result]:
    """Do them in order. What belongs to an app that failed is skipped; so is all the rest once nobody answers any more."""
    failed: set[str] = set()
    given_up = ""
    for change in changes:
        if given_up:
            yield Result(change, "skipped", given_up)
        elif change.app in failed:
            yield Result(change, "skipped", f"app {change.app} is not as it should be")
        else:
            try:
                told = _DOING[change.action](client, change)
                yield Result(change, "done", told)
            except PosthouseError as error:
                if change.kind is APP:
                    failed.add(change.reference)
                if isinstance(error, StoreUnavailable | Unauthorised):
                    given_up = "not tried any more"
                yield Result(change, "failed", str(error), error)


def _create(client: Client, change: Change) -> str:
    """Only where there is none yet: somebody else's is not overwritten. Keys that were made for an endpoint's profile are
    told: nobody is shown them again."""
    assert change.item is not None
    if change.kind is EVENT_TYPE:
        client.ask("POST", ("event-types",), body={"name": change.reference} | change.item.fields)
    else:
        made = client.ask("PUT", _path(change), body=change.item.fields, headers={"If-None-Match": "*"})
        keys = made.body.get("made_keys") if isinstance(made.body, dict) else None
        if keys:
            return f"its profile's keys, which are not shown again: {json.dumps(keys)}"
    return ""


def _update(client: Client, change: Change) -> str:
    """Only where the server's side is still what the plan was made from."""
    assert change.item is not None
    assert change.there is not None
    there, answer = fresh(client, change.there)
    if differences(change.item, there) != list(change.fields):
        error = Conflict("somebody changed it since this plan was made")
        error.add_note("run it again: it makes a new plan")
        raise error
    if change.kind is EVENT_TYPE:
        body = change.item.view | ({"archived": False} if there.body.get("archived") else {})
        client.ask("PATCH", _path(change), body=body, headers=_if_unchanged(answer))
    elif change.item.by_id:
        client.ask("PATCH", _path(change), body=change.item.view, headers=_if_unchanged(answer))
    else:
        kept = {name: there.body[name] for name in change.kind.kept if name in there.body}
        client.ask("PUT", _path(change), body=kept | change.item.fields, headers=_if_unchanged(answer))
    return ""


def _delete(client: Client, change: Change) -> str:
    assert change.there is not None
    try:
        _, answer = fresh(client, change.there)
        client.ask("DELETE", _path(change), headers=_if_unchanged(answer))
    except NotFound:
        return "it was gone already"
    return ""


def _path(change: Change) -> tuple[str, ...]:
    return path_of(change.kind, change.app, change.reference)


def _if_unchanged(answer: Answer) -> dict[str, str]:
    return {"If-Match": answer.etag} if answer.etag else {}


_DOING: dict[str, Callable[[Client, Change], str]] = {"create": _create, "update": _update, "delete": _delete}
