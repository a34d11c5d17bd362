"""`posthouse trigger`: publish one event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from posthouse.cli.client import Client
from posthouse.cli.output import Column, as_json, note, plural, printable, show, show_record, terminal
from posthouse.cli.verbs import Json, Key, Url, decoded
from posthouse.domain.errors import NotFound

if TYPE_CHECKING:
    from rich.text import Text

COLUMNS = (Column("id"), Column("type", folds=True), Column("created_at", "created"), Column("apps"))


def trigger(
    event_type: str,
    /,
    *,
    data: Annotated[str, Parameter(allow_leading_hyphen=True)],
    app: str | None = None,
    subject: str | None = None,
    event_key: str | None = None,
    channel: Annotated[list[str] | None, Parameter(negative="")] = None,
    idempotency_key: str | None = None,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    url: Url = None,
    api_key: Key = None,
    json_wanted: Json = False,
) -> None:
    """Publish one event: to every app whose grants cover it, or with --app to that one.

    Parameters
    ----------
    event_type
        The event's type, such as user_register.
    data
        The event's data as JSON; @FILE reads a file, - standard input.
    app
        The one app that it is for: id or uid.
    subject
        Whom the event is about, such as shop:42.
    event_key
        The event's ordering key.
    channel
        A channel of the event; may be repeated.
    idempotency_key
        Makes the command safe to repeat for a day: the same key gives the same event.
    dry_run
        Publish nothing; say whom the event would reach, and why it would not reach the others.
    """
    body: dict[str, Any] = {"type": event_type, "data": decoded(data, "--data")}
    given = (("subject", subject), ("key", event_key), ("channels", channel))
    body |= {name: value for name, value in given if value is not None}
    try:
        answer = Client(url, api_key, exact_numbers=True).ask(
            "POST",
            ("events",) if app is None else ("apps", app, "events"),
            body=body,
            query={"dry_run": "true"} if dry_run else None,
            headers={"Idempotency-Key": idempotency_key} if idempotency_key else None,
        )
    except NotFound as error:
        listed = "apps" if error.code == "app_not_found" else "event-types"
        error.add_note(f"`posthouse {listed} list` shows those that there are, `posthouse {listed} create` makes one")
        raise
    if dry_run:
        explain(answer.body, json_wanted=json_wanted)
        return
    columns = COLUMNS if "apps" in answer.body else COLUMNS[:-1]
    show([answer.body], columns, json_wanted=json_wanted)
    if answer.body.get("apps") == 0:
        note("no app may hear of it; `posthouse trigger … --dry-run` says why, `posthouse grants add` lets one")


def explain(routing: dict[str, Any], *, json_wanted: bool = False) -> None:
    """What a dry run answered, for a person; as it is where it goes to a program."""
    if as_json(json_wanted):
        show_record(routing, json_wanted=True)
        return
    console = terminal()
    for line in explained(routing):
        console.print(line, soft_wrap=True)
    if routing.get("truncated"):
        note("there are more; this shows the first ones")


def explained(routing: dict[str, Any]) -> Iterator[Text]:
    """The lines of an explanation: whom an event would reach, and why not the others."""
    from rich.text import Text

    def line(*parts: str | tuple[str, str]) -> Text:
        styled = ((part, "") if isinstance(part, str) else part for part in parts)
        return Text.assemble(*((printable(text), style) for text, style in styled))

    reached, others = routing["reached"], routing["not_reached"]
    endpoints = sum(len(one["endpoints"]) for one in reached)
    about = f" about {routing['subject']}" if routing.get("subject") else ""
    whom = f"{plural(endpoints, 'endpoint')} of {plural(len(reached), 'app')}" if reached else "nobody"
    yield line((routing["type"], "bold"), about, f" would reach {whom}")
    if not reached and not others:
        yield line("  ", "no app has a grant for this type and this subject; `posthouse grants add` gives one")
    for one in reached:
        yield line("  ", (_name(one, "app"), "bold"))
        for endpoint in one["endpoints"]:
            yield line("    ", ("✓ ", "green"), _name(endpoint, "endpoint"), f"  {endpoint['url']}")
            yield line("      ", (str(endpoint["reason"]), "dim"))
            if endpoint.get("explanation"):
                yield line("      ", (str(endpoint["explanation"]), "yellow"))
        if not one["endpoints"]:
            yield line("    ", ("- ", "yellow"), "none of its endpoints; see below")
    if others:
        yield line()
        yield line(("Not reached", "bold"))
    for one in others:
        where = _name(one, "app") + (f" / {one['endpoint']}" if one.get("endpoint") else "")
        yield line("  ", ("✗ ", "red"), f"{where}  ", (str(one["reason"]), "yellow"))
        if one.get("explanation"):
            yield line("      ", (str(one["explanation"]), "dim"))


def _name(thing: dict[str, Any], kind: str) -> str:
    """`ledger (ep_…)`, or the id alone."""
    uid = thing.get("uid")
    return f"{uid} ({thing[kind]})" if uid else str(thing[kind])
